"""How many images an acceptance test needs: exact binomial power, and images until so many come.

In come a promised share, a margin and a power; out go numbers of images. No normal approximation.

A test that is exact has a power that falls at some sizes when an image is added: the number of hits
that is asked for rises by whole images. The size that is given is the smallest from which on the
power never falls below the one that was asked for. That it never does beyond the sizes that were
computed follows from Hoeffding's bound (1963, J. Am. Stat. Assoc. 58:13), see `_safe_size`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, nbinom

from cxr_transfer.errors import UsageError
from cxr_transfer.statistics.intervals import checked_level

LEVEL = 0.95
"""Confidence level of the one-sided lower bound."""

SURE = 0.9
"""Probability with which consecutive images hold as many of a kind as are needed."""

SMALLEST_MARGIN = 0.005
"""A smaller margin needs tens of thousands of images, and nobody's labels are so good."""

MARGINS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15)
POWERS = (0.8, 0.9)


@dataclass(frozen=True)
class SizePlan:
    """Number of images of one kind that a test needs.

    Attributes:
        promised: Share that is promised, and taken for the true one.
        margin: Amount below the promised share that is still acceptable.
        power: Power that was asked for.
        level: Confidence level of the one-sided lower bound.
        images: Smallest number of images from which on the power never falls below ``power``.
        fewest_hits: Number of hits that these images must at least have.
        reached: Power with just so many images.
        first: Smallest number of images that has the power, though some larger ones have not.
    """

    promised: float
    margin: float
    power: float
    level: float
    images: int
    fewest_hits: int
    reached: float
    first: int

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return dict(vars(self))


def images_needed(
    promised: float, margin: float, power: float = 0.8, level: float = LEVEL
) -> SizePlan:
    """Return how many images show that a share lies less than a margin below what is promised.

    Shown is it where the one-sided lower exact bound lies above ``promised - margin``.

    Args:
        promised: Share that is promised, strictly between 0 and 1.
        margin: Margin, at least `SMALLEST_MARGIN` and below ``promised``.
        power: Probability of showing it where the true share is the promised one.
        level: Confidence level of the bound.

    Raises:
        UsageError: ``bad_promise``, ``bad_margin``, ``bad_power``, ``level``.

    >>> plan = images_needed(0.9, 0.05, 0.8)
    >>> plan.images, plan.fewest_hits, plan.first
    (304, 269, 281)
    """
    check_promise(promised, margin, power)
    checked_level(level)
    sizes = np.arange(1, _safe_size(margin, power, level) + 1)
    fewest = fewest_hits(sizes, promised - margin, level)
    powers = binom.sf(fewest - 1, sizes, promised)
    is_enough = powers >= power
    # The last size that is too small; at the largest one of ``sizes`` the power is proved.
    short = int(np.flatnonzero(~is_enough)[-1]) if not is_enough.all() else -1
    place = short + 1
    return SizePlan(
        promised=promised,
        margin=margin,
        power=power,
        level=level,
        images=int(sizes[place]),
        fewest_hits=int(fewest[place]),
        reached=float(powers[place]),
        first=int(sizes[np.argmax(is_enough)]),
    )


def fewest_hits(
    sizes: npt.NDArray[np.int64], floor: float, level: float = LEVEL
) -> npt.NDArray[np.int64]:
    """Return with how many hits the lower exact bound lies above ``floor``, (N,).

    The bound lies above it just where so many hits or more have a probability below 1 - level at
    a true share of ``floor``. Of a size that is too small for any, one more than the size.

    Args:
        sizes: Numbers of images, (N,).
        floor: Share to lie above.
        level: Confidence level of the bound.

    >>> fewest_hits(np.array([10, 50, 100]), 0.8)
    array([11, 45, 87])
    """
    # scipy's isf: the smallest k with P(more than k) <= 1 - level.
    below: npt.NDArray[np.float64] = binom.isf(1 - level, sizes, floor)
    return below.astype(np.int64) + 1


def consecutive_images(
    positives: int, negatives: int, prevalence: float, sure: float = SURE
) -> int:
    """Return how many consecutive images hold at least so many of either kind.

    Args:
        positives: Number of positives that are needed.
        negatives: Number of negatives that are needed.
        prevalence: Share of positives, strictly between 0 and 1.
        sure: Probability of having both.

    Raises:
        UsageError: ``prevalence``, ``level`` for ``sure``.

    >>> consecutive_images(100, 0, 0.1)
    1123
    """
    checked_level(sure)
    if not 0 < prevalence < 1:
        raise UsageError(
            "prevalence",
            f"Expected a prevalence between 0 and 1, but got {prevalence}; give a share of "
            "images, not percent.",
        )
    alone = [
        int(number + nbinom.ppf(sure, number, share)) if number else 0
        for number, share in ((positives, prevalence), (negatives, 1 - prevalence))
    ]
    images = max(1, *alone)

    def surety(total: int) -> float:
        most = total - negatives
        return float(
            binom.cdf(most, total, prevalence) - binom.cdf(positives - 1, total, prevalence)
        )

    # Each by itself is as sure as asked for; both together may need some more. It grows with every
    # image, so that the number is found by halving.
    short, enough = images - 1, images
    while surety(enough) < sure:
        short, enough = enough, 2 * enough
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if surety(middle) >= sure else (middle, enough)
    return enough


def design_effect(images_per_patient: float, correlation: float) -> float:
    """Return by how much more images are needed where patients have several each.

    Source: Kish 1965, Survey Sampling, section 5.4.

    Args:
        images_per_patient: Mean number of images of a kind that a patient has, at least 1.
        correlation: Correlation of hits within a patient, in [0, 1].

    Raises:
        UsageError: ``images_per_patient``, ``correlation``.

    >>> design_effect(3, 0.5)
    2.0
    """
    if not (math.isfinite(images_per_patient) and images_per_patient >= 1):
        raise UsageError(
            "images_per_patient",
            f"Expected at least 1 image per patient, but got {images_per_patient}; give the mean.",
        )
    if not 0 <= correlation <= 1:
        raise UsageError(
            "correlation",
            f"Expected a correlation within patients from 0 to 1, but got {correlation}; 0.5 is "
            "cautious where it is not known.",
        )
    return 1 + (images_per_patient - 1) * correlation


def check_promise(promised: float, margin: float, power: float = POWERS[0]) -> None:
    """Refuse a promise, a margin or a power that no number of images can show.

    Raises:
        UsageError: ``bad_promise``, ``bad_margin``, ``bad_power``.
    """
    if not 0 < promised < 1:
        raise UsageError(
            "bad_promise",
            f"Expected a promised share between 0 and 1, but got {promised}; 0.9 for 90 percent.",
        )
    if not SMALLEST_MARGIN <= margin < promised:
        raise UsageError(
            "bad_margin",
            f"Expected a margin from {SMALLEST_MARGIN} to below the promised {promised}, but got "
            f"{margin}; 0.05 is usual.",
        )
    if not 0 < power < 1:
        raise UsageError(
            "bad_power", f"Expected a power between 0 and 1, but got {power}; 0.8 is usual."
        )


def _safe_size(margin: float, power: float, level: float) -> int:
    """Return a number of images from which on the power is proved to suffice.

    By Hoeffding's bound, hits beyond ``n floor + sqrt(n log(1 / (1 - level)) / 2)`` are as rare as
    is asked for, and fewer than ``n promised - sqrt(n log(1 / (1 - power)) / 2)`` as well. So n
    suffices where the margin times n holds both roots and the one hit that rounding costs.
    """
    roots = math.sqrt(-math.log1p(-level) / 2) + math.sqrt(-math.log1p(-power) / 2)
    # margin n >= roots sqrt(n) + 2, solved for sqrt(n).
    return math.ceil(((roots + math.sqrt(roots**2 + 8 * margin)) / (2 * margin)) ** 2)
