"""Radiograph in, concerns out: may this picture be judged as one frontal chest image?

What the header says comes first, then whether there is a picture at all, then colour, then what a
thumbnail looks like: a frontal image, or a lateral, inverted, turned one, several images side by
side, or something else. For the last there are 1,536 numbers an image and one linear layer over
them (``quality_control.safetensors``), fitted by ``benchmarks/quality_control_results.py``, which
measures quality control as well.

The module knows no network and no classes of disease: how far an image lies from those that a
network was trained on is asked of that network's own features (``models/reference.py``). Modality
and body part are the decoder's affair. Left and right cannot be told: a mirrored image passes.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt
import safetensors
from PIL import Image

from cxr_transfer.radiograph.radiograph import Radiograph
from cxr_transfer.radiograph.ranks import ranks

Plane = npt.NDArray[np.float32]

LOOKS = ("frontal", "lateral", "inverted", "rotated", "upside_down", "collage", "other")
"""Looks that a picture may have, in the order of the linear layer's rows."""

WEIGHTS = "quality_control.safetensors"

_NO_IMAGES = ("CT", "MR", "NM", "PT", "US")  # DICOM modalities, should the caller allow them
_SIDE = 64  # of the thumbnail: what an image is of shows at this size, disease hardly does
_CELLS, _DIRECTIONS = 8, 8
_SAMPLES = 512  # pixels a side that grey values are counted on
_BLANK = 0.02  # standard deviation in [0, 1]; 0.055 is the lowest of 4,300 real images
_NOISE = 0.3  # share of the deviation left at 32 x 32; 0.75 is the lowest of the same images
PARTICULAR = 0.6  # of the score that is not for "frontal": less, and it is called "other"
COLOUR = 0.05  # mean; real images that were saved in colour are at 0.00


@dataclass(frozen=True)
class QualityIssue:
    """A reason why a class score would say nothing, or less than it seems.

    Attributes:
        code: ``blank_or_noise``, ``inverted``, ``upside_down``, ``rotated``, ``view``, ``collage``,
            ``out_of_distribution``.
        message: Line for a person: expected, received, remedy.
        refuses: Whether no class may be given ("cannot assess"); else it is a warning beside it.
    """

    code: str
    message: str
    refuses: bool


_BLANK_OR_NOISE = (
    "Expected a chest radiograph, but the picture is {}; check the file, or take the image anew."
)
_ARRAY_OF_NOTHING = (
    "Expected a chest radiograph, but the picture is {}; check its values, and whether value_range "
    "states which of them are black and white."
)
_IN_COLOUR = (
    "Expected a grey radiograph, but got a picture in colour (a photo or a screenshot?); use the "
    "original image."
)
_LATERAL_BY_HEADER = (
    "Expected a frontal image (PA or AP), but its header says that this is a lateral view; use the "
    "frontal view."
)
_UNLIKE_MOST = (
    "Expected a frontal chest image like others, but this is unlike most; check that it is whole, "
    "upright and of a chest, and trust its class score the less."
)
_SAID = {
    "lateral": (
        "view",
        "Expected a frontal image (PA or AP), but this looks like a lateral view; use the frontal "
        "view.",
    ),
    "inverted": (
        "inverted",
        "Expected bones brighter than air, but this looks like a negative; invert it, or use the "
        "original image.",
    ),
    "rotated": (
        "rotated",
        "Expected an upright image, but this looks turned by a quarter; turn it and try again.",
    ),
    "upside_down": (
        "upside_down",
        "Expected an upright image, but this looks upside down; turn it and try again.",
    ),
    "collage": (
        "collage",
        "Expected one image, but this looks like several side by side; save each as a file of its "
        "own.",
    ),
    "other": (
        "out_of_distribution",
        "Expected one frontal chest image, but this looks like something else (a photo, a "
        "screenshot, another body part, a CT slice?); use the original image.",
    ),
}


def quality_issues(radiograph: Radiograph) -> list[QualityIssue]:
    """Return what speaks against judging ``radiograph``, in the order a reader should hear it.

    Returns:
        Concerns of the header, then of the picture; empty for an image that may be judged.
    """
    issues = []
    if radiograph.header.view == "lateral":
        issues.append(QualityIssue("view", _LATERAL_BY_HEADER, refuses=True))
    if nothing := empty(radiograph):
        # What an empty picture looks like beyond that is chance.
        template = _ARRAY_OF_NOTHING if radiograph.format == "array" else _BLANK_OR_NOISE
        return [*issues, QualityIssue("blank_or_noise", template.format(nothing), refuses=True)]
    if radiograph.colour > COLOUR:
        issues.append(QualityIssue("out_of_distribution", _IN_COLOUR, refuses=True))
    scores = looks(radiograph)
    layer = _layer()
    if scores["frontal"] < layer.doubt:
        likeliest = max(LOOKS[1:], key=scores.__getitem__)
        particular = scores[likeliest] > PARTICULAR * (1 - scores["frontal"])
        if radiograph.header.modality in _NO_IMAGES:
            particular = False  # a CT slice is no lateral view, whatever it looks like
        refuses = scores["frontal"] < layer.refuse
        code, message = _SAID[likeliest if particular else "other"]
        if not (particular or refuses):
            message = _UNLIKE_MOST
        if code not in {concern.code for concern in issues}:
            issues.append(QualityIssue(code, message, refuses))
    return issues


def empty(radiograph: Radiograph) -> str:
    """Return "blank" or "noise" for a picture that shows nothing, else ""."""
    step = max(1, min(radiograph.height, radiograph.width) // _SAMPLES)
    sample = radiograph.stored[::step, ::step]
    contrast = float(sample.std(dtype=np.float64))
    contrast /= 255 if radiograph.stored.dtype == np.uint8 else 1
    if contrast < _BLANK:
        return "blank"
    # Noise averages out on the way to a thumbnail; an image does not.
    small = np.asarray(Image.fromarray(sample).resize((32, 32), Image.Resampling.BOX))
    remaining = float(small.std(dtype=np.float64))
    remaining /= 255 if radiograph.stored.dtype == np.uint8 else 1
    return "noise" if remaining < _NOISE * contrast else ""


def looks(radiograph: Radiograph) -> dict[str, float]:
    """Return how much the picture looks like each of `LOOKS`: softmax scores that sum to 1."""
    layer = _layer()
    # Not "@": BLAS would start threads, and its sums depend on their number.
    logits = np.einsum("kf,f->k", layer.weights, described(radiograph)) + layer.biases
    scores = np.exp(logits - logits.max())
    return dict(zip(LOOKS, (scores / scores.sum()).tolist(), strict=True))


def described(radiograph: Radiograph) -> Plane:
    """Return what the linear layer sees: (1536,) float32.

    The thumbnail's ranks from -1 to 1 at 32 x 32, halved, so that exposure and gamma do not count;
    then the directions of its edges in 8 x 8 cells, signed, in 8 bins (histograms of oriented
    gradients: Dalal & Triggs, CVPR 2005), each cell scaled to length 1.
    """
    ranked = ranks(_thumbnail(radiograph, _SIDE))
    coarse = ranked.reshape(_SIDE // 2, 2, _SIDE // 2, 2).mean((1, 3))
    return np.concatenate([0.5 * coarse.ravel(), _edges(ranked)])


@dataclass(frozen=True, eq=False)
class _Layer:
    """The fitted layer, and below which score for "frontal" an image is doubted or refused."""

    weights: Plane  # (looks, features)
    biases: Plane  # (looks,)
    doubt: float
    refuse: float


@functools.cache
def _layer() -> _Layer:
    with (
        resources.as_file(resources.files("cxr_transfer.radiograph") / WEIGHTS) as path,
        safetensors.safe_open(path, framework="numpy") as file,
    ):
        thresholds = json.loads(file.metadata()["quality_control"])
        return _Layer(
            file.get_tensor("weights").astype(np.float32),
            file.get_tensor("biases").astype(np.float32),
            thresholds["doubt"],
            thresholds["refuse"],
        )


def _thumbnail(radiograph: Radiograph, side: int) -> npt.NDArray[np.uint8]:
    stored = radiograph.stored
    thumbnail = Image.fromarray(stored).resize(
        (side, side), Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    if stored.dtype == np.uint8:
        return np.asarray(thumbnail)
    # In 8 bits too, or the noise of a black background would be spread over its share of ranks.
    grey: npt.NDArray[np.uint8] = np.rint(np.asarray(thumbnail) * 255).clip(0, 255).astype(np.uint8)
    return grey


def _edges(plane: Plane) -> Plane:
    down, across = np.gradient(plane)
    strength = np.hypot(down, across).ravel()
    direction = (np.arctan2(down, across).ravel() / np.pi + 1) * _DIRECTIONS / 2
    lower = np.floor(direction)
    upper_share = direction - lower
    bins = lower.astype(np.intp)
    place = np.arange(_SIDE) * _CELLS // _SIDE
    cell = _DIRECTIONS * (_CELLS * place[:, None] + place).ravel()
    size = _CELLS * _CELLS * _DIRECTIONS
    counts = np.bincount(cell + bins % _DIRECTIONS, strength * (1 - upper_share), size)
    counts += np.bincount(cell + (bins + 1) % _DIRECTIONS, strength * upper_share, size)
    cells = counts.reshape(-1, _DIRECTIONS)
    # In a cell without edges the noise is not to be blown up to full strength.
    least = 0.02 * (_SIDE / _CELLS) ** 2
    scaled: Plane = np.sqrt(cells / (cells.sum(axis=1, keepdims=True) + least))
    return scaled.ravel().astype(np.float32)
