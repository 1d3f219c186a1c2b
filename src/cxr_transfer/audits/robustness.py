"""How often an image is called otherwise after changes that change no finding.

Of many images so many are drawn by chance as tell the fall of accuracy to about two points: each of
ten changes is an answer of the model for every image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.perturbations import CORRUPTIONS, UNCHANGED, corrupted
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.statistics.intervals import mean, share
from cxr_transfer.statistics.scores import Scores

Images = npt.NDArray[np.uint8]
Score = Callable[[Images], npt.NDArray[np.float64]]

MOST_CHANGED = 500
"""Largest number of images that are changed; of more, so many are drawn by chance."""

PASSES = len((UNCHANGED, *CORRUPTIONS))
"""Answers of the model for each of these images."""


def robustness_evidence(
    score: Score,
    unfinished: Images,
    whole: Scores,
    preprocessing: Preprocessing,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return by how much the accuracy falls under each change.

    Args:
        score: Function that returns class scores (N, C) of images (N, 1, H, W).
        unfinished: Images (N, 1, H, W) before they are reduced and equalised: what these steps take
            away of a change does no harm.
        whole: Scores of the images.
        preprocessing: Preprocessing whose last steps finish a changed image.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the draw, the noise and the bootstrap.

    Returns:
        ``images``: how many were changed; ``accuracy`` of these before any change, brought to the
        model in the same way, and ``fall``, by the change how much lower it is after it: `Estimate`
        as dicts.
    """
    rows = np.arange(len(whole.targets))
    if len(rows) > MOST_CHANGED:
        rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MOST_CHANGED])
    drawn, patients = unfinished[rows], [whole.patients[row] for row in rows]
    again = {"resamples": resamples, "seed": seed}

    def is_right(name: str) -> npt.NDArray[np.bool_]:
        images = corrupted(drawn, name, preprocessing=preprocessing, seed=seed)
        return np.asarray(score(images).argmax(axis=1) == whole.targets[rows])

    before = is_right(UNCHANGED)
    falls = {
        name: mean(before.astype(np.float64) - is_right(name), patients, **again).as_dict()
        for name in CORRUPTIONS
    }
    return {
        "images": len(rows),
        "accuracy": share(before, patients, **again).as_dict(),
        "fall": falls,
    }
