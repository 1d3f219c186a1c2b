"""What follows when a score is acted on: a threshold for one class, and images left to a person.

In come `Scores`. Out go thresholds chosen on validation images, and what they are worth on others,
at the prevalence of other places too. So does how the share wrong falls when unsure images are left
out.
This module does not know what a miss or a false alarm costs, and recommends no threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.statistics.intervals import Estimate, percentile_interval, value_and_resamples
from cxr_transfer.statistics.scores import Floats, Scores, ratio
from cxr_transfer.statistics.temperature import DECIMALS, as_given, between

WANTED = 0.95
"""The sensitivity, and the specificity, for which a threshold is chosen."""

PREVALENCES = (0.01, 0.05, 0.20)
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


def operating_points(
    validation: Scores, label: str, *, sensitivity: float = WANTED, specificity: float = WANTED
) -> dict[str, float]:
    """Choose thresholds on the score of ``label`` against the rest.

    An image is called positive when its score, of `DECIMALS` decimals, is at least the threshold.
    Candidates lie midway between two scores that occur, 0 and 1 among them: an image on the one
    side is not carried to the other by the last digit, which processors do not share.

    Args:
        validation: Images that will not test the thresholds, on the scale on which these are used.
        label: The class that is looked for.
        sensitivity: Share of the class that the first threshold is to find.
        specificity: Share of the others that the second threshold is to spare.

    Returns:
        ``"sensitivity 0.95"``: the highest threshold that finds at least 95 % of the images of the
        class; ``"specificity 0.95"``: the lowest that spares at least 95 % of the others; of other
        shares by their names.

    Raises:
        DataError: ``no_class`` when all images or no image are of the class; ``unknown_label``.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcd")
    >>> scored = np.array([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3], [0.2, 0.8]])
    >>> scores = Scores(names, np.array([0, 0, 1, 1]), scored, files, files)
    >>> operating_points(scores, "covid19")
    {'sensitivity 0.95': 0.2, 'specificity 0.95': 0.65}
    """
    candidates, finds, spares = _candidates(validation, label)
    return {
        f"sensitivity {sensitivity}": float(candidates[finds >= sensitivity].max()),
        f"specificity {specificity}": float(candidates[spares >= specificity].min()),
    }


def youden_threshold(validation: Scores, label: str) -> float:
    """Choose the threshold on the score of ``label`` with the largest Youden index.

    That is sensitivity + specificity - 1; of equal ones the highest threshold of at most 1 counts.

    Source: Youden 1950, Cancer 3:32.

    Args:
        validation: Images that will not test the threshold, on the scale on which it is used.
        label: The class that is looked for.

    Raises:
        DataError: As `operating_points`.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcd")
    >>> scored = np.array([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3], [0.2, 0.8]])
    >>> youden_threshold(Scores(names, np.array([0, 0, 1, 1]), scored, files, files), "covid19")
    0.65
    """
    candidates, sensitivity, specificity = _candidates(validation, label)
    index = np.where(candidates <= 1, sensitivity + specificity, -1.0)
    return float(candidates[index >= index.max() - 1e-12].max())


def _candidates(validation: Scores, label: str) -> tuple[Floats, Floats, Floats]:
    """Return thresholds that can be told apart, with their sensitivity and specificity, (K,) each.

    Raises:
        DataError: ``no_class``, ``unknown_label``.
    """
    positive, score = validation.one_vs_rest(label)
    if positive.all() or not positive.any():
        raise DataError(
            "no_class",
            f"Expected validation images of {label!r} and of others, but got {positive.sum()} of "
            f"{len(positive)}; choose thresholds on images of both.",
        )
    score = as_given(score)
    occurring = np.unique(score)
    above_all = max(1.0, occurring[-1] + 10.0**-DECIMALS)
    candidates = between(np.append(0.0, occurring), np.append(occurring, above_all))
    below = np.searchsorted(np.sort(score[positive]), candidates, side="left")
    sensitivity = (positive.sum() - below) / positive.sum()
    spared = np.searchsorted(np.sort(score[~positive]), candidates, side="left")
    specificity = spared / (~positive).sum()
    return candidates, sensitivity, specificity


def at_threshold(
    scores: Scores,
    label: str,
    threshold: float,
    *,
    prevalences: Sequence[float] = PREVALENCES,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return what calling images positive from ``threshold`` on is worth.

    The predictive values are those of a place with the given prevalence whose images of either
    kind resemble these: Bayes' rule, from sensitivity and specificity. The share of the class
    among ``scores`` does not enter.

    Where no resample has a false alarm (or a miss), resampling cannot say how rare one is, and a
    predictive value of 1 would seem sure. The interval then follows from those of sensitivity and
    specificity, Wilson's where nothing varies: both at the bound that is worse, and better.

    Args:
        scores: N images.
        label: The class that is looked for.
        threshold: An image with at least this score, of `DECIMALS` decimals, is called positive.
        prevalences: Shares of the class, each strictly between 0 and 1.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        ``threshold``; ``sensitivity`` and ``specificity``, each value, low and high; and
        ``prevalences``, a list of ``prevalence``, ``ppv`` and ``npv``, in the order given.
        Null for what is not defined: the PPV where nothing is called positive, say.

    Raises:
        DataError: ``unknown_label``.
        UsageError: ``threshold`` unless finite; ``prevalence`` out of bounds; ``resamples``.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcd")
    >>> scored = np.array([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3], [0.2, 0.8]])
    >>> scores = Scores(names, np.array([0, 0, 1, 1]), scored, files, files)
    >>> found = at_threshold(scores, "covid19", 0.3, prevalences=[0.2])
    >>> found["sensitivity"]["value"], found["specificity"]["value"]
    (1.0, 0.5)
    >>> round(found["prevalences"][0]["ppv"]["value"], 4)  # 0.2 / (0.2 + 0.5 * 0.8)
    0.3333
    """
    if not math.isfinite(threshold):
        raise UsageError(
            "threshold",
            f"Expected a finite threshold, but got {threshold}; scores lie between 0 and 1.",
        )
    for prevalence in prevalences:
        if not 0 < prevalence < 1:
            raise UsageError(
                "prevalence",
                f"Expected a prevalence between 0 and 1, but got {prevalence}; give a share of "
                "images, not percent.",
            )
    positive, score = scores.one_vs_rest(label)
    called = as_given(score) >= threshold
    weights = value_and_resamples(scores.patients, resamples=resamples, seed=seed)
    sensitivity = _Rate(scores, weights, called, positive)
    specificity = _Rate(scores, weights, ~called, ~positive)
    return {
        "threshold": float(threshold),
        "sensitivity": sensitivity.estimate.as_dict(),
        "specificity": specificity.estimate.as_dict(),
        "prevalences": [
            {
                "prevalence": float(prevalence),
                "ppv": _predictive(sensitivity, specificity, prevalence).as_dict(),
                # The other class's positive predictive value, at its own share.
                "npv": _predictive(specificity, sensitivity, 1 - prevalence).as_dict(),
            }
            for prevalence in prevalences
        ],
    }


def risk_coverage(scores: Scores) -> tuple[Floats, Floats]:
    """Return the share wrong among the surest images, for every share of images kept.

    Images are kept from the highest score down. Images with highest scores that are equal to
    `DECIMALS` decimals are kept or left together, since no threshold parts them: they make one
    point, whatever the images' order.

    Source: El-Yaniv & Wiener 2010, JMLR 11:1605; Geifman & El-Yaniv 2017, NeurIPS.

    Returns:
        Coverage, rising strictly to 1, and risk, the share wrong among the images kept; a point
        for each distinct highest score.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcd")
    >>> scored = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.6, 0.4]])
    >>> scores = Scores(names, np.array([0, 1, 1, 0]), scored, files, files)
    >>> coverage, risk = risk_coverage(scores)
    >>> coverage.tolist(), risk.round(4).tolist()
    ([0.25, 0.75, 1.0], [0.0, 0.3333, 0.25])
    """
    _, images, wrong = _kept(scores)
    return images / len(scores.files), wrong / images


def risk_at(
    scores: Scores,
    coverages: Sequence[float] = COVERAGES,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the share wrong when only the surest images are kept, with its interval by patient.

    The threshold is the highest that keeps at least the share of images asked for; with scores that
    are equal to `DECIMALS` decimals it may keep more. Resamples keep it, as somebody who uses it
    would.

    Args:
        scores: N images.
        coverages: Shares of images to keep, each above 0 and at most 1.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        For each coverage: ``coverage`` as asked for, ``threshold`` (an image is kept when its
        highest score is at least that), ``risk``, value, low and high, and ``images`` kept.

    Raises:
        UsageError: ``coverage`` out of bounds; ``resamples`` below 1.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcd")
    >>> scored = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.6, 0.4]])
    >>> scores = Scores(names, np.array([0, 1, 1, 0]), scored, files, files)
    >>> (row,) = risk_at(scores, [0.5])
    >>> row["threshold"], row["images"], round(row["risk"]["value"], 4)
    (0.8, 3, 0.3333)
    """
    for coverage in coverages:
        if not 0 < coverage <= 1:
            raise UsageError(
                "coverage",
                f"Expected a coverage above 0 and at most 1, but got {coverage}; give the share "
                "of images to keep, not percent.",
            )
    thresholds, images, _ = _kept(scores)
    highest = as_given(scores.probabilities.max(axis=1))
    wrong = scores.predicted != scores.targets
    weights = value_and_resamples(scores.patients, resamples=resamples, seed=seed)
    rows = []
    for coverage in coverages:
        # The last point keeps every image, so that there always is one.
        at = int(np.argmax(images / len(scores.files) >= coverage))
        rate = _Rate(scores, weights, wrong, highest >= thresholds[at])
        rows.append(
            {
                "coverage": float(coverage),
                "threshold": float(thresholds[at]),
                "risk": rate.estimate.as_dict(),
                "images": int(images[at]),
            }
        )
    return rows


def aurc(scores: Scores) -> float:
    """Return the area under the risk-coverage curve, in [0, 1]; the lower, the better.

    The mean over images of the share wrong among the images at least as sure as that one. It holds
    the model's errors as well as their order: of two models with as many errors, the one that
    errs on its unsure images has the smaller area.

    Source: Geifman & El-Yaniv 2017, NeurIPS, for the curve; Geifman, Uziel & El-Yaniv 2019, ICLR,
    for its area.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcd")
    >>> scored = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    >>> scores = Scores(names, np.array([0, 1, 1, 0]), scored, files, files)
    >>> round(aurc(scores), 4)  # (0 + 0 + 1/3 + 1/4) / 4
    0.1458
    """
    coverage, risk = risk_coverage(scores)
    return float((risk * np.diff(coverage, prepend=0)).sum())


class _Rate:
    """A share of images by patient.

    Attributes:
        replicates: (1 + resamples,), the share itself, then its replicates; NaN without an image.
        estimate: Share with its interval.
    """

    def __init__(
        self,
        scores: Scores,
        weights: npt.NDArray[np.int64],
        hit: npt.NDArray[np.bool_],
        of: npt.NDArray[np.bool_],
    ) -> None:
        self.replicates = ratio(
            (weights @ (hit & of)).astype(np.float64), (weights @ of).astype(np.float64)
        )
        patients = {
            patient for patient, is_meant in zip(scores.patients, of, strict=True) if is_meant
        }
        self.estimate = percentile_interval(
            float(self.replicates[0]), self.replicates[1:], units=len(patients)
        )

    @property
    def bounds(self) -> Floats:
        """(2,): low and high."""
        return np.array([self.estimate.low, self.estimate.high])

    @property
    def varies(self) -> bool:
        """Whether the replicates differ from a value of 0 or 1, and so bound it."""
        defined = self.replicates[~np.isnan(self.replicates)]
        return self.replicates[0] not in (0.0, 1.0) or bool((defined != self.replicates[0]).any())


def _predictive(sure: _Rate, spared: _Rate, share: float) -> Estimate:
    """Return how often a sign is true: shown by ``sure`` of what is meant, not ``spared`` others.

    Bayes' rule with ``share`` of what is meant among all.
    """
    predictive = _bayes(sure.replicates, spared.replicates, share)
    if np.isnan(predictive[0]) or (sure.varies and spared.varies):
        return percentile_interval(float(predictive[0]), predictive[1:])
    # It rises with both rates, so that their bounds are its bounds.
    low, high = _bayes(sure.bounds, spared.bounds, share)
    return Estimate(float(predictive[0]), float(low), float(high))


def _bayes(sure: Floats, spared: Floats, share: float) -> Floats:
    true, false = sure * share, (1 - spared) * (1 - share)
    return ratio(true, true + false)


def _kept(scores: Scores) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return distinct highest scores, high to low, images with at least that, and how many err."""
    highest = as_given(scores.probabilities.max(axis=1))
    order = np.argsort(-highest, kind="stable")
    last_of_equals = np.flatnonzero(np.diff(highest[order], append=-np.inf))
    wrong = (scores.predicted != scores.targets)[order].cumsum()
    return highest[order][last_of_equals], last_of_equals + 1, wrong[last_of_equals]
