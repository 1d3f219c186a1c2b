"""A model behind HTTP: this package's own server, or one that speaks KServe's protocol, version 2.

Images go there a few at a time, not faster than asked for, and once more where the server is busy
or away. An own server gets PNG files and does all else itself. A KServe model (Triton, KServe,
MLServer, OpenVINO Model Server) gets numbers as the description says. Source: the Open Inference
Protocol, https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

import io
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import ModelError
from cxr_transfer.extras import require
from cxr_transfer.http_requests import Attempts, bad_answer, connection, send
from cxr_transfer.subjects.arrays import SUM, as_type, real_numbers
from cxr_transfer.subjects.foreign_networks import checked_facts
from cxr_transfer.text import for_terminal

if TYPE_CHECKING:
    import httpx

PREFIXES = ("http://", "https://")
TOKEN = "CXR_SUBJECT_TOKEN"
"""Environment variable: a token that is sent to the server, as "Authorization: Bearer"."""

_TYPES = {
    "FP32": np.float32,
    "FP64": np.float64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
}


@dataclass(eq=False)
class HttpModel:
    """A model at an address.

    Attributes:
        address: Address without user, password and query: it stands in reports.
        client: Client that sends.
        per_second: Requests in a second at most; 0 sets no limit.
        retried: Number of requests that were sent again.
    """

    address: str
    client: httpx.Client
    per_second: float = 0.0
    retried: int = 0
    _next: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.client.close)

    def request(self, method: str, address: str, **content: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request, again where the server is busy, and return its answer.

        Raises:
            MachineError: ``server_away`` where it does not answer at last.
            ModelError: ``bad_answer`` for a refusal.
        """
        attempts = Attempts(self.address)
        try:
            answer = send(self.client, attempts, method, address, before=self._wait, **content)
        finally:
            self.retried += attempts.failed
        if answer.status_code >= 300:
            why = f"status {answer.status_code}: {answer.text[:200]}"
            raise bad_answer(self.address, why, _mend(answer))
        return answer

    def json(self, method: str, address: str, **content: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the JSON object that a request is answered with.

        Raises:
            ModelError: ``bad_answer``; MachineError: ``server_away``.
        """
        answer = self.request(method, address, **content)
        try:
            content = answer.json()
        except (ValueError, RecursionError):
            content = None  # type: ignore[assignment]
        if not isinstance(content, dict):
            raise ModelError(
                "bad_answer",
                f"Expected JSON of {self.address}, but got {for_terminal(answer.text[:80])!r}; "
                "mend the address.",
            )
        return content

    def _wait(self) -> None:
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        if self.per_second:
            self._next = max(now, self._next) + 1 / self.per_second


def open_http(
    subject: str, *, per_second: float = 0.0, environment: Mapping[str, str] | None = None
) -> HttpModel:
    """Return a client of the server at an address.

    Args:
        subject: Address.
        per_second: Requests in a second at most; 0 sets no limit.
        environment: Variables, among them `TOKEN`.

    Raises:
        UsageError: ``bad_address``.
        MachineError: ``missing_package``.
    """
    require("httpx", "models behind HTTP")
    import httpx

    token = (environment or {}).get(TOKEN)
    example = "http://host:8000/v1/predict"
    client = httpx.Client(**connection(subject, token, example=example, variable=TOKEN))
    return HttpModel(subject.rstrip("/"), client, per_second)


def own_labels(model: HttpModel) -> tuple[str, tuple[str, ...], str]:
    """Return name, classes and weights' SHA-256 of the model that an own server answers with.

    Raises:
        ModelError: ``bad_answer``; MachineError: ``server_away``.
    """
    root = f"{urlsplit(model.address).scheme}://{urlsplit(model.address).netloc}"
    content = model.json("GET", f"{root}/v1/models")
    try:
        first = (
            next(one for one in content["models"] if one["name"] == content.get("default"))
            if (content.get("default"))
            else content["models"][0]
        )
        labels = tuple(str(name) for name in first["labels"])
        return str(first["name"]), labels, str(first.get("weights_sha256", ""))
    except (KeyError, IndexError, TypeError, StopIteration):
        raise ModelError(
            "bad_answer",
            f"Expected the models of cxr-transfer's server at {root}, but got others; for a server "
            "of KServe's protocol give http://host:port/v2/models/NAME.",
        ) from None


def own_scores(
    model: HttpModel, labels: tuple[str, ...]
) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]:
    """Return a function that asks an own server for class scores of grey images (N, 1, H, W).

    An image that the server refuses to judge has NaN: it has no scores.
    """

    def answer(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        files = [("files", (f"{row}.png", _png(image[0]))) for row, image in enumerate(images)]
        answers = model.json("POST", model.address, files=files).get("answers")
        if not isinstance(answers, list) or len(answers) != len(images):
            raise ModelError(
                "bad_answer",
                f"Expected an answer for each of {len(images)} images of {model.address}, but got "
                "another number; give the address of its prediction (…/v1/predict).",
            )
        rows = [_scores_of(one, labels) for one in answers]
        if None in rows:
            raise ModelError(
                "bad_answer",
                f"Expected probabilities of {', '.join(labels)} that sum to 1 for each image of "
                f"{model.address}, but got something else; give the address of its prediction "
                "(…/v1/predict).",
            )
        return np.array(rows, np.float64)

    return answer


def _scores_of(answer: Any, labels: tuple[str, ...]) -> list[float] | None:  # noqa: ANN401 - JSON
    """Return the scores of an image, NaN of one that was refused; None of another answer."""
    if not isinstance(answer, dict):
        return None
    scores = answer.get("probabilities") or {}
    if not scores and answer.get("status") in ("cannot_assess", "error"):
        return [float("nan")] * len(labels)
    try:
        values = np.array([float(scores[label]) for label in labels])
    except (KeyError, TypeError, ValueError):
        return None
    fits = len(scores) == len(labels) and (values >= 0).all() and abs(values.sum() - 1) <= SUM
    return [float(value) for value in values] if fits else None


def kserve_answer(
    model: HttpModel, output: int | None = None
) -> tuple[dict[str, Any], Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]]:
    """Return what a KServe model says of itself, and a function that asks it.

    Args:
        model: Client of ``…/v2/models/NAME``.
        output: Number of the output that is read; None for a model with one.

    Raises:
        ModelError: ``bad_answer``; MachineError: ``server_away``.
    """
    told = model.json("GET", model.address)
    try:
        datatypes = [str(one["datatype"]) for one in told["inputs"]]
        if len(datatypes) != 1 or datatypes[0] not in _TYPES:
            raise ModelError(
                "bad_answer",
                f"Expected a model with one input of {', '.join(_TYPES)} at {model.address}, but "
                f"it has {for_terminal(', '.join(datatypes)) or 'none'}; wrap it in a function: "
                "python:package.module:function.",
            )
        name, datatype, outputs = str(told["inputs"][0]["name"]), datatypes[0], told["outputs"]
        if output is None and len(outputs) != 1:
            raise ModelError(
                "bad_answer",
                f"Expected a model with one output at {model.address}, but it has {len(outputs)}; "
                "say which is read (number = 0 in [output]).",
            )
        wanted = str(outputs[output or 0]["name"])
        facts = {
            "tool": f"{model.address}, {told.get('platform', 'KServe protocol 2')}",
            "input": _sides(told["inputs"][0]["shape"]),
            "outputs": [_sides(one["shape"]) for one in outputs],
        }
        facts = checked_facts(facts)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise ModelError(
            "bad_answer",
            f"Expected what a model of KServe's protocol says of itself at {model.address}, but "
            "got something else; mend the address.",
        ) from None

    def answer(images: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        try:
            numbers = as_type(images, _TYPES[datatype])
        except ValueError as error:
            raise ModelError(
                "bad_model", f"Expected to give {model.address} its input, but {error}."
            ) from None
        tensor = {
            "name": name,
            "shape": list(numbers.shape),
            "datatype": datatype,
            "data": numbers.ravel().tolist(),
        }
        content = {"inputs": [tensor], "outputs": [{"name": wanted}]}
        answers = model.json("POST", f"{model.address}/infer", json=content).get("outputs")
        try:
            given = next(one for one in answers or () if one["name"] == wanted)
            return real_numbers(given["data"]).reshape(given["shape"])
        except (KeyError, StopIteration, TypeError, ValueError, OverflowError):
            raise ModelError(
                "bad_answer",
                f"Expected the output {for_terminal(wanted)} of {model.address}, but got something "
                "else; see the server's own log.",
            ) from None

    return facts, answer


def _sides(shape: list[Any]) -> list[int | None]:
    """Return a shape with None for any number: servers write them as texts, too."""
    return [None if int(side) < 0 else int(side) for side in shape]


def _mend(answer: httpx.Response) -> str:
    """Return what a person may do about a refusal."""
    if answer.status_code in (401, 403):
        return f"set a token in the environment variable {TOKEN}"
    if answer.status_code < 400:
        return f"give the address that it leads to: {answer.headers.get('Location', '')[:200]}"
    return "mend the address or the description"


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG", compress_level=1)
    return content.getvalue()
