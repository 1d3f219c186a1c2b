"""What a client asks of a server about its jobs, and how it reads the answers; it sends nothing.

Comes in: paths or bytes of images, jobs. Goes out: requests, and answers with the names of the
files that they are of: the server knows none.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from cxr_transfer.client_requests import (
    FILES_AT_ONCE,
    Batch,
    FileLike,
    Request,
    ServerAnswer,
    batches,
    read_answer,
)
from cxr_transfer.errors import DataError, ImageError, MachineError, UsageError, kind_of

JobKind: TypeAlias = Literal["predictions", "report"]
"""What a job makes: answers alone, or a report, too."""

ANSWERS_AT_ONCE = 50
"""Images whose answers one request brings, so that their heat maps stay within its bounds."""

FIRST_LOOK_S, LONGEST_LOOK_S = 0.2, 5.0
"""Seconds between two looks at a job: the first ones, and at most."""


@dataclass(frozen=True)
class ServerJob:
    """A job of a server: many images, answered in the background.

    Attributes:
        id: Number by which it is asked for.
        kind: "predictions" or "report".
        status: "running", "done" or "failed".
        more: Whether images may be added.
        images: Number of images that the server has of it.
        done: Number of them that have their answer.
        failed: Number of those that could not be read.
        seconds_left: Time left, in seconds; None where it is not known.
        failure: Why the job failed; None where it did not.
        begun: When it was begun, in UTC.
        files: Names of the images that were sent, in order; empty of a job that was not begun here.
        places: Place of each among the files that were given, from 0.
        unread: Answers of the files that could not be read here, and so were not sent.
    """

    id: str
    kind: JobKind
    status: str
    more: bool
    images: int
    done: int
    failed: int
    seconds_left: float | None
    failure: str | None
    begun: str
    files: tuple[str, ...] = field(default=(), repr=False)
    places: tuple[int, ...] = field(default=(), repr=False)
    unread: tuple[ServerAnswer, ...] = field(default=(), repr=False)

    @property
    def share(self) -> float:
        """Share of its images that have their answer, from 0 to 1."""
        return self.done / self.images if self.images else 0.0


class Submission:
    """Images on their way into a job, a few in each request.

    Args:
        files: Paths, or bytes of files.
        fields: Fields of the request that begins the job.

    Raises:
        TypeError: One file where a list is meant.
    """

    def __init__(self, files: Iterable[FileLike], fields: Mapping[str, str]) -> None:
        self._batches = batches(files, FILES_AT_ONCE)
        self._fields = dict(fields)
        self._files: list[str] = []
        self._places: list[int] = []
        self._unread: list[ServerAnswer] = []
        self._ready: Batch | None = None
        self._begun = False

    def next(self, job: ServerJob | None) -> Request[ServerJob] | None:
        """Return the next request, and None behind the last one.

        Args:
            job: Job as the last request had it; None before the first one.

        Raises:
            TypeError: What is neither path nor bytes.
            UsageError: ``no_images`` without a file.
            ImageError: No file can be read.
        """
        batch = self._ready if self._begun else self._read()
        if batch is None:
            if job is None:
                self._refuse()
            return None
        self._begun = True
        self._ready = self._read()
        fields = {"more": "true" if self._ready is not None else "false"}
        headers = {}
        if job is None:
            path = "/v1/jobs"
            fields |= self._fields
            headers["Idempotency-Key"] = uuid.uuid4().hex  # An answer may get lost.
        else:
            path = f"/v1/jobs/{job.id}/images"
            fields["first"] = str(job.images)
        content = {"files": batch.sent, "data": fields, "headers": headers}
        return Request("POST", path, _job, content, DataError)

    def whole(self, job: ServerJob) -> ServerJob:
        """Return a job with what the server does not know of it."""
        files, places = tuple(self._files), tuple(self._places)
        return dataclasses.replace(job, files=files, places=places, unread=tuple(self._unread))

    def _read(self) -> Batch | None:
        """Return the next files that can be sent, and note those that cannot."""
        for batch in self._batches:
            for place, path, error in batch.given():
                if error is None:
                    self._files.append(path)
                    self._places.append(place)
                else:
                    answer = ServerAnswer(path, "error", error.code, error.message, index=place)
                    self._unread.append(answer)
            if batch.sent:
                return batch
        return None

    def _refuse(self) -> None:
        if self._unread:
            first = self._unread[0]
            raise ImageError(first.code, first.message)
        raise UsageError("no_images", "Expected at least one image, but got none; add images.")


class Told:
    """Answers of a job, as answers for the files that were given.

    Args:
        job: Job that was begun here, or the number of one.

    Attributes:
        first: Place from which the server is asked for more; None behind the last image.
    """

    def __init__(self, job: ServerJob | str) -> None:
        self.first: int | None = 0
        self._number = number_of(job)
        self._job = job if isinstance(job, ServerJob) else None
        self._unread = list(self._job.unread) if self._job else []

    def request(self) -> Request[list[ServerAnswer]]:
        """Return the request for the answers that are next."""
        query = {"first": str(self.first), "most": str(ANSWERS_AT_ONCE)}
        path = f"/v1/jobs/{self._number}/answers"
        return Request("GET", path, self._read, {"params": query}, DataError)

    def rest(self) -> Iterator[ServerAnswer]:
        """Yield the answers of files that were not sent, behind the last one that was."""
        yield from self._unread
        self._unread = []

    def _read(self, response: Any) -> list[ServerAnswer]:  # noqa: ANN401 - httpx's
        content = response.json()
        came = [read_answer(given, str(content["request_id"])) for given in content["answers"]]
        self.first = content["next"] if came else None
        return [one for answer in came for one in self._with_those_before(answer)]

    def _with_those_before(self, answer: ServerAnswer) -> Iterator[ServerAnswer]:
        if self._job is None or not self._job.places:
            yield dataclasses.replace(answer, file="")
            return
        place, file = self._job.places[answer.index], self._job.files[answer.index]
        while self._unread and self._unread[0].index < place:
            yield self._unread.pop(0)
        yield dataclasses.replace(answer, file=file, index=place)


def fields_of(
    kind: JobKind, model: str | None, other: str | None, heat_map: bool, webhook: str | None
) -> dict[str, str]:
    """Return the fields of the request that begins a job."""
    fields = {"kind": kind, "model": model, "other": other, "webhook": webhook}
    fields["heat_map"] = "true" if heat_map else None
    return {name: value for name, value in fields.items() if value is not None}


def job_asked(job: ServerJob | str) -> Request[ServerJob]:
    """Return the request for how far a job is."""

    def read(response: Any) -> ServerJob:  # noqa: ANN401 - httpx's
        now = _job(response)
        if isinstance(job, str):
            return now
        return dataclasses.replace(now, files=job.files, places=job.places, unread=job.unread)

    return Request("GET", f"/v1/jobs/{number_of(job)}", read, {}, DataError)


def jobs_asked() -> Request[list[ServerJob]]:
    """Return the request for the jobs that there are."""
    return Request("GET", "/v1/jobs", lambda response: [*map(_facts, response.json()["jobs"])])


def report_asked(job: ServerJob | str) -> Request[bytes]:
    """Return the request for the report of a job."""
    return Request("GET", f"/v1/jobs/{number_of(job)}/report", _pdf, {}, DataError)


def cancel_asked(job: ServerJob | str) -> Request[None]:
    """Return the request that cancels a job and removes what is kept of it."""
    return Request("DELETE", f"/v1/jobs/{number_of(job)}", lambda _: None, {}, DataError)


def is_over(job: ServerJob) -> bool:
    """Tell whether a job is done.

    Raises:
        MachineError: ``job_failed``.
    """
    if job.status == "failed":
        why = (job.failure or "no reason").rstrip(".")
        raise MachineError(
            "job_failed",
            f"Expected the answers of the job {job.id}, but it failed: {why}; begin it again.",
        )
    return job.status == "done"


def looks() -> Iterator[float]:
    """Yield seconds to wait between looks at a job: more and more, for it may take hours."""
    wait = FIRST_LOOK_S
    while True:
        yield wait
        wait = min(LONGEST_LOOK_S, 1.5 * wait)


def number_of(job: ServerJob | str) -> str:
    """Return the number of a job.

    Raises:
        TypeError: It is no job.
        UsageError: ``bad_job``.
    """
    number = job.id if isinstance(job, ServerJob) else job
    if not isinstance(number, str):
        raise TypeError(f"Expected a job or its number as text, but got {kind_of(number)}.")
    if re.fullmatch("[0-9a-f]{32}", number):
        return number
    raise UsageError(
        "bad_job",
        "Expected a job's number of 32 hexadecimal digits, but got another text; take the job that "
        "submit returned, or one of jobs().",
    )


def _pdf(response: Any) -> bytes:  # noqa: ANN401 - httpx's
    content: bytes = response.content
    if not content.startswith(b"%PDF"):
        raise ValueError("no PDF")
    return content


def _job(response: Any) -> ServerJob:  # noqa: ANN401 - httpx's
    return _facts(response.json())


def _facts(given: Mapping[str, Any]) -> ServerJob:
    same = ("id", "kind", "more", "images", "done", "failed", "seconds_left", "failure", "begun")
    return ServerJob(status=given["job_status"], **{name: given[name] for name in same})
