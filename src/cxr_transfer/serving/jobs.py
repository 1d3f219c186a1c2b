"""Work in the background: images of jobs are answered whenever nobody waits for an answer.

Comes in: jobs of a `JobStore`. Goes out: their answers and reports, kept there. Two images at a
time, and none while others' images wait, but one each second all the same. Knows no request.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from cxr_transfer import provenance
from cxr_transfer.about import __version__
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.serving.event_log import log
from cxr_transfer.serving.heat_maps import unexplained
from cxr_transfer.serving.image_reading import LOST
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_records import Bounds, Job, JobImage, Kind
from cxr_transfer.serving.job_store import JobStore
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.model_registry import ServedModel
from cxr_transfer.serving.schemas import ApiError, busy
from cxr_transfer.serving.service import Service
from cxr_transfer.serving.settings import Settings
from cxr_transfer.serving.webhooks import Webhooks

AT_ONCE = 2
"""Images that are worked on at once."""

TRIES = 3
"""Times that an image is begun: one that ends the server each time is not begun for ever."""

PATIENCE_S = 1.0
"""Time for which an image waits for those that somebody waits for."""

REPORTS, REPORT_KEPT_S = 8, 600.0
"""Reports in memory at most, those that are being made and those that were, and for how long."""

SIDE = 1280
"""Longest side of a report's pictures, in pixels: more than paper shows."""

_LOOK_AGAIN_S = 0.05
_IDLE_S = 30.0  # between looks for what is over, where nobody else changes anything
_AFTER_FAILURE_S = 5.0
_BUSY_AGAIN_S = 5
_LOOK_FOR_ENDS_S = 1.0  # and for what other servers changed

Value = TypeVar("Value")


class Jobs:
    """Jobs, and the tasks that work on them.

    Args:
        service: Service that answers.
        store: Where they are kept.
        webhooks: Who is told of their ends; None tells nobody.

    Attributes:
        store: Where they are kept; only `do` calls its methods.
        begun: Number of images that were begun.
        waits: Number of times that work stood still: for the disk, or for a model.
    """

    def __init__(self, service: Service, store: JobStore, webhooks: Webhooks | None = None) -> None:
        self.store = store
        self.begun, self.waits = 0, 0
        self._service = service
        self._webhooks = webhooks
        # One thread: what is written to a disk takes time, and must not hold everybody up.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        # What others change is not told here.
        self._idle_s = _IDLE_S if store.replicas is None else _LOOK_FOR_ENDS_S

    def start(self) -> None:
        """Begin to work; what was left when the last server ended goes on."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]
        if self._webhooks is not None:
            self._tasks.append(asyncio.create_task(self._tell_others(self._webhooks)))

    async def close(self) -> None:
        """Stop working; what was begun is begun again at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.do(self.store.close)
        self._thread.shutdown(wait=False)

    async def do(self, function: Callable[..., Value], *values: Any, **named: Any) -> Value:  # noqa: ANN401
        """Call a method of the store in the store's thread, and return what it returns.

        Raises:
            ApiError: 503 ``busy`` where another server has the file for too long.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, lambda: function(*values, **named))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise busy(_BUSY_AGAIN_S) from None

    async def begin(
        self,
        owner: str,
        kind: Kind,
        asked: dict[str, Any],
        uploads: list[Upload],
        *,
        more: bool = False,
        webhook: str | None = None,
        key: str | None = None,
    ) -> str:
        """Keep a job and begin to work on it; return its number.

        Raises:
            ApiError: What `JobStore.begin` raises.
        """
        named: dict[str, Any] = {"more": more, "webhook": webhook, "key": key}
        number = await self.do(self.store.begin, owner, kind, asked, uploads, **named)
        await self.tell_change()
        return number

    async def add(self, job: Job, first: int, uploads: list[Upload], *, more: bool) -> None:
        """Add images to a job.

        Raises:
            ApiError: What `JobStore.add` raises.
        """
        await self.do(self.store.add, job, first, uploads, more=more)
        await self.tell_change()

    async def remove(self, number: str) -> None:
        """Remove a job; an image that is worked on is finished for nobody."""
        await self.do(self.store.remove, number)
        await self.tell_change()

    def check_webhook(self, address: str | None) -> None:
        """Refuse an address that may not be told of the end of a job.

        Raises:
            ApiError: 422 ``bad_webhook``.
        """
        if self._webhooks is not None:
            self._webhooks.check(address)

    async def tell_change(self) -> None:
        """Tell whoever waits that a job is new, has other images, or is over."""
        async with self._changed:
            self._changed.notify_all()

    async def ended(self, number: str) -> Job | None:
        """Wait for the end of a job; None where it was removed."""
        while True:
            job = await self.do(self.store.job, number)
            if job is None or job.status != "running":
                return job
            await self._wait(self._idle_s)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait()

    async def _tell_others(self, webhooks: Webhooks) -> None:
        """Tell whoever is to be told of jobs that ended, again and later where that fails."""
        while True:
            try:
                while job := await self.do(self.store.due_webhook):
                    state, next_s = await asyncio.to_thread(webhooks.tell, job)
                    log("webhook", state=state, tries=job.webhook_tries + 1)
                    await self.do(self.store.webhook_tried, job.id, state, next_s)
            except Exception as error:
                log("webhook_failed", type=type(error).__name__)
            await asyncio.sleep(_LOOK_FOR_ENDS_S)

    async def _work(self) -> None:
        while True:
            try:
                worked = await self._work_once()
            except ApiError as error:  # The disk is full, or a model is not open: nothing is lost.
                self.waits += 1
                log("job_waits", code=error.code)
                await self._wait(_AFTER_FAILURE_S)
            except Exception as error:
                log("job_failed", type=type(error).__name__)
                await self._wait(_AFTER_FAILURE_S)
            else:
                if not worked:
                    await self._wait(self._idle_s)

    async def _work_once(self) -> bool:
        """Answer an image, or end a job; tell whether there was any."""
        await self.do(self.store.expire)
        job = await self.do(self.store.complete)
        if job is not None:
            try:
                await self._end(job)
            finally:
                await asyncio.shield(self.do(self.store.let_go, job.id))
            await self.tell_change()
            return True
        await self._let_others_go_first()
        image = await self.do(self.store.take)
        if image is None:
            return False
        self.begun += 1
        is_answered = False
        try:
            await self._answer(image)
            is_answered = True
        finally:
            if not is_answered:
                await asyncio.shield(self.do(self.store.put_back, image, uncounted=True))
        await self.tell_change()
        return True

    async def _let_others_go_first(self) -> None:
        service, until = self._service, time.monotonic() + PATIENCE_S
        while service.load.images and time.monotonic() < until:
            await asyncio.sleep(_LOOK_AGAIN_S)
        while service.slow_load.is_full(AT_ONCE):
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _answer(self, image: JobImage) -> None:
        """Answer an image for all models that the job asks.

        Raises:
            ApiError: 503 where there is no room now.
        """
        asked = image.asked
        try:
            asked_models = self._models(asked)
        except ApiError as error:
            if error.status_code == 503:
                raise
            await self.do(self.store.end, image.job, failure=error.message)
            await self.do(self.store.put_back, image)
            return
        if image.tries > TRIES:
            answers, picture = [_lost(image, served) for served in asked_models], b""
        else:
            (answers,), (read,) = await self._service.answered(
                asked_models,
                [image.upload],
                heat_map=asked["heat_map"],
                picture=SIDE if asked["picture"] else 0,
                behind=True,
            )
            picture = read.picture
            if image.tries < TRIES and any(one["code"] == "worker_lost" for one in answers):
                await self.do(self.store.put_back, image)
                return
        for answer in answers:
            answer["index"] = image.place
        await self.do(self.store.answer, image, answers, picture if asked["picture"] else None)

    async def _end(self, job: Job) -> None:
        """End a job whose images all have their answers: a report is laid out now."""
        failure, result = None, None
        if job.kind == "report":
            answers = await self.do(self.store.answers, job.id, 0, job.images)
            header = {
                "work": "report",
                "answers": [answers_of_one for _, answers_of_one in answers],
                "time": provenance.now(),
                "request_id": job.asked["request_id"],
            }
            try:
                header["models"] = [served.described() for served in self._models(job.asked)]
                pictures = await self.do(self.store.pictures, job.id)
                while self._service.slow_load.is_full():
                    await asyncio.sleep(_LOOK_AGAIN_S)
                _, (result,) = await self._service.slowly(header, pictures)
            except ApiError as error:
                if error.status_code == 503:
                    raise
                failure = error.message
            except Exception as error:  # Whatever it is, it would be so the next time, too.
                log("report_failed", type=type(error).__name__)
                failure = "The report could not be made; the server's log says why."
        await self.do(self.store.end, job.id, failure=failure, result=result)

    def _models(self, asked: dict[str, Any]) -> list[ServedModel]:
        """Return the models of a job: those that it was begun with, and no others.

        Raises:
            ApiError: 404 ``unknown_model``; 409 ``model_changed``; 503 ``starting``.
        """
        models = [self._service.model(name) for name in asked["models"]]
        for served, weights in zip(models, asked["models"].values(), strict=True):
            if served.predictor.card.weights_sha256 != weights:
                raise ApiError(
                    409,
                    "model_changed",
                    f"Expected {served.name} as it was when the job was begun, but it has other "
                    "weights now; begin the job anew.",
                )
        return models


def asked_of(
    asked_models: list[ServedModel], *, heat_map: bool, picture: bool, request_id: str
) -> dict[str, Any]:
    """Return what a job asks of each image, as it is kept.

    Args:
        asked_models: Models that are asked.
        heat_map: Whether each answer has a heat map.
        picture: Whether an image's picture is kept for a report.
        request_id: Number of the request that began it.
    """
    weights = {served.name: served.predictor.card.weights_sha256 for served in asked_models}
    return {"models": weights, "heat_map": heat_map, "picture": picture, "request_id": request_id}


def _lost(image: JobImage, served: ServedModel) -> dict[str, Any]:
    prepared = Prepared(image.upload.name, None, "error", "worker_lost", LOST)
    answer = served.predictor.answers([prepared])[0].as_dict() | unexplained()
    facts: dict[str, Any] = {
        "sha256": image.upload.sha256,
        "crop": None,
        "changed": None,
        "warnings": [],
    }
    return answer | facts


class Background:
    """All jobs of a server: reports that somebody waits for, and those that are kept.

    Args:
        service: Service that answers.
        settings: Settings with the folder of jobs, and who may be told.
        metrics: Metrics, which tell how many images were begun, and how much is kept.

    Attributes:
        reports: Reports, in memory, or in the folder that servers share.
        kept: Jobs that outlive a restart; None where no folder was named.

    Raises:
        UsageError, MachineError: What opening the folder raises.
    """

    def __init__(self, service: Service, settings: Settings, metrics: Metrics) -> None:
        bounds = Bounds(REPORTS, REPORTS * settings.body_bytes, REPORT_KEPT_S, REPORTS)
        shared = settings.shared
        folder = None if shared is None else shared / "reports"
        self.reports = Jobs(
            service, JobStore(folder, bounds, shared=shared is not None, option="--shared")
        )
        self.kept = None
        self._service = service
        if settings.jobs is not None:
            jobs = settings.jobs_at_once
            each = max(1, jobs // max(1, len(settings.tokens)))  # one token shuts out no other
            bounds = Bounds(jobs, settings.jobs_bytes, settings.jobs_kept_s, each)
            store = JobStore(settings.jobs, bounds, shared=shared is not None)
            kept = self.kept = Jobs(service, store, Webhooks(settings))
            metrics.watch("cxr_jobs_images_begun", "Images of jobs.", lambda: kept.begun)
            metrics.watch("cxr_jobs_waits", "Times that jobs had to wait.", lambda: kept.waits)

    async def join(self) -> None:
        """Join the servers of the shared folders.

        Raises:
            UsageError: ``other_replicas`` where those have other models.
        """
        models = self._service.models.items()
        facts = {
            "version": __version__,
            "models": {name: served.predictor.card.weights_sha256 for name, served in models},
            "jobs": self.kept is not None,
        }
        for jobs in filter(None, (self.reports, self.kept)):
            if jobs.store.replicas is not None:
                await jobs.do(jobs.store.replicas.join, json.dumps(facts))

    def start(self) -> None:
        """Begin to work."""
        for jobs in filter(None, (self.reports, self.kept)):
            jobs.start()

    async def close(self) -> None:
        """Stop working."""
        for jobs in filter(None, (self.reports, self.kept)):
            await jobs.close()
