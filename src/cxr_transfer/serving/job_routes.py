"""Routes of jobs: many images, answered in the background, kept through a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse, Response

from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_records import Job, Kind, unknown_job
from cxr_transfer.serving.jobs import Background, Jobs, asked_of
from cxr_transfer.serving.multipart import UploadForm
from cxr_transfer.serving.named_images import read_images
from cxr_transfer.serving.ndjson import LinesResponse, wants_lines
from cxr_transfer.serving.openapi import (
    BEGUN_HEADERS,
    REPORT_IMAGES,
    answer_responses,
    form_body,
    get_responses,
    line_responses,
    no_body,
    report_responses,
    with_no_room,
)
from cxr_transfer.serving.parameters import bad_value
from cxr_transfer.serving.reports import Number, models_of, not_done, owner_of, pdf
from cxr_transfer.serving.schemas import ApiError, JobAnswers, JobList, JobProgress, envelope
from cxr_transfer.serving.service import Service
from cxr_transfer.serving.settings import Settings

AT_ONCE = 100
"""Images whose answers are read and sent at once."""

Key = Annotated[
    str | None,
    Header(
        description="Text of the client's own for this job. The same request with the same text "
        "begins it once, however often it is sent."
    ),
]

_MOST = 1000
_FIELDS = ("kind", "model", "other", "heat_map", "webhook", "more")


def route_jobs(app: FastAPI, settings: Settings, service: Service, background: Background) -> None:
    """Take jobs, and tell how far they are."""

    @app.post(
        "/v1/jobs",
        status_code=202,
        summary="Begin a job: many images, answered in the background",
        openapi_extra=form_body("files", settings, fields=_FIELDS, hashes=True),
        responses=with_no_room(answer_responses(JobProgress, 202, headers=BEGUN_HEADERS), 409),
    )
    async def begin(request: Request, idempotency_key: Key = None) -> Response:
        jobs = _jobs(background)
        form = await read_images(request, settings, service.images, fields=_FIELDS)
        kind = _kind(form.fields)
        _check_report(kind, len(form.uploads) + form.flag("more"))
        webhook = form.fields.get("webhook")
        jobs.check_webhook(webhook)
        asked = asked_of(
            models_of(service, form.fields),
            heat_map=kind == "report" or form.flag("heat_map"),
            picture=kind == "report",
            request_id=request.state.request_id,
        )
        number = await jobs.begin(
            owner_of(request),
            kind,
            asked,
            _unnamed(form),
            more=form.flag("more"),
            webhook=webhook,
            key=idempotency_key,
        )
        return await _progress(request, jobs, number, 202, {"Location": f"/v1/jobs/{number}"})

    @app.post(
        "/v1/jobs/{number}/images",
        summary="Add images to a job that was begun with more",
        openapi_extra=form_body("files", settings, fields=("more", "first"), hashes=True),
        responses=with_no_room(answer_responses(JobProgress), 409),
    )
    async def add(request: Request, number: Number) -> Response:
        jobs = _jobs(background)
        job = await _job(request, jobs, number)
        fields, query = ("more", "first"), dict(request.query_params)
        # Before the body is read: who waits for 100 (Continue) sends nothing in vain.
        if "first" in query:
            _check_report(job.kind, _number(query, "first", 0) + 1)
        form = await read_images(request, settings, service.images, fields=fields)
        job = await _job(request, jobs, number)
        first, more = _number(form.fields, "first", job.images), form.flag("more")
        _check_report(job.kind, first + len(form.uploads) + more)
        await jobs.add(job, first, _unnamed(form), more=more)
        return await _progress(request, jobs, number)

    _route_progress(app, background)
    _route_answers(app, background)


def _route_progress(app: FastAPI, background: Background) -> None:
    """Tell of jobs, and end them."""

    @app.get(
        "/v1/jobs",
        summary="The jobs of whoever asks",
        responses=get_responses(JobList, absent=True),
    )
    async def listed(request: Request) -> Response:
        jobs = _jobs(background)
        own = await jobs.do(jobs.store.jobs, owner_of(request))
        content = {"jobs": [_described(job) for job in own]}
        return JSONResponse(envelope(request.state.request_id) | content)

    @app.get(
        "/v1/jobs/{number}",
        summary="How far a job is",
        responses=get_responses(JobProgress, absent=True),
    )
    async def progress(request: Request, number: Number) -> Response:
        return await _progress(request, _jobs(background), number)

    @app.delete(
        "/v1/jobs/{number}",
        status_code=204,
        summary="Cancel a job, and remove all that is kept of it",
        openapi_extra=no_body(()),
        responses=answer_responses(None, 204, body=False),
    )
    async def remove(request: Request, number: Number) -> Response:
        jobs = _jobs(background)
        await jobs.remove((await _job(request, jobs, number)).id)
        return Response(status_code=204)


def _route_answers(app: FastAPI, background: Background) -> None:
    """Hand out what came of jobs."""

    @app.get(
        "/v1/jobs/{number}/answers",
        summary="The answers of a job, those that are done",
        openapi_extra=no_body(("first", "most")),
        responses=line_responses(get_responses(JobAnswers, absent=True)),
    )
    async def answers(request: Request, number: Number) -> Response:
        jobs = _jobs(background)
        job = await _job(request, jobs, number)
        query = dict(request.query_params)
        first, most = _number(query, "first", 0), _number(query, "most", AT_ONCE)
        if wants_lines(request):
            until = first + most if "most" in query else None
            return LinesResponse(_lines(jobs, job, first, until), request.state.request_id)
        most = min(most, _MOST)
        answered = await jobs.do(jobs.store.answers, job.id, first, most)
        last = answered[-1][0] + 1 if answered else first
        content = {
            "id": job.id,
            "job_status": job.status,
            "images": job.images,
            "next": last if last < job.images or job.more else None,
            "answers": [answer for _, of_one in answered for answer in of_one],
        }
        return JSONResponse(envelope(request.state.request_id) | content)

    @app.get(
        "/v1/jobs/{number}/report",
        summary="The report of a job of that kind, as PDF",
        response_class=Response,
        responses=report_responses(),
    )
    async def report(request: Request, number: Number) -> Response:
        jobs = _jobs(background)
        job = await _job(request, jobs, number)
        if job.failure is not None:
            raise ApiError(500, "report_failed", job.failure)
        if job.kind != "report":
            raise ApiError(
                404,
                "no_report",
                "Expected a job of the kind report, but it has answers only; ask for its answers.",
            )
        if job.status != "done":
            raise not_done(job)
        return pdf(await jobs.do(jobs.store.result, job.id))


async def _lines(
    jobs: Jobs, job: Job, first: int, until: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Yield answers from a place on, read a few at a time."""
    while until is None or first < until:
        most = AT_ONCE if until is None else min(AT_ONCE, until - first)
        answered = await jobs.do(jobs.store.answers, job.id, first, most)
        if not answered:
            return
        for _, of_one in answered:
            for answer in of_one:
                yield answer
        first = answered[-1][0] + 1


def _jobs(background: Background) -> Jobs:
    """Return the jobs that are kept.

    Raises:
        ApiError: 404 ``no_jobs``.
    """
    if background.kept is None:
        raise ApiError(
            404,
            "no_jobs",
            "Expected a server that keeps jobs, but this one keeps none; start it with --jobs DIR.",
        )
    return background.kept


async def _job(request: Request, jobs: Jobs, number: str) -> Job:
    job = await jobs.do(jobs.store.job, number, owner_of(request))
    if job is None:
        raise unknown_job()
    return job


async def _progress(
    request: Request,
    jobs: Jobs,
    number: str,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    described = _described(await _job(request, jobs, number))
    return JSONResponse(envelope(request.state.request_id) | described, status, headers)


def _described(job: Job) -> dict[str, Any]:
    here = f"/v1/jobs/{job.id}"
    links = {"self": here, "answers": f"{here}/answers"}
    return {
        "id": job.id,
        "kind": job.kind,
        "job_status": job.status,
        "more": job.more,
        "images": job.images,
        "done": job.done,
        "failed": job.failed,
        "seconds_left": job.seconds_left,
        "failure": job.failure,
        "begun": datetime.fromtimestamp(job.begun, UTC).isoformat(timespec="seconds"),
        "webhook": {"state": job.webhook_state, "tries": job.webhook_tries},
        "links": links | ({"report": f"{here}/report"} if job.kind == "report" else {}),
    }


def _unnamed(form: UploadForm) -> list[Upload]:
    """Return images by their hashes: a file's name may hold a patient's, and is not kept."""
    return [upload._replace(name=upload.sha256) for upload in form.uploads]


def _number(fields: dict[str, str], name: str, otherwise: int) -> int:
    text = fields.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise bad_value(name, "a number from 0 on", text)
    return int(text)


def _kind(fields: dict[str, str]) -> Kind:
    match kind := fields.get("kind", "predictions"):
        case "predictions":
            return "predictions"
        case "report":
            return "report"
    raise bad_value("kind", "predictions or report", kind)


def _check_report(kind: str, images: int) -> None:
    """Refuse more images than a report may have; those that are promised count as one more.

    Raises:
        ApiError: 422 ``too_many_files``.
    """
    if kind == "report" and images > REPORT_IMAGES:
        raise ApiError(
            422,
            "too_many_files",
            f"Expected at most {REPORT_IMAGES} images in a report, but got more; begin several.",
        )
