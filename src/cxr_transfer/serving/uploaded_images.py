"""Routes of images that are uploaded once: kept by their hash, and asked for by it."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.responses import JSONResponse, Response

from cxr_transfer.serving.image_answers import heat_map_picture, predictions
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.multipart import hold_hashes, read_form
from cxr_transfer.serving.openapi import (
    HEAT_MAP_HEADERS,
    answer_responses,
    form_body,
    no_body,
    picture_responses,
    with_no_room,
)
from cxr_transfer.serving.parameters import REORIENTATION, flag, reorientation
from cxr_transfer.serving.schemas import Answers, ApiError, Kept, envelope
from cxr_transfer.serving.service import Service
from cxr_transfer.serving.settings import Settings

Sha256 = Annotated[
    str,
    Path(
        pattern="^[0-9a-fA-F]{64}$",
        description="SHA-256 of the image's bytes, in hexadecimal digits.",
    ),
]


def route_uploaded_images(app: FastAPI, settings: Settings, service: Service) -> None:
    """Answer for images that are uploaded once."""

    @app.post(
        "/v1/images",
        status_code=201,
        summary="Upload images once, to ask for them by their SHA-256",
        openapi_extra=form_body("files", settings, fields=()),
        responses=with_no_room(answer_responses(Kept, 201)),
    )
    async def keep(request: Request) -> Response:
        form = await read_form(request, settings, files="files", fields=())
        await service.images.keep(form.uploads)
        kept = [_told(index, upload) for index, upload in enumerate(form.uploads)]
        content = envelope(request.state.request_id)
        content |= {"kept_s": service.images.seconds, "images": kept}
        return JSONResponse(content, 201)

    @app.delete(
        "/v1/images/{sha256}",
        status_code=204,
        summary="Forget an uploaded image before its time",
        openapi_extra=no_body(()),
        responses=answer_responses(None, 204, body=False),
    )
    async def forget(request: Request, sha256: Sha256) -> Response:
        hold_hashes(request, [await service.images.upload(sha256.lower())])
        await service.images.forget(sha256.lower())
        return Response(status_code=204)

    @app.post(
        "/v1/images/{sha256}/predictions",
        summary="Class scores for an uploaded image",
        openapi_extra=no_body(("model", "heat_map", *REORIENTATION)),
        responses=answer_responses(Answers, by_image=True, body=False),
    )
    async def scores(request: Request, sha256: Sha256) -> Response:
        started = time.perf_counter()
        _refuse_body(request)
        query = dict(request.query_params)
        served = service.model(query.get("model"))
        heat_map, change = flag(query, "heat_map"), reorientation(query)
        upload = await service.images.upload(sha256.lower())
        hold_hashes(request, [upload])
        return await predictions(
            *(request, service, served, [upload]),
            heat_map=heat_map,
            change=change,
            started=started,
        )

    @app.post(
        "/v1/images/{sha256}/heatmap",
        summary="The heat map of an uploaded image, to lay over it",
        openapi_extra=no_body(("model", *REORIENTATION)),
        response_class=Response,
        responses=picture_responses("image/png", HEAT_MAP_HEADERS, body=False),
    )
    async def heat_map(request: Request, sha256: Sha256) -> Response:
        _refuse_body(request)
        query = dict(request.query_params)
        served, change = service.model(query.get("model")), reorientation(query)
        upload = await service.images.upload(sha256.lower())
        hold_hashes(request, [upload])
        return await heat_map_picture(service, served, upload, change)


def _told(index: int, upload: Upload) -> dict[str, Any]:
    facts = {"file": upload.name, "sha256": upload.sha256, "bytes": len(upload.content)}
    return {"index": index} | facts


def _refuse_body(request: Request) -> None:
    """Refuse what would have no effect: the image is there, and the rest stands in the query."""
    headers = request.headers
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise ApiError(
            415,
            "unexpected_body",
            "Expected no body, since the image was uploaded, but got one; give what is asked "
            "in the query.",
        )
