"""What can be asked over HTTP, and how it is described in OpenAPI.

Routes only: a request's form goes to the `Room`, its answer comes back as JSON, PNG or PDF. Who
may ask, and how much at once, is the door's affair.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from cxr_transfer import INTENDED_USE, __version__
from cxr_transfer.errors import FilmError
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.multipart import read_form
from cxr_transfer.serving.process_pool import WorkerLost
from cxr_transfer.serving.schemas import (
    STATUS,
    UNPROCESSABLE,
    Answers,
    Audit,
    Health,
    Models,
    Readiness,
    Refusal,
    Refused,
    envelope,
    refused,
    status_of,
)
from cxr_transfer.serving.service import LOST, Room
from cxr_transfer.serving.settings import Settings

PAGE = Path(__file__).parent / "page"
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
PAGES = {path.name: path for path in PAGE.iterdir() if path.suffix in MEDIA}

_EXAMPLE = {
    "intended_use": INTENDED_USE,
    "version": __version__,
    "request_id": "8a4c1f0d2b7e4c7d9a51f0c3b2d4e6f8",
    "model": "model_3 dbf3397cd158",
    "ms": 41.2,
    "answers": [
        {
            "file": "film.png",
            "status": "ok",
            "code": "",
            "message": "",
            "label": "normal",
            "probabilities": {"normal": 0.91, "bacterial": 0.08, "covid19": 0.01},
            "calibrated": True,
            "temperature": 1.37,
            "model": "model_3 dbf3397cd158",
            "warnings": [],
            "ms": 36.8,
            "heat_map": None,
            "lung_share": None,
            "lung_area": None,
            "neighbours": [],
        }
    ],
}
_REFUSED = {
    400: "The host or the body is not what it should be.",
    401: "A token is needed.",
    403: "Another web site sent this.",
    404: "There is no such model.",
    413: "Too much was sent.",
    415: "Not a form, or not a film.",
    422: "The form or the film cannot be read.",
    503: "No room now; see Retry-After.",
}
_NO_SUCH: dict[int | str, dict[str, Any]] = {
    404: {
        "description": "There is no such model, or nothing of the kind beside it.",
        "model": Refused,
    }
}


def build(settings: Settings, room: Room, metrics: Metrics) -> FastAPI:
    """Return the application behind the door."""
    app = FastAPI(
        title="cxr-transfer",
        version=__version__,
        description=INTENDED_USE,
        # Their pages load scripts from elsewhere; the description itself stays.
        docs_url=None,
        redoc_url=None,
    )
    app.state.stopping = lambda: False
    _handle_errors(app)

    @app.post(
        "/v1/predict",
        summary="Class scores for films",
        openapi_extra=_form("files", many=True, fields=("model", "heat_map")),
        responses=_responses(Answers, _EXAMPLE, by_film=True),
    )
    async def predict(request: Request) -> Response:
        started = time.perf_counter()
        form = await read_form(request, settings, files="files", fields=("model", "heat_map"))
        served = room.model(form.fields.get("model"))
        answers = await room.answers(served, form.films, heat_map=form.flag("heat_map"))
        _tell(request, films=len(answers), answered=[one["status"] for one in answers])
        status = status_of(answers)
        content = _envelope(request) | {
            "model": served.predictor.model,
            "ms": round(1000 * (time.perf_counter() - started), 2),
            "answers": answers,
        }
        return JSONResponse(content, status, {"Retry-After": "1"} if status == 503 else None)

    @app.post(
        "/v1/film",
        summary="A film as it was decoded, to be looked at",
        openapi_extra=_form("file", many=False, fields=()),
        response_class=Response,
        responses=_responses(None, media="image/png"),
    )
    async def film(request: Request) -> Response:
        form = await read_form(request, settings, files="file", fields=())
        known, png = await room.film(form.films[0])
        headers = {
            "X-Cxr-Format": known["format"],
            "X-Cxr-Height": str(known["height"]),
            "X-Cxr-Width": str(known["width"]),
            "X-Cxr-Warnings": json.dumps(known["warnings"]),
        }
        return Response(png, media_type="image/png", headers=headers)

    @app.post(
        "/v1/report",
        summary="A report of films, with figures",
        openapi_extra=_form("files", many=True, fields=("model", "other")),
        response_class=Response,
        responses=_responses(None, media="application/pdf"),
    )
    async def report(request: Request) -> Response:
        form = await read_form(request, settings, files="files", fields=("model", "other"))
        asked = [room.model(form.fields.get("model"))]
        if (other := room.model(form.fields.get("other") or asked[0].name)) is not asked[0]:
            asked.append(other)
        answers = [await room.answers(one, form.films, heat_map=True) for one in asked]
        # A page for each, the models' pages of one film one behind the other.
        films = [film for film in form.films for _ in asked]
        of_films = [answer for of_film in zip(*answers, strict=True) for answer in of_film]
        pdf = await room.report(films, of_films, request.state.request_id)
        headers = {"Content-Disposition": 'attachment; filename="report.pdf"'}
        return Response(pdf, media_type="application/pdf", headers=headers)

    @app.get("/v1/models", summary="The models that answer here", responses=_gets(Models))
    async def models(request: Request) -> Response:
        default = room.model(None)
        described = [served.described() for served in room.models.values()]
        return JSONResponse(_envelope(request) | {"default": default.name, "models": described})

    @app.get(
        "/v1/models/{name}/card",
        summary="What is known of a model, as Markdown",
        response_class=Response,
        responses=_gets(None, "text/markdown") | _NO_SUCH,
    )
    async def model_card(name: str) -> Response:
        if (text := room.model(name).card()) is None:
            raise Refusal(
                404,
                "no_card",
                "Expected a MODEL_CARD.md of these weights beside the model, but there is none; "
                "'cxr card' writes one.",
            )
        return Response(text, media_type="text/markdown")

    @app.get(
        "/v1/models/{name}/audit",
        summary="Which reasons for doubt a model's audit found",
        responses=_gets(Audit) | _NO_SUCH,
    )
    async def model_audit(request: Request, name: str) -> Response:
        if (found := room.model(name).audit()) is None:
            raise Refusal(
                404,
                "no_audit",
                "Expected an audit.json of these weights beside the model, but there is none; "
                "'cxr audit' makes one.",
            )
        return JSONResponse(_envelope(request) | found)

    @app.get("/healthz", summary="Whether the process lives", responses=_gets(Health))
    async def health(request: Request) -> Response:
        return JSONResponse(_envelope(request) | {"status": "ok"})

    @app.get("/readyz", summary="Whether to send requests here", responses=_gets(Readiness))
    async def ready(request: Request) -> Response:
        if app.state.stopping():
            reason = "stopping"
        elif not room.models:
            reason = "models are being opened"
        elif not await room.works():
            reason = "the self-test film does not score as stored with the model"
        else:
            reason = ""
        content = _envelope(request) | {"ready": not reason, "reason": reason}
        return JSONResponse(content, 503 if reason else 200)

    @app.get(
        "/metrics",
        summary="Counts and times for Prometheus",
        response_class=Response,
        responses=_gets(None, "text/plain"),
    )
    async def counts() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.get("/", include_in_schema=False)
    @app.head("/", include_in_schema=False)
    async def front() -> Response:
        return _page("index.html")

    @app.get("/{name}", include_in_schema=False)
    @app.head("/{name}", include_in_schema=False)
    async def page(name: str) -> Response:
        return _page(name)

    return app


def _handle_errors(app: FastAPI) -> None:
    def answer(request: Request, refusal: Refusal) -> Response:
        content = refused(refusal, request.state.request_id)
        return JSONResponse(content, refusal.status_code, refusal.headers)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if not isinstance(error, Refusal):
            headers = dict(error.headers or {})
            error = Refusal(error.status_code, "http", f"{error.detail}.", headers)
        return answer(request, error)

    @app.exception_handler(FilmError)
    async def film(request: Request, error: FilmError) -> Response:
        status = STATUS.get(error.code, UNPROCESSABLE)
        return answer(request, Refusal(status, error.code, error.message))

    @app.exception_handler(WorkerLost)
    async def lost(request: Request, _error: WorkerLost) -> Response:
        return answer(request, Refusal(503, "worker_lost", LOST, {"Retry-After": "1"}))


def _envelope(request: Request) -> dict[str, Any]:
    return envelope(request.state.request_id)


def _tell(request: Request, **known: object) -> None:
    """Add to this request's line of log."""
    request.scope["state"]["told"] = known


def _page(name: str) -> Response:
    path = PAGES.get(name)
    if path is None:
        raise HTTPException(404, "Not found")
    return Response(path.read_bytes(), headers={"Content-Type": MEDIA[path.suffix]})


def _form(files: str, *, many: bool, fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the description of a multipart body."""
    film = {"type": "string", "format": "binary"}
    kinds: dict[str, dict[str, Any]] = {
        "model": {"type": "string", "description": "Its name; the server's first without one."},
        "other": {"type": "string", "description": "Another one, for pages of its own."},
        "heat_map": {"type": "boolean", "default": False},
    }
    properties: dict[str, Any] = {
        files: {"type": "array", "items": film, "minItems": 1, "maxItems": 32} if many else film
    }
    properties |= {name: kinds[name] for name in fields}
    schema = {"type": "object", "required": [files], "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def _responses(
    model: type[Any] | None,
    example: dict[str, Any] | None = None,
    *,
    by_film: bool = False,
    media: str = "application/json",
) -> dict[int | str, dict[str, Any]]:
    """Return the description of answers to a POST."""
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": said, "model": Answers | Refused if by_film else Refused}
        for status, said in _REFUSED.items()
    }
    if model is None:
        told[200] = {"content": {media: {"schema": {"type": "string", "format": "binary"}}}}
    else:
        told[200] = {"model": model, "content": {media: {"example": example}}}
    return told


def _gets(
    model: type[Any] | None, media: str = "application/json"
) -> dict[int | str, dict[str, Any]]:
    """Return the description of answers to a GET."""
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": _REFUSED[status], "model": Refused} for status in (400, 401, 403)
    }
    told[503] = {"description": _REFUSED[503], "model": Refused}
    if model is not None:
        told[200] = {"model": model}
        if model is Readiness:
            told[503] = {"description": "Not ready.", "model": Readiness}
    else:
        told[200] = {"content": {media: {"schema": {"type": "string"}}}}
    return told
