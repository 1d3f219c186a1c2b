"""What stands beside a network in another form than the checkpoint's: ``NAME.json``.

It holds the hashes of the other files, how they were checked, what a user of another tool must do
to a film before the network and to its scores behind it, and the checkpoint's card. OpenVINO's
form (``NAME.xml`` and ``NAME.bin``, weights) is the one that is read back. Knows nothing of torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cxr_transfer import INTENDED_USE
from cxr_transfer.errors import ModelError
from cxr_transfer.inference.trial import Trial, Weights
from cxr_transfer.models.calibration import NOT_CALIBRATED
from cxr_transfer.models.card import Checkpoint

Format = Literal["openvino", "onnx", "torchscript"]

SCHEMA: Literal[4] = 4
"""2: the graph has the features as its second output. 3: the scores of one film are kept.
4: int8 holds on every processor; scores of more films, and what processor they were compared on."""

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
    "finds it, to fractions of a pixel; else take the whole film.",
    "Resize it to (height, width), or where 'detail' is a number to (detail, detail), aspect ratio "
    "not kept, unless it is a whole film of that size: in float32, with a triangle filter that "
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


class Converted(BaseModel):
    """What is known of a converted network.

    Attributes:
        schema_version: Of this file.
        intended_use: What the network may be used for.
        format: Of the files beside this one.
        precision: Of weights and activations in the graph.
        check: Films compared with the checkpoint's own network, largest difference of a score and
            of a feature (as a share of the largest), share of films with the same class.
        trial: What generated films score, so that the network is known again elsewhere.
        made_on: What decided the arithmetic where it was checked (`openvino_runtime.abilities`).
        sha256: Of the other files, by suffix.
        labels: The classes in the order of the scores.
        temperature: Calibrated scores are `models.calibration.at_temperature` of it; None where
            none is known, or none was kept.
        least_score: No class is given where the highest calibrated score is below it; None gives
            one to every film.
        coverage: Share of the films by which it was chosen whose highest score reaches it.
        inputs: Name, shape and type; how a film becomes one, step by step.
        outputs: Names, shapes, types and meaning, in order.
        card: Of the checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[4] = SCHEMA
    intended_use: str
    format: Format
    precision: Weights
    check: dict[str, Any]
    trial: Trial
    made_on: tuple[str, ...]
    sha256: dict[str, str]
    labels: tuple[str, ...]
    temperature: float | None
    least_score: float | None = None
    coverage: float | None = None
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    card: Checkpoint


def described(
    card: Checkpoint,
    *,
    format: Format,  # noqa: A002
    precision: Weights,
    check: dict[str, Any],
    trial: Trial,
    made_on: tuple[str, ...],
    sha256: dict[str, str],
    temperature: float | None,
    least_score: float | None,
    coverage: float | None,
) -> Converted:
    """Return what is to stand beside a network that was converted from ``card``'s checkpoint."""
    preprocessing = card.preprocessing
    classes = len(card.labels)
    return Converted(
        intended_use=INTENDED_USE,
        format=format,
        precision=precision,
        check=check,
        trial=trial,
        made_on=made_on,
        sha256=sha256,
        labels=card.labels,
        temperature=temperature,
        least_score=least_score,
        coverage=coverage,
        inputs={
            "films": {
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
                "meaning": "class scores, rows summing to 1, in the order of the labels; neither "
                "calibrated nor probabilities of a disease",
                "calibrated": "softmax(log(max(scores, 1e-12)) / temperature); where temperature "
                "is null the scores stay as they are; what 'cxr predict' gives, and the scale of "
                "every threshold in the model's reports; no class where the highest of them is "
                "below least_score (null: a class for every film)",
            },
            "features": {
                "shape": ["N", "F"],
                "type": "float32",
                "meaning": "what the last layer sees of a film; for int8 they are not those of "
                "the float32 network",
            },
        },
        card=card,
    )


def read_converted(path: Path) -> Converted:
    """Read what stands beside the graph ``path`` (.xml), and check both its files.

    Raises:
        ModelError: ``no_model``, ``bad_card``, ``other_schema``, ``wrong_hash``.
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
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
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
        converted = Converted.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            "bad_card",
            f"Expected a converted network's fields in {card}, but {where}: {first['msg']}.",
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError("bad_card", f"Expected JSON in {card}, but got: {error}.") from None
    for suffix in ("xml", "bin"):
        if sha256(path.with_suffix(f".{suffix}")) != converted.sha256.get(suffix):
            raise ModelError(
                "wrong_hash",
                f"Expected {path.with_suffix(f'.{suffix}')} as it was exported, but it has "
                "other bytes; it is damaged or of another network: export it anew.",
            )
    return converted


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def kept_conversion(card: Checkpoint, cache: Path) -> Path:
    """Return where ``cache`` keeps the conversion of a checkpoint, whether it has it yet or not."""
    return cache / "converted" / card.weights_sha256 / f"float32-{SCHEMA}.xml"
