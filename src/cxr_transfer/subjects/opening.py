"""From what a person names to a `Subject`: a model of this package, of another tool, or a table.

The kind is read off the name alone, and nothing is guessed: what a file cannot say of itself stands
in a description (`description`). Whatever can be refused is refused before an image is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.folder import sha256
from cxr_transfer.models.forward import OnImages
from cxr_transfer.models.metadata import RELEASED
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.predictions import read_case_scores
from cxr_transfer.subjects import functions, http_models
from cxr_transfer.subjects.arrays import class_scores, network_input
from cxr_transfer.subjects.description import Description, SubjectInput, description_of
from cxr_transfer.subjects.foreign_files import ForeignFile, check_there
from cxr_transfer.subjects.foreign_networks import SUFFIXES
from cxr_transfer.subjects.input_shape import Numbers
from cxr_transfer.subjects.own_models import is_own_export, open_export, open_own
from cxr_transfer.subjects.subject import Floats, Images, Kind, NetworkScores, Subject
from cxr_transfer.text import for_terminal

RELEASED_PREFIX = "released:"
"""Before the name of a released model, since recipes have the same names."""

BATCH = 32
"""Images that a network is asked for at once."""

SERVER_BATCH = 8
"""Images that stand in one request."""

SERVER_SIDE = 512
"""Pixels a side of the images that an own server gets: it crops and reduces them itself."""

_LONGEST = 250
"""Characters beyond which no path is looked for."""


@dataclass(frozen=True)
class SubjectOptions:
    """How a subject is asked.

    Attributes:
        device: Device of a checkpoint, as torch names it.
        description: Path of the description of a model of another tool; None looks beside its file.
        per_second: Requests in a second at most, of a model behind HTTP; 0 sets no limit.
    """

    device: str = "cpu"
    description: Path | None = None
    per_second: float = 0.0


def open_subject(subject: str, options: SubjectOptions = SubjectOptions()) -> Subject:
    """Open what is to be judged.

    Args:
        subject: Run folder, checkpoint, folder of several, `RELEASED_PREFIX` and a name, or a
            released model's name; a file of another tool (`foreign_networks.SUFFIXES`); a table of
            scores (.csv); ``python:package.module:function``; an address.
        options: How it is asked.

    Raises:
        UsageError: ``no_description``, ``unused_option``, ``bad_function``, ``bad_address``.
        ModelError: What its kind's own module raises.
        DataError: ``bad_predictions`` for a table of something else.
    """
    kind = kind_of_subject(subject)
    if kind in ("checkpoint", "export", "scores", "server") and options.description is not None:
        raise UsageError(
            "unused_option",
            f"Expected a description only for a model of another tool, but {for_terminal(subject)} "
            "says itself what it is; leave --description out.",
        )
    if options.per_second and kind not in ("server", "kserve"):
        raise UsageError(
            "unused_option",
            f"Expected --per-second only for a model behind HTTP, but got {for_terminal(subject)}; "
            "leave it out.",
        )
    if kind == "checkpoint":
        return open_own(_own_path(subject), options.device)
    if kind == "export":
        return open_export(Path(subject))
    if kind == "scores":
        return _of_table(Path(subject))
    if kind == "server":
        return _of_server(subject, options)
    if kind == "kserve":
        return _of_kserve(subject, options)
    if kind == "function":
        description = description_of(subject, None, options.description)
        return _described(kind, description, functions.open_function(subject))
    return _of_file(kind, Path(subject), options)


def kind_of_subject(subject: str) -> Kind:
    """Return the kind of what a person names; "checkpoint" for whatever is no other kind.

    >>> [kind_of_subject(name) for name in ("x.csv", "python:a:b", "http://h/v2/models/m", "x.h5")]
    ['scores', 'function', 'kserve', 'keras']
    """
    if subject.endswith(".csv"):
        return "scores"
    if subject.startswith(functions.PREFIX):
        return "function"
    if subject.startswith(http_models.PREFIXES):
        return "kserve" if "/v2/" in subject else "server"
    path = Path(subject)
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None or (len(subject) < _LONGEST and path.is_dir()):
        return "checkpoint"
    if kind in ("openvino", "onnx") and is_own_export(path):
        return "export"
    return kind  # type: ignore[return-value]


def is_subject(name: str) -> bool:
    """Tell whether a name can only be a model's or a table's, whether it is there or not."""
    return name.startswith(RELEASED_PREFIX) or kind_of_subject(name) != "checkpoint"


def _own_path(subject: str) -> Path:
    if subject.startswith(RELEASED_PREFIX):
        return RELEASED / subject.removeprefix(RELEASED_PREFIX)
    return Path(subject)


def _of_table(path: Path) -> Subject:
    table = read_case_scores(path)
    plain = Preprocessing()  # for hashes and near copies: the table's own is not known
    digest = sha256(path)
    return Subject(
        "scores", path.stem, table.labels, plain, (digest,), None, path=path, table=table
    )


def _of_file(kind: Kind, path: Path, options: SubjectOptions) -> Subject:
    check_there(path)
    description = description_of(str(path), path, options.description)
    file = ForeignFile(path, description.output.number)
    answer, batch = of_any_number(file.answer, file.facts, BATCH)
    return _described(
        kind,
        description,
        answer,
        batch=batch,
        sha256=(file.sha256,),
        path=path,
        facts=file.facts | {"kept_from": list(file.kept_from)},
    )


def _of_kserve(subject: str, options: SubjectOptions) -> Subject:
    model = http_models.open_http(subject, per_second=options.per_second, environment=os.environ)
    description = description_of(subject, None, options.description)
    facts, ask = http_models.kserve_answer(model, description.output.number)
    answer, batch = of_any_number(ask, facts, SERVER_BATCH)
    return _described("kserve", description, answer, facts=facts, batch=batch)


def _of_server(subject: str, options: SubjectOptions) -> Subject:
    model = http_models.open_http(subject, per_second=options.per_second, environment=os.environ)
    name, labels, digest = http_models.own_labels(model)
    return Subject(
        "server",
        name,
        LabelSet(labels),
        Preprocessing(height=SERVER_SIDE, width=SERVER_SIDE),
        (digest,) if digest else (),
        partial(_in_batches, http_models.own_scores(model, labels), SERVER_BATCH),
        facts={"address": model.address},
    )


def _described(
    kind: Kind,
    description: Description,
    answer: Numbers,
    *,
    batch: int = BATCH,
    **more: Any,  # noqa: ANN401 - fields of a `Subject`
) -> Subject:
    """Return the subject of a network of another tool."""

    def score_as(images: Images, way: SubjectInput) -> Floats:
        parts = [images[start : start + batch] for start in range(0, len(images), batch)]
        numbers = [answer(network_input(part, way)) for part in parts]
        return np.concatenate(
            [
                class_scores(of, description, len(part))
                for of, part in zip(numbers, parts, strict=True)
            ]
        )

    def scores(images: Images) -> Floats:
        return score_as(images, description.input)

    return Subject(
        kind,
        description.name,
        description.label_set,
        description.input.preprocessing,
        more.pop("sha256", ()),
        partial(_in_batches, scores, batch),
        description=description,
        score_as=score_as,
        **more,
    )


def of_any_number(answer: Numbers, facts: Mapping[str, Any], most: int) -> tuple[Numbers, int]:
    """Return a function that asks a network, and the number of images for it at most.

    A network that takes one number of images alone gets the last one again in place of more.

    Args:
        answer: Function of the network.
        facts: What it says of itself.
        most: Number of images at most, of a network that takes any.
    """
    fixed = (facts.get("input") or [None])[0]
    if fixed is None:
        return answer, most

    def filled(images: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        missing = fixed - len(images)
        full = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        numbers = answer(full)
        # Another number of rows is no answer for these images: it is refused by its shape.
        return numbers[: len(images)] if numbers.ndim and len(numbers) == fixed else numbers

    return filled, fixed


def _in_batches(
    scores: Callable[[Images], Floats],
    batch: int,
    images: Images,
    with_features: bool,
    on_image: OnImages,
) -> list[NetworkScores]:
    """Ask batch by batch; a model of another tool has no features."""
    answers = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        answers.append(scores(part))
        on_image(len(part))
    own = np.concatenate(answers)
    return [NetworkScores(own, own, None)]
