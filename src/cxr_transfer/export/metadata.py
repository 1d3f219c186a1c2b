"""What stands beside a network in another form than the checkpoint's: ``NAME.json``.

It holds the hashes of the other files, how they were checked, and the checkpoint's card. It says
what a user of another tool must do to an image before the network, and to its scores behind it.
OpenVINO's form (``NAME.xml`` and ``NAME.bin``, weights) is the one that is read back. Knows nothing
of torch.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal
from xml.etree import ElementTree

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.errors import ModelError
from cxr_transfer.export.self_test import SelfTest, Weights
from cxr_transfer.models.folder import MIB, checked_words, read_bytes, read_json, sha256
from cxr_transfer.models.metadata import Checkpoint, Sha256, Words, first_problem
from cxr_transfer.models.reference_header import Share, Temperature
from cxr_transfer.statistics.temperature import NOT_CALIBRATED
from cxr_transfer.text import for_terminal

Format = Literal["openvino", "onnx", "torchscript"]

SCHEMA: Literal[5] = 5
"""2: the graph has the features as its second output. 3: the scores of one image are kept.
4: int8 holds on every processor; scores of more images, and what processor they were compared
on. 5: names of the fields."""

LARGEST_GRAPH = 32 * MIB
"""Bytes of a graph without its weights; the largest of ours has 0.3 MB."""

MOST_DRAWN = 64
"""Generated images that an opened network may be made to score."""

_LOOPS = {"If", "Loop", "TensorIterator", "ReadValue", "Assign"}
"""Operators that no network here has: with them a graph may run for ever, or remember an image."""

PREPARATION = (
    "Take the one frame. Turn it as its EXIF orientation says. Lay transparent parts on black.",
    "Make it grey, bright = dense, 0..255: colours as (19595 R + 38470 G + 7471 B + 32768) >> 16 "
    "of their 8-bit values (ITU-R BT.601; PIL.Image.convert('L')); grey of more than 8 bits as "
    "255 (v - low) / (high - low), clipped, not rounded; TIFF with WhiteIsZero turned round. "
    "DICOM: modality LUT or rescale, then VOI LUT or the first window, or without these from low "
    "to high, then MONOCHROME1 turned round (PS3.3, C.11), not rounded; padding and what lies "
    "outside of a shutter black.",
    "low and high are those of the values in use, padding left out: drop, at most twice, the "
    "values behind the widest gap between two used ones, on the side of fewer different values, "
    "where the gap is wider than the span of the others; of the rest low and high are the lowest "
    "and highest value within half of (p99 - p1) below p1 and above p99, the percentiles of its "
    "pixels; high is at least 63 steps above low.",
    "Where 'crop' is 'lungs', cut out the box around the lungs as cxr_transfer's Preprocessing.box "
    "finds it, to fractions of a pixel; else take the whole image.",
    "Resize it to (height, width), or where 'detail' is a number to (detail, detail), aspect ratio "
    "not kept, unless it is a whole image of that size: in float32, with a triangle filter that "
    "widens with the reduction (antialiased), along the width first, then along the height, "
    "nothing rounded in between; pixel centres at half integers, weights normalised at the "
    "borders. PIL.Image.convert('F').resize((width, height), PIL.Image.Resampling.BILINEAR) does "
    "this; torch's interpolate(mode='bilinear', antialias=True, align_corners=False) does within "
    "rounding. OpenCV's INTER_LINEAR and the defaults of torch and TensorFlow do not: they leave "
    "pixels out.",
    "Round half to even, clip to 0..255, as uint8: from here on all values are of 8 bits.",
    "Where 'detail' is a number, resize these 8-bit values (PIL's mode 'L') to (height, width) "
    "with PIL.Image.Resampling.BICUBIC.",
    "Where 'equalise' is true, spread the grey values as PIL.ImageOps.equalize does.",
    "Give it as (N, 1, height, width). Nothing else: scaling, means and channels are in the "
    "network.",
)
"""From a decoded image to the input of every network (`radiograph`), for users of other tools."""


class ExportMetadata(BaseModel):
    """Description of a converted network.

    Attributes:
        schema_version: Schema version of this file.
        intended_use: Use that the network is made for.
        format: Format of the files beside this one.
        precision: Precision of weights and activations in the graph.
        check: Number of images on which it was compared with the checkpoint's own network, largest
            difference of a score and of a feature (as a share of the largest), share of images with
            the same class.
        self_test: Scores of generated images, so that the network is known again elsewhere.
        made_on: Abilities that decided the arithmetic where it was checked
            (`openvino_runtime.abilities`).
        sha256: SHA-256 of the other files, by suffix.
        labels: Classes in the order of the scores.
        temperature: Temperature that calibrates the scores
            (`statistics.temperature.at_temperature`); None where none is known, or none was kept.
        confidence_threshold: Highest calibrated score below which no class is given; None gives one
            to every image.
        coverage: Share of the images by which it was chosen whose highest score reaches it.
        thresholds: Calibrated probability from which on each finding is named; None for classes, or
            where none are known. Written only where there are some.
        inputs: Name, shape and type; how an image becomes one, step by step.
        outputs: Names, shapes, types and meaning, in order.
        card: Card of the checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[5] = SCHEMA
    intended_use: Annotated[str, AfterValidator(checked_words)]
    format: Format
    precision: Weights
    check: Words
    self_test: SelfTest
    made_on: Annotated[tuple[str, ...], AfterValidator(checked_words)]
    sha256: Annotated[dict[str, Sha256], AfterValidator(checked_words)]
    labels: tuple[str, ...]
    temperature: Temperature | None
    confidence_threshold: Share | None = None
    coverage: Share | None = None
    thresholds: tuple[Share, ...] | None = None
    inputs: Words
    outputs: Words
    card: Checkpoint

    @model_validator(mode="after")
    def _speaks_of_one_network(self) -> ExportMetadata:
        if self.labels != self.card.labels:
            raise ValueError("labels that are not those of the card")
        if self.thresholds is not None and (
            self.card.task == "multi_class" or len(self.thresholds) != len(self.labels)
        ):
            raise ValueError("thresholds of other findings, or of classes")
        if tuple(self.self_test.scores) != self.labels:
            raise ValueError("self_test: scores of other labels, or in another order")
        drawn = self.self_test.drawn
        if len(drawn) > MOST_DRAWN or any(len(row) != len(self.labels) for row in drawn):
            raise ValueError(f"self_test: more than {MOST_DRAWN} drawn images, or other classes")
        numbers = (*self.self_test.scores.values(), self.self_test.tolerance, *chain(*drawn))
        if not all(math.isfinite(number) and 0 <= number <= 1 for number in numbers):
            raise ValueError("self_test: a score or a tolerance that is not between 0 and 1")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        if self.thresholds is None:
            written.pop("thresholds", None)
        return written


_CLASS_SCORES = {
    "meaning": "class scores, rows summing to 1, in the order of the labels; neither calibrated "
    "nor probabilities of a disease",
    "calibrated": "softmax(log(max(scores, 1e-12)) / temperature); where temperature is null the "
    "scores stay as they are; what 'cxr predict' gives, and the scale of every threshold in the "
    "model's reports; no class where the highest of them is below confidence_threshold (null: a "
    "class for every image)",
}
"""Description of the scores of a network of classes."""

_FINDING_SCORES = {
    "meaning": "probabilities of findings (sigmoid), each for itself, in the order of the labels: "
    "an image has any number of them; not calibrated",
    "calibrated": "sigmoid(logit(p) / temperature) of p = min(max(scores, 1e-12), 1 - 1e-12); "
    "where temperature is null the scores stay as they are; what 'cxr predict' gives; a finding is "
    "named from its place in thresholds on (null: 0.5, of the scores as they are)",
}
"""Description of the scores of a network of findings."""


def described(
    card: Checkpoint,
    *,
    format: Format,  # noqa: A002
    precision: Weights,
    check: dict[str, Any],
    self_test: SelfTest,
    made_on: tuple[str, ...],
    sha256: dict[str, str],
    temperature: float | None,
    confidence_threshold: float | None,
    coverage: float | None,
    thresholds: Sequence[float] | None = None,
) -> ExportMetadata:
    """Return what is to stand beside a network that was converted from ``card``'s checkpoint."""
    preprocessing = card.preprocessing
    classes = len(card.labels)
    return ExportMetadata(
        intended_use=INTENDED_USE,
        format=format,
        precision=precision,
        check=check,
        self_test=self_test,
        made_on=made_on,
        sha256=sha256,
        labels=card.labels,
        temperature=temperature,
        confidence_threshold=confidence_threshold,
        coverage=coverage,
        thresholds=None if thresholds is None else tuple(thresholds),
        inputs={
            "images": {
                "shape": ["N", 1, *preprocessing.size],
                "type": "uint8",
                "height": preprocessing.height,
                "width": preprocessing.width,
                "interpolation": preprocessing.interpolation,
                "antialias": True,
                "keep_aspect": preprocessing.keep_aspect,
                "crop": preprocessing.crop,
                "detail": preprocessing.detail,
                "equalise": preprocessing.equalise,
                "rounding": "half to even",
                "steps": list(PREPARATION),
            }
        },
        outputs={
            "scores": {
                "shape": ["N", classes],
                "type": "float32",
                "scale": NOT_CALIBRATED,
                **(_CLASS_SCORES if card.task == "multi_class" else _FINDING_SCORES),
            },
            "features": {
                "shape": ["N", "F"],
                "type": "float32",
                "meaning": "what the last layer sees of an image; for int8 they are not those of "
                "the float32 network",
            },
        },
        card=card,
    )


def read_export_metadata(path: Path) -> ExportMetadata:
    """Read what stands beside the graph ``path`` (.xml), and check both its files.

    The hashes beside a graph find damage, and a graph of another network; who made the graph also
    wrote its hashes, and they say nothing of him.

    Raises:
        ModelError: ``no_model``, ``bad_card``, ``other_schema``, ``wrong_hash``, ``bad_model``, and
            what `models.folder.opened` raises.
    """
    absent = [
        str(file)
        for file in (path, path.with_suffix(".bin"), path.with_suffix(".json"))
        if not file.is_file()
    ]
    if absent:
        raise ModelError(
            "no_model",
            f"Expected a converted network at {path}, but there is no {' and no '.join(absent)}; "
            "make one with 'cxr export', or give a run folder.",
        )
    card = path.with_suffix(".json")
    converted = _described_in(card)
    graph = read_bytes(path, most=LARGEST_GRAPH)
    digests = {"xml": hashlib.sha256(graph).hexdigest(), "bin": sha256(path.with_suffix(".bin"))}
    for suffix, digest in digests.items():
        if digest != converted.sha256.get(suffix):
            raise ModelError(
                "wrong_hash",
                f"Expected {path.with_suffix(f'.{suffix}')} as it was exported, but it has "
                "other bytes; it is damaged or of another network: export it anew.",
            )
    try:
        _check_graph(graph, converted.card)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ModelError(
            "bad_model",
            f"Expected a graph of the network that {card.name} describes in {path}, but got "
            f"{for_terminal(str(error))}; export it anew.",
        ) from None
    return converted


def read_onnx_metadata(path: Path) -> ExportMetadata:
    """Read what stands beside the graph ``path`` (.onnx), and check its bytes.

    Raises:
        ModelError: ``no_model``, ``bad_card``, ``other_schema``, ``wrong_hash``, and what
            `models.folder.opened` raises.
    """
    card = path.with_name(f"{path.name}.json")
    absent = [str(file) for file in (path, card) if not file.is_file()]
    if absent:
        raise ModelError(
            "no_model",
            f"Expected a converted network at {path}, but there is no {' and no '.join(absent)}; "
            "make one with 'cxr export', or give its scores as a table (.csv).",
        )
    converted = _described_in(card)
    if sha256(path) not in converted.sha256.values():
        raise ModelError(
            "wrong_hash",
            f"Expected {path} as it was exported, but it has other bytes; it is damaged or of "
            "another network: export it anew.",
        )
    return converted


def _described_in(card: Path) -> ExportMetadata:
    """Return what the JSON beside a converted network says of it.

    Raises:
        ModelError: ``bad_card``, ``other_schema``.
    """
    try:
        content = read_json(card)
        version = content.get("schema_version") if isinstance(content, dict) else None
        if isinstance(version, int) and version != SCHEMA:
            remedy = (
                "export it anew with 'cxr export'" if version < SCHEMA else "update cxr-transfer"
            )
            raise ModelError(
                "other_schema",
                f"Expected a converted network of schema {SCHEMA}, but {card} has {version}, of "
                f"{'an older' if version < SCHEMA else 'a newer'} cxr-transfer; {remedy}.",
            )
        return ExportMetadata.model_validate(content)
    except ValidationError as error:
        raise ModelError(
            "bad_card",
            f"Expected a converted network's fields in {card}, but {first_problem(error)}.",
        ) from None
    except ValueError as error:
        raise ModelError("bad_card", f"Expected JSON in {card}, but got: {error}.") from None


def _check_graph(graph: bytes, card: Checkpoint) -> None:
    """Refuse a graph that is no function of one image's pixels, or has other inputs and outputs.

    Args:
        graph: XML of OpenVINO's form.
        card: Card of the checkpoint that it is to be of.

    Raises:
        ValueError: It holds something else, which the message names.
        ParseError: It is no XML.
    """
    if b"<!" in graph.replace(b"<!--", b""):
        raise ValueError("a document type or entities")
    net = ElementTree.fromstring(graph)
    layers = net.findall("./layers/layer")
    if net.tag != "net" or len(layers) != len(list(net.iter("layer"))):
        raise ValueError("another structure")
    for layer in layers:
        kind = layer.get("type", "")
        # Its operators are OpenVINO's own: others would be of an extension, a library to load.
        if not re.fullmatch(r"opset[0-9]{1,2}", layer.get("version", "")) or kind in _LOOPS:
            raise ValueError(f"an operator {kind[:40]!r} that no network here has")
    inputs = [layer for layer in layers if layer.get("type") == "Parameter"]
    data = inputs[0].find("data") if len(inputs) == 1 else None
    shape = f"?,1,{card.preprocessing.height},{card.preprocessing.width}"
    declared = (data.get("element_type"), data.get("shape")) if data is not None else None
    if declared != ("u8", shape):
        raise ValueError(f"another input than u8 {shape}")
    results = [
        [dim.text for dim in layer.iter("dim")] for layer in layers if layer.get("type") == "Result"
    ]
    classes = str(len(card.labels))
    if not all(len(dims) == 2 for dims in results) or classes not in {dims[1] for dims in results}:
        raise ValueError(f"outputs without scores of {classes} classes")


def kept_conversion(card: Checkpoint, cache: Path) -> Path:
    """Return where ``cache`` keeps the conversion of a checkpoint, whether it has it yet or not.

    Under the hash of the whole card, which holds the weights' own: two checkpoints that share
    weights, and nothing else, do not share what is made of them.
    """
    key = hashlib.sha256(card.model_dump_json().encode()).hexdigest()
    return cache / "converted" / key / f"float32-{SCHEMA}.xml"
