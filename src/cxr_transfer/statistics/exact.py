"""Exact binomial bounds of a share: by counts of independent images, without approximation.

In come counts; out go bounds. Images of one patient are not independent: for these see
`intervals.patient_weights`. Source of the bounds: Clopper & Pearson 1934, Biometrika 26:404.
"""

from __future__ import annotations

import math
from typing import Literal

from scipy.stats import binomtest

from cxr_transfer.statistics.intervals import NOT_DEFINED, Estimate, checked_level

Side = Literal["two-sided", "greater", "less"]


def clopper_pearson(successes: int, total: int, level: float = 0.95) -> Estimate:
    """Return a share with its two-sided exact interval; not defined without an image.

    Raises:
        UsageError: ``level``.

    >>> clopper_pearson(45, 50).percent()
    '90.0 [78.2, 96.7]'
    """
    if not total:
        return NOT_DEFINED
    low, high = _bounds(successes, total, level, "two-sided")
    return Estimate(successes / total, low, high)


def one_sided_bounds(successes: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact lower and the exact upper bound, each of which holds by itself.

    Args:
        successes: Number of images that are right.
        total: Number of images; without one nothing is known.
        level: Confidence level of each bound.

    Raises:
        UsageError: ``level``.

    >>> low, high = one_sided_bounds(45, 50)
    >>> round(low, 3), round(high, 3)
    (0.801, 0.96)
    """
    if not total:
        return math.nan, math.nan
    low, _ = _bounds(successes, total, level, "greater")
    _, high = _bounds(successes, total, level, "less")
    return low, high


def _bounds(successes: int, total: int, level: float, side: Side) -> tuple[float, float]:
    test = binomtest(successes, total, alternative=side)
    held = test.proportion_ci(checked_level(level), method="exact")
    return float(held.low), float(held.high)
