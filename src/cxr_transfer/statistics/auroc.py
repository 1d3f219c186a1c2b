"""How sure an area under the ROC curve is, where patients have several images and it lies near 1.

In come scores of a class, which images are of it, and their patients; out go areas, how they vary
together, and `Estimate`s. No resampling. Knows no model and no label.

Near 1 no usual interval holds: few positives lie below any negative, the variance rests on these,
and where chance left them out it is far too small. This was simulated for AUROC 0.7 to 0.99 with 20
or 100 positives (docs/results/interval_coverage.md). The percentile bootstrap held the truth in
down to 78 % of data sets, BCa and DeLong's variance on the logit scale in down to 87 %. The
observed variance may be smaller than that of normally distributed scores with the same area. The
mean of the two is taken then, both on the logit scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri, owens_t
from scipy.stats import norm, rankdata

from cxr_transfer.statistics.intervals import NOT_DEFINED, Estimate, checked_level, wilson

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NEARER = 2.0
"""Pairs of patients by which the area is moved to 1/2 before its variance is expected: an area is a
share of pairs, and one that is hardly short of 1 would expect a variance without end."""


def auroc_intervals(
    positive: Flags, scores: Floats, patients: Sequence[str], level: float = 0.95
) -> tuple[list[Estimate], Estimate]:
    """Return the area of each class against the rest, and their mean, with intervals by patient.

    The interval is symmetric on the logit scale. Its variance is `areas_and_covariance`'s; where
    that is smaller than is expected, the mean of both. Expected is `binormal_variance` for the
    effective numbers of images at the area, `NEARER` pairs of patients nearer to 1/2. The areas of
    which a mean is taken are expected to be independent.

    An area of exactly 1 (or 0) has no variance: that no pair is in the wrong order says how rare
    such pairs may be, and no more. Its interval is Wilson's for as many patients, all right, as
    there are of the class or without it, whichever are fewer.

    Args:
        positive: Flags of the images of each class, (K, N).
        scores: Scores of the images for each class, (K, N); equal ones count half.
        patients: Patients of the images, N names.
        level: Confidence level, strictly between 0 and 1.

    Returns:
        For each class value and interval: not defined without an image of the class or of the
        others; a value without bounds for fewer than two patients with, or without, the class. The
        mean is not defined unless all are.

    Raises:
        UsageError: ``level``.

    >>> positive, scores = np.array([[0, 0, 0, 1, 1, 1]], bool), np.array([[1, 2, 4, 3, 5, 6.0]])
    >>> (area,), mean = auroc_intervals(positive, scores, list("abcdef"))
    >>> area.percent()
    '88.9 [26.1, 99.5]'
    """
    reach = float(norm.ppf((1 + checked_level(level)) / 2))
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    is_ranked = [bool(row.any() and not row.all()) for row in positive]
    estimates = [NOT_DEFINED] * len(positive)
    if not any(is_ranked):
        return estimates, NOT_DEFINED
    areas, covariance = _areas_and_covariance(
        positive[is_ranked], scores[is_ranked], patient, len(names)
    )
    expected = [
        _Expected.of(float(area), score, row, patient)
        for area, row, score in zip(areas, positive[is_ranked], scores[is_ranked], strict=True)
    ]
    intervals = iter(
        _interval(float(area), float(variance), expectation, reach, level)
        for area, variance, expectation in zip(
            areas, np.diagonal(covariance), expected, strict=True
        )
    )
    estimates = [next(intervals) if ranked else NOT_DEFINED for ranked in is_ranked]
    if not all(is_ranked):
        return estimates, NOT_DEFINED
    mean = _Expected(
        area=float(np.mean([expectation.area for expectation in expected])),
        variance=sum(expectation.variance for expectation in expected) / len(expected) ** 2,
        patients=min(expectation.patients for expectation in expected),
    )
    return estimates, _interval(float(areas.mean()), float(covariance.mean()), mean, reach, level)


def mean_of_draws(
    positive: Flags,
    scores: Floats,
    patients: Sequence[str],
    *,
    draws_variance: float = 0.0,
    level: float = 0.95,
) -> Estimate:
    """Return the mean area of several models, each the mean over classes, with its interval.

    It is computed like the mean that `auroc_intervals` gives, with the variance of the models
    beside that of the patients. Models of one kind rank the same images: what is expected is
    expected of each alike.

    Args:
        positive: Flags of the images of each class, (C, N).
        scores: Scores of the images for each class by each model, (D, C, N).
        patients: Patients of the images, N names.
        draws_variance: Variance of the mean that comes from the models, whoever the patients are.
        level: Confidence level.

    Raises:
        UsageError: ``level``.
    """
    reach = float(norm.ppf((1 + checked_level(level)) / 2))
    if not (positive.any(axis=1) & ~positive.all(axis=1)).all():
        return NOT_DEFINED
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    models, classes, images = scores.shape
    rows, flags = scores.reshape(-1, images), np.tile(positive, (models, 1))
    areas, covariance = _areas_and_covariance(flags, rows, patient, len(names))
    expected = [
        _Expected.of(float(area), score, row, patient)
        for area, row, score in zip(areas, flags, rows, strict=True)
    ]
    mean = _Expected(
        area=float(np.mean([expectation.area for expectation in expected])),
        variance=sum(expectation.variance for expectation in expected) / (models * classes**2),
        patients=min(expectation.patients for expectation in expected),
    )
    variance = float(covariance.mean())
    return _interval(float(areas.mean()), variance, mean, reach, level, added=draws_variance)


def areas_and_covariance(
    positive: Flags, scores: Floats, patients: Sequence[str]
) -> tuple[Floats, Floats]:
    """Return areas under ROC curves of the same images, and how they vary together.

    Of patients with one image each these are DeLong's. The rows may be models that score one class,
    or classes that one model scores.

    Sources: Obuchowski 1997, Biometrics 53:567; DeLong, DeLong & Clarke-Pearson 1988, Biometrics
    44:837; by midranks, in the time of a sort, as Sun & Xu 2014, IEEE Signal Process. Lett.
    21:1389.

    Args:
        positive: Flags of the images of the class, (K, N); each row has images with and without.
        scores: Scores of the images, (K, N); equal ones count half.
        patients: Patients of the images, N names.

    Returns:
        Areas (K,), and their covariance (K, K): NaN for fewer than two patients with, or without,
        an image of the class.
    """
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    return _areas_and_covariance(positive, scores, patient, len(names))


def binormal_variance(area: float, positives: float, others: float) -> float:
    """Return the variance of an area whose scores are normal, of one variance in both groups.

    The chance that two positives both lie above one other image, and that one lies above two, is
    then a bivariate normal distribution. Its correlation is 1/2, at the area's quantile; Owen's T
    function gives it.

    Sources: Bamber 1975, J. Math. Psychol. 12:387, equation 7, for the variance; Owen 1956, Ann.
    Math. Stat. 27:1075, for the function.

    Args:
        area: Area under the curve, in [0, 1].
        positives: Number of positive images; an effective number need not be whole.
        others: Number of other images.

    >>> round(binormal_variance(0.5, 10, 20), 9)  # of mere chance: (10 + 20 + 1) / (12 * 10 * 20)
    0.012916667
    """
    both = area - 2 * float(owens_t(ndtri(area), 1 / math.sqrt(3)))
    pairs = positives * others
    return (area * (1 - area) + (positives + others - 2) * (both - area**2)) / pairs


def effective_number(scores: Floats, patient: npt.NDArray[np.int64]) -> float:
    """Return how many images of different patients tell as much as these.

    It is N / (1 + r (sum of n^2 / N - 1)) for patients of n images each (Kish 1965, Survey
    Sampling, section 5.4). The correlation within patients, r, comes from an analysis of variance
    of normal scores, since the score's own scale decides nothing (Donner 1986, Int. Stat. Rev.
    54:67).

    Args:
        scores: Scores of images of one group, (N,).
        patient: Number of the patient of each image, (N,).
    """
    images = len(scores)
    _, group, sizes = np.unique(patient, return_inverse=True, return_counts=True)
    patients = len(sizes)
    if patients == images:
        return float(images)
    if patients == 1:
        return 1.0
    normal = ndtri((rankdata(scores) - 0.5) / images)
    means = np.bincount(group, normal) / sizes
    between = float((sizes * (means - normal.mean()) ** 2).sum()) / (patients - 1)
    within = float(((normal - means[group]) ** 2).sum()) / (images - patients)
    squares = float((sizes**2).sum()) / images
    usual = (images - squares) / (patients - 1)
    spread = between + (usual - 1) * within
    correlation = min(max((between - within) / spread, 0.0), 1.0) if spread > 0 else 1.0
    return images / (1 + correlation * (squares - 1))


def _areas_and_covariance(
    positive: Flags, scores: Floats, patient: npt.NDArray[np.int64], patients: int
) -> tuple[Floats, Floats]:
    areas = np.empty(len(positive))
    # By row and patient: what the patient's images of either kind differ from the area, as shares.
    above, below = np.zeros((2, len(positive), patients))
    # By row: of how many patients there are images of the class, and others.
    with_class, without = np.empty((2, len(positive)))
    for row, (of_class, score) in enumerate(zip(positive, scores, strict=True)):
        m, n = int(of_class.sum()), int((~of_class).sum())
        ranks = rankdata(score)
        # Placement values: what share of the others (of the class) an image lies above (below).
        higher = (ranks[of_class] - rankdata(score[of_class])) / n
        lower = 1 - (ranks[~of_class] - rankdata(score[~of_class])) / m
        areas[row] = higher.mean()
        above[row] = np.bincount(patient[of_class], higher - areas[row], patients) / m
        below[row] = np.bincount(patient[~of_class], lower - areas[row], patients) / n
        with_class[row] = len(np.unique(patient[of_class]))
        without[row] = len(np.unique(patient[~of_class]))
    above *= np.sqrt(_corrected(with_class))[:, None]
    below *= np.sqrt(_corrected(without))[:, None]
    # Obuchowski corrects the product of the two kinds by the number of all patients.
    both = float(_corrected(np.array([patients]))[0]) / np.sqrt(
        _corrected(with_class)[:, None] * _corrected(without)[None]
    )
    mixed = both * (above @ below.T)
    return areas, above @ above.T + below @ below.T + mixed + mixed.T


def _corrected(number: Floats) -> Floats:
    """Return n / (n - 1); NaN for one patient, of whom no variance follows."""
    less = np.where(number > 1, number - 1, np.nan)
    return np.asarray(number / less)


@dataclass(frozen=True)
class _Expected:
    """Expectation of an area before its own variance is looked at.

    Attributes:
        area: Area, moved towards 1/2 by `NEARER` pairs of patients.
        variance: Variance of an area there, if scores are normal.
        patients: Number of patients of the class or without it, whichever are fewer.
    """

    area: float
    variance: float
    patients: int

    @classmethod
    def of(
        cls, area: float, score: Floats, positive: Flags, patient: npt.NDArray[np.int64]
    ) -> _Expected:
        numbers = [len(np.unique(patient[rows])) for rows in (positive, ~positive)]
        away = max(abs(area - 0.5) - NEARER / (numbers[0] * numbers[1]), 0.0)
        moved = 0.5 + math.copysign(away, area - 0.5)
        effective = [effective_number(score[rows], patient[rows]) for rows in (positive, ~positive)]
        return cls(moved, binormal_variance(moved, *effective), min(numbers))


def _interval(
    area: float,
    variance: float,
    expected: _Expected,
    reach: float,
    level: float,
    *,
    added: float = 0.0,
) -> Estimate:
    if area in (0.0, 1.0):
        return wilson(int(area) * expected.patients, expected.patients, level)
    if math.isnan(variance):
        return Estimate(area, math.nan, math.nan)
    slope = (area * (1 - area)) ** -2  # of the logit, squared
    observed = variance * slope
    normal = expected.variance / (expected.area * (1 - expected.area)) ** 2
    half = reach * math.sqrt(max(observed, (observed + normal) / 2) + added * slope)
    low, high = expit(logit(area) + np.array([-half, half]))
    return Estimate(area, float(low), float(high))
