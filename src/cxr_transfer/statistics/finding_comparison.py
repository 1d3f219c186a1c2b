"""Pairs of models of several findings on the same images: each finding for itself, and the mean.

A finding and its absence are two classes on the images whose label is known. Knows no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import DataError
from cxr_transfer.statistics.comparison import check_same_images, holm, mcnemar
from cxr_transfer.statistics.delong import delong
from cxr_transfer.statistics.findings import FindingScores
from cxr_transfer.statistics.intervals import (
    NOT_DEFINED,
    Estimate,
    percentile_interval,
    value_and_resamples,
)
from cxr_transfer.statistics.scores import Floats, Scores, WeightedScores


@dataclass(frozen=True, eq=False)
class NamedFindings:
    """A model's probabilities of findings, and what it names.

    Attributes:
        scores: Probabilities of N images, F findings.
        named: Whether each finding is named, (N, F).
    """

    scores: FindingScores
    named: npt.NDArray[np.bool_]


def compared_findings(
    models: Mapping[str, NamedFindings], *, resamples: int = 2000, seed: int = 0
) -> list[dict[str, Any]]:
    """Compare each pair of models, finding by finding.

    Args:
        models: Models on the same images in the same order, by name.
        resamples: Number of resamples of the paired bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        For each pair ``a`` and ``b``; ``mean_auroc_b_minus_a``, over the findings that some images
        have and some have not; ``findings``: for each finding ``images`` with a known label,
        ``only_a_right``, ``only_b_right`` and ``p_mcnemar_exact`` of what is named, and
        ``auroc_b_minus_a`` with ``p`` of DeLong's test (null where too few patients have it, or
        have it not). ``p_mcnemar_holm`` and ``p_holm`` are adjusted over all findings and pairs.

    Raises:
        DataError: ``not_paired`` unless all models scored the same images.
    """
    names = list(models)
    weights = value_and_resamples(models[names[0]].scores.patients, resamples=resamples, seed=seed)
    areas = {name: _mean_areas(models[name].scores, weights) for name in names}
    pairs: list[dict[str, Any]] = []
    found: list[dict[str, dict[str, Any]]] = []
    for a, b in combinations(names, 2):
        check_same_images(models[a].scores, models[b].scores)
        gained = areas[b] - areas[a]
        defined = not math.isnan(gained[0])
        mean = percentile_interval(gained[0], gained[1:]) if defined else NOT_DEFINED
        found.append(_by_finding(models[a], models[b]))
        pairs.append(
            {
                "a": a,
                "b": b,
                "mean_auroc_b_minus_a": mean.as_dict(),
                "findings": found[-1],
            }
        )
    tests = [test for by_finding in found for test in by_finding.values()]
    _adjust(tests, "p_mcnemar_exact", "p_mcnemar_holm")
    _adjust(tests, "p", "p_holm")
    return pairs


def _mean_areas(scores: FindingScores, weights: npt.NDArray[np.int64]) -> Floats:
    """Return the mean AUROC over findings of each row of weights, (R,); NaN where none has one."""
    columns = []
    for name in scores.labels:
        part = scores.of_finding(name)
        if part is not None and len(set(part.targets.tolist())) == 2:
            known = weights[:, scores.known(name)].astype(np.float64)
            columns.append(WeightedScores(part, known).areas[0][:, 1])
    return np.mean(columns, axis=0) if columns else np.full(len(weights), np.nan)


def _by_finding(a: NamedFindings, b: NamedFindings) -> dict[str, dict[str, Any]]:
    compared = {}
    for place, name in enumerate(a.scores.labels):
        known = a.scores.known(name)
        first, second = a.scores.of_finding(name), b.scores.of_finding(name)
        if first is None or second is None:
            continue
        test = mcnemar(first.targets, a.named[known, place], b.named[known, place])
        difference, p = _areas(first, second, name)
        compared[name] = {
            "images": len(first.files),
            "only_a_right": test.only_a_right,
            "only_b_right": test.only_b_right,
            "p_mcnemar_exact": test.p,
            "auroc_b_minus_a": difference.as_dict(),
            "p": p,
        }
    return compared


def _areas(first: Scores, second: Scores, name: str) -> tuple[Estimate, float | None]:
    try:
        found = delong(first, second, name)
    except DataError:
        return NOT_DEFINED, None
    return found.difference, found.p


def _adjust(tests: Iterable[dict[str, Any]], name: str, adjusted: str) -> None:
    """Put Holm's p values beside those of the tests that were made."""
    made = [test for test in tests if test[name] is not None]
    for test, p in zip(made, holm([test[name] for test in made]), strict=True):
        test[adjusted] = p
