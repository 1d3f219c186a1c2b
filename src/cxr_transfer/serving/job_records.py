"""A job as it stands, an image of one, and the bounds of what is kept of all jobs."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.schemas import ApiError

Kind = Literal["predictions", "report"]


class Job(NamedTuple):
    """A job as it stands.

    Times are seconds since 1970. ``asked`` is what it asks of each image; ``more`` tells that
    images may still be added. ``done`` counts images with an answer, ``failed`` those of them that
    could not be read. ``pace`` is the time in seconds that an image takes at present, of whatever
    job; None where it is not known.
    """

    id: str
    owner: str
    kind: Kind
    asked: dict[str, Any]
    more: bool
    status: Literal["running", "done", "failed"]
    failure: str | None
    begun: float
    touched: float
    webhook: str | None
    webhook_state: str
    webhook_tries: int
    images: int
    done: int
    failed: int
    pace: float | None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the present pace; None where that is not known."""
        if self.status != "running":
            return 0.0
        if self.more or self.pace is None:
            return None
        return round(self.pace * (self.images - self.done), 1)


class JobImage(NamedTuple):
    """An image that was taken to be answered, its place in its job, and how often it was taken."""

    job: str
    asked: dict[str, Any]
    place: int
    tries: int
    upload: Upload


@dataclass(frozen=True)
class Bounds:
    """How much is kept, by all servers of a folder together.

    Attributes:
        jobs: Number of jobs that run. In a file as many that are over stay beside them; in memory
            both together are no more.
        size: Bytes of all of them.
        seconds: Time for which a job is kept after its end, or after its last image where more
            were promised and none came.
        each: Number of jobs of one owner that run.
    """

    jobs: int
    size: int
    seconds: float
    each: int


def unknown_job() -> ApiError:
    """Return the refusal of a job that is not there, or is somebody else's."""
    return ApiError(
        404,
        "unknown_job",
        "Expected the number of a job that you began, but got that of none; /v1/jobs lists those "
        "that are kept.",
    )


def other_job() -> ApiError:
    """Return the refusal of a key under which something else was begun."""
    return ApiError(
        409,
        "other_job",
        "Expected a key of its own for another job, but got one under which other images or "
        "another model were asked for; send a new Idempotency-Key.",
    )


def number_of(owner: str, key: str | None) -> str:
    """Return the number of a new job: by chance, or what its owner's key always gives."""
    if key is None:
        return uuid.uuid4().hex
    return hashlib.sha256(json.dumps([owner, key]).encode()).hexdigest()[:32]
