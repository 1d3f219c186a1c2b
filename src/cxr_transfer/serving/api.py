"""What can be asked over HTTP, and how it is described in OpenAPI.

Routes only: a request's form goes to the `Service`, its answer comes back as JSON, PNG or PDF. Who
may ask, and how much at once, is the request guard's affair.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.errors import ImageError
from cxr_transfer.serving.description_page import description_page
from cxr_transfer.serving.generated_images import generated_image
from cxr_transfer.serving.image_answers import predictions
from cxr_transfer.serving.image_reading import LOST
from cxr_transfer.serving.image_samples import route_samples
from cxr_transfer.serving.job_routes import route_jobs
from cxr_transfer.serving.jobs import Background
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.middleware import LEFT
from cxr_transfer.serving.multipart import read_form
from cxr_transfer.serving.openapi import (
    EXAMPLE,
    PICTURE_HEADERS,
    DescribedApp,
    answer_responses,
    form_body,
    get_responses,
    line_responses,
    picture_responses,
)
from cxr_transfer.serving.parameters import REORIENTATION, check_query, flag, reorientation
from cxr_transfer.serving.problems import ProblemResponse, no_such_path, wrong_method
from cxr_transfer.serving.process_pool import WorkerLost
from cxr_transfer.serving.reports import route_reports
from cxr_transfer.serving.schemas import (
    STARTING_S,
    Answers,
    ApiError,
    Audit,
    Health,
    Models,
    Readiness,
    envelope,
    image_refusal,
    starting,
)
from cxr_transfer.serving.service import Service
from cxr_transfer.serving.settings import Settings
from cxr_transfer.serving.uploaded_images import route_uploaded_images

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
_ASKED = ("model", "heat_map", *REORIENTATION)
PAGES = {path.name: path for path in PAGE.rglob("*") if path.suffix in MEDIA}


def build(
    settings: Settings, service: Service, metrics: Metrics, background: Background
) -> FastAPI:
    """Return the application behind the request guard."""
    app = DescribedApp(
        settings,
        title="cxr-transfer",
        version=__version__,
        description=INTENDED_USE,
        # Their pages load scripts from elsewhere; `description_page` is ours.
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(check_query)],
    )
    app.state.stopping = lambda: False
    _handle_errors(app)
    _route_images(app, settings, service)
    route_uploaded_images(app, settings, service)
    route_samples(app, service)
    route_reports(app, settings, service, background)
    route_jobs(app, settings, service, background)
    _route_models(app, service)
    _route_operations(app, service, metrics)
    _route_pages(app)
    return app


def _route_images(app: FastAPI, settings: Settings, service: Service) -> None:
    """Answer for images: scores, and the image as it was decoded."""

    @app.post(
        "/v1/predict",
        summary="Class scores for images",
        openapi_extra=form_body("files", settings, fields=_ASKED),
        responses=line_responses(answer_responses(Answers, example=EXAMPLE, by_image=True)),
    )
    async def predict(request: Request) -> Response:
        started = time.perf_counter()
        # Before the body is read: who waits for 100 (Continue) sends nothing in vain.
        query = dict(request.query_params)
        service.model(query.get("model"))
        flag(query, "heat_map")
        reorientation(query)
        form = await read_form(request, settings, files="files", fields=_ASKED)
        served = service.model(form.fields.get("model"))
        return await predictions(
            request,
            service,
            served,
            form.uploads,
            heat_map=form.flag("heat_map"),
            change=reorientation(form.fields),
            started=started,
        )

    @app.post(
        "/v1/image",
        summary="An image as it was decoded, to be looked at",
        openapi_extra=form_body("file", settings, fields=(), many=False),
        response_class=Response,
        responses=picture_responses("image/png", PICTURE_HEADERS),
    )
    async def upload(request: Request) -> Response:
        form = await read_form(request, settings, files="file", fields=(), many=False)
        facts, png = await service.decoded(form.uploads[0])
        headers = {
            "X-Cxr-Format": facts["format"],
            "X-Cxr-Height": str(facts["height"]),
            "X-Cxr-Width": str(facts["width"]),
            "X-Cxr-Warnings": json.dumps(facts["warnings"]),
        }
        return Response(png, media_type="image/png", headers=headers)


def _route_models(app: FastAPI, service: Service) -> None:
    """Tell of the models: which there are, their cards, their audits."""

    @app.get("/v1/models", summary="The models that answer here", responses=get_responses(Models))
    async def models(request: Request) -> Response:
        if not service.wanted:
            raise starting()
        described = [
            service.models[name].described() for name in service.wanted if name in service.models
        ]
        content = {"default": next(iter(service.wanted)), "models": described}
        return JSONResponse(_envelope(request) | content | {"opening": service.opening})

    @app.get(
        "/v1/models/{name}/card",
        summary="What is known of a model, as Markdown",
        response_class=Response,
        responses=get_responses(None, "text/markdown", absent=True),
    )
    async def model_card(name: str) -> Response:
        if (text := service.model(name).card()) is None:
            raise ApiError(
                404,
                "no_card",
                "Expected a MODEL_CARD.md of these weights beside the model, but there is none; "
                "'cxr card' writes one.",
            )
        return Response(text, media_type="text/markdown")

    @app.get(
        "/v1/models/{name}/audit",
        summary="Which reasons for doubt a model's audit found",
        responses=get_responses(Audit, absent=True),
    )
    async def model_audit(request: Request, name: str) -> Response:
        if (audit := service.model(name).audit()) is None:
            raise ApiError(
                404,
                "no_audit",
                "Expected an audit.json of these weights beside the model, but there is none; "
                "'cxr audit' makes one.",
            )
        return JSONResponse(_envelope(request) | audit)


def _route_operations(app: FastAPI, service: Service, metrics: Metrics) -> None:
    """Answer whoever runs the server: does it live, is it ready, what does it count."""

    @app.get("/healthz", summary="Whether the process lives", responses=get_responses(Health))
    async def health(request: Request) -> Response:
        return JSONResponse(_envelope(request) | {"status": "ok"})

    @app.get("/readyz", summary="Whether to send requests here", responses=get_responses(Readiness))
    async def ready(request: Request) -> Response:
        if app.state.stopping():
            reason = "stopping"
        elif service.opening or not service.wanted:
            reason = "models are being opened"
        elif not service.has_workers:
            reason = "processes are being started"
        elif not await service.works():
            reason = "the self-test image does not score as stored with the model"
        else:
            reason = ""
        states = {name: "open" if name in service.models else "opening" for name in service.wanted}
        content = _envelope(request) | {"ready": not reason, "reason": reason, "models": states}
        retry_after = {"Retry-After": str(STARTING_S)} if reason else None
        return JSONResponse(content, 503 if reason else 200, retry_after)

    @app.get(
        "/metrics",
        summary="Counts and times for Prometheus",
        response_class=Response,
        responses=get_responses(None, "text/plain"),
    )
    async def counts() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _route_pages(app: FastAPI) -> None:
    """Hand out the page for a reading room; nothing of it comes from elsewhere."""

    @app.get("/", include_in_schema=False)
    @app.head("/", include_in_schema=False)
    async def front() -> Response:
        return _page("index.html")

    @app.get("/docs", include_in_schema=False)
    @app.head("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(description_page(app.openapi()))

    @app.get("/generated/{name}", include_in_schema=False)
    def generated(name: str) -> Response:
        content = generated_image(name)
        if content is None:
            raise HTTPException(404, "Not found")
        return Response(content, headers={"Content-Type": "image/png"})

    @app.get("/{name}", include_in_schema=False)
    @app.head("/{name}", include_in_schema=False)
    async def page(name: str) -> Response:
        return _page(name)


def _handle_errors(app: FastAPI) -> None:
    def answer(request: Request, refusal: ApiError) -> Response:
        return ProblemResponse(refusal, request.state.request_id)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if isinstance(error, ApiError):
            refusal = error
        elif error.status_code == 404:
            refusal = no_such_path()
        elif error.status_code == 405:
            refusal = wrong_method(headers)
        else:
            refusal = ApiError(error.status_code, "http", f"{error.detail}.", headers)
        return answer(request, refusal)

    @app.exception_handler(RequestValidationError)
    async def value(request: Request, error: RequestValidationError) -> Response:
        names = ", ".join(str(wrong["loc"][-1]) for wrong in error.errors())
        message = f"Expected values as /openapi.json describes them, but {names} is not; mend it."
        return answer(request, ApiError(422, "bad_field", message))

    @app.exception_handler(ImageError)
    async def upload(request: Request, error: ImageError) -> Response:
        return answer(request, image_refusal(error.code, error.message))

    @app.exception_handler(ClientDisconnect)
    async def left(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=LEFT)  # Nobody hears it; the log says whose affair it is.

    @app.exception_handler(WorkerLost)
    async def lost(request: Request, _error: WorkerLost) -> Response:
        return answer(request, ApiError(503, "worker_lost", LOST, {"Retry-After": "1"}))


def _envelope(request: Request) -> dict[str, Any]:
    return envelope(request.state.request_id)


def _page(name: str) -> Response:
    path = PAGES.get(name)
    if path is None:
        raise HTTPException(404, "Not found")
    return Response(path.read_bytes(), headers={"Content-Type": MEDIA[path.suffix]})
