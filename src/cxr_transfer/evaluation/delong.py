"""DeLong's test: whether two models' areas under the ROC curve differ, film by film.

In come scores of the same films; out go areas, their variances and a p-value, without resampling.
Every film counts as independent of the others: where patients have several, the intervals are too
narrow, and `comparison.paired_difference` goes by patient. Knows no model.

Sources: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; by midranks, in the time of a
sort, as Sun & Xu 2014, IEEE Signal Process. Lett. 21:1389.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.comparison import check_same_films
from cxr_transfer.evaluation.intervals import Estimate
from cxr_transfer.evaluation.metrics import Floats, Scores


@dataclass(frozen=True)
class DeLong:
    """Two areas of one class against the rest, on the same films.

    Attributes:
        area_a: Of the first model.
        area_b: Of the second.
        difference: By how much b's is larger, with its 95 % interval (normal).
        p: Two-sided; 1 where the models rank all films alike.
    """

    area_a: float
    area_b: float
    difference: Estimate
    p: float


def delong(scores_a: Scores, scores_b: Scores, label: str) -> DeLong:
    """Test whether two models rank the films of ``label`` above the others equally well.

    Raises:
        DataError: ``not_paired`` unless both have scored the same films; ``no_curve`` with fewer
            than two films of the class or of the others, from which no variance follows.

    >>> from cxr_transfer.labels import LabelSet
    >>> labels, targets, files = LabelSet(("normal", "covid19")), np.array([0, 0, 1, 1]), "abcd"
    >>> def scores(*ill):
    ...     return Scores(labels, targets, np.array([[1 - x, x] for x in ill]), files, files)
    >>> found = delong(scores(0.1, 0.6, 0.5, 0.9), scores(0.1, 0.2, 0.8, 0.9), "covid19")
    >>> found.area_a, found.area_b, found.difference.value
    (0.75, 1.0, 0.25)
    """
    check_same_films(scores_a, scores_b)
    positive, a = scores_a.one_vs_rest(label)
    _, b = scores_b.one_vs_rest(label)
    areas, covariance = areas_and_covariance(positive, np.stack([a, b]))
    difference = float(areas[1] - areas[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Equal rankings have a variance of 0 but for rounding.
    spread = math.sqrt(max(variance, 0.0))
    if spread < 1e-12:
        p, reach = 1.0 if abs(difference) < 1e-12 else 0.0, 0.0
    else:
        p = float(2 * norm.sf(abs(difference) / spread))
        reach = float(norm.ppf(0.975)) * spread
    interval = Estimate(difference, difference - reach, difference + reach)
    return DeLong(float(areas[0]), float(areas[1]), interval, p)


def areas_and_covariance(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Return the areas of K models on the same films, and how they vary together.

    Args:
        positive: (N,), which films are of the class.
        scores: (K, N), equal ones count half.

    Returns:
        Areas (K,), and their covariance (K, K).

    Raises:
        DataError: ``no_curve`` with fewer than two films of the class or of the others.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise DataError(
            "no_curve",
            f"Expected at least 2 films of the class and 2 others, but got {m} and {n}; leave this "
            "test out.",
        )
    ranks = rankdata(scores, axis=1)
    # Placement values: what share of the others (of the class) a film lies above (below).
    above = (ranks[:, positive] - rankdata(scores[:, positive], axis=1)) / n
    below = 1 - (ranks[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / m
    covariance = np.cov(above, ddof=1) / m + np.cov(below, ddof=1) / n
    return above.mean(axis=1), np.atleast_2d(covariance)
