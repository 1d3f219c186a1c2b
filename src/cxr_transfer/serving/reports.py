"""Routes of reports: one that is waited for, and one that is made in the background."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path, Request
from fastapi.responses import JSONResponse, Response

from cxr_transfer.serving.image_reports import report as made_report
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.model_registry import ServedModel
from cxr_transfer.serving.multipart import read_form
from cxr_transfer.serving.openapi import (
    BEGUN_HEADERS,
    REPORT_HEADERS,
    answer_responses,
    form_body,
    get_responses,
    no_body,
    picture_responses,
    report_responses,
)
from cxr_transfer.serving.report_jobs import ReportJob
from cxr_transfer.serving.schemas import ApiError, ReportProgress, busy, envelope
from cxr_transfer.serving.service import Service
from cxr_transfer.serving.settings import Settings

_Id = Annotated[
    str, Path(pattern="^[0-9a-f]{32}$", description="The report's number, as its start gave it.")
]
_FIELDS = ("model", "other")


def route_reports(app: FastAPI, settings: Settings, service: Service) -> None:
    """Make reports of images."""

    @app.post(
        "/v1/report",
        summary="A report of images, with figures",
        openapi_extra=form_body("files", settings, fields=_FIELDS),
        response_class=Response,
        responses=picture_responses("application/pdf", REPORT_HEADERS),
    )
    async def report(request: Request) -> Response:
        asked_models, uploads = await _asked(request, settings, service)
        _refuse_if_full(service, len(uploads))
        return _pdf(await made_report(service, asked_models, uploads, request.state.request_id))

    @app.post(
        "/v1/reports",
        status_code=202,
        summary="Begin a report that is made in the background",
        openapi_extra=form_body("files", settings, fields=_FIELDS),
        responses=answer_responses(ReportProgress, 202, headers=BEGUN_HEADERS),
    )
    async def begin(request: Request) -> Response:
        asked_models, uploads = await _asked(request, settings, service)
        request_id = request.state.request_id
        job = service.reports.start(
            len(uploads),
            lambda on_image: made_report(service, asked_models, uploads, request_id, on_image),
        )
        content = envelope(request_id) | job.described()
        return JSONResponse(content, 202, {"Location": f"/v1/reports/{job.id}"})

    @app.get(
        "/v1/reports/{number}",
        summary="How far a report is",
        responses=get_responses(ReportProgress, absent=True),
    )
    async def progress(request: Request, number: _Id) -> Response:
        described = service.reports.job(number).described()
        return JSONResponse(envelope(request.state.request_id) | described)

    @app.get(
        "/v1/reports/{number}/pdf",
        summary="A report that was made",
        response_class=Response,
        responses=report_responses(),
    )
    async def made(number: _Id) -> Response:
        job = service.reports.job(number)
        if job.failure is not None:
            raise job.failure
        if job.task is None or not job.task.done():
            raise _not_done(job)
        return _pdf(job.task.result())

    @app.delete(
        "/v1/reports/{number}",
        status_code=204,
        summary="Cancel a report, or forget it",
        openapi_extra=no_body(()),
        responses=answer_responses(None, 204, body=False),
    )
    async def cancel(number: _Id) -> Response:
        service.reports.forget(service.reports.job(number).id)
        return Response(status_code=204)


async def _asked(
    request: Request, settings: Settings, service: Service
) -> tuple[list[ServedModel], list[Upload]]:
    """Return the models and the images of a report."""
    form = await read_form(request, settings, files="files", fields=_FIELDS)
    asked_models = [service.model(form.fields.get("model"))]
    other = service.model(form.fields.get("other") or asked_models[0].name)
    if other is not asked_models[0]:
        asked_models.append(other)
    return asked_models, list(form.uploads)


def _not_done(job: ReportJob) -> ApiError:
    return ApiError(
        409,
        "not_done",
        f"Expected a report that is done, but {job.done} of {job.images} images are; ask again.",
        {"Retry-After": "1"},
    )


def _refuse_if_full(service: Service, images: int) -> None:
    """Refuse a report that somebody waits for, where it would wait for too long itself."""
    if service.load.is_full(images):
        raise busy(service.load.retry_after_s)


def _pdf(content: bytes) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="report.pdf"'}
    return Response(content, media_type="application/pdf", headers=headers)
