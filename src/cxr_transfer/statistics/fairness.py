"""Whether a group of people is missed more often, or alarmed about more often, than another.

In come the `Scores` of a model and the cases they were computed from; out go plain dicts. Groups
are those of `subgroups.axes`, and of every two of them at once (sex and age, say). What is not
stated makes no group here.

Equalised odds: Hardt, Price & Srebro 2016, "Equality of Opportunity in Supervised Learning",
NeurIPS. Intersections: Seyyed-Kalantari et al. 2021, Nat. Med. 27:2176.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.statistics.comparison import holm
from cxr_transfer.statistics.intervals import patient_weights, percentile_interval
from cxr_transfer.statistics.scores import Floats, Scores, ratio
from cxr_transfer.statistics.subgroups import NOT_STATED, TOO_FEW, axes, large_groups

Rows = npt.NDArray[np.int64]

SENSITIVITY, FALSE_ALARMS = "sensitivity", "false alarms"

CHANCE_DRAWS = 10_000
"""Draws of groups that are all alike, which say how wide a gap chance alone makes."""

BOTH = " and "


def fairness(
    scores: Scores,
    cases: Sequence[Case],
    *,
    columns: Sequence[str] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the widest gaps in sensitivity and false alarms between groups, at the highest score.

    The two groups of a gap are chosen because they are the furthest apart, and its interval is
    theirs: with many groups a gap is too wide by chance. So each has a p-value: how often groups
    that are all alike, of as many patients, are as far apart. Those are corrected for the number
    of gaps by Holm's procedure.

    Args:
        scores: Scores of N images.
        cases: Cases of the same N images, in the same order.
        columns: Columns of a user's table that form groups, too.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap and of the draws.

    Returns:
        ``groups``: by axis, or two (``sex and age``), each group of at least `TOO_FEW` images with
        ``group``, ``images``, ``patients``. ``gaps``: for each axis, ``label`` and ``figure``
        (`SENSITIVITY` or `FALSE_ALARMS`) that two groups have `TOO_FEW` images for: ``lower`` and
        ``higher``, the names of the groups; ``images`` of both; ``values``; ``gap``, `Estimate` as
        a dict; ``p``. ``equalised_odds``: by axis the larger of both over all classes.
    """
    weights = patient_weights(scores.patients, resamples=resamples, seed=seed).astype(np.float64)
    rng = np.random.default_rng(seed)
    sizes: dict[str, list[dict[str, Any]]] = {}
    gaps: list[dict[str, Any]] = []
    for axis, group_of in _axes(columns).items():
        rows = large_groups(cases, group_of)
        sizes[axis] = [
            {"group": name, "images": len(of), "patients": _patients(scores, of)}
            for name, of in rows.items()
        ]
        gaps += [{"axis": axis, **gap} for gap in _gaps(scores, rows, weights, rng)]
    for gap, p in zip(gaps, holm([gap["p"] for gap in gaps]) if gaps else [], strict=True):
        gap["p"] = p
    return {
        "groups": {axis: of_axis for axis, of_axis in sizes.items() if len(of_axis) > 1},
        "gaps": gaps,
        "equalised_odds": {
            axis: max(gap["gap"]["value"] for gap in gaps if gap["axis"] == axis)
            for axis in dict.fromkeys(gap["axis"] for gap in gaps)
        },
    }


def _axes(columns: Sequence[str]) -> dict[str, Callable[[Case], str]]:
    single = axes(columns)

    def both(first: Callable[[Case], str], second: Callable[[Case], str]) -> Callable[[Case], str]:
        def group_of(case: Case) -> str:
            names = first(case), second(case)
            return NOT_STATED if NOT_STATED in names else ", ".join(names)

        return group_of

    pairs = combinations(single, 2)
    return single | {
        f"{first}{BOTH}{second}": both(single[first], single[second]) for first, second in pairs
    }


def _gaps(
    scores: Scores, rows: Mapping[str, Rows], weights: Floats, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return the widest gap of each class's sensitivity, and of its false alarms."""
    gaps = []
    # Of two classes one says it all: what it misses are the false alarms of the other.
    for target, label in list(enumerate(scores.labels))[-1 if len(scores.labels) == 2 else 0 :]:
        called = (scores.predicted == target).astype(np.float64)
        is_class = scores.targets == target
        for figure, counts in ((SENSITIVITY, is_class), (FALSE_ALARMS, ~is_class)):
            of = {name: these[counts[these]] for name, these in rows.items()}
            of = {name: these for name, these in of.items() if len(these) >= TOO_FEW}
            if len(of) < 2:
                continue
            values = {name: float(called[these].mean()) for name, these in of.items()}
            lower, higher = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
            if values[lower] == values[higher]:
                higher = next(name for name in reversed(values) if name != lower)
            value = values[higher] - values[lower]
            drawn = [_share(called, weights, of[name]) for name in (higher, lower)]
            estimate = percentile_interval(value, drawn[0] - drawn[1])
            pooled = float(called[np.concatenate(list(of.values()))].mean())
            units = np.array([_patients(scores, these) for these in of.values()])
            gaps.append(
                {
                    "label": label,
                    "figure": figure,
                    "lower": lower,
                    "higher": higher,
                    "images": [len(of[lower]), len(of[higher])],
                    "values": [values[lower], values[higher]],
                    "gap": estimate.as_dict(),
                    "p": _by_chance(value, pooled, units, rng),
                }
            )
    return gaps


def _share(called: Floats, weights: Floats, rows: Rows) -> Floats:
    """Return the share that is called in every resample, (R,); NaN where none was drawn."""
    drawn = weights[:, rows]
    total = drawn.sum(axis=1)
    return ratio(drawn @ called[rows], total)


def _by_chance(
    gap: float, pooled: float, units: npt.NDArray[np.int64], rng: np.random.Generator
) -> float:
    """Return how often groups of one share, of so many patients, lie as far apart."""
    shares = rng.binomial(units, pooled, size=(CHANCE_DRAWS, len(units))) / units
    as_wide = np.ptp(shares, axis=1) >= gap - 1e-9
    return float((1 + as_wide.sum()) / (1 + CHANCE_DRAWS))


def _patients(scores: Scores, rows: Rows) -> int:
    return len({scores.patients[row] for row in rows})
