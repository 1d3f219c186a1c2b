"""How sure a number is: a value with its interval, Wilson's and the bootstrap by patient.

In come counts, or the patient of every image; out go an `Estimate`, or the weights with which a
statistic is computed again. This module does not know what is measured: `metrics` does. Areas
under ROC curves have a method of their own: `auroc`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

from cxr_transfer.errors import DataError, UsageError

INTERVALS = (
    "bootstrap by patient, percentiles (Wilson's over patients where nothing varies); of AUROC "
    "clustered DeLong by patient, on the logit scale"
)
"""By which methods the intervals of an evaluation are made, for people."""

DIFFERENCES = "paired bootstrap by patient, percentiles"
"""By which method the interval of a difference of two models is made."""


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its interval, all in the unit of the value.

    NaN stands for "not defined": the recall of a class without an image is no number.

    >>> Estimate(0.9767, 0.953, 0.9887).percent()
    '97.7 [95.3, 98.9]'
    >>> str(Estimate(0.9767, 0.953, 0.9887))
    '0.977 [0.953, 0.989]'
    """

    value: float
    low: float
    high: float

    @property
    def defined(self) -> bool:
        """Whether there is a value at all."""
        return not math.isnan(self.value)

    @classmethod
    def from_dict(cls, table: Mapping[str, float | None] | None) -> Self:
        """Read back what `as_dict` returned; None, "not done", is not defined either.

        >>> Estimate.from_dict({"value": 0.5, "low": None, "high": None, "images": 3}).written(1)
        '0.5 [not defined]'
        """
        values = [table[name] if table else None for name in ("value", "low", "high")]
        return cls(*(math.nan if x is None else float(x) for x in values))

    def as_dict(self) -> dict[str, float | None]:
        """Return ``value``, ``low`` and ``high`` for JSON, which knows no NaN: null instead.

        >>> NOT_DEFINED.as_dict()
        {'value': None, 'low': None, 'high': None}
        """
        bounds = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(x) else float(x) for name, x in bounds.items()}

    def percent(self) -> str:
        """Return a proportion in percent with one decimal, as in ``97.7 [95.3, 98.9]``."""
        return self.written(1, scale=100.0)

    def written(self, decimals: int = 3, *, scale: float = 1.0) -> str:
        """Return value and interval, times ``scale``, with so many decimals.

        >>> Estimate(28.43, 26.0, 33.12).written(1)
        '28.4 [26.0, 33.1]'
        >>> NOT_DEFINED.written()
        'not defined'
        """
        if not self.defined:
            return "not defined"
        value, low, high = (f"{scale * x:.{decimals}f}" for x in (self.value, self.low, self.high))
        return f"{value} [not defined]" if math.isnan(self.low) else f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return self.written()


NOT_DEFINED = Estimate(math.nan, math.nan, math.nan)
"""What a statistic is that the images at hand cannot answer."""


def wilson(successes: int, total: int, level: float = 0.95) -> Estimate:
    """Return a proportion with its Wilson score interval.

    It takes every image for independent of the others; for several images of one patient
    use `patient_weights`. Unlike the bootstrap it keeps a width when all images are right.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22:209, without continuity correction.

    Raises:
        DataError: ``counts`` unless ``0 <= successes <= total`` and ``total >= 1``.
        UsageError: ``level`` unless it lies strictly between 0 and 1.

    >>> wilson(293, 300).percent()
    '97.7 [95.3, 98.9]'
    """
    if total < 1 or not 0 <= successes <= total:
        raise DataError(
            "counts",
            f"Expected 0 <= successes <= total with a total of at least 1, but got {successes} "
            f"of {total}; count the images again.",
        )
    held = binomtest(successes, total).proportion_ci(checked_level(level), method="wilson")
    return Estimate(successes / total, float(held.low), float(held.high))


def _wilson_of_share(value: float, units: int, level: float) -> Estimate:
    """Return Wilson's interval of a share of ``units`` that need be no whole number of them."""
    z = float(norm.ppf((1 + checked_level(level)) / 2))
    middle, spread = value + z * z / (2 * units), z * z / (4 * units * units)
    half = z * math.sqrt(value * (1 - value) / units + spread)
    scale = 1 + z * z / units
    return Estimate(float(value), (middle - half) / scale, (middle + half) / scale)


def patient_weights(
    patients: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Draw the bootstrap by patient: how often each image counts in each resample.

    As many patients as there are are drawn with replacement, and every image of a patient counts
    as often as the patient was drawn: images of one patient resemble each other, so the patient,
    not the image, is the independent unit (Field & Welsh 2007, J. R. Stat. Soc. B 69:369).

    Args:
        patients: The patient of every image, in the images' order.
        resamples: Number of resamples.
        seed: Random seed; the same seed and patients give the same weights.

    Returns:
        Weights (resamples, images), 0 where the image's patient was not drawn.

    Raises:
        DataError: ``no_images`` without an image.
        UsageError: ``resamples`` below 1.

    >>> patient_weights(["ann", "ann", "bob"], resamples=3, seed=0)
    array([[0, 0, 2],
           [1, 1, 1],
           [2, 2, 0]])
    """
    if not len(patients):
        raise DataError(
            "no_images", "Expected the patient of at least one image, but got none; add images."
        )
    if resamples < 1:
        raise UsageError(
            "resamples",
            f"Expected at least 1 bootstrap resample, but got {resamples}; 2000 is usual.",
        )
    names, patient_of_image = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    # One bincount for all resamples: each gets a range of patient numbers of its own.
    cells = drawn + len(names) * np.arange(resamples)[:, None]
    times = np.bincount(cells.ravel(), minlength=resamples * len(names))
    return times.reshape(resamples, len(names))[:, patient_of_image].astype(np.int64, copy=False)


def value_and_resamples(
    patients: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return (1 + resamples, images): ones for the value itself, then `patient_weights`.

    Raises:
        DataError, UsageError: as `patient_weights`.

    >>> value_and_resamples(["ann", "ann", "bob"], resamples=1)
    array([[1, 1, 1],
           [0, 0, 2]])
    """
    weights = patient_weights(patients, resamples=resamples, seed=seed)
    return np.concatenate([np.ones_like(weights[:1]), weights])


def percentile_interval(
    value: float, replicates: npt.ArrayLike, level: float = 0.95, *, units: int = 0
) -> Estimate:
    """Return ``value`` with the percentile interval of its bootstrap ``replicates``.

    Replicates that are NaN (a resample without an image of the class, say) are left out.

    Where every image is right (or wrong) all replicates agree, and the interval would have no
    width. It is then Wilson's over ``units``, the number of independent patients. So it is for a
    mean of such figures, as of two classes of which one is always right and one always wrong.

    >>> percentile_interval(1.0, [1.0, 1.0], units=50).percent()
    '100.0 [92.9, 100.0]'
    >>> percentile_interval(0.5, [0.5, 0.5], units=50).percent()
    '50.0 [36.6, 63.4]'

    Source: Efron & Tibshirani 1993, section 13.3; quantiles interpolated linearly.

    Raises:
        UsageError: ``level`` unless it lies strictly between 0 and 1.

    >>> percentile_interval(0.5, [0.0, 0.25, 0.5, 0.75, 1.0, float("nan")], level=0.5)
    Estimate(value=0.5, low=0.25, high=0.75)
    """
    outside = (1 - checked_level(level)) / 2
    defined = np.asarray(replicates, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    if math.isnan(value) or not defined.size:
        return Estimate(float(value), math.nan, math.nan)
    if units and 0 <= value <= 1 and np.allclose(defined, value, rtol=0, atol=1e-12):
        if value in (0.0, 1.0):
            return wilson(int(value) * units, units, level)
        return _wilson_of_share(value, units, level)
    low, high = np.quantile(defined, (outside, 1 - outside))
    return Estimate(float(value), float(low), float(high))


def share(
    flags: npt.NDArray[np.bool_], patients: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Return the share of images that are flagged, with its interval by patient.

    >>> share(np.array([True, True, False, False]), ["a", "a", "b", "c"]).value
    0.5
    """
    weights = patient_weights(patients, resamples=resamples, seed=seed)
    replicates = weights @ flags / weights.sum(axis=1)
    return percentile_interval(float(flags.mean()), replicates, units=len(set(patients)))


def mean(
    values: npt.NDArray[np.float64],
    patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return the mean of a value of each image, with its interval by patient.

    >>> mean(np.array([1.0, 0.0, -1.0, 2.0]), ["a", "a", "b", "c"]).value
    0.5
    """
    weights = patient_weights(patients, resamples=resamples, seed=seed)
    replicates = weights @ values / weights.sum(axis=1)
    return percentile_interval(float(values.mean()), replicates)


def checked_level(level: float) -> float:
    """Return ``level``.

    Raises:
        UsageError: ``level`` unless it lies strictly between 0 and 1.
    """
    if not 0 < level < 1:
        raise UsageError(
            "level",
            f"Expected a confidence level between 0 and 1, but got {level}; 0.95 is usual.",
        )
    return level
