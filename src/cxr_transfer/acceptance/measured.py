"""Figures of an acceptance test: shares with exact bounds, areas, calibration, groups.

In come scores of what is looked for and who is called positive; out go plain dicts for the record.
Draws no verdict: `verdict` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from cxr_transfer.acceptance.tested_model import POSITIVE, SIDES
from cxr_transfer.datasets.case import Case
from cxr_transfer.statistics.auroc import auroc_intervals
from cxr_transfer.statistics.exact import clopper_pearson, one_sided_bounds
from cxr_transfer.statistics.external import recalibration
from cxr_transfer.statistics.intervals import NOT_DEFINED, patient_weights
from cxr_transfer.statistics.recalibration import (
    calibration_error,
    chance_error,
    log_losses,
)
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.subgroups import AXES, axes, check_columns
from cxr_transfer.statistics.temperature import as_given, bin_gaps

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

EXACT = "exact (Clopper-Pearson): every image is of another patient"
BY_PATIENT = (
    "bootstrap by patient, percentiles, and never narrower than the exact interval: some patients "
    "have several images"
)
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Tested:
    """Images with an answer.

    Attributes:
        cases: Images, N of them.
        score: Score of what is looked for, (N,).
        positive: Flags of the images of it, (N,).
        level: Confidence level of each one-sided bound.
        seed: Random seed of folds and bootstrap.
    """

    cases: tuple[Case, ...]
    score: Floats
    positive: Flags
    level: float
    seed: int

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each image."""
        return tuple(case.patient for case in self.cases)

    def called(self, threshold: float) -> Flags:
        """Return which images are called positive, (N,)."""
        return np.asarray(as_given(self.score) >= threshold)

    def two_sided(self, score: Floats) -> Scores:
        """Return a score (N,) of these images as `Scores` of the classes `SIDES`."""
        files = tuple(case.file for case in self.cases)
        both = np.stack([1 - score, score], axis=1)
        return Scores(SIDES, self.positive.astype(np.int64), both, self.patients, files)


def share_of(
    hits: Flags, patients: Sequence[str], *, level: float, seed: int
) -> dict[str, float | int | str | None]:
    """Return a share with its 95 % interval and its one-sided bounds.

    Where every image is of another patient all are exact; else both are taken by patient, and the
    exact ones where these are wider.

    Args:
        hits: Flags of images, (N,); without an image nothing is defined.
        patients: Patients of these images.
        level: Confidence level of each one-sided bound.
        seed: Random seed of the bootstrap.

    Returns:
        ``value``, ``low``, ``high``, ``lower_bound`` and ``upper_bound``, null without an image;
        ``hits``, ``images``, ``patients``; ``method``.
    """
    total, right = len(hits), int(hits.sum())
    estimate = clopper_pearson(right, total)
    bounds = one_sided_bounds(right, total, level)
    low, high = estimate.low, estimate.high
    units = len(set(patients))
    is_exact = units == total
    if not is_exact:
        weights = patient_weights(patients, resamples=RESAMPLES, seed=seed)
        replicates = weights @ hits / weights.sum(axis=1)
        outside = (0.025, 1 - level, level, 0.975)
        drawn = np.quantile(replicates, outside).tolist()
        low, high = min(low, drawn[0]), max(high, drawn[3])
        bounds = min(bounds[0], drawn[1]), max(bounds[1], drawn[2])
    figures = {"value": estimate.value, "low": low, "high": high}
    figures |= {"lower_bound": bounds[0], "upper_bound": bounds[1]}
    return {
        **{name: float(value) if total else None for name, value in figures.items()},
        "hits": right,
        "images": total,
        "patients": units,
        "method": EXACT if is_exact else BY_PATIENT,
    }


def shares_at(tested: Tested, called: Flags) -> dict[str, Any]:
    """Return sensitivity and specificity of calls, as `share_of`."""
    patients = np.asarray(tested.patients, dtype=object)

    def of(hits: Flags, rows: Flags) -> dict[str, Any]:
        return share_of(hits[rows], patients[rows].tolist(), level=tested.level, seed=tested.seed)

    return {
        "sensitivity": of(called, tested.positive),
        "specificity": of(~called, ~tested.positive),
    }


def area(tested: Tested) -> dict[str, float | None]:
    """Return the AUROC with its interval by patient, as a dict; null of one class alone."""
    if tested.positive.all() or not tested.positive.any():
        return NOT_DEFINED.as_dict()
    areas, _ = auroc_intervals(tested.positive[None], tested.score[None], tested.patients)
    return areas[0].as_dict()


def calibration_of(tested: Tested, score: Floats) -> dict[str, Any]:
    """Return how far scores and outcomes lie apart.

    Args:
        tested: Images with an answer.
        score: Score of these images, (N,), as given or recalibrated.

    Returns:
        ``fewer_kind``, the number of positives or of others, whichever are fewer; ``error``, the
        expected calibration error of the class's score; ``by_chance``, what it is on
        as many images whose scores mean what they say; ``beyond_chance``, their difference, at
        least 0; ``lower_bound`` of that; ``brier``, ``log_loss``; ``slope`` and ``intercept`` of
        the logistic recalibration, null where there are too few images.
    """
    error, by_chance = calibration_error(score, tested.positive), chance_error(score)
    weights = patient_weights(tested.patients, resamples=RESAMPLES, seed=tested.seed)
    gaps = bin_gaps(score, tested.positive.astype(np.float64))
    replicates = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
    reach = float(norm.ppf(tested.level))
    # Resamples add chance of their own: their spread is taken, and not their place.
    deviation = float(replicates.std(ddof=1))
    slopes = recalibration(tested.two_sided(score), POSITIVE)
    return {
        "fewer_kind": int(min(tested.positive.sum(), (~tested.positive).sum())),
        "error": error,
        "by_chance": by_chance,
        "beyond_chance": max(0.0, error - by_chance),
        "lower_bound": max(0.0, error - by_chance - reach * deviation),
        "brier": float(((score - tested.positive) ** 2).mean()),
        "log_loss": float(log_losses(score, tested.positive).mean()),
        **{name: estimate.as_dict() for name, estimate in slopes.items()},
    }


def groups_at(
    tested: Tested, called: Flags, columns: Sequence[str], fewest: int
) -> dict[str, list[dict[str, Any]]]:
    """Return sensitivity and specificity in every group of some columns.

    The bounds are those of all groups with enough positives together (Bonferroni): with ten groups,
    one of them would else lie too low by chance in every third hospital.

    Args:
        tested: Images with an answer.
        called: Flags of those that are called positive, (N,).
        columns: Columns that form groups: names of `AXES`, or further ones of the data.
        fewest: Number of positives below which a group is not judged.
    """
    if not tested.cases:
        return {}
    group_of = axes(further_columns(columns, tested.cases))
    named = [name.strip().casefold() for name in columns]
    wanted = [name for name in group_of if name not in AXES or name in named]
    rows_of = {column: _rows(tested.cases, group_of[column]) for column in wanted}
    judged = sum(
        int(tested.positive[rows].sum()) >= fewest
        for groups in rows_of.values()
        for rows in groups.values()
    )
    level = 1 - (1 - tested.level) / max(judged, 1)

    def figures(name: str, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        part = Tested(
            tuple(tested.cases[row] for row in rows),
            tested.score[rows],
            tested.positive[rows],
            level,
            tested.seed,
        )
        shares = shares_at(part, called[rows])
        is_judged = shares["sensitivity"]["images"] >= fewest
        return {"group": name, "images": len(rows), "is_judged": is_judged, **shares}

    return {
        column: [figures(name, rows) for name, rows in groups.items()]
        for column, groups in rows_of.items()
    }


def further_columns(columns: Sequence[str], cases: Sequence[Case]) -> tuple[str, ...]:
    """Return columns beside `AXES` as the data spell them.

    Raises:
        UsageError: ``unknown_subgroup``, ``bad_subgroup``.
    """
    return check_columns([name for name in columns if name.strip().casefold() not in AXES], cases)


def _rows(
    cases: Sequence[Case], group_of: Callable[[Case], str]
) -> dict[str, npt.NDArray[np.int64]]:
    names = np.array([group_of(case) for case in cases], dtype=object)
    return {name: np.flatnonzero(names == name) for name in sorted(set(names))}
