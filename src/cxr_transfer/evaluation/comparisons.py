"""Pairs of models on the same images: exact tests, and differences with intervals by patient."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from cxr_transfer.errors import DataError
from cxr_transfer.statistics.comparison import holm, mcnemar, paired_difference
from cxr_transfer.statistics.delong import delong
from cxr_transfer.statistics.scores import Scores


def compared_pairs(
    models: Mapping[str, Scores], *, resamples: int = 2000, seed: int = 0
) -> list[dict[str, Any]]:
    """Compare each pair of models.

    Args:
        models: Scores of the same images in the same order, by the name of the model.
        resamples: Number of resamples of the paired bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        For each pair ``a`` and ``b``: ``only_a_right``, ``only_b_right``, ``p_mcnemar_exact`` and
        ``p_holm``, adjusted over the pairs; ``accuracy_b_minus_a`` and ``auroc_b_minus_a`` as
        `Estimate` dicts; ``delong`` by class, with ``auroc_b_minus_a``, ``p`` and ``p_holm``,
        adjusted over the pairs of that class, or None where a class has too few images.

    Raises:
        DataError: ``not_paired`` unless all models scored the same images.
    """
    pairs = list(combinations(models, 2))
    bootstrap: dict[str, Any] = {"resamples": resamples, "seed": seed}
    comparisons: list[dict[str, Any]] = []
    for a, b in pairs:
        first, second = models[a], models[b]
        test = mcnemar(first.targets, first.predicted, second.predicted)
        macro = paired_difference(first, second, metric="auroc_macro", **bootstrap)
        comparisons.append(
            {
                "a": a,
                "b": b,
                "only_a_right": test.only_a_right,
                "only_b_right": test.only_b_right,
                "p_mcnemar_exact": test.p,
                "p_holm": test.p,
                "accuracy_b_minus_a": paired_difference(first, second, **bootstrap).as_dict(),
                "auroc_b_minus_a": macro.as_dict(),
                "delong": _delong(first, second),
            }
        )
    _adjust(comparisons, "p_mcnemar_exact")
    for label in next(iter(models.values())).labels if pairs else ():
        _adjust([pair["delong"][label] for pair in comparisons if pair["delong"][label]], "p")
    return comparisons


def _adjust(tests: list[dict[str, Any]], p: str) -> None:
    """Put Holm's p-values beside those of several tests."""
    for test, adjusted in zip(tests, holm([test[p] for test in tests]), strict=True):
        test["p_holm"] = adjusted


def _delong(a: Scores, b: Scores) -> dict[str, dict[str, Any] | None]:
    """Return DeLong's test by class; None where a class has too few images for it."""
    tests: dict[str, dict[str, Any] | None] = {}
    for label in a.labels:
        try:
            test = delong(a, b, label)
        except DataError:
            tests[label] = None
        else:
            tests[label] = {"auroc_b_minus_a": test.difference.as_dict(), "p": test.p}
    return tests
