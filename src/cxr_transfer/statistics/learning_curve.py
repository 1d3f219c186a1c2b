"""How a figure grows with the number of training images: intervals of draws, and a power law.

In come the `Scores` of one fixed test part by models that were trained on several random draws of
each size; out go means over the draws with their intervals, and a law with what it would give for
more images. Knows nothing of networks, images or files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.stats import norm, t

from cxr_transfer.statistics.auroc import mean_of_draws
from cxr_transfer.statistics.intervals import (
    NOT_DEFINED,
    Estimate,
    checked_level,
    percentile_interval,
    value_and_resamples,
)
from cxr_transfer.statistics.metrics import BLOCK
from cxr_transfer.statistics.scores import Floats, Scores, WeightedScores

MEASURES = ("accuracy", "auroc_macro")
"""Statistics of which a curve is made."""

INTERVALS = (
    "bootstrap over draws and test patients together, percentiles, the same resample for every "
    "model and size; of AUROC clustered DeLong by patient, on the logit scale, and the variance of "
    "the draws"
)
"""By which methods the intervals of a curve are made, for people."""

FACTOR = 10
"""How many times the images of the largest size the law is asked for."""

LEAST_SIZES = 4
"""Three sizes fit three numbers whatever they are."""

FITTED = 500
"""Resamples at most to which the law is fitted again."""

_STEEPEST, _FLATTEST = 2.0, 0.01


@dataclass(frozen=True, eq=False)
class Resampling:
    """Test patients and draws resampled together, once for all models and sizes.

    Attributes:
        patients: Weights (1 + R, N) of the test images; ones in the first row.
        draws: Weights (1 + R, D) of the draws, each row summing to 1; all equal in the first row.
            Some are below 0, where deviations are stretched.
    """

    patients: npt.NDArray[np.int64]
    draws: Floats

    @classmethod
    def of(
        cls, patients: Sequence[str], draws: int, *, resamples: int = 2000, seed: int = 0
    ) -> Self:
        """Resample ``resamples`` times.

        A bootstrap of few draws is too narrow, for two reasons that are mended here (Hesterberg
        2015, Am. Stat. 69:371). A mean of D that are drawn from D varies too little by (D - 1) / D:
        so D - 1 are drawn (Rao & Wu 1988, J. Am. Stat. Assoc. 83:231). And of few the spread itself
        is unsure: so deviations are stretched as Student's t is wider than the normal distribution.
        A single draw is taken as it is: the interval then holds the patients alone.

        Args:
            patients: Patient of every test image, N names.
            draws: Number of draws D.
            resamples: Number of resamples R.
            seed: Random seed.
        """
        weights = value_and_resamples(patients, resamples=resamples, seed=seed)
        even = np.full((1, draws), 1 / draws)
        if draws == 1:
            return cls(weights, np.repeat(even, 1 + resamples, axis=0))
        generator = np.random.default_rng([seed, draws])
        shares = generator.multinomial(draws - 1, even[0], size=resamples) / (draws - 1)
        return cls(weights, np.concatenate([even, even + _stretch(draws) * (shares - even)]))


def _stretch(draws: int) -> float:
    """Return how much wider Student's t is than the normal distribution, for a mean of so many.

    >>> round(_stretch(5), 2), round(_stretch(20), 2)
    (1.42, 1.07)
    """
    return float(t.ppf(0.975, draws - 1) / norm.ppf(0.975))


@dataclass(frozen=True, eq=False)
class Point:
    """A statistic of one model at one size.

    Attributes:
        of_draws: Value for each draw, (D,).
        replicates: Mean over the draws, (1 + R,): the value itself, then its resamples.
        patients: Number of test patients.
        estimate: Mean over the draws, with the interval.
    """

    of_draws: Floats
    replicates: Floats
    patients: int
    estimate: Estimate

    @classmethod
    def of(cls, of_draws: Floats, replicates: Floats, patients: int) -> Self:
        """Return the point whose interval are the percentiles of its replicates."""
        value = float(replicates[0])
        return cls(
            of_draws,
            replicates,
            patients,
            percentile_interval(value, replicates[1:], units=patients),
        )

    def gained_over(self, other: Point) -> Estimate:
        """Return how much larger it is than another model's at the same size, resampled alike."""
        gained = self.replicates - other.replicates
        return percentile_interval(float(gained[0]), gained[1:])


def points(draws: Sequence[Scores], resampling: Resampling) -> dict[str, Point]:
    """Return each of `MEASURES` of one model at one size.

    Args:
        draws: Scores of the same test images, a model for each of the D draws.
        resampling: Resampling of these images and draws.

    >>> from cxr_transfer.labels import LabelSet
    >>> table = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    >>> given = (np.array([0, 0, 1, 1]), table, tuple("abcd"), tuple("abcd"))
    >>> scores = Scores(LabelSet(("normal", "covid19")), *given)
    >>> found = points([scores, scores], Resampling.of(scores.patients, 2))
    >>> found["accuracy"].estimate.percent()
    '75.0 [25.0, 100.0]'
    """
    per_draw = [_measured(scores, resampling.patients) for scores in draws]
    patients = len(set(draws[0].patients))
    made = {}
    for name in MEASURES:
        values = np.stack([measured[name] for measured in per_draw], axis=1)  # (1 + R, D)
        means = np.clip((values * resampling.draws).sum(axis=1), 0, 1)
        made[name] = Point.of(values[0], means, patients)
    area = made["auroc_macro"]
    made["auroc_macro"] = dataclasses.replace(area, estimate=_mean_area(draws, area.of_draws))
    return made


def _mean_area(draws: Sequence[Scores], of_draws: Floats) -> Estimate:
    """Return the mean of AUROC over draws, with an interval that holds near 1, too."""
    first = draws[0]
    return mean_of_draws(
        first.targets == np.arange(len(first.labels))[:, None],
        np.stack([scores.probabilities.T for scores in draws]),
        first.patients,
        draws_variance=draws_variance(of_draws),
    )


def draws_variance(of_draws: Floats) -> float:
    """Return the variance of a mean over draws that comes from the draws, as few as they are.

    Args:
        of_draws: Value of each draw, (D,).

    Returns:
        The variance, stretched as Student's t is wider than the normal distribution; 0 for one
        draw, which tells nothing of others.
    """
    number = len(of_draws)
    return float(of_draws.var(ddof=1)) / number * _stretch(number) ** 2 if number > 1 else 0.0


def _measured(scores: Scores, weights: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Return `MEASURES`, each (1 + R,)."""
    of_blocks: dict[str, list[Floats]] = {name: [] for name in MEASURES}
    for block in np.array_split(weights.astype(np.float64), 1 + len(weights) // BLOCK):
        weighted = WeightedScores(scores, block)
        of_blocks["accuracy"].append(weighted.right.sum(axis=1) / block.sum(axis=1))
        of_blocks["auroc_macro"].append(weighted.areas[0].mean(axis=1))
    return {name: np.concatenate(blocks) for name, blocks in of_blocks.items()}


def images_needed(
    sizes: Sequence[float], accuracies: Sequence[Point], wanted: Point, level: float = 0.95
) -> Estimate:
    """Return after how many images one model is as accurate as another one is already.

    Between two sizes the share wrong is taken for linear in the logarithm of the images, and for
    never rising: more images are not worse but by chance.

    Args:
        sizes: Images per class, rising.
        accuracies: Accuracy of the one model at each size.
        wanted: Accuracy of the other one, resampled alike.
        level: Confidence level.

    Returns:
        Images per class with the percentiles over the resamples; the smallest size stands for as
        many or fewer, infinity for more than the largest.
    """
    errors = 1 - np.stack([point.replicates for point in accuracies], axis=1)  # (1 + R, S)
    errors = np.minimum.accumulate(errors, axis=1)
    target = 1 - wanted.replicates
    is_reached = errors <= target[:, None]
    place = is_reached.argmax(axis=1)
    row, before = np.arange(len(errors)), np.maximum(place - 1, 0)
    above, below = errors[row, before], errors[row, place]
    share = np.divide(above - target, above - below, out=np.ones_like(above), where=above > below)
    logs = np.log(np.asarray(sizes, dtype=np.float64))
    needed = np.exp(logs[before] + share * (logs[place] - logs[before]))
    needed = np.where(place == 0, sizes[0], needed)
    needed = np.where(is_reached.any(axis=1), needed, np.inf)
    outside = (1 - checked_level(level)) / 2
    # One of the resamples each: between infinity and a number there is nothing.
    low, high = np.quantile(needed[1:], (outside, 1 - outside), method="inverted_cdf")
    return Estimate(float(needed[0]), float(low), float(high))


@dataclass(frozen=True)
class PowerLaw:
    """The share of images that are wrong after training on n images per class: a n^-b + c.

    Sources: Cortes et al. 1994 ("Learning Curves: Asymptotic Values and Rate of Convergence",
    NIPS 6); Hestness et al. 2017 ("Deep Learning Scaling is Predictable, Empirically",
    arXiv:1712.00409).

    Attributes:
        a: Factor; the share wrong at n = 1 beside ``c``.
        b: Exponent, from 0.01 to 2.
        c: Share wrong that no number of images takes away.
    """

    a: float
    b: float
    c: float

    def error(self, images: float) -> float:
        """Return the share wrong after ``images`` per class.

        >>> PowerLaw(0.5, 0.5, 0.01).error(100)
        0.060000000000000005
        """
        return float(self.a * images**-self.b + self.c)


@dataclass(frozen=True)
class Extrapolation:
    """A law through the sizes of one model, and what it gives for more images.

    Attributes:
        law: Law; None where it is refused.
        refused: Sentence on why there is none; "" where there is one.
        exponent: Parameter ``b`` of the law.
        floor: Parameter ``c`` of the law.
        images: Images per class that it is asked for: `FACTOR` times the largest size.
        error: Share wrong that it gives for as many.
        gained: Share wrong at the largest size less that error.
        resamples: Number of resamples to which it was fitted again.
    """

    law: PowerLaw | None
    refused: str = ""
    exponent: Estimate = NOT_DEFINED
    floor: Estimate = NOT_DEFINED
    images: float = 0.0
    error: Estimate = NOT_DEFINED
    gained: Estimate = NOT_DEFINED
    resamples: int = 0


def extrapolated(sizes: Sequence[float], accuracies: Sequence[Point]) -> Extrapolation:
    """Fit `PowerLaw` to the share wrong at each size; ask it for `FACTOR` times the images.

    Least squares, each size weighed by its own spread over the resamples, within 0 <= c and
    0.01 <= b <= 2. The intervals are percentiles of the law fitted again to the first `FITTED`
    resamples. They hold draws and patients, and not that another law may hold beyond the sizes.

    Args:
        sizes: Images per class, rising.
        accuracies: Accuracy at each size.
    """
    errors = 1 - np.stack([point.replicates for point in accuracies], axis=1)  # (1 + R, S)
    if len(sizes) < LEAST_SIZES:
        return Extrapolation(
            None, f"No law is fitted: it needs {LEAST_SIZES} sizes, and there are {len(sizes)}."
        )
    fallen = errors[:, 0] - errors[:, -1]
    if not percentile_interval(float(fallen[0]), fallen[1:]).low > 0:
        return Extrapolation(
            None,
            "No law is fitted: that the share wrong is lower at the largest size than at the "
            "smallest may be chance.",
        )
    images = np.asarray(sizes, dtype=np.float64)
    # A size at which all resamples agree would else weigh without end.
    spread = np.maximum(errors[1:].std(axis=0), 0.5 / accuracies[0].patients)
    law = _fitted(images, errors[0], spread, starts=((0.3, 0.0), (1.0, 0.5), (0.5, 0.9)))
    again = [
        _fitted(images, replicate, spread, starts=((law.b, 0.5),))
        for replicate in errors[1:][:FITTED]
    ]
    largest = float(images[-1])

    def of(laws: Sequence[PowerLaw]) -> dict[str, Floats]:
        more = np.array([law.error(FACTOR * largest) for law in laws])
        return {
            "exponent": np.array([law.b for law in laws]),
            "floor": np.array([law.c for law in laws]),
            "error": more,
            "gained": np.array([law.error(largest) for law in laws]) - more,
        }

    values, replicates = of([law]), of(again)
    estimates = {
        name: percentile_interval(float(value[0]), replicates[name])
        for name, value in values.items()
    }
    images_there = FACTOR * largest
    return Extrapolation(law, "", images=images_there, resamples=len(again), **estimates)


def _fitted(
    sizes: Floats, errors: Floats, spread: Floats, *, starts: Sequence[tuple[float, float]]
) -> PowerLaw:
    """Return the law with the least weighted squares out of those that ``starts`` lead to.

    Args:
        sizes: Images per class, (S,).
        errors: Share wrong, (S,).
        spread: Standard deviation of each, (S,).
        starts: Exponents, and floors as a share of the least error, from which to set out.
    """
    middle = float(np.exp(np.log(sizes).mean()))
    ratios = sizes / middle

    def residuals(law: Floats) -> Floats:
        scale, exponent, floor = law
        return np.asarray((scale * ratios**-exponent + floor - errors) / spread)

    def slopes(law: Floats) -> Floats:
        scale, exponent, _ = law
        power = ratios**-exponent
        return (
            np.stack([power, -scale * power * np.log(ratios), np.ones_like(power)], axis=1)
            / (spread[:, None])
        )

    fits = []
    for exponent, share in starts:
        floor = share * float(errors.min())
        start = [max(float(errors.mean()) - floor, 1e-6), exponent, floor + 1e-9]
        inside = np.clip(start, [1e-9, _FLATTEST + 1e-6, 1e-9], [0.999, _STEEPEST - 1e-6, 0.999])
        bounds = ([0, _FLATTEST, 0], [1, _STEEPEST, 1])
        fits.append(least_squares(residuals, inside, slopes, bounds=bounds))
    scale, exponent, floor = min(fits, key=lambda fit: fit.cost).x
    return PowerLaw(float(scale * middle**exponent), float(exponent), float(floor))
