"""What a client asks of `cxr serve`, and how it reads the answers; it sends nothing itself.

Comes in: paths or bytes of images. Goes out: requests, each with a function that reads its answer.
Names of files stay here: they may hold a patient's. Knows no model and decodes nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from cxr_transfer.errors import (
    CxrError,
    DataError,
    ImageError,
    MachineError,
    ModelError,
    UsageError,
    check_list,
    kind_of,
)
from cxr_transfer.http_requests import bad_answer
from cxr_transfer.inference.prediction import Prediction
from cxr_transfer.radiograph import named_format, read_content
from cxr_transfer.radiograph.radiograph import MAX_BYTES
from cxr_transfer.radiograph.reorientation import AS_STORED, Reorientation
from cxr_transfer.text import human_size

Answer = TypeVar("Answer")
FileLike: TypeAlias = str | os.PathLike[str] | bytes
"""A path, or the bytes of a file."""

NDJSON = "application/x-ndjson"
FILES_AT_ONCE = 8
BYTES_AT_ONCE = 64 * 2**20
"""Images of one request, so that a busy server finds room for it, and so that it takes its body."""


@dataclass(frozen=True)
class ServerAnswer(Prediction):
    """Answer of a server for one image.

    Attributes:
        index: Place among the images that were given, from 0.
        sha256: SHA-256 of the bytes; "" of a file that could not be read.
        crop: Part of the image that the model sees: left, top, right and bottom in pixels; None
            where it sees none.
        heat_map: Heat map as PNG, to lay over the image; None where none was asked for.
        heat_map_of: Finding that it is of, where the model tells several.
        lung_share: Share of the heat map within the lungs.
        lung_area: Share of what the model sees that the lungs are.
        neighbours: Training images that are like this one to the network.
        request_id: Identifier of the request, which is in the log of the server; "" of answers
            that come one by one.
        changed: Change of the image that was asked for, ``rotate``, ``flip`` and ``invert``; None
            as the file has it.
    """

    index: int = 0
    sha256: str = ""
    crop: tuple[int, int, int, int] | None = None
    heat_map: bytes | None = field(default=None, repr=False)
    heat_map_of: str | None = None
    lung_share: float | None = None
    lung_area: float | None = None
    neighbours: tuple[Mapping[str, Any], ...] = ()
    request_id: str = ""
    changed: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ServerModel:
    """A model that a server answers with.

    Attributes:
        name: Name by which it is asked for.
        model: Name and first digits of the hash of its weights.
        labels: Classes or findings, in the network's order.
        task: "multi_class" or "multi_label".
        weights_sha256: SHA-256 of its weights.
        calibrated: Whether its scores were fitted to what came true on validation images.
        explains: Whether it draws heat maps.
        audit: Verdict of its audit, or "not done".
        is_default: Whether it answers where none is named.
    """

    name: str
    model: str
    labels: tuple[str, ...]
    task: str
    weights_sha256: str
    calibrated: bool
    explains: bool
    audit: str
    is_default: bool


_KINDS: dict[str, type[CxrError]] = {
    "unknown_model": ModelError,
    "unknown_image": DataError,
    "no_jobs": UsageError,
    "no_room": MachineError,
    "too_many_bytes": DataError,
}


@dataclass(frozen=True)
class Request(Generic[Answer]):
    """A request, and how its answer is read.

    Attributes:
        method: Method of HTTP.
        path: Path on the server.
        read: Function that reads a response of httpx.
        content: Arguments of httpx: the body and the query.
        refusal: Class of the error where the server refuses.
    """

    method: str
    path: str
    read: Callable[[Any], Answer]
    content: dict[str, Any] = field(default_factory=dict)
    refusal: type[CxrError] = UsageError

    def answer(self, address: str, response: Any) -> Answer:  # noqa: ANN401 - httpx's
        """Return what stands in a response.

        Raises:
            CxrError: What the server refuses, with its code and message; ``bad_answer``.
        """
        try:
            # One image that cannot be read has a status of its own, and an answer all the same.
            if response.status_code < 300 or "answers" in response.json():
                return self.read(response)
            problem = response.json()
            code, message = str(problem["code"]), str(problem["message"])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            why = f"status {response.status_code}: {response.text[:200]}"
            raise bad_answer(address, why, "give the address of a server of cxr serve") from None
        is_access = response.status_code in (400, 401, 403)
        raise _KINDS.get(code, UsageError if is_access else self.refusal)(code, message)


class Batch:
    """Files of one request; those that cannot be read are answered here.

    Args:
        first: Place of its first file among all.

    Attributes:
        sent: Files that are sent, as httpx takes them.
        size: Bytes of them.
    """

    def __init__(self, first: int) -> None:
        self.sent: list[tuple[str, tuple[str, bytes]]] = []
        self.size = 0
        self._first = first
        self._files: list[tuple[str, ImageError | None]] = []
        self._told = 0

    def __len__(self) -> int:
        return len(self._files)

    def add(self, file: FileLike, content: bytes | ImageError) -> None:
        """Add a file, or why it could not be read."""
        path = "" if isinstance(file, bytes) else os.fspath(file)
        if isinstance(content, ImageError):
            self._files.append((path, content))
            return
        # What the name promises may be told; what else it says may be of a patient.
        name = f"image{Path(path).suffix}" if named_format(path) else "image"
        self.sent.append(("files", (name, content)))
        self.size += len(content)
        self._files.append((path, None))

    def given(self) -> Iterator[tuple[int, str, ImageError | None]]:
        """Yield place and path of each file, and why it could not be read."""
        for number, (path, error) in enumerate(self._files, self._first):
            yield number, path, error

    def predictions(
        self, model: str | None, heat_map: bool, change: Reorientation
    ) -> Request[list[ServerAnswer]]:
        """Return the request for their class scores."""
        query = _query(model, heat_map, change)
        content = {"files": self.sent, "params": query}
        read = partial(_answers, number=len(self.sent))
        return Request("POST", "/v1/predict", read, content)

    def upload(self) -> Request[list[str]]:
        """Return the request that uploads them.

        Raises:
            ImageError: A file could not be read.
        """
        for _, error in self._files:
            if error is not None:
                raise error
        return Request("POST", "/v1/images", _digests, {"files": self.sent}, DataError)

    def merged(self, answers: list[ServerAnswer]) -> Iterator[ServerAnswer]:
        """Yield an answer for every file: the server's, or why it could not be read."""
        yield from self.unread()
        for answer in answers:
            yield self.told(answer)
            yield from self.unread()

    def told(self, answer: ServerAnswer) -> ServerAnswer:
        """Return a server's next answer as that of the next file."""
        number = self._told
        self._told += 1
        return dataclasses.replace(answer, file=self._files[number][0], index=self._first + number)

    def unread(self) -> Iterator[ServerAnswer]:
        """Yield why files could not be read, of those that are next."""
        for path, error in self._files[self._told :]:
            if error is None:
                return
            index = self._first + self._told
            self._told += 1
            yield ServerAnswer(path, "error", error.code, error.message, index=index)

    def streamed(self, model: str | None, heat_map: bool) -> Request[LineReader]:
        """Return the request for their class scores, a line each."""
        query = _query(model, heat_map, AS_STORED)
        content: dict[str, Any] = {"files": self.sent, "params": query}
        content["headers"] = {"Accept": NDJSON}
        return Request("POST", "/v1/predict", lambda _: LineReader(), content)


class LineReader:
    """Lines of a server, read one after the other.

    Attributes:
        is_whole: Whether the last line said that all answers came.
    """

    def __init__(self) -> None:
        self.is_whole = False

    def read(self, address: str, line: str) -> ServerAnswer | None:
        """Return the answer of a line; None for the last one.

        Raises:
            CxrError: What the server says that failed; ``bad_answer``.
        """
        try:
            given = json.loads(line)
            if "end" in given:
                self.is_whole = True
                return None
            if "type" not in given:
                return read_answer(given, "")
            code, message = str(given["code"]), str(given["message"])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise bad_answer(address, f"the line {line[:200]}") from None
        raise MachineError(code, message)

    def check(self, address: str) -> None:
        """Refuse answers whose last line did not come.

        Raises:
            ModelError: ``bad_answer``.
        """
        if not self.is_whole:
            raise bad_answer(address, "answers without their last line")


def batches(files: Iterable[FileLike], most: int) -> Iterator[Batch]:
    """Yield files in batches, each read when it is its turn.

    Args:
        files: Paths, or bytes of files.
        most: Number of files of one request.

    Raises:
        TypeError: One file where a list is meant, or what is neither path nor bytes.
    """
    check_list(files, "files")
    batch = Batch(0)
    for number, file in enumerate(files):
        if not isinstance(file, str | os.PathLike | bytes):
            raise TypeError(f"Expected paths or bytes as files, but got {kind_of(file)}.")
        content = _content(file)
        size = 0 if isinstance(content, ImageError) else len(content)
        if len(batch) == most or (batch.sent and batch.size + size > BYTES_AT_ONCE):
            yield batch
            batch = Batch(number)
        batch.add(file, content)
    if len(batch):
        yield batch


def models_asked() -> Request[list[ServerModel]]:
    """Return the request for the models."""

    def read(response: Any) -> list[ServerModel]:  # noqa: ANN401 - httpx's
        content = response.json()
        names = [fact.name for fact in dataclasses.fields(ServerModel) if fact.name != "is_default"]
        models = []
        for given in content["models"]:
            facts = {name: given[name] for name in names} | {"labels": tuple(given["labels"])}
            models.append(ServerModel(**facts, is_default=given["name"] == content["default"]))
        return models

    return Request("GET", "/v1/models", read)


def uploaded_asked(
    sha256: str, model: str | None, heat_map: bool, change: Reorientation
) -> Request[ServerAnswer]:
    """Return the request for the class scores of an image that was uploaded."""
    content = {"params": _query(model, heat_map, change)}
    path = f"/v1/images/{_checked(sha256)}/predictions"
    return Request("POST", path, lambda response: _answers(response, 1)[0], content)


def heat_map_asked(sha256: str, model: str | None, change: Reorientation) -> Request[bytes]:
    """Return the request for the heat map of an image that was uploaded."""
    content = {"params": _query(model, False, change)}
    path = f"/v1/images/{_checked(sha256)}/heatmap"
    return Request("POST", path, lambda response: bytes(response.content), content, ImageError)


def _content(file: FileLike) -> bytes | ImageError:
    try:
        content = file if isinstance(file, bytes) else read_content(Path(file))
    except ImageError as error:
        return error
    if len(content) <= MAX_BYTES:
        return content
    return ImageError(
        "too_many_bytes",
        f"Expected at most {human_size(MAX_BYTES)}, but got {human_size(len(content))}; export a "
        "smaller copy of the image.",
    )


def _query(model: str | None, heat_map: bool, change: Reorientation) -> dict[str, str]:
    query = {} if model is None else {"model": model}
    query |= {"rotate": str(change.rotate)} if change.rotate else {}
    flags = {"heat_map": heat_map, "flip": change.flip, "invert": change.invert}
    return query | {name: "true" for name, is_on in flags.items() if is_on}


def _checked(sha256: str) -> str:
    if not isinstance(sha256, str):
        raise TypeError(f"Expected a SHA-256 as text, but got {kind_of(sha256)}.")
    if re.fullmatch("[0-9a-fA-F]{64}", sha256):
        return sha256
    raise UsageError(
        "bad_sha256",
        "Expected a SHA-256 of 64 hexadecimal digits, but got another text; take the one that "
        "upload returned.",
    )


def _answers(response: Any, number: int) -> list[ServerAnswer]:  # noqa: ANN401 - httpx's
    content = response.json()
    answers = [read_answer(given, str(content["request_id"])) for given in content["answers"]]
    if len(answers) != number:
        raise ValueError  # no server of ours: who called says so
    return answers


def read_answer(given: Mapping[str, Any], request_id: str) -> ServerAnswer:
    """Return the answer that a server's JSON holds."""
    names = {fact.name for fact in dataclasses.fields(ServerAnswer)}
    # A newer server may say more.
    facts = {name: value for name, value in given.items() if name in names}
    findings, heat_map = given.get("findings"), given.get("heat_map")
    crop = given.get("crop")
    facts |= {
        "warnings": tuple(given["warnings"]),
        "findings": None if findings is None else tuple(findings),
        "crop": None if crop is None else tuple(crop),
        "heat_map": heat_map and base64.b64decode(heat_map.partition(",")[2]),
        "neighbours": tuple(given.get("neighbours", ())),
        "request_id": request_id,
    }
    return ServerAnswer(**facts)


def _digests(response: Any) -> list[str]:  # noqa: ANN401 - httpx's
    return [str(given["sha256"]) for given in response.json()["images"]]
