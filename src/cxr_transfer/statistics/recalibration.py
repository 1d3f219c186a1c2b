"""Scores of one class brought to what is true at one place, and whether that helps others there.

In come the score of a class for each image, and which images are of it; out go maps of the score,
and the scores of images that had no part in the fit of their own map. Every map keeps the order of
images or joins neighbours: sensitivity is a matter of the threshold, see `local_threshold`.

Methods: ``temperature`` (Guo et al. 2017, ICML), ``platt`` (Platt 1999, with his targets, which no
separation carries to infinity), ``isotonic`` (Zadrozny & Elkan 2002, KDD) and ``prior`` (Elkan
2001, IJCAI: the share of the class is another one here; all else is taken to be the same).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import beta

from cxr_transfer.statistics.temperature import (
    FOLDS,
    SMALLEST,
    as_given,
    between,
    bin_gaps,
    fit_temperature,
)

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

AS_GIVEN = "as given"
METHODS = ("temperature", "platt", "isotonic", "prior")
FEWEST = 10
"""Images of the class, and of the others, below which no map is fitted."""

_FLATTEST = 1e-3  # a slope below tells nothing or turns the order round


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """A map of the score of a class.

    Attributes:
        method: Method by which it was fitted.
        slope: Factor of the logit of the score.
        intercept: Amount that is added to the logit.
        steps: (K, 2) scores and what they become, straight between; None of a map of logits.
    """

    method: str
    slope: float = 1.0
    intercept: float = 0.0
    steps: Floats | None = None

    def __call__(self, score: Floats) -> Floats:
        """Return scores (N,) after the map."""
        if self.steps is not None:
            return np.asarray(np.interp(score, self.steps[:, 0], self.steps[:, 1]))
        if self.slope == 1 and self.intercept == 0:
            return score
        return np.asarray(expit(self.intercept + self.slope * logits(score)))

    def as_dict(self) -> dict[str, Any]:
        """Return the map for JSON."""
        if self.steps is not None:
            return {"method": self.method, "steps": self.steps.round(6).tolist()}
        return {"method": self.method, "slope": self.slope, "intercept": self.intercept}


def logits(score: Floats) -> Floats:
    """Return logits (N,) of scores; what is nearer to 0 or 1 than 1e-12 counts as so near."""
    clipped = np.clip(score, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def fit_map(
    method: str, score: Floats, positive: Flags, reference_share: float | None = None
) -> ScoreMap | None:
    """Fit a map; None where these images set none.

    Args:
        method: One of `METHODS`, or `AS_GIVEN`.
        score: Scores of the class, (N,).
        positive: Flags of the images of the class, (N,).
        reference_share: Share of the class where the scores were made; for ``prior``.

    >>> fit_map("prior", np.full(40, 0.5), np.arange(40) < 10, 0.5).intercept < 0
    True
    """
    if method == AS_GIVEN:
        return ScoreMap(AS_GIVEN)
    if min(positive.sum(), (~positive).sum()) < FEWEST:
        return None
    if method == "temperature":
        both = np.stack([1 - score, score], axis=1)
        temperature = fit_temperature(both, positive.astype(np.int64))
        return None if temperature is None else ScoreMap(method, slope=1 / temperature)
    if method == "prior":
        if reference_share is None or not 0 < reference_share < 1:
            return None
        share = (positive.sum() + 1) / (len(positive) + 2)
        moved = math.log(share / (1 - share)) - math.log(reference_share / (1 - reference_share))
        return ScoreMap(method, intercept=moved)
    return _platt(score, positive) if method == "platt" else _isotonic(score, positive)


def cross_fitted(
    score: Floats,
    positive: Flags,
    patients: Sequence[str],
    *,
    reference_share: float | None = None,
    seed: int = 0,
) -> dict[str, Floats]:
    """Return for each method the scores of images that had no part in the fit of their map.

    Args:
        score: Scores of the class, (N,).
        positive: Flags of the images of the class, (N,).
        patients: Patient of each image; a patient's images stay in one fold.
        reference_share: Share as in `fit_map`.
        seed: Random seed of the folds.

    Returns:
        Scores (N,) by method, `AS_GIVEN` first; without the methods that some fold sets no map of.
    """
    fold = folds_of(positive, patients, seed)
    fitted = {AS_GIVEN: score}
    for method in METHODS:
        held_out = np.empty_like(score)
        for number in range(FOLDS):
            inside = fold == number
            score_map = fit_map(method, score[~inside], positive[~inside], reference_share)
            if score_map is None:
                break
            held_out[inside] = score_map(score[inside])
        else:
            fitted[method] = held_out
    return fitted


def choose_method(
    score: Floats,
    positive: Flags,
    patients: Sequence[str],
    *,
    reference_share: float | None = None,
    seed: int = 0,
) -> str:
    """Return the method with the lowest cross-fitted log loss; `AS_GIVEN` where none helps.

    A method helps where the log loss falls by more than its standard error by patient, as for a
    temperature (docs/results/temperature.md).
    """
    fitted = cross_fitted(score, positive, patients, reference_share=reference_share, seed=seed)
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    before = log_losses(score, positive)
    best, least = AS_GIVEN, before.mean()
    for method, held_out in fitted.items():
        losses = log_losses(held_out, positive)
        by_patient = np.bincount(patient, before - losses)
        error = by_patient.std(ddof=1) * math.sqrt(len(names)) if len(names) > 1 else math.inf
        if by_patient.sum() > error and losses.mean() < least:
            best, least = method, losses.mean()
    return best


def nested(
    score: Floats,
    positive: Flags,
    patients: Sequence[str],
    *,
    reference_share: float | None = None,
    seed: int = 0,
) -> tuple[Floats, list[str]]:
    """Return scores of images that had no part in the choice nor in the fit of their map.

    Args:
        score: Scores as in `cross_fitted`.
        positive: Flags as there.
        patients: Patients as there.
        reference_share: Share as there.
        seed: Random seed of the folds, outer and inner.

    Returns:
        Scores (N,), and the method that each fold chose.
    """
    fold = folds_of(positive, patients, seed)
    held_out, chosen = score.copy(), []
    names = np.asarray(patients, dtype=str)
    for number in range(FOLDS):
        inside = fold == number
        fitting = score[~inside], positive[~inside]
        method = choose_method(
            *fitting, names[~inside].tolist(), reference_share=reference_share, seed=seed + 1
        )
        score_map = fit_map(method, *fitting, reference_share)
        held_out[inside] = score_map(score[inside]) if score_map else score[inside]
        chosen.append(method)
    return held_out, chosen


def folds_of(positive: Flags, patients: Sequence[str], seed: int = 0) -> npt.NDArray[np.int64]:
    """Return the fold of each image, (N,): by patient, patients with the class spread evenly."""
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    has_class = np.bincount(patient, positive, minlength=len(names)) > 0
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    order = order[np.argsort(~has_class[order], kind="stable")]
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % FOLDS
    return fold[patient]


@dataclass(frozen=True)
class LocalThreshold:
    """A threshold that was chosen on local images.

    Attributes:
        value: An image with at least this score is called positive.
        allowed_misses: Number of the local positives that lie below it.
        is_sure: Whether the positives suffice for both promises of `local_threshold`.
    """

    value: float
    allowed_misses: int
    is_sure: bool


def local_threshold(
    scores: Floats, positive: Flags, promised: float, margin: float, sure: float = 0.9
) -> LocalThreshold:
    """Choose the highest threshold that keeps a promise on images to come.

    With the r-th smallest of n independent positives as the threshold, the sensitivity on others is
    distributed as Beta(n - r + 1, r), whatever the scores (Wilks 1941, Ann. Math. Stat. 12:91). The
    largest r is taken whose mean is at least ``promised``, and which lies above ``promised -
    margin`` with probability ``sure``. The plain choice, the highest threshold that finds the
    promised share of the local positives, breaks the promise in about half of all cases.

    Args:
        scores: Scores of the class, (N,).
        positive: Flags of the images of the class, (N,), at least one.
        promised: Sensitivity that is promised.
        margin: Amount by which it may be missed.
        sure: Probability of keeping it within the margin.

    >>> score = np.arange(1, 101) / 101
    >>> local_threshold(score, score > 0, 0.9, 0.05).allowed_misses
    9
    """
    rounded = as_given(scores)
    ill = np.sort(rounded[positive])
    rank = np.arange(1, len(ill) + 1)
    keeps = (len(ill) - rank + 1) / (len(ill) + 1) >= promised
    keeps &= beta.sf(promised - margin, len(ill) - rank + 1, rank) >= sure
    # Both fall as more may be missed, so that those that keep are the first.
    place = max(int(keeps.sum()), 1) - 1
    lower = rounded[rounded < ill[place]]
    below = lower.max() if lower.size else 0.0
    value = between(np.array([below]), ill[[place]])[0]
    return LocalThreshold(float(value), int((ill < value).sum()), bool(keeps.any()))


def log_losses(score: Floats, positive: Flags) -> Floats:
    """Return (N,) minus the logarithm of what was given to the truth."""
    right = np.where(positive, score, 1 - score)
    return np.asarray(-np.log(np.maximum(right, SMALLEST)))


def calibration_error(score: Floats, positive: Flags) -> float:
    """Return the expected calibration error of the score of one class, in [0, 1].

    Source: Naeini, Cooper & Hauskrecht 2015, AAAI 29:2901; ten bins of equal width.
    """
    gaps = bin_gaps(score, positive.astype(np.float64))
    return float(np.abs(gaps.sum(axis=0)).sum() / len(score))


def chance_error(score: Floats, *, draws: int = 500, seed: int = 0) -> float:
    """Return the calibration error that scores which mean what they say have by chance.

    The mean over outcomes that are drawn from the scores: on few images it is far from 0.
    """
    rng = np.random.default_rng(seed)
    outcomes = rng.random((draws, len(score))) < score
    return float(np.mean([calibration_error(score, outcome) for outcome in outcomes]))


def _platt(score: Floats, positive: Flags) -> ScoreMap | None:
    # Imported here: scikit-learn takes a second that most commands do not need.
    from sklearn.linear_model import LogisticRegression

    low, high = _targets(positive)
    target = np.where(positive, high, low)
    logit = logits(score)
    spread = logit.std()
    if spread == 0:
        return None
    centred = ((logit - logit.mean()) / spread)[:, None]
    regression = LogisticRegression(C=np.inf, solver="lbfgs", tol=1e-8, max_iter=500)
    regression.fit(
        np.concatenate([centred, centred]),
        np.repeat([1, 0], len(score)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope = float(regression.coef_[0, 0]) / spread
    intercept = float(regression.intercept_[0]) - slope * float(logit.mean())
    return ScoreMap("platt", slope, intercept) if slope > _FLATTEST else None


def _isotonic(score: Floats, positive: Flags) -> ScoreMap:
    from sklearn.isotonic import IsotonicRegression

    low, high = _targets(positive)
    regression = IsotonicRegression(y_min=low, y_max=high)
    regression.fit(score, positive.astype(np.float64))
    steps = np.stack([regression.X_thresholds_, regression.y_thresholds_], axis=1)
    return ScoreMap("isotonic", steps=steps.astype(np.float64))


def _targets(positive: Flags) -> tuple[float, float]:
    """Return what Platt takes for 0 and 1: the shares that so many images of a kind allow."""
    ill, others = int(positive.sum()), int((~positive).sum())
    return 1 / (others + 2), (ill + 1) / (ill + 2)
