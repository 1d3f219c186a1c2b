"""What is answered for images, whichever way they came: scores, and an image's heat map.

Comes in: images, and what is asked of them. Goes out: responses. Knows no route.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cxr_transfer.inference.prediction import explained_label
from cxr_transfer.radiograph.reorientation import Reorientation
from cxr_transfer.serving.heat_maps import NO_MAP
from cxr_transfer.serving.image_reading import LOST
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.model_registry import ServedModel
from cxr_transfer.serving.ndjson import LinesResponse, wants_lines
from cxr_transfer.serving.problems import ProblemResponse
from cxr_transfer.serving.schemas import (
    UNPROCESSABLE,
    ApiError,
    envelope,
    refusal_of,
)
from cxr_transfer.serving.service import Service


async def predictions(
    request: Request,
    service: Service,
    served: ServedModel,
    uploads: Sequence[Upload],
    *,
    heat_map: bool,
    change: Reorientation,
    started: float,
) -> Response:
    """Answer with class scores; as lines, one when it is there, where the client asks for them.

    Args:
        request: Request that asks; its line of log tells how many images it had.
        service: Service that answers.
        served: Model that is asked.
        uploads: Images.
        heat_map: Whether each answer has a heat map.
        change: Change of the images before they are assessed.
        started: When the request came, in seconds of `time.perf_counter`.

    Raises:
        ApiError: 503 ``busy``.
    """
    if wants_lines(request):
        return _lines(request, service, served, uploads, heat_map=heat_map, change=change)
    answers = await service.answers(served, uploads, heat_map=heat_map, change=change)
    statuses = [answer["status"] for answer in answers]
    request.scope["state"]["facts"] = {"uploads": len(answers), "answered": statuses}
    request_id = request.state.request_id
    content = envelope(request_id) | {
        "model": served.predictor.model,
        "ms": round(1000 * (time.perf_counter() - started), 2),
        "answers": answers,
    }
    if refusal := refusal_of(answers):
        return ProblemResponse(refusal, request_id, content)
    return JSONResponse(content)


def _lines(
    request: Request,
    service: Service,
    served: ServedModel,
    uploads: Sequence[Upload],
    *,
    heat_map: bool,
    change: Reorientation,
) -> Response:
    """Answer with a line for each image; what is refused at once is refused as always."""
    facts = request.scope["state"]["facts"] = {"uploads": len(uploads)}
    service.check_room(len(uploads))

    async def answers() -> AsyncIterator[dict[str, Any]]:
        one_by_one = service.one_by_one([served], uploads, heat_map=heat_map, change=change)
        async with aclosing(one_by_one):
            async for of_one, _ in one_by_one:
                yield of_one[0]

    return LinesResponse(answers(), request.state.request_id, facts)


async def heat_map_picture(
    service: Service, served: ServedModel, upload: Upload, change: Reorientation
) -> Response:
    """Answer with the heat map of an image, as PNG.

    Raises:
        ApiError: 422 ``no_heat_map``, or the code of an image that is not assessed; the status of
            an image that cannot be read; 503 ``busy``, ``worker_lost``.
    """
    if not served.explains:
        raise _no_map(NO_MAP)
    (answer,) = await service.answers(served, [upload], heat_map=True, change=change)
    if refusal := refusal_of([answer]):
        raise refusal
    if answer["status"] != "ok":
        raise ApiError(UNPROCESSABLE, answer["code"], answer["message"])
    if answer["heat_map"] is None:
        reason = answer["warnings"][-1].removeprefix("no heat map: ")
        if reason == LOST:
            raise ApiError(503, "worker_lost", LOST, {"Retry-After": "1"})
        raise _no_map(reason)
    headers = {
        "X-Cxr-Heat-Map-Of": json.dumps(explained_label(answer)),
        "X-Cxr-Model": json.dumps(answer["model"]),
    }
    content = base64.b64decode(answer["heat_map"].partition(",")[2])
    return Response(content, media_type="image/png", headers=headers)


def _no_map(reason: str) -> ApiError:
    return ApiError(
        UNPROCESSABLE,
        "no_heat_map",
        f"Expected a heat map, but there is none: {reason.rstrip('.')}; ask for the predictions "
        "without it.",
    )
