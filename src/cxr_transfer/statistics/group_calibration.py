"""Whether scores mean the same in every group: the calibration error of each.

In come the `Scores` of a model and the cases they were computed from; out go plain dicts. A
calibration error is never negative and few images have one by chance, so beside each stands what
chance alone would make of scores that mean what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxr_transfer.datasets.case import Case
from cxr_transfer.statistics.calibration import calibration
from cxr_transfer.statistics.comparison import holm
from cxr_transfer.statistics.scores import Floats, Scores
from cxr_transfer.statistics.subgroups import axes, large_groups
from cxr_transfer.statistics.temperature import BINS, bin_of

CHANCE_DRAWS = 2000


def calibration_by_group(
    scores: Scores,
    cases: Sequence[Case],
    *,
    columns: Sequence[str] = (),
    resamples: int = 500,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the expected calibration error of every group of at least `TOO_FEW` images.

    Args:
        scores: Scores of N images.
        cases: Cases of the same N images, in the same order.
        columns: Columns of a user's table that form groups, too.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap and of the draws.

    Returns:
        For each group of an axis that has two: ``axis``, ``group``, ``images``, ``patients``,
        ``ece`` (`Estimate` as a dict), ``by_chance`` (mean of the error that scores which mean
        what they say have on so many images), ``excess`` (the first less the second), ``p`` (how
        often chance alone makes an error as large, corrected for the number of groups by Holm's
        procedure), ``confidence`` and ``accuracy``. The largest excess first.
    """
    rng = np.random.default_rng(seed)
    rows_of: dict[str, list[dict[str, Any]]] = {}
    for axis, group_of in axes(columns).items():
        rows_of[axis] = [
            {"axis": axis, "group": name}
            | _group(scores.only(rows), rng, resamples=resamples, seed=seed)
            for name, rows in large_groups(cases, group_of).items()
        ]
    groups = [group for of_axis in rows_of.values() if len(of_axis) > 1 for group in of_axis]
    for group, p in zip(groups, holm([g["p"] for g in groups]) if groups else [], strict=True):
        group["p"] = p
    return sorted(groups, key=lambda group: -float(group["excess"]))


def _group(part: Scores, rng: np.random.Generator, *, resamples: int, seed: int) -> dict[str, Any]:
    highest = part.probabilities.max(axis=1)
    right = (part.predicted == part.targets).astype(np.float64)
    drawn = _errors(highest, (rng.random((len(highest), CHANCE_DRAWS)) < highest[:, None]) * 1.0)
    ece = calibration(part, resamples=resamples, seed=seed).ece
    return {
        "images": len(highest),
        "patients": len(set(part.patients)),
        "ece": ece.as_dict(),
        "by_chance": float(drawn.mean()),
        "excess": ece.value - float(drawn.mean()),
        "p": float((1 + (drawn >= ece.value - 1e-12).sum()) / (1 + CHANCE_DRAWS)),
        "confidence": float(highest.mean()),
        "accuracy": float(right.mean()),
    }


def _errors(highest: Floats, right: Floats) -> Floats:
    """Return the expected calibration error of each column of outcomes, (S,).

    Args:
        highest: Highest score of each image, (N,).
        right: Whether it came true, in each draw, (N, S).
    """
    in_bin = np.eye(BINS)[bin_of(highest, BINS)]
    gaps = in_bin.T @ (highest[:, None] - right)
    return np.asarray(np.abs(gaps).sum(axis=0) / len(highest))
