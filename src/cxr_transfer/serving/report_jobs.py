"""Reports that are made while nobody waits for the answer: how far they are, and what came of them.

Bounded by number and by time; in memory. A report that is cancelled, or that nobody fetches in
time, is gone. Knows nothing of requests or images.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from cxr_transfer.serving.schemas import ApiError

MOST = 8
"""Reports at most, those that are being made and those that are kept."""

KEPT_S = 600.0
"""Seconds for which a report is kept after it was made."""

Make = Callable[[Callable[[], None]], Coroutine[Any, Any, bytes]]
"""Function that makes a report, and calls what it is given after each image."""


@dataclass(eq=False)
class ReportJob:
    """A report, and how far it is.

    Attributes:
        id: Number by which it is asked for; nobody can guess it.
        images: Number of its images.
        done: Number of images that are done.
        task: Task that makes it.
        failure: Why it was not made.
    """

    id: str
    images: int
    done: int = 0
    task: asyncio.Task[bytes] | None = None
    failure: ApiError | None = None

    @property
    def status(self) -> Literal["running", "done", "failed"]:
        """Where it stands."""
        if self.failure is not None:
            return "failed"
        return "done" if self.task is not None and self.task.done() else "running"

    def described(self) -> dict[str, Any]:
        """Return what clients are told."""
        return {
            "id": self.id,
            "report_status": self.status,
            "images": self.images,
            "done": self.done,
            "failure": self.failure and self.failure.message,
        }


class ReportJobs:
    """Reports by their number.

    Args:
        most: Reports at most.
        kept_s: Seconds for which a report is kept after it was made.
    """

    def __init__(self, most: int = MOST, kept_s: float = KEPT_S) -> None:
        self._most, self._kept_s = most, kept_s
        self._jobs: dict[str, ReportJob] = {}

    def start(self, images: int, make: Make) -> ReportJob:
        """Begin a report; the oldest one that is made goes where there are too many.

        Args:
            images: Number of its images.
            make: Function that makes it.

        Raises:
            ApiError: 503 ``busy`` where so many are being made.
        """
        if len(self._jobs) >= self._most:
            made = next((job for job in self._jobs.values() if job.status != "running"), None)
            if made is None:
                raise ApiError(
                    503,
                    "busy",
                    f"Expected fewer than {self._most} reports at once, but so many are being made;"
                    " ask again later.",
                    {"Retry-After": "5"},
                )
            self.forget(made.id)
        job = ReportJob(uuid.uuid4().hex, images)
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._made(job, make))
        return job

    def job(self, number: str) -> ReportJob:
        """Return a report by its number.

        Raises:
            ApiError: 404 ``unknown_report``.
        """
        if number not in self._jobs:
            raise ApiError(
                404,
                "unknown_report",
                f"Expected the number of a report of the last {self._kept_s / 60:g} minutes, but "
                "got that of none; begin one at /v1/reports.",
            )
        return self._jobs[number]

    def forget(self, number: str) -> None:
        """Forget a report, and end its making."""
        job = self._jobs.pop(number, None)
        if job is not None and job.task is not None:
            job.task.cancel()

    async def close(self) -> None:
        """End all."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for number in list(self._jobs):
            self.forget(number)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _made(self, job: ReportJob, make: Make) -> bytes:
        def count() -> None:
            job.done += 1

        pdf = b""
        try:
            pdf = await make(count)
        except ApiError as error:
            job.failure = error
        except Exception:
            job.failure = ApiError(
                500, "internal_error", "The report could not be made; the server's log says why."
            )
            raise
        finally:
            loop = asyncio.get_running_loop()
            with suppress(RuntimeError):  # The loop closes.
                loop.call_later(self._kept_s, self.forget, job.id)
        return pdf
