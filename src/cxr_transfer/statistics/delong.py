"""DeLong's test: whether two models' areas under the ROC curve differ, on the same images.

In come scores of the same images; out go areas, their difference and a p-value, without resampling.
Patients are the independent units, whether they have one image or several. Knows no model.

Sources: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; of several images a patient,
Obuchowski 1997, Biometrics 53:567.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from cxr_transfer.errors import DataError
from cxr_transfer.statistics.auroc import Floats, areas_and_covariance
from cxr_transfer.statistics.comparison import check_same_images
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.scores import Scores


@dataclass(frozen=True)
class DeLong:
    """Two areas of one class against the rest, on the same images.

    Attributes:
        area_a: Area of the first model.
        area_b: Area of the second.
        difference: Area of b less that of a, with its 95 % interval (normal).
        p: Two-sided p value; 1 where the models rank all images alike.
    """

    area_a: float
    area_b: float
    difference: Estimate
    p: float


def delong(scores_a: Scores, scores_b: Scores, label: str) -> DeLong:
    """Test whether two models rank the images of ``label`` above the others equally well.

    Raises:
        DataError: ``not_paired`` unless both have scored the same images; ``no_curve`` with fewer
            than two patients with images of the class, or of others: no variance follows from one.

    >>> from cxr_transfer.labels import LabelSet
    >>> labels, targets, files = LabelSet(("normal", "covid19")), np.array([0, 0, 1, 1]), "abcd"
    >>> def scores(*ill):
    ...     return Scores(labels, targets, np.array([[1 - x, x] for x in ill]), files, files)
    >>> found = delong(scores(0.1, 0.6, 0.5, 0.9), scores(0.1, 0.2, 0.8, 0.9), "covid19")
    >>> found.area_a, found.area_b, found.difference.value
    (0.75, 1.0, 0.25)
    """
    check_same_images(scores_a, scores_b)
    positive, a = scores_a.one_vs_rest(label)
    _, b = scores_b.one_vs_rest(label)
    patients = np.asarray(scores_a.patients)
    with_class, without = (len(np.unique(patients[rows])) for rows in (positive, ~positive))
    if min(with_class, without) < 2:
        raise DataError(
            "no_curve",
            f"Expected images of at least 2 patients of the class and of 2 of others, but got "
            f"{with_class} and {without}; leave this test out.",
        )
    areas, covariance = areas_and_covariance(
        np.stack([positive, positive]), np.stack([a, b]), scores_a.patients
    )
    return DeLong(float(areas[0]), float(areas[1]), *difference_of_areas(areas, covariance))


def difference_of_areas(areas: Floats, covariance: Floats) -> tuple[Estimate, float]:
    """Return the second of two areas less the first with its 95 % interval, and p of no difference.

    Args:
        areas: Two areas of the same images, (2,).
        covariance: How they vary together, (2, 2); see `areas_and_covariance`.
    """
    difference = float(areas[1] - areas[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Equal rankings have a variance of 0 but for rounding.
    spread = math.sqrt(max(variance, 0.0))
    if spread < 1e-12:
        p, reach = 1.0 if abs(difference) < 1e-12 else 0.0, 0.0
    else:
        p = float(2 * norm.sf(abs(difference) / spread))
        reach = float(norm.ppf(0.975)) * spread
    return Estimate(difference, difference - reach, difference + reach), p
