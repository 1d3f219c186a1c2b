"""Routes of reports: one that is waited for, and one that is made in the background.

Both are jobs in memory: what is sent for a report touches no disk, but for a folder that several
servers share.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path, Request
from fastapi.responses import JSONResponse, Response

from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_records import Job
from cxr_transfer.serving.jobs import REPORT_KEPT_S, Background, asked_of
from cxr_transfer.serving.model_registry import ServedModel
from cxr_transfer.serving.named_images import read_images
from cxr_transfer.serving.openapi import (
    BEGUN_HEADERS,
    REPORT_HEADERS,
    answer_responses,
    form_body,
    get_responses,
    no_body,
    picture_responses,
    report_responses,
    with_no_room,
)
from cxr_transfer.serving.schemas import ApiError, ReportProgress, envelope
from cxr_transfer.serving.service import Service
from cxr_transfer.serving.settings import Settings

Number = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Number that its start gave.")]
_FIELDS = ("model", "other")


def route_reports(
    app: FastAPI, settings: Settings, service: Service, background: Background
) -> None:
    """Make reports of images."""

    @app.post(
        "/v1/report",
        summary="A report of images, with figures",
        openapi_extra=form_body("files", settings, fields=_FIELDS, hashes=True),
        response_class=Response,
        responses=with_no_room(picture_responses("application/pdf", REPORT_HEADERS)),
    )
    async def report(request: Request) -> Response:
        asked_models, uploads = await _asked(request, settings, service)
        service.check_room(len(uploads))
        number = await _begin(request, background, asked_models, uploads)
        try:
            job = await background.reports.ended(number)
            return await _made(background, job)
        finally:
            await background.reports.remove(number)

    @app.post(
        "/v1/reports",
        status_code=202,
        summary="Begin a report that is made in the background",
        openapi_extra=form_body("files", settings, fields=_FIELDS, hashes=True),
        responses=with_no_room(answer_responses(ReportProgress, 202, headers=BEGUN_HEADERS)),
    )
    async def begin(request: Request) -> Response:
        number = await _begin(request, background, *await _asked(request, settings, service))
        where = {"Location": f"/v1/reports/{number}"}
        return _progress(request, await _job(request, background, number), 202, where)

    @app.get(
        "/v1/reports/{number}",
        summary="How far a report is",
        responses=get_responses(ReportProgress, absent=True),
    )
    async def progress(request: Request, number: Number) -> Response:
        return _progress(request, await _job(request, background, number))

    @app.get(
        "/v1/reports/{number}/pdf",
        summary="A report that was made",
        response_class=Response,
        responses=report_responses(),
    )
    async def made(request: Request, number: Number) -> Response:
        return await _made(background, await _job(request, background, number))

    @app.delete(
        "/v1/reports/{number}",
        status_code=204,
        summary="Cancel a report, or forget it",
        openapi_extra=no_body(()),
        responses=answer_responses(None, 204, body=False),
    )
    async def cancel(request: Request, number: Number) -> Response:
        await background.reports.remove((await _job(request, background, number)).id)
        return Response(status_code=204)


def owner_of(request: Request) -> str:
    """Return the name of the token that asks; "" where the server has none."""
    return request.scope["state"].get("by") or ""


def models_of(service: Service, fields: dict[str, str]) -> list[ServedModel]:
    """Return the models that a request asks: one, or two.

    Raises:
        ApiError: 404 ``unknown_model``; 503 ``starting``.
    """
    asked_models = [service.model(fields.get("model"))]
    other = service.model(fields.get("other", asked_models[0].name))
    return asked_models if other is asked_models[0] else [*asked_models, other]


def pdf(content: bytes) -> Response:
    """Return a report as a file to be saved."""
    headers = {"Content-Disposition": 'attachment; filename="report.pdf"'}
    return Response(content, media_type="application/pdf", headers=headers)


def not_done(job: Job) -> ApiError:
    """Return the refusal of a report that is not made yet."""
    return ApiError(
        409,
        "not_done",
        f"Expected a report that is done, but {job.done} of {job.images} images are; ask again.",
        {"Retry-After": "1"},
    )


async def _asked(
    request: Request, settings: Settings, service: Service
) -> tuple[list[ServedModel], list[Upload]]:
    """Return the models and the images of a report."""
    form = await read_images(request, settings, service.images, fields=_FIELDS)
    return models_of(service, form.fields), form.uploads


async def _begin(
    request: Request,
    background: Background,
    asked_models: list[ServedModel],
    uploads: list[Upload],
) -> str:
    asked = asked_of(asked_models, heat_map=True, picture=True, request_id=request.state.request_id)
    return await background.reports.begin(owner_of(request), "report", asked, uploads)


async def _job(request: Request, background: Background, number: str) -> Job:
    reports = background.reports
    job = await reports.do(reports.store.job, number, owner_of(request))
    if job is None:
        raise ApiError(
            404,
            "unknown_report",
            f"Expected the number of a report of the last {REPORT_KEPT_S / 60:g} minutes, but got "
            "that of none; begin one at /v1/reports.",
        )
    return job


def _progress(
    request: Request, job: Job, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    content = envelope(request.state.request_id) | {
        "id": job.id,
        "report_status": job.status,
        "images": job.images,
        "done": job.done,
        "failure": job.failure,
    }
    return JSONResponse(content, status, headers)


async def _made(background: Background, job: Job | None) -> Response:
    """Return a report that was made.

    Raises:
        ApiError: 409 ``not_done``; 500 ``report_failed``.
    """
    if job is None or job.failure is not None:
        raise ApiError(500, "report_failed", (job and job.failure) or "The report was cancelled.")
    if job.status != "done":
        raise not_done(job)
    return pdf(await background.reports.do(background.reports.store.result, job.id))
