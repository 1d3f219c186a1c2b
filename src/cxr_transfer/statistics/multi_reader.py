"""What the mean reader can do: several readers of the same images, both drawn from larger numbers.

In come a figure of each reader and how the figures vary together; out goes their mean with an
interval that holds for other readers and other images. Knows no reader and no image.

The model is that of Obuchowski & Rockette 1995, Commun. Stat. Simul. Comput. 24:285: a figure of a
reader is a mean, a random part of that reader, and an error that is correlated with those of the
other readers, since they read the same images. Degrees of freedom are those of Hillis 2007, Stat.
Med. 26:596. With areas under empirical ROC curves, and the difference of two ways to read for the
figure, this is the test of the equality of both; the analysis of Dorfman, Berbaum & Metz 1992 gives
the same (Hillis, Berbaum & Metz 2008, Acad. Radiol. 15:647).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from cxr_transfer.statistics.intervals import Estimate, checked_level

Floats = npt.NDArray[np.float64]

FEWEST = 2
"""Readers of whom it can be asked how they differ."""


@dataclass(frozen=True)
class ReaderMean:
    """A mean over readers.

    Attributes:
        estimate: Mean, with its interval for other readers and other images.
        standard_error: Standard error of the mean.
        degrees_of_freedom: Hillis' degrees of freedom; infinite where readers do not differ.
        p: Two-sided p value of a mean of 0, which means something of differences alone.
    """

    estimate: Estimate
    standard_error: float
    degrees_of_freedom: float
    p: float


def mean_over_readers(figures: Floats, covariance: Floats, level: float = 0.95) -> ReaderMean:
    """Return the mean of a figure over readers, with its interval.

    For the difference of two ways to read, give each reader's difference, and the covariance of
    these. MS(R) of the differences is twice the MS(TR) of the paper, and their covariance between
    readers is 2 (Cov2 - Cov3): standard error and degrees of freedom come out the same.

    Args:
        figures: Figure of each reader, (J,), J of at least `FEWEST`.
        covariance: Covariance of the figures over images, (J, J).
        level: Confidence level.

    Raises:
        UsageError: ``level``.

    >>> found = mean_over_readers(np.array([0.8, 0.9]), np.array([[4e-4, 1e-4], [1e-4, 4e-4]]))
    >>> round(found.estimate.value, 3), round(found.standard_error, 4)
    (0.85, 0.051)
    """
    readers = len(figures)
    mean = float(figures.mean())
    between = float(figures.var(ddof=1))
    off_diagonal = ~np.eye(readers, dtype=bool)
    shared = max(readers * float(covariance[off_diagonal].mean()), 0.0)
    spread = between + shared
    error = math.sqrt(spread / readers)
    freedom = spread**2 / (between**2 / (readers - 1)) if between > 0 else math.inf
    reach = float(t.ppf((1 + checked_level(level)) / 2, freedom)) * error
    steps = abs(mean) / error if error > 0 else (math.inf if mean else 0.0)
    p = float(2 * t.sf(steps, freedom))
    return ReaderMean(Estimate(mean, mean - reach, mean + reach), error, freedom, p)


def differences(areas: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Return what each reader gains from a first way to read to a second, and how that varies.

    Args:
        areas: Figures, (2, J): of the first way, and of the second.
        covariance: Their covariance, (2 J, 2 J), all of the first way before those of the second.

    Returns:
        Second less first, (J,), and the covariance of these, (J, J).
    """
    readers = areas.shape[1]
    contrast = np.hstack([-np.eye(readers), np.eye(readers)])
    return contrast @ areas.ravel(), contrast @ covariance @ contrast.T
