"""Letters and side markers that are burned into images: found, counted, and painted out.

A letter "R", a date or a hospital's name tells where an image was made (Zech et al. 2018, PLoS Med.
15:e1002683; DeGrave et al. 2021, Nat. Mach. Intell. 3:610). They are looked for without reading
them: bright strokes near an edge of the image, of a letter's size, on quiet ground. Tubes and wires
are longer, bones are wider and blurred. What a model is given is looked at: a letter that is too
small to be seen there marks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.lung_masks import LungMasks
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.statistics.association import source_by_class
from cxr_transfer.statistics.intervals import share
from cxr_transfer.statistics.metrics import aurocs
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.subjects.input_variants import compare_scores

Plane = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Score = Callable[[Plane], npt.NDArray[np.float64]]

STROKE = 0.04
"""Greatest width of a stroke, in heights of the image."""

HEIGHT = (0.022, 0.11)
"""Least and greatest height of a letter, in heights of the image."""

WIDTH = (0.01, 0.2)
"""Least and greatest width of a letter, or of several that touch, in widths of the image."""

NEAR_EDGE = 0.22
"""Greatest distance from an edge of the image, in its sizes."""

CONTRAST, BRIGHT = 60, 140
"""Least grey value, of 255, above the ground and at all: of the brightest quarter of a letter,
whose strokes may be thinner than a pixel."""

BEYOND_LUNGS = 0.03
"""Distance from the lungs' mask, in heights of the image, within which a bright stroke is a rib."""

QUIET = 22.0
"""Greatest spread of the ground's grey values around a letter."""

MARKED, PLAIN = "marked", "not marked"

_EIGHT = np.ones((3, 3), np.bool_)


def marker_mask(image: Plane, lungs: Mask) -> Mask:
    """Return where letters and side markers are on one grey image, outside of the lungs.

    Args:
        image: Image (H, W), bright = dense.
        lungs: Mask of its lungs (H, W).

    Returns:
        Mask (H, W), with a rim of one pixel around each.
    """
    height = len(image)
    reach = max(5, 2 * round(STROKE * height / 2) + 1)
    ground = ndimage.grey_opening(image, size=(reach, reach))
    # Letters may touch each other, and the ground between them is not theirs.
    numbered, _ = ndimage.label(image.astype(np.int16) - ground >= CONTRAST, _EIGHT)
    found = np.zeros_like(image, np.bool_)
    away = ndimage.distance_transform_edt(~lungs) > BEYOND_LUNGS * height if lungs.any() else ~lungs
    bright = ndimage.binary_dilation(numbered > 0, _EIGHT)
    for number, place in enumerate(ndimage.find_objects(numbered), start=1):
        component = numbered == number
        if away[component].all() and _is_letter(image, component, bright, place):
            found |= component
    return np.asarray(ndimage.binary_dilation(found, _EIGHT)) if found.any() else found


def _is_letter(image: Plane, component: Mask, bright: Mask, place: tuple[slice, slice]) -> bool:
    height, width = image.shape
    down, across = ((part.stop - part.start) for part in place)
    if not HEIGHT[0] <= down / height <= HEIGHT[1] or not WIDTH[0] <= across / width <= WIDTH[1]:
        return False
    middle = [
        (part.start + part.stop) / 2 / side for part, side in zip(place, image.shape, strict=True)
    ]
    if min(min(at, 1 - at) for at in middle) > NEAR_EDGE:
        return False
    # A little larger than the component, so that the ground around it is there to be looked at.
    around = tuple(slice(max(0, part.start - 4), part.stop + 4) for part in place)
    shape, grey = component[around], image[around]
    # Not the ground: the rim, which is blurred, and the next letter of a word.
    ring = ndimage.binary_dilation(shape, _EIGHT, iterations=3) & ~bright[around]
    if shape.sum() < 5 or ring.sum() < 10:
        return False
    inside, outside = np.percentile(grey[shape], 75), np.median(grey[ring])
    return bool(
        inside >= BRIGHT
        and inside - outside >= CONTRAST
        and np.std(grey[ring].astype(np.float64)) <= QUIET
    )


def painted_out(image: Plane, mask: Mask) -> Plane:
    """Return an image (H, W) with each place of a mask filled with the median around it."""
    painted = image.copy()
    numbered, _ = ndimage.label(mask, _EIGHT)
    for number, place in enumerate(ndimage.find_objects(numbered), start=1):
        around = tuple(slice(max(0, part.start - 4), part.stop + 4) for part in place)
        ground = image[around][~mask[around]]
        painted[numbered == number] = np.median(ground) if ground.size else 0
    return painted


def markers(
    score: Score | None,
    images: Plane,
    lungs: LungMasks,
    cases: Sequence[Case],
    whole: Scores,
    preprocessing: Preprocessing,
    *,
    most: int,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return which images have letters, whether these go with the class, and what they are worth.

    Args:
        score: Function that returns class scores (N, C) of images (N, 1, H, W); None of a model
            that cannot be asked.
        images: Images before the last steps of the preprocessing, (N, 1, H, W).
        lungs: Their lung masks.
        cases: Their cases.
        whole: Their scores.
        preprocessing: Preprocessing whose last steps finish changed images.
        most: Largest number of images that are scored with their letters painted out.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the draw and the bootstrap.

    Returns:
        ``marked``: share of images with letters, `Estimate` as a dict; ``by_class`` and
        ``by_source``: images, and those with letters, by name; ``cramers_v`` of letters and class,
        and the plain one with its interval, as `source_by_class`; ``auroc``: of "has letters"
        alone, the macro one; ``painted``: None where nothing was painted, else ``images``,
        ``otherwise`` (share called otherwise) and ``auroc_change`` (over all images, painted less
        whole).
    """
    again = {"resamples": resamples, "seed": seed}
    masks = [marker_mask(image[0], lungs.mask(row)) for row, image in enumerate(images)]
    marked = np.array([mask.any() for mask in masks])
    named = [
        replace(case, source=MARKED if is_marked else PLAIN)
        for case, is_marked in zip(cases, marked, strict=True)
    ]
    table = source_by_class(named, **again)
    return {
        "marked": share(marked, whole.patients, **again).as_dict(),
        "by_class": _counts([case.label for case in cases], marked),
        "by_source": _counts([case.source for case in cases], marked),
        "cramers_v": table["cramers_v"],
        "cramers_v_plain": table["cramers_v_plain"],
        "auroc": _told_by_marks(whole, marked),
        "painted": None
        if score is None or not marked.any()
        else _painted(score, images, masks, marked, whole, preprocessing, most, again),
    }


def _counts(names: Sequence[str], marked: Mask) -> dict[str, dict[str, int]]:
    return {
        name: {
            "images": names.count(name),
            "marked": sum(
                flag for other, flag in zip(names, marked.tolist(), strict=True) if other == name
            ),
        }
        for name in sorted(set(names))
    }


def _told_by_marks(whole: Scores, marked: Mask) -> dict[str, float | None]:
    """Return the macro AUROC of each class's share among marked images, and among others."""
    chances = np.full((len(marked), len(whole.labels)), 1 / len(whole.labels))
    for flag in (False, True):
        if (marked == flag).any():
            counts = np.bincount(whole.targets[marked == flag], minlength=len(whole.labels))
            chances[marked == flag] = counts / counts.sum()
    told = Scores(whole.labels, whole.targets, chances, whole.patients, whole.files)
    return aurocs(told)[1].as_dict()


def _painted(
    score: Score,
    images: Plane,
    masks: Sequence[Mask],
    marked: Mask,
    whole: Scores,
    preprocessing: Preprocessing,
    most: int,
    again: dict[str, int],
) -> dict[str, Any]:
    """Return what images with letters are called without them."""
    rows = np.flatnonzero(marked)
    rows = np.sort(np.random.default_rng(again["seed"]).permutation(rows)[:most])
    has_last_steps = preprocessing.unfinished != preprocessing

    def finished(pictures: list[Plane]) -> Plane:
        steps = preprocessing.finish if has_last_steps else np.asarray
        return np.stack([steps(picture) for picture in pictures])[:, None]

    painted = score(finished([painted_out(images[row, 0], masks[row]) for row in rows.tolist()]))
    before = (
        score(finished([np.asarray(images[row, 0]) for row in rows]))
        if has_last_steps
        else whole.probabilities[rows]
    )
    patients = [whole.patients[row] for row in rows]
    otherwise = painted.argmax(axis=1) != before.argmax(axis=1)
    first, second = whole.probabilities.copy(), whole.probabilities.copy()
    first[rows], second[rows] = before, painted
    compared = compare_scores([second, first], whole.targets, whole.patients)
    return {
        "images": len(rows),
        "otherwise": share(otherwise, patients, **again).as_dict(),
        "auroc_change": compared.difference(0, 1).as_dict(),
    }
