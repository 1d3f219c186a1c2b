"""What goes back over the wire, as schemas, and which HTTP status belongs to it.

The schemas are what OpenAPI tells; answers are built to fit them. Knows nothing of requests.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.labels import Task
from cxr_transfer.statistics.score_errors import ScoreBand
from cxr_transfer.statistics.temperature import NOT_CALIBRATED

UNPROCESSABLE = 422
STATUS = {
    "too_many_bytes": 413,
    "too_many_pixels": 413,
    "too_large_to_decode": 413,
    "unsupported_format": 415,
    "worker_lost": 503,
}
"""HTTP statuses of image errors; 422 for all others. Syntaxes without a decoder are 415, too."""

LONGEST_NAME = 120
STARTING_S = 2
"""When a server, or a model, that is not ready is worth asking again, in seconds."""

PROBLEM_TYPE = "urn:cxr-transfer:error:"
PROBLEM_INSTANCE = "urn:cxr-transfer:request:"
"""Names, not addresses: a server in a hospital has no page of errors that the world can open."""


class Neighbour(BaseModel):
    """A training image that is like this one to the network."""

    label: str
    source: str
    distance: float


class Changed(BaseModel):
    """How an image was changed before it was assessed, because that was asked."""

    rotate: Literal[0, 90, 180, 270] = Field(description="Degrees clockwise; last.")
    flip: bool = Field(description="Whether it was mirrored left to right; first.")
    invert: bool = Field(description="Whether bright became dark.")


class ImageAnswer(BaseModel):
    """The answer for one image."""

    file: str = Field(description="The name that it was sent under, shortened, without folders.")
    index: int = Field(description="Place among the images of its request, from 0.", ge=0)
    sha256: str = Field(description="SHA-256 of the bytes that were sent, in hexadecimal digits.")
    status: Literal["ok", "cannot_assess", "error"]
    code: str = Field(description='Of a refusal or an error; "" without one.')
    message: str
    label: str | None = Field(
        description="The class with the highest score; of a model of several findings at once "
        'those that are named, joined by "|"; null unless "ok".'
    )
    findings: list[str] | None = Field(
        None,
        description="Findings whose probabilities reach their thresholds; only of a model of "
        "several findings at once.",
    )
    probabilities: dict[str, float] = Field(
        description="Class scores, which sum to 1, of what is not assessed only with not_sure; or "
        "the probability of each of several findings, which do not sum to 1."
    )
    calibrated: bool
    temperature: float | None = Field(
        None, description="At which the scores are given; null where they are the network's own."
    )
    model: str
    warnings: list[str]
    unusual: bool = Field(
        False, description="Whether the image is unlike most training images: warned of."
    )
    trained_on: bool = Field(
        False, description="Whether this image, or a copy of it, is known to be a training image."
    )
    ms: float
    crop: list[int] | None = Field(
        None,
        description="Part of the image that the model sees: left, top, right and bottom in pixels "
        "of the image; null where it sees none.",
    )
    heat_map: str | None = Field(None, description="RGBA PNG to lay over the image, as a data URL.")
    heat_map_of: str | None = Field(
        None, description="Which of several findings the heat map is of: the most probable one."
    )
    lung_share: float | None = Field(None, description="Share of the heat map within the lungs.")
    lung_area: float | None = Field(
        None, description="Share of what the model sees that the lungs are."
    )
    neighbours: list[Neighbour] = []
    changed: Changed | None = Field(
        None, description="Change of the image that was asked for; null as the file has it."
    )


class Envelope(BaseModel):
    """Entries of every JSON answer."""

    intended_use: str
    version: str
    request_id: str


class Answers(Envelope):
    """Answers for images, in the order in which they were sent."""

    model: str
    ms: float
    answers: list[ImageAnswer]


class KeptImage(BaseModel):
    """An image that was uploaded, to be asked for by its hash."""

    index: int = Field(description="Place among the images of its request, from 0.", ge=0)
    file: str = Field(description="The name that it was sent under, which is not kept.")
    sha256: str = Field(description="SHA-256 of the bytes that were sent, in hexadecimal digits.")
    bytes: int = Field(description="Number of bytes.", ge=0)


class Kept(Envelope):
    """Images that are kept in memory; where room is needed, some go before their time."""

    kept_s: float = Field(description="Seconds for which they are kept at most.")
    images: list[KeptImage]


class ReportProgress(Envelope):
    """A report that is made in the background."""

    id: str = Field(description="Number by which it is asked for.")
    report_status: Literal["running", "done", "failed"] = Field(description="Where it stands.")
    images: int = Field(description="Number of its images.", ge=0)
    done: int = Field(description="Number of images that are done.", ge=0)
    failure: str | None = Field(description="Why it was not made; null where it was, or may be.")


class Webhook(BaseModel):
    """Who is told of the end of a job."""

    state: Literal["", "waiting", "delivered", "given up"] = Field(
        description='Where it stands; "" where nobody is to be told.'
    )
    tries: int = Field(description="Number of times that it was tried.", ge=0)


class JobFacts(BaseModel):
    """A job: images that are answered in the background."""

    id: str = Field(description="Number by which it is asked for.")
    kind: Literal["predictions", "report"]
    job_status: Literal["running", "done", "failed"] = Field(description="Where it stands.")
    more: bool = Field(description="Whether images may be added.")
    images: int = Field(description="Number of its images.", ge=0)
    done: int = Field(description="Number of images that have their answer.", ge=0)
    failed: int = Field(description="Number of those that could not be read.", ge=0)
    seconds_left: float | None = Field(description="Time left; null where it is not known.")
    failure: str | None = Field(description="Why the job failed; null where it did not.")
    begun: str = Field(description="When it was begun, in UTC.")
    webhook: Webhook
    links: dict[str, str] = Field(description="Paths of the job, its answers and its report.")


class JobProgress(Envelope, JobFacts):
    """A job, and how far it is."""


class JobList(Envelope):
    """Jobs of whoever asks, the latest first."""

    jobs: list[JobFacts]


class JobAnswers(Envelope):
    """Answers of a job, as many as are asked for and done, in the order of the images."""

    id: str
    job_status: Literal["running", "done", "failed"]
    images: int = Field(description="Number of its images.", ge=0)
    next: int | None = Field(
        description="Place from which to ask for more; null behind the last image."
    )
    answers: list[ImageAnswer]


class StreamEnd(Envelope):
    """The last line of answers that are streamed: without it, some are missing."""

    end: Literal[True]
    ok: int = Field(ge=0)
    cannot_assess: int = Field(ge=0)
    error: int = Field(ge=0)


class Refused(Envelope):
    """Why a request got no answer, as problem details (RFC 9457) with fields of our own."""

    type: str = Field(description=f"Kind of problem: {PROBLEM_TYPE}CODE.")
    title: str = Field(description="Kind of problem in words; the same wherever the code is.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="Line for a person; the message.")
    instance: str = Field(description=f"This problem: {PROBLEM_INSTANCE}REQUEST_ID.")
    code: str = Field(description="Stable identifier for programs; see the error codes.")
    message: str = Field(description="Line for a person: what was expected, what came, what to do.")


class RefusedAnswers(Answers, Refused):
    """The answer for one image that could not be read; code and message are the image's."""


class ModelCard(BaseModel):
    """A model that answers here."""

    name: str
    model: str
    title: str
    labels: list[str]
    task: Task = Field(
        "multi_class", description="Whether an image has one of the labels, or any number of them."
    )
    thresholds: dict[str, float] | None = Field(
        None, description="Probability from which on each of several findings is named."
    )
    weights_sha256: str
    calibrated: bool
    score_errors: list[ScoreBand] | None = Field(
        None, description="Validation images that were wrong, by highest score; null if unknown."
    )
    score_scale: str = Field(description="Scale of its scores, and of every threshold of them.")
    explains: bool = Field(description="Whether it can draw heat maps.")
    audit: str = Field(description='The verdict of its audit, or "not done".')
    card: bool = Field(description="Whether it has a model card.")
    size: list[int] = Field(description="Height and width of its input.")
    notes: list[str]


class Models(Envelope):
    """The models that answer here."""

    default: str = Field(description="Name of the model that answers where none is named.")
    models: list[ModelCard] = Field(description="Models that are open.")
    opening: list[str] = Field(description="Names of the models that are still being opened.")


class AuditCheck(BaseModel):
    """A reason for doubt that was looked for."""

    name: str
    title: str
    verdict: Literal["pass", "warn", "fail", "not done"]
    hard: bool = Field(description="Whether the model fails where this fails.")
    reading: str
    bounds: str


class AuditFound(BaseModel):
    """Result of a model's audit, in words; its figures may name images and stay away."""

    model: str
    verdict: Literal["pass", "warn", "fail"]
    time: str = ""
    score_scale: str = Field(
        NOT_CALIBRATED, description="Scale of the scores that were audited, as of a model's."
    )
    checks: list[AuditCheck] = []


class Audit(Envelope, AuditFound):
    """Result of a model's audit."""


class Health(Envelope):
    """Whether the process lives."""

    status: Literal["ok"]


class Readiness(Envelope):
    """Whether requests should be sent here."""

    ready: bool
    reason: str
    models: dict[str, Literal["opening", "open"]] = Field(
        description="Where each model stands. One that cannot be opened ends the server."
    )


class ApiError(HTTPException):
    """A request that gets no answer.

    Attributes:
        code: Stable identifier.
        message: Line for a person.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code
        self.message = message


def busy(retry_after_s: int) -> ApiError:
    """Return the refusal of what there is no room for now."""
    return ApiError(
        503,
        "busy",
        f"Expected room for another image, but the queue is full; ask again in {retry_after_s} s.",
        {"Retry-After": str(retry_after_s)},
    )


def starting() -> ApiError:
    """Return the refusal of a model that is not open yet."""
    return ApiError(
        503,
        "starting",
        f"Expected a model that is open, but it is still being opened; ask again in {STARTING_S} "
        "s, or ask another: /v1/models says which are.",
        {"Retry-After": str(STARTING_S)},
    )


def stopping() -> ApiError:
    """Return the refusal of what a server that stops does no more."""
    return ApiError(
        503,
        "stopping",
        "Expected a server that stays, but this one is stopping; ask another, or again.",
        {"Retry-After": "5"},
    )


def envelope(request_id: str) -> dict[str, Any]:
    """Return what every JSON answer says."""
    return {"intended_use": INTENDED_USE, "version": __version__, "request_id": request_id}


def refused(refusal: ApiError, request_id: str) -> dict[str, Any]:
    """Return a refusal as problem details, https://www.rfc-editor.org/rfc/rfc9457."""
    return envelope(request_id) | {
        "type": f"{PROBLEM_TYPE}{refusal.code}",
        "title": refusal.code.replace("_", " ").capitalize(),
        "status": refusal.status_code,
        "detail": refusal.message,
        "instance": f"{PROBLEM_INSTANCE}{request_id}",
        "code": refusal.code,
        "message": refusal.message,
    }


def image_refusal(code: str, message: str) -> ApiError:
    """Return the refusal of an image that cannot be read."""
    status = STATUS.get(code, UNPROCESSABLE)
    return ApiError(status, code, message, {"Retry-After": "1"} if status == 503 else None)


def refusal_of(answers: list[dict[str, Any]]) -> ApiError | None:
    """Return what becomes of a request for one image that is an error; None of all others."""
    if len(answers) != 1 or answers[0]["status"] != "error":
        return None
    return image_refusal(answers[0]["code"], answers[0]["message"])


def shown_name(name: str | None, number: int) -> str:
    r"""Return an image's name as it stands in an answer: never a path, never endless.

    >>> shown_name("../../etc/pass\nwd", 1), shown_name("", 2)
    ('passwd', 'image 2')
    """
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    plain = "".join(sign for sign in last if sign.isprintable()).strip()
    return plain[:LONGEST_NAME] or f"image {number}"
