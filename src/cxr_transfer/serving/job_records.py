"""A job as it stands, an image of one, and the bounds of what is kept of all jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from cxr_transfer.serving.image_store import Upload

Kind = Literal["predictions", "report"]


class Job(NamedTuple):
    """A job as it stands.

    Times are seconds since 1970. ``asked`` is what it asks of each image; ``more`` tells that
    images may still be added. ``done`` counts images with an answer, ``failed`` those of them that
    could not be read.
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


class JobImage(NamedTuple):
    """An image that was taken to be answered, its place in its job, and how often it was taken."""

    job: str
    asked: dict[str, Any]
    place: int
    tries: int
    upload: Upload


@dataclass(frozen=True)
class Bounds:
    """How much is kept.

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
