"""Do readers call the same images the same: shares of agreement and kappas, by patient.

In come the categories that readers gave the same images; out go `Estimate`s. Knows no truth:
readers may agree and be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import DataError
from cxr_transfer.statistics.intervals import Estimate, percentile_interval, value_and_resamples
from cxr_transfer.statistics.scores import ratio

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def agreement(
    ratings: npt.ArrayLike,
    categories: int,
    patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return how well readers agree, with intervals by patient.

    Kappa is low where nearly all images are of one category, however often readers agree. Gwet's
    AC1 is not: look at both.

    Args:
        ratings: Category that each reader gave each image, (J, N), from 0; J of at least 2.
        categories: Number of categories, K.
        patients: Patients of the images, N names.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        ``agree``, the share of pairs of readers that agree; ``kappa``, Cohen's of two readers and
        Fleiss' of more; ``ac1``, Gwet's. An interval is not defined where no resample differs.

    Raises:
        DataError: ``ratings`` unless two readers or more rated the same images.

    >>> found = agreement([[0, 0, 1, 1], [0, 0, 1, 0]], 2, list("abcd"))
    >>> round(found["agree"].value, 3), round(found["kappa"].value, 3)
    (0.75, 0.5)
    """
    rated = np.asarray(ratings, dtype=np.int64)
    if rated.ndim != 2 or len(rated) < 2 or rated.shape[1] != len(patients):
        raise DataError(
            "ratings",
            f"Expected two or more readers with one category for each of {len(patients)} images, "
            f"but got the shape {rated.shape}; leave out images that not all have read.",
        )
    weights = value_and_resamples(patients, resamples=resamples, seed=seed).astype(np.float64)
    agree, by_category = _counted(rated, categories, weights)
    kappa = cohen_kappa(rated, categories, weights) if len(rated) == 2 else None
    by_chance = (by_category**2).sum(axis=1)
    ac1_chance = (by_category * (1 - by_category)).sum(axis=1) / (categories - 1)
    return {
        "agree": _estimate(agree),
        "kappa": _estimate(_beyond(agree, by_chance) if kappa is None else kappa),
        "ac1": _estimate(_beyond(agree, ac1_chance)),
    }


def cohen_kappa(ratings: Whole, categories: int, weights: Floats) -> Floats:
    """Return Cohen's kappa of two readers under rows of image weights.

    Source: Cohen 1960, Educ. Psychol. Meas. 20:37, unweighted.

    Args:
        ratings: Categories of the two, (2, N).
        categories: Number of categories, K.
        weights: How often each image counts in each row, (R, N).

    Returns:
        Kappa of each row, (R,): NaN where both gave all images one category.
    """
    total = weights.sum(axis=1)
    first, second = (weights @ np.eye(categories)[row] / total[:, None] for row in ratings)
    agree = weights @ (ratings[0] == ratings[1]) / total
    return _beyond(agree, (first * second).sum(axis=1))


def _counted(ratings: Whole, categories: int, weights: Floats) -> tuple[Floats, Floats]:
    """Return the share of agreeing pairs (R,), and that of each category among all ratings (R, K).

    Sources: Fleiss 1971, Psychol. Bull. 76:378; Gwet 2008, Br. J. Math. Stat. Psychol. 61:29, whose
    AC1 differs from it in what is expected by chance alone.
    """
    readers = len(ratings)
    counts = np.eye(categories)[ratings].sum(axis=0)  # (N, K)
    of_image = ((counts**2).sum(axis=1) - readers) / (readers * (readers - 1))
    total = weights.sum(axis=1)
    return weights @ of_image / total, weights @ counts / (readers * total)[:, None]


def _beyond(agree: Floats, by_chance: Floats) -> Floats:
    return ratio(agree - by_chance, 1 - by_chance)


def _estimate(values: Floats) -> Estimate:
    drawn = values[1:][~np.isnan(values[1:])]
    # That all readers agree everywhere says how rare disagreement may be, and not for a kappa.
    if drawn.size and (drawn == drawn[0]).all():
        return Estimate(float(values[0]), np.nan, np.nan)
    return percentile_interval(float(values[0]), values[1:])
