"""Jobs of a server for both clients: begun, watched, read and cancelled.

What is asked and how it is read stands in `client_job_requests`; here it is sent and waited for.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress

from cxr_transfer.client_job_requests import (
    JobKind,
    ServerJob,
    Submission,
    Told,
    cancel_asked,
    fields_of,
    is_over,
    job_asked,
    jobs_asked,
    looks,
    report_asked,
)
from cxr_transfer.client_requests import Answer, FileLike, Request, ServerAnswer
from cxr_transfer.errors import CxrError

Progress = Callable[[ServerJob], object]
"""Is called with a job after each look at it."""


def _is_there(error: Exception) -> bool:
    """Tell whether a server still answers after an error: then half a job can be taken back."""
    return not (isinstance(error, CxrError) and error.code == "server_away")


class JobsClient(ABC):
    """What `Client` asks of jobs."""

    @abstractmethod
    def _asked(self, request: Request[Answer]) -> Answer: ...

    def submit(
        self,
        files: Iterable[FileLike],
        *,
        model: str | None = None,
        other: str | None = None,
        kind: JobKind = "predictions",
        heat_map: bool = False,
        webhook: str | None = None,
        progress: Progress | None = None,
    ) -> ServerJob:
        """Begin a job for many images, send them in several requests, and return the job.

        A file that cannot be read here is not sent; its answer is among the job's all the same.
        Where sending fails, what was begun is cancelled, unless the server is away.

        Args:
            files: Paths, or bytes of files, read when it is their turn.
            model: Name of the model; None takes the server's first.
            other: Name of a second model, which answers for each image, too.
            kind: "predictions", or "report" for a PDF that `report` fetches, beside the answers; a
                report has 100 images at most.
            heat_map: Whether each answer has a heat map; those of a report have one.
            webhook: Address that the server tells of the end.
            progress: Function that is called with the job after each request.

        Raises:
            TypeError: One file where a list is meant.
            CxrError: What the server refuses: ``no_jobs`` where it keeps none, ``no_room``;
                ``no_images``; what reading raises where no file can be read; ``server_away``.
        """
        submission = Submission(files, fields_of(kind, model, other, heat_map, webhook))
        job: ServerJob | None = None
        try:
            while (request := submission.next(job)) is not None:
                job = self._asked(request)
                if progress is not None:
                    progress(job)
        except Exception as error:
            if job is not None and _is_there(error):
                with suppress(CxrError):
                    self.cancel(job)
            raise
        assert job is not None  # the first request has it, or raises
        return submission.whole(job)

    def job(self, job: ServerJob | str) -> ServerJob:
        """Return a job as it is now.

        Args:
            job: Job, or its number.

        Raises:
            CxrError: What the server refuses: ``unknown_job``, ``no_jobs``; ``server_away``.
        """
        return self._asked(job_asked(job))

    def jobs(self) -> list[ServerJob]:
        """Return the jobs that were begun with this token, the latest first.

        Raises:
            CxrError: What the server refuses: ``no_jobs``; ``server_away``.
        """
        return self._asked(jobs_asked())

    def wait(self, job: ServerJob | str, *, progress: Progress | None = None) -> ServerJob:
        """Wait until a job is done, and return it.

        The job goes on where the wait ends early, say since `progress` raises.

        Args:
            job: Job, or its number.
            progress: Function that is called with the job after each look at it.

        Raises:
            MachineError: ``job_failed``.
            CxrError: What `job` raises.
        """
        for seconds in looks():
            now = self.job(job)
            if progress is not None:
                progress(now)
            if is_over(now):
                return now
            time.sleep(seconds)
        raise AssertionError  # there is always another look

    def answers(self, job: ServerJob | str) -> Iterator[ServerAnswer]:
        """Yield the answers of a job that are there, in the order of the files.

        Of a job that `submit` returned they have the names of the files; of a number alone, none.

        Raises:
            CxrError: What `job` raises.
        """
        told = Told(job)
        while told.first is not None:
            yield from self._asked(told.request())
        yield from told.rest()

    def report(self, job: ServerJob | str) -> bytes:
        """Return the report of a job of that kind, as PDF.

        Raises:
            CxrError: What `job` raises, and what the server refuses: ``no_report``, ``not_done``
                before its end, ``report_failed``.
        """
        return self._asked(report_asked(job))

    def cancel(self, job: ServerJob | str) -> None:
        """Cancel a job, and have the server remove all that it keeps of it.

        Raises:
            CxrError: What `job` raises.
        """
        self._asked(cancel_asked(job))


class AsyncJobsClient(ABC):
    """What `AsyncClient` asks of jobs."""

    @abstractmethod
    async def _asked(self, request: Request[Answer]) -> Answer: ...

    async def submit(
        self,
        files: Iterable[FileLike],
        *,
        model: str | None = None,
        other: str | None = None,
        kind: JobKind = "predictions",
        heat_map: bool = False,
        webhook: str | None = None,
        progress: Progress | None = None,
    ) -> ServerJob:
        """Return what `Client.submit` returns."""
        submission = Submission(files, fields_of(kind, model, other, heat_map, webhook))
        job: ServerJob | None = None
        try:
            while (request := await asyncio.to_thread(submission.next, job)) is not None:
                job = await self._asked(request)
                if progress is not None:
                    progress(job)
        except Exception as error:
            if job is not None and _is_there(error):
                with suppress(CxrError):
                    await self.cancel(job)
            raise
        assert job is not None  # the first request has it, or raises
        return submission.whole(job)

    async def job(self, job: ServerJob | str) -> ServerJob:
        """Return what `Client.job` returns."""
        return await self._asked(job_asked(job))

    async def jobs(self) -> list[ServerJob]:
        """Return what `Client.jobs` returns."""
        return await self._asked(jobs_asked())

    async def wait(self, job: ServerJob | str, *, progress: Progress | None = None) -> ServerJob:
        """Return what `Client.wait` returns."""
        for seconds in looks():
            now = await self.job(job)
            if progress is not None:
                progress(now)
            if is_over(now):
                return now
            await asyncio.sleep(seconds)
        raise AssertionError  # there is always another look

    async def answers(self, job: ServerJob | str) -> AsyncIterator[ServerAnswer]:
        """Yield what `Client.answers` yields."""
        told = Told(job)
        while told.first is not None:
            for answer in await self._asked(told.request()):
                yield answer
        for answer in told.rest():
            yield answer

    async def report(self, job: ServerJob | str) -> bytes:
        """Return what `Client.report` returns."""
        return await self._asked(report_asked(job))

    async def cancel(self, job: ServerJob | str) -> None:
        """Do what `Client.cancel` does."""
        await self._asked(cancel_asked(job))
