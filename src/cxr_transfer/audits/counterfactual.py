"""What an image is called in the surroundings of another: its lungs stay, all else is exchanged.

An image in the surroundings of one of another class must stay what it is: its lungs did not change.
Where it takes the class of the donor, the surroundings decided. Glued images are odd in themselves,
so the same is done with donors of the image's own class, which must change nothing at all.

After Xiao et al. 2021 ("Noise or Signal: The Role of Image Backgrounds in Object Recognition",
ICLR): "Mixed-Same" and "Mixed-Next". The lungs of the donor are moved to where the image's are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from cxr_transfer.audits.drawn import FEWEST, Rows, drawn_evenly
from cxr_transfer.audits.readings import Part
from cxr_transfer.statistics.intervals import share
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.training.background_swap import swap_backgrounds

Images = npt.NDArray[np.uint8]
Score = Callable[[Images], npt.NDArray[np.float64]]

BORDER = 0.12
"""Depth of the border in sizes of the image, as where only the border is shown."""

SWAPS = ("surroundings of the lungs", "border")


def counterfactual(
    score: Score, part: Part, whole: Scores, *, resamples: int, seed: int
) -> dict[str, Any]:
    """Return what images are called that have the surroundings, or the border, of others.

    Args:
        score: Function that returns class scores (N, C) of images (N, 1, H, W).
        part: Images that are scored for the figures.
        whole: Their scores; only images that are called right are exchanged.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the draw and the bootstrap.

    Returns:
        ``images``: how many; empty where there are no two classes with 20 images called right.
        ``swaps``: by `SWAPS` the shares ``follows`` (called as the donor of another class),
        ``otherwise`` (called anything else than before) and ``control`` (called otherwise with a
        donor of the own class), `Estimate` as dicts.
    """
    right = np.flatnonzero(whole.predicted == whole.targets)
    rows = drawn_evenly(whole.targets, right, seed=seed)
    if not len(rows):
        return {}
    targets, rng = whole.targets[rows], np.random.default_rng(seed)
    patients = [whole.patients[row] for row in rows]
    others = np.array([rng.choice(np.flatnonzero(targets != target)) for target in targets])
    same = np.array(
        [
            rng.choice(np.setdiff1d(np.flatnonzero(targets == target), [row]))
            for row, target in enumerate(targets)
        ]
    )
    again = {"resamples": resamples, "seed": seed}
    swaps: dict[str, Any] = {}
    for name, swap in zip(SWAPS, (_surroundings, _borders), strict=True):
        called = score(swap(part, rows, rows[others])).argmax(axis=1)
        control = score(swap(part, rows, rows[same])).argmax(axis=1)
        swaps[name] = {
            "follows": share(called == targets[others], patients, **again).as_dict(),
            "otherwise": share(called != targets, patients, **again).as_dict(),
            "control": share(control != targets, patients, **again).as_dict(),
        }
    return {"images": len(rows), "fewest_of_a_class": FEWEST, "swaps": swaps}


def _surroundings(part: Part, rows: Rows, donors: Rows) -> Images:
    """Return the lungs of ``rows`` in the surroundings of ``donors``."""
    lungs = part.tensors.lungs.only(rows)
    moved = np.stack(
        [
            moved_onto(
                part.images[donor, 0], part.tensors.lungs.mask(int(donor)), lungs.mask(number)
            )
            for number, donor in enumerate(donors)
        ]
    )[:, None]
    both = torch.from_numpy(np.concatenate([part.images[rows], moved]))
    mixed = swap_backgrounds(both, len(rows) + np.arange(len(rows)), lungs)
    return np.asarray(mixed[: len(rows)].numpy())


def _borders(part: Part, rows: Rows, donors: Rows) -> Images:
    """Return ``rows`` with the border of ``donors``."""
    height, width = part.images.shape[2:]
    down, across = round(BORDER * height), round(BORDER * width)
    mixed: Images = part.images[donors].copy()
    inner = (slice(None), slice(None), slice(down, height - down), slice(across, width - across))
    mixed[inner] = part.images[rows][inner]
    return mixed


def moved_onto(
    donor: Images, donor_mask: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_]
) -> Images:
    """Return an image stretched so that the box of its lungs is the box of another mask.

    Args:
        donor: Image (H, W).
        donor_mask: Its lungs.
        mask: Lungs of the other image.
    """
    scale, offset = [], []
    for axis in (1, 0):
        (low, high), (donor_low, donor_high) = _ends(mask, axis), _ends(donor_mask, axis)
        factor = (donor_high - donor_low) / (high - low)
        scale.append(factor)
        offset.append(donor_low - factor * low)
    moved = ndimage.affine_transform(
        donor.astype(np.float32), np.array(scale), np.array(offset), order=1, mode="nearest"
    )
    return np.asarray(np.rint(moved).clip(0, 255).astype(np.uint8))


def _ends(mask: npt.NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """Return the first place, and the one behind the last, that a mask has along an axis."""
    places = np.flatnonzero(mask.any(axis=axis))
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, mask.shape[1 - axis])
