"""Whether a score of 0.9 is right nine times in ten.

In come `Scores`; out go the scores at a temperature (which `statistics.temperature` finds), and how
far scores and outcomes lie apart, with intervals by patient.

To temper scores, give them as the network gave them. In a file of few decimals small ones have
become 0, and a logarithm sees the difference.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import UsageError
from cxr_transfer.statistics.intervals import (
    Estimate,
    percentile_interval,
    value_and_resamples,
    wilson,
)
from cxr_transfer.statistics.scores import Floats, Scores
from cxr_transfer.statistics.temperature import (
    BINS,
    at_temperature,
    bin_gaps,
    bin_of,
    log_scores,
)


@dataclass(frozen=True)
class Calibration:
    """Distances of scores and outcomes, with 95 % intervals by patient; 0 is best.

    The two calibration errors are biased upwards on few images: chance alone parts a bin's mean
    score from its share. Every resample adds chance of its own. So where calibration is good the
    interval may lie above the value altogether, as that of ``ece_classwise`` often does. Compare
    them on the same images only; Brier score and log loss have no such bias.

    Attributes:
        ece: Expected calibration error of the highest score, in [0, 1]: the distance between a
            bin's mean score and its share right, averaged over images (Guo et al. 2017).
        ece_classwise: Expected calibration error of each class's score against the rest, the mean
            over classes (Kull et al. 2019, NeurIPS), in [0, 1].
        brier: Squared distance between scores and the true class's 1, summed over classes,
            the mean over images, in [0, 2] (Brier 1950, Mon. Weather Rev. 78:1).
        log_loss: Mean of -log of the true class's score, in nats.
    """

    ece: Estimate
    ece_classwise: Estimate
    brier: Estimate
    log_loss: Estimate

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        """Return each estimate as value, low and high, for JSON."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name).as_dict() for name in names}


def apply_temperature(scores: Scores, temperature: float) -> Scores:
    """Return ``scores`` with the probabilities softmax(log p / T), see `at_temperature`.

    Scores below 1e-12 are taken for 1e-12. The predicted classes stay.

    Args:
        scores: N images, C classes.
        temperature: Temperature T; 1 changes nothing.

    Raises:
        UsageError: ``temperature`` unless it is finite and above 0.

    >>> from cxr_transfer.labels import LabelSet
    >>> names = LabelSet(("normal", "covid19"))
    >>> scores = Scores(names, np.array([0]), np.array([[0.9, 0.1]]), ("a",), ("a.png",))
    >>> apply_temperature(scores, 2.0).probabilities.round(4)  # the square roots, 3 to 1
    array([[0.75, 0.25]])
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise UsageError(
            "temperature",
            f"Expected a finite temperature above 0, but got {temperature}; 1 changes nothing.",
        )
    rescaled = at_temperature(scores.probabilities, temperature)
    return dataclasses.replace(scores, probabilities=rescaled)


def calibration(scores: Scores, *, resamples: int = 2000, seed: int = 0) -> Calibration:
    """Return how far ``scores`` and outcomes lie apart, with 95 % intervals by patient.

    Raises:
        UsageError: ``resamples`` below 1.

    Four images at 0.9, three of them right: 0.9 - 0.75 apart in both classes.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcd")
    >>> scores = Scores(names, np.array([0, 0, 0, 1]), np.array([[0.9, 0.1]] * 4), files, files)
    >>> result = calibration(scores)
    >>> round(result.ece.value, 4), round(result.ece_classwise.value, 4)
    (0.15, 0.15)
    >>> round(result.brier.value, 4)  # (3 * (0.01 + 0.01) + (0.81 + 0.81)) / 4
    0.42
    """
    weights = value_and_resamples(scores.patients, resamples=resamples, seed=seed)
    replicates = statistics(scores, weights)
    # Without spread a model gave scores of 0 and 1 alone. Its calibration error is then its share
    # wrong, over C classes 2 / C of that: Wilson bounds both. The other two are no shares.
    units = {"ece": len(set(scores.patients)), "ece_classwise": len(set(scores.patients))}
    return Calibration(
        **{
            name: percentile_interval(values[0], values[1:], units=units.get(name, 0))
            for name, values in replicates.items()
        }
    )


def statistics(scores: Scores, weights: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Compute every statistic of `Calibration` once for each row of image weights.

    Args:
        scores: N images, C classes.
        weights: (R, N), how often each image counts; no row is all 0.

    Returns:
        By name, each (R,).
    """
    of_class = np.eye(len(scores.labels))[scores.targets]
    highest = scores.probabilities.max(axis=1)
    right = scores.predicted == scores.targets
    # What each image adds to each sum: every statistic is made of such sums.
    parts = {
        "ece": bin_gaps(highest, right.astype(np.float64)),
        "ece_classwise": np.concatenate(
            [bin_gaps(p, y) for p, y in zip(scores.probabilities.T, of_class.T, strict=True)],
            axis=1,
        ),
        "brier": ((scores.probabilities - of_class) ** 2).sum(axis=1, keepdims=True),
        "log_loss": -np.take_along_axis(
            log_scores(scores.probabilities), scores.targets[:, None], axis=1
        ),
    }
    images = weights.sum(axis=1)
    # No part of Brier score or log loss is below 0: the absolute value leaves those two alone.
    means = {
        name: np.abs(weights.astype(np.float64) @ part).sum(axis=1) / images
        for name, part in parts.items()
    }
    means["ece_classwise"] /= len(scores.labels)
    return means


def reliability(scores: Scores, *, bins: int = BINS) -> list[dict[str, Any]]:
    """Return how often images of about the same highest score are right.

    Args:
        scores: Scores of N images.
        bins: Number of bins, of equal width.

    Returns:
        For every bin with an image, from low to high: ``low`` (outside, but for the first) and
        ``high`` (inside), ``images``, ``mean_score``, and ``right``, the share right with its
        Wilson interval, which takes every image for independent.

    Raises:
        UsageError: ``bins`` below 1.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abc")
    >>> scored = np.array([[0.9, 0.1], [0.15, 0.85], [0.4, 0.6]])
    >>> scores = Scores(names, np.array([0, 0, 1]), scored, files, files)
    >>> for row in reliability(scores):
    ...     print(row["low"], row["high"], row["images"], row["mean_score"], row["right"]["value"])
    0.5 0.6 1 0.6 1.0
    0.8 0.9 2 0.875 0.5
    """
    if bins < 1:
        raise UsageError("bins", f"Expected at least 1 bin, but got {bins}; {BINS} are usual.")
    highest = scores.probabilities.max(axis=1)
    right = scores.predicted == scores.targets
    place = bin_of(highest, bins)
    rows = []
    for number in np.unique(place).tolist():
        inside = place == number
        images = int(inside.sum())
        rows.append(
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "images": images,
                "mean_score": float(highest[inside].mean()),
                "right": wilson(int(right[inside].sum()), images).as_dict(),
            }
        )
    return rows
