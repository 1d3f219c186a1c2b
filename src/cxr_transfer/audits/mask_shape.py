"""Whether the form of what is blacked out tells the class by itself.

Lungs are blacked out along their outline, so the outline stays to be seen: white lungs have smaller
masks, children have others than adults. Beside it stand a box around the lungs, and as much of the
image elsewhere; and how well the classes are told by a few numbers of the masks alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.baselines import baseline
from cxr_transfer.audits.drawn import drawn_evenly
from cxr_transfer.audits.readings import Part
from cxr_transfer.errors import DataError
from cxr_transfer.radiograph.lung_segmentation import lungs_blacked
from cxr_transfer.statistics.metrics import aurocs
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.subjects.input_variants import compare_scores

Images = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]
Score = Callable[[Images], npt.NDArray[np.float64]]

FEATURES = (
    "area",
    "centre across",
    "centre down",
    "width",
    "height",
    "aspect",
    "filled share of the box",
    "share in the left half",
)
"""Numbers of a mask, in the order of `shape_of`."""

MASK, BOX, ELSEWHERE = "lungs by their outline", "box around the lungs", "as much elsewhere"


def mask_shape(
    score: Score, part: Part, whole: Scores, *, resamples: int, seed: int
) -> dict[str, Any]:
    """Return what is told where a mask, its box, or as much elsewhere is blacked out.

    Args:
        score: Function that returns class scores (N, C) of images (N, 1, H, W).
        part: Images that are scored for the figures.
        whole: Their scores.
        resamples: Unused: areas need no resamples.
        seed: Random seed of the draw and the folds.

    Returns:
        ``shape_auroc``: macro AUROC of a linear model on `FEATURES` of all masks, of other
        patients' (null values where it cannot be fitted); ``images`` blacked out; ``auroc``: macro
        AUROC of whole images and by what is blacked out; ``outline``: AUROC of the first less the
        box's, `Estimate` as a dict; ``elsewhere_in_lungs``: share of what is blacked out elsewhere
        that lies in the lungs after all. Empty without two classes of 20 images.
    """
    rows = drawn_evenly(whole.targets, np.arange(len(whole.files)), seed=seed)
    if not len(rows):
        return {}
    images, masks = part.images[rows], part.tensors.lungs.only(rows).masks()
    boxes, away = (
        np.stack([hide(mask[0]) for mask in masks])[:, None] for hide in (box, elsewhere)
    )
    hidden = {MASK: masks, BOX: boxes, ELSEWHERE: away}
    answers = {name: score(lungs_blacked(images, mask)) for name, mask in hidden.items()}
    some = whole.only(rows)
    areas = {"whole": aurocs(some)[1].as_dict()}
    for name, answer in answers.items():
        scores = Scores(some.labels, some.targets, answer, some.patients, some.files)
        areas[name] = aurocs(scores)[1].as_dict()
    compared = compare_scores([answers[MASK], answers[BOX]], some.targets, some.patients)
    return {
        "shape_auroc": _told_by_shape(part, whole, seed),
        "images": len(rows),
        "auroc": areas,
        "outline": compared.difference(0, 1).as_dict(),
        "elsewhere_in_lungs": float((away & masks).sum() / max(int(away.sum()), 1)),
    }


def _told_by_shape(part: Part, whole: Scores, seed: int) -> dict[str, float | None]:
    table = np.array(
        [shape_of(part.tensors.lungs.mask(row)) for row in range(len(whole.files))], np.float64
    )
    try:
        scores = baseline(
            table, whole.targets, whole.labels, whole.patients, whole.files,
            kind="linear", seed=seed,
        )  # fmt: skip
    except DataError:  # Too few patients of a class.
        return {"value": None, "low": None, "high": None}
    return aurocs(scores)[1].as_dict()


def shape_of(mask: Masks) -> list[float]:
    """Return `FEATURES` of a mask (H, W), in shares of the image."""
    if not mask.any():
        return [0.0, 0.5, 0.5, 0.0, 0.0, 1.0, 0.0, 0.5]
    down, across = np.nonzero(mask)
    height, width = (np.ptp(places) + 1 for places in (down, across))
    left = float((across < mask.shape[1] / 2).mean())
    return [
        float(mask.mean()),
        float(across.mean()) / mask.shape[1],
        float(down.mean()) / mask.shape[0],
        width / mask.shape[1],
        height / mask.shape[0],
        width / height,
        len(down) / (height * width),
        left,
    ]


def box(mask: Masks) -> Masks:
    """Return the box around a mask (H, W)."""
    filled = np.zeros_like(mask)
    if mask.any():
        down, across = np.nonzero(mask)
        filled[down.min() : down.max() + 1, across.min() : across.max() + 1] = True
    return filled


def elsewhere(mask: Masks) -> Masks:
    """Return a strip along one edge of the image, as large as a mask's box, the least in the lungs.

    Args:
        mask: Mask (H, W).
    """
    height, width = mask.shape
    area = int(box(mask).sum())
    down, across = min(height, round(area / width)), min(width, round(area / height))
    places = (
        (slice(0, down), slice(None)),
        (slice(height - down, None), slice(None)),
        (slice(None), slice(0, across)),
        (slice(None), slice(width - across, None)),
    )
    strip = np.zeros_like(mask)
    strip[min(places, key=lambda place: int(mask[place].sum()))] = True
    return strip
