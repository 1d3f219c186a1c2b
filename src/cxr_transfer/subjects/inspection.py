"""What a network of another tool wants and gives: guessed, with how sure each guess is.

Order: what the file itself says -> how it answers images -> with labelled images, which variant
tells the classes apart best. Out goes a description with a word behind each line: "declared" by the
file, "measured" on labelled images, or "GUESS". Nothing is assumed without being said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.loading import open_all
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.errors import DataError, ModelError, Notice, UsageError
from cxr_transfer.evaluation.decoding import decode_once
from cxr_transfer.labels import LabelSet
from cxr_transfer.progress import Tell, counting, of_images, tell_nobody
from cxr_transfer.subjects import functions, http_models
from cxr_transfer.subjects.arrays import SUM, Floats, network_input, of_images_alone
from cxr_transfer.subjects.described_text import written
from cxr_transfer.subjects.description import SubjectInput
from cxr_transfer.subjects.foreign_files import ForeignFile
from cxr_transfer.subjects.input_shape import Numbers, input_shape
from cxr_transfer.subjects.input_variants import (
    Images,
    InputVariant,
    brought,
    grey_scores,
    input_variants,
)
from cxr_transfer.subjects.measured_order import (
    best_by_labels,
    best_column,
    first_that_varies,
    order_of_classes,
)
from cxr_transfer.subjects.opening import (
    BATCH,
    SERVER_BATCH,
    kind_of_subject,
    of_any_number,
)
from cxr_transfer.text import for_terminal

DRAWN = 24
"""Generated images that are looked at where there are none with labels."""


@dataclass(frozen=True)
class Inspected:
    """What is asked.

    Attributes:
        subject: File, function or address.
        data: Images with labels; None looks at generated ones.
        labels: Classes; with ``data`` in any order.
        mapping: Labels of the data to classes.
        output: Number of the output that is read; None for a network with one.
        size: Pixels a side; None takes what the file says, or `USUAL_SIDE`.
        images: Most images of each class.
        seed: Random seed of their choice.
    """

    subject: str
    data: Path | None = None
    labels: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    output: int | None = None
    size: int | None = None
    images: int = 60
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Guess:
    """A description, and how sure it is.

    Attributes:
        values: Content of the TOML, key by key ("input.range").
        sure: Word and reason of each.
        greys: Numbers for images of one grey value.
        toml: The description as text.
    """

    values: Mapping[str, Any]
    sure: Mapping[str, str]
    greys: Mapping[str, Any]
    toml: str


def inspect_subject(
    asked: Inspected,
    *,
    log: Callable[[str], None] = lambda line: None,
    progress: Tell = tell_nobody,
) -> Guess:
    """Guess what a network wants and gives.

    Args:
        asked: Network, and images to look at it with.
        log: Function that is told what cannot be known.
        progress: Function that is told the phase and which share of it is done.

    Raises:
        UsageError: ``no_labels`` for images without the names of the classes; ``unused_option`` for
            a subject that says itself what it is.
        DataError: ``no_images`` where a class has no image.
        ModelError: What opening and asking the network raise.
    """
    if asked.data is not None and len(asked.labels) < 2:
        raise UsageError(
            "no_labels",
            "Expected the classes of the images in --data, but got none; name them: --labels "
            "normal,covid19 (in any order).",
        )
    answer, batch, facts = _opened(asked)
    values, sure = input_shape(answer, facts, asked.size)
    wanted = SubjectInput(
        height=values["input.height"],
        width=values["input.width"],
        channels=values["input.channels"],
        layout=values["input.layout"],
        range=(0.0, 1.0),
    )
    cases, images, targets = _images(asked, wanted, progress)
    ways, numbers = _answered(answer, images, wanted, batch, progress)
    _meaning(asked, numbers, facts, values, sure)
    scores = [_scores(of_way, values["output.values"]) for of_way in numbers]
    labels = _named(asked, scores[0].shape[1], sure)
    if targets is None:
        best = first_that_varies(scores, sure)
    else:
        best = best_by_labels(scores, targets, cases, [one.title for one in ways], sure)
        if "output.column" in values and len(asked.labels) == 2:
            values["output.column"] = best_column(scores[best], targets, sure)
            scores[best] = scores[best][:, [values["output.column"]]]
        labels = order_of_classes(scores[best], targets, asked.labels, sure)
    way = ways[best].input
    values |= {"name": _name(asked.subject), "labels": list(labels), "input.range": list(way.range)}
    if way.mean:
        values |= {"input.mean": list(way.mean), "input.std": list(way.std)}
    if way.bright == "air" or targets is not None:
        values["input.bright"] = way.bright
    if way.equalise or targets is not None:
        values["input.equalise"] = way.equalise
    greys = grey_scores(lambda images, of_way: _asked(answer, images, of_way, batch), way)
    for name, word in sure.items():
        if word.startswith("GUESS"):
            log(Notice(f"{name}: {word}"))
    sure["name"] = "from its file"
    return Guess(values, sure, greys, written(values, sure, greys, facts))


def _opened(asked: Inspected) -> tuple[Numbers, int, Mapping[str, Any]]:
    """Return a function of arrays, how many images it takes at once, and what its file says."""
    kind = kind_of_subject(asked.subject)
    if kind in ("checkpoint", "export", "scores", "server"):
        raise UsageError(
            "unused_option",
            "Expected a file of another tool, a function or an address of KServe's, but got "
            f"{for_terminal(asked.subject)}; a model of this package, its server and a table say "
            "themselves what they are: 'cxr audit'.",
        )
    if kind == "function":
        return functions.open_function(asked.subject), BATCH, {}
    if kind == "kserve":
        model = http_models.open_http(asked.subject, environment=os.environ)
        facts, answer = http_models.kserve_answer(model, asked.output)
        return *of_any_number(answer, facts, SERVER_BATCH), facts
    file = ForeignFile(Path(asked.subject), asked.output)
    return *of_any_number(file.answer, file.facts, BATCH), file.facts


def _images(
    asked: Inspected, wanted: SubjectInput, progress: Tell
) -> tuple[tuple[Case, ...], Images, npt.NDArray[np.int64] | None]:
    """Return images to look with, and their targets; generated ones have none."""
    if asked.data is None:
        rng = np.random.default_rng(asked.seed)
        drawn = [
            draw_radiograph(finding, rng=rng, pixels=wanted.height)
            for finding in ("normal", "covid19") * (DRAWN // 2)
        ]
        pictures = [_sized(one, wanted) for one in drawn]
        return (), np.stack(pictures)[:, None], None
    labels = LabelSet(asked.labels)
    cases = open_all(asked.data, labels, mapping=asked.mapping).cases
    rng = np.random.default_rng(asked.seed)
    chosen: list[Case] = []
    for label in labels:
        own = [case for case in cases if case.label == label]
        if len(own) < 2:
            raise DataError(
                "no_images",
                f"Expected two images of {label} at least, but got {len(own)}; give others, or "
                "name the labels' classes with --label.",
            )
        chosen += [own[row] for row in sorted(rng.permutation(len(own))[: asked.images])]
    count = counting(progress, of_images("reading", len(chosen)), len(chosen))
    decoded = decode_once(chosen, wanted.preprocessing, labels, skip_damaged=True, on_image=count)
    return decoded.cases, decoded.tensors.images.numpy(), decoded.tensors.targets.numpy()


def _sized(image: npt.NDArray[np.uint8], wanted: SubjectInput) -> npt.NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((wanted.width, wanted.height)))


def _answered(
    answer: Numbers, images: Images, wanted: SubjectInput, batch: int, progress: Tell
) -> tuple[list[InputVariant], list[Floats]]:
    """Return the ways of bringing images to which a network has an answer, and its numbers.

    Raises:
        ModelError: What the network raises where there is none.
    """
    tried = input_variants(wanted)
    count = counting(progress, of_images("asking about", len(images)), len(tried) * len(images))
    ways, numbers = [], []
    refusal = None
    for way in tried:
        try:
            rows = _asked(answer, brought(images, wanted, way.input), way.input, batch, count)
        except ModelError as error:
            refusal = refusal or error
            continue
        ways.append(way)
        numbers.append(rows)
    if refusal is not None and not ways:
        raise refusal
    return ways, numbers


def _asked(
    answer: Numbers,
    images: Images,
    way: SubjectInput,
    batch: int,
    count: Callable[[int], None] = lambda images: None,
) -> Floats:
    """Return a network's numbers (N, K) for images that are brought to it in some way."""
    rows = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        rows.append(of_images_alone(np.asarray(answer(network_input(part, way))), len(part)))
        count(len(part))
    return np.concatenate(rows)


def _meaning(
    asked: Inspected,
    numbers: Sequence[Floats],
    facts: Mapping[str, Any],
    values: dict[str, Any],
    sure: dict[str, str],
) -> None:
    """Say whether the numbers are probabilities or logits."""
    if asked.output is not None:
        values["output.number"], sure["output.number"] = asked.output, "as asked for"
    told = str(facts.get("activation") or "").lower()
    everywhere = np.concatenate(numbers)
    within = bool((everywhere >= -1e-6).all() and (everywhere <= 1 + 1e-6).all())
    sums = within and bool((abs(everywhere.sum(axis=1) - 1) < SUM).all())
    if told in ("softmax", "sigmoid"):
        values["output.values"], sure["output.values"] = "probabilities", f"declared: {told}"
    elif sums:
        values["output.values"] = "probabilities"
        sure["output.values"] = "measured: they sum to 1 for every image"
    elif within:
        values["output.values"], sure["output.values"] = (
            "probabilities",
            "GUESS: all lie between 0 and 1",
        )
    else:
        values["output.values"], sure["output.values"] = (
            "logits",
            "measured: some lie outside of 0 to 1",
        )
    columns = everywhere.shape[1]
    if columns > 1 and within and not sums:
        values["output.column"] = 0
        sure["output.column"] = f"GUESS: of {columns} numbers that do not sum to 1, one is read"


def _scores(numbers: Floats, values: str) -> Floats:
    if values == "logits":
        return np.asarray(
            special.softmax(numbers, axis=1) if numbers.shape[1] > 1 else special.expit(numbers)
        )
    return numbers


def _named(asked: Inspected, columns: int, sure: dict[str, str]) -> tuple[str, ...]:
    """Return the classes where no labelled image tells their order."""
    classes = max(columns, 2)
    if len(asked.labels) == classes:
        sure["labels"] = "GUESS: the order in which they were named"
        return asked.labels
    if asked.labels and columns > len(asked.labels):
        return asked.labels
    sure["labels"] = "GUESS: no names are known; write them here, in the order of the scores"
    return tuple(f"class_{number}" for number in range(classes))


def _name(subject: str) -> str:
    """Return a name that may stand in files: of the file, function or address."""
    last = subject.rstrip("/").replace("\\", "/").rpartition("/")[2].rpartition(":")[2]
    stem = Path(last).stem if last.count(".") else last
    kept = "".join(letter if letter.isalnum() or letter in "_.+-" else "_" for letter in stem)
    return (kept.lstrip("_.+-") or "model")[:64]
