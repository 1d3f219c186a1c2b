"""Routes of an uploaded image at full depth: what is known of it, and its samples, part by part."""

from __future__ import annotations

import asyncio
from typing import cast

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from cxr_transfer.radiograph.full_depth import Samples, reduced
from cxr_transfer.serving.image_facts import ImageFacts
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.multipart import hold_hashes
from cxr_transfer.serving.openapi import (
    MOST_SAMPLES,
    SAMPLE_HEADERS,
    SAMPLES,
    answer_responses,
    no_body,
    picture_responses,
)
from cxr_transfer.serving.parameters import whole_number
from cxr_transfer.serving.sample_store import Decoded
from cxr_transfer.serving.schemas import ApiError, envelope
from cxr_transfer.serving.service import Service
from cxr_transfer.serving.uploaded_images import Sha256

_PART = ("x", "y", "width", "height", "scale")


def route_samples(app: FastAPI, service: Service) -> None:
    """Tell of uploaded images what a viewer needs."""

    async def decoded(request: Request, sha256: str) -> Decoded:
        upload = await service.images.upload(sha256.lower())
        hold_hashes(request, [upload])
        return await service.samples.get(upload.sha256, lambda: _decode(service, upload))

    @app.get(
        "/v1/images/{sha256}/facts",
        summary="What an uploaded image holds, and how it is shown",
        openapi_extra=no_body(()),
        responses=answer_responses(ImageFacts, body=False, by_image=True),
    )
    async def facts(request: Request, sha256: Sha256) -> Response:
        content = (await decoded(request, sha256)).facts
        return JSONResponse(envelope(request.state.request_id) | content)

    @app.get(
        "/v1/images/{sha256}/samples",
        summary="Samples of a part of an uploaded image, at full depth",
        openapi_extra=no_body(_PART),
        response_class=Response,
        responses=picture_responses(SAMPLES, SAMPLE_HEADERS, body=False),
    )
    async def samples(request: Request, sha256: Sha256) -> Response:
        picture = (await decoded(request, sha256)).samples
        whole_height, whole_width = picture.shape
        query = dict(request.query_params)
        x = whole_number(query, "x", 0, whole_width - 1, 0)
        y = whole_number(query, "y", 0, whole_height - 1, 0)
        width = whole_number(query, "width", 1, whole_width - x, whole_width - x)
        height = whole_number(query, "height", 1, whole_height - y, whole_height - y)
        scale = whole_number(query, "scale", 1, max(picture.shape), 1)
        rows, columns = -(-height // scale), -(-width // scale)
        if rows * columns > MOST_SAMPLES:
            raise ApiError(
                422,
                "too_many_samples",
                f"Expected at most {MOST_SAMPLES} samples in an answer, but {columns} x {rows} "
                "were asked for; ask for a part with x, y, width and height, or for means of "
                "several with scale.",
            )
        part = picture[y : y + height, x : x + width]
        content = await asyncio.to_thread(lambda: reduced(part, scale).astype("<u2").tobytes())
        headers = {"X-Cxr-Rows": str(rows), "X-Cxr-Columns": str(columns)}
        return Response(content, media_type=SAMPLES, headers=headers)


async def _decode(service: Service, upload: Upload) -> Decoded:
    reply, content = await service.decoded(upload, "samples")
    facts = reply["facts"] | {"sha256": upload.sha256}
    samples = np.frombuffer(content, reply["kind"]).reshape(facts["height"], facts["width"])
    return Decoded(cast("Samples", samples), facts)
