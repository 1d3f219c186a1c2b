"""What a model is worth in a source that it never met: figures within that source alone.

In come `Scores` of images of one source, and thresholds that were set elsewhere; out go estimates
with intervals by patient. Knows no model, file or network, and draws no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import norm

from cxr_transfer.errors import DataError
from cxr_transfer.statistics.auroc import auroc_intervals
from cxr_transfer.statistics.calibration import calibration
from cxr_transfer.statistics.intervals import (
    NOT_DEFINED,
    Estimate,
    percentile_interval,
    share,
    value_and_resamples,
)
from cxr_transfer.statistics.operating_points import at_threshold, aurc, operating_points, risk_at
from cxr_transfer.statistics.scores import Floats, Scores, ratio
from cxr_transfer.statistics.temperature import SMALLEST, as_given

Flags = npt.NDArray[np.bool_]

FEWEST = 20
"""Images of a class, and of the others, without which a source gives no figure of that class."""

SENSITIVITY, SPECIFICITY = 0.9, 0.95
"""What the transported thresholds reach where they are set."""

HALF = 0.5
"""Coverage at which the share wrong is compared with that of all images."""


def class_counts(scores: Scores) -> dict[str, int]:
    """Return the number of images of each class, in the order of the classes."""
    numbers = np.bincount(scores.targets, minlength=len(scores.labels))
    return dict(zip(scores.labels, numbers.tolist(), strict=True))


def ranked_classes(scores: Scores) -> npt.NDArray[np.int64]:
    """Return the targets of classes with enough images, and others, for a figure."""
    numbers = np.array(list(class_counts(scores).values()))
    return np.flatnonzero(np.minimum(numbers, len(scores.files) - numbers) >= FEWEST)


def within_source(scores: Scores) -> tuple[dict[str, Estimate | None], Estimate]:
    """Return how well each class is told from the others of a source, and the mean over classes.

    Within one source a model gains nothing by knowing the source (Zech et al. 2018, PLoS Med.
    15:e1002683).

    Args:
        scores: Images of one source.

    Returns:
        AUROC of each class's score, one against the rest; None where the class or the others have
        fewer than `FEWEST` images. The mean of those that there are.

    >>> from cxr_transfer.labels import LabelSet
    >>> names = tuple(map(str, range(40)))
    >>> ill = np.repeat([0.2, 0.8], 20)
    >>> table = np.stack([1 - ill, ill, 0 * ill], axis=1)
    >>> labels = LabelSet(("normal", "covid19", "other"))
    >>> areas, mean = within_source(Scores(labels, np.repeat([0, 1], 20), table, names, names))
    >>> areas["normal"].value, areas["other"], mean.value
    (1.0, None, 1.0)
    """
    ranked = ranked_classes(scores)
    areas, mean = auroc_intervals(
        scores.targets == ranked[:, None], scores.probabilities.T[ranked], scores.patients
    )
    by_target = dict(zip(ranked.tolist(), areas, strict=True))
    return {label: by_target.get(target) for target, label in enumerate(scores.labels)}, mean


def shortcut_ratio(whole: float, without_lungs: float) -> float:
    """Return which share of what a score tells does not need the lungs.

    Args:
        whole: AUROC on whole images, above 0.5.
        without_lungs: AUROC on the same images with the lungs blacked out.

    >>> round(shortcut_ratio(0.9, 0.6), 2)
    0.25
    """
    return (without_lungs - 0.5) / (whole - 0.5)


def transported_points(
    scores: Scores, elsewhere: Scores, *, resamples: int = 2000, seed: int = 0
) -> dict[str, dict[str, Any] | None]:
    """Return what thresholds that were set elsewhere are worth in a source.

    Args:
        scores: Images of the source, on the scale of ``elsewhere``.
        elsewhere: Images of other sources, which set the thresholds.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        For each class, by ``"sensitivity 0.9"`` and ``"specificity 0.95"``, what the threshold was
        to reach: ``threshold``, and the ``sensitivity`` and ``specificity`` that it has in the
        source, `Estimate` as dicts. None where ``elsewhere`` has no image of the class, or no
        other.
    """
    points: dict[str, dict[str, Any] | None] = {}
    for label in scores.labels:
        try:
            thresholds = operating_points(
                elsewhere, label, sensitivity=SENSITIVITY, specificity=SPECIFICITY
            )
        except DataError:  # It has no image of the class, or no other.
            points[label] = None
            continue
        points[label] = {
            name: {
                key: value
                for key, value in at_threshold(
                    scores, label, threshold, prevalences=(), resamples=resamples, seed=seed
                ).items()
                if key != "prevalences"
            }
            for name, threshold in thresholds.items()
        }
    return points


def recalibration(scores: Scores, label: str, level: float = 0.95) -> dict[str, Estimate]:
    """Return slope and intercept of the logistic recalibration of a class's score.

    The outcome is regressed on the logit of the score. A slope of 1 and an intercept of 0 are
    those of scores that mean what they say; a slope below 1 is that of scores which are too sure,
    an intercept below 0 that of scores which are too high.

    Sources: Cox 1958, Biometrika 45:562; Van Calster et al. 2019, BMC Med. 17:230. The interval is
    Wald's with a variance clustered by patient (Liang & Zeger 1986, Biometrika 73:13).

    Args:
        scores: Images of one source.
        label: Class, against the rest.
        level: Confidence level.

    Returns:
        ``slope`` and ``intercept``: not defined with fewer than `FEWEST` images of the class or
        of the others, or where the score tells all of them apart, which sets no slope.
    """
    positive, score = scores.one_vs_rest(label)
    clipped = np.clip(score, SMALLEST, 1 - SMALLEST)
    logits = np.log(clipped) - np.log1p(-clipped)
    if min(positive.sum(), (~positive).sum()) < FEWEST or _sets_no_slope(logits, positive):
        return {"slope": NOT_DEFINED, "intercept": NOT_DEFINED}
    # Imported here: scikit-learn takes a second that most commands do not need.
    from sklearn.linear_model import LogisticRegression

    centre, spread = logits.mean(), logits.std()
    regression = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=200)
    regression.fit(((logits - centre) / spread)[:, None], positive)
    slope = float(regression.coef_[0, 0]) / spread
    intercept = float(regression.intercept_[0]) - slope * centre
    halves = float(norm.ppf((1 + level) / 2)) * _errors(
        logits, positive, slope, intercept, scores.patients
    )
    return {
        name: Estimate(float(value), float(value - half), float(value + half))
        for name, value, half in zip(
            ("intercept", "slope"), (intercept, slope), halves, strict=True
        )
    }


def _sets_no_slope(logits: Floats, positive: Flags) -> bool:
    """Tell whether scores are all equal, or tell all images of a class from the others."""
    of_class, others = logits[positive], logits[~positive]
    return bool(
        logits.max() == logits.min()
        or of_class.min() >= others.max()
        or of_class.max() <= others.min()
    )


def _errors(
    logits: Floats, positive: Flags, slope: float, intercept: float, patients: Sequence[str]
) -> Floats:
    """Return the standard errors (2,) of intercept and slope, clustered by patient."""
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        return np.full(2, math.nan)
    design = np.stack([np.ones_like(logits), logits], axis=1)
    chance = expit(intercept + slope * logits)
    inverse = np.linalg.inv(design.T @ (design * (chance * (1 - chance))[:, None]))
    sums = np.zeros((len(names), 2))
    np.add.at(sums, patient, design * (positive - chance)[:, None])
    middle = sums.T @ sums * len(names) / (len(names) - 1)
    return np.asarray(np.sqrt(np.diagonal(inverse @ middle @ inverse)))


def calibration_figures(scores: Scores, *, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Return the calibration error, and slope and intercept of each class, as dicts.

    Args:
        scores: Images of one source.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
    """
    return {
        "ece": calibration(scores, resamples=resamples, seed=seed).ece.as_dict(),
        "classes": {
            label: {
                name: estimate.as_dict() for name, estimate in recalibration(scores, label).items()
            }
            for label in scores.labels
        },
    }


def answered(
    scores: Scores,
    *,
    confidence_threshold: float | None,
    statuses: Sequence[str] | None,
) -> tuple[Flags, Flags]:
    """Return which images get a class, and which are refused as out of distribution, (N,) each.

    Args:
        scores: Images of one source, on the scale on which scores are given.
        confidence_threshold: Limit of the highest score below which no class is given; None gives
            one to every image.
        statuses: Status of each image by the training reference; None where there is none.
    """
    out = np.array([status == "out_of_distribution" for status in statuses or ()], dtype=np.bool_)
    if statuses is None:
        out = np.zeros(len(scores.files), dtype=np.bool_)
    sure = as_given(scores.probabilities.max(axis=1)) >= (confidence_threshold or 0.0)
    return np.asarray(sure & ~out), out


def abstention(
    scores: Scores,
    *,
    confidence_threshold: float | None,
    statuses: Sequence[str] | None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how many images get no class and why, and how often the others are right.

    Args:
        scores: Scores, as in `answered`.
        confidence_threshold: Limit, as in `answered`.
        statuses: Statuses, as in `answered`.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        Shares of the images, `Estimate` as dicts: ``without_class``, of these ``not_sure`` and
        ``out_of_distribution``; ``far``, which get a warning (null without a reference).
        ``accuracy`` of those with a class (null without one), and their number ``answered``.
        ``coverages``, the share wrong among the surest images (`risk_at`); ``aurc``, its area; and
        whether ``risk_falls`` from all images to half of them.
    """
    has_class, out = answered(scores, confidence_threshold=confidence_threshold, statuses=statuses)
    right = scores.predicted == scores.targets
    again = {"resamples": resamples, "seed": seed}

    def of(flags: Flags) -> dict[str, float | None]:
        return share(flags, scores.patients, **again).as_dict()

    accuracy = None
    if has_class.any():
        patients = scores.only(has_class).patients
        accuracy = share(right[has_class], patients, **again).as_dict()
    far = None
    if statuses is not None:
        far = of(np.array([status == "far" for status in statuses], dtype=np.bool_))
    risks = risk_at(scores, resamples=resamples, seed=seed)
    by_coverage = {row["coverage"]: row["risk"]["value"] for row in risks}
    return {
        "confidence_threshold": confidence_threshold,
        "without_class": of(~has_class),
        "not_sure": of(~has_class & ~out),
        "out_of_distribution": None if statuses is None else of(out),
        "far": far,
        "answered": int(has_class.sum()),
        "accuracy": accuracy,
        "coverages": risks,
        "aurc": aurc(scores),
        "risk_falls": bool(by_coverage[HALF] < by_coverage[1.0]),
    }


def calls(
    scores: Scores, has_class: Flags, *, resamples: int = 2000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return what the images of each class are called.

    Args:
        scores: Images of one source.
        has_class: Flags of the images that get a class, (N,).
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        For each class with an image: its ``images``; ``called``, by class the share of them whose
        highest score it has; and ``called_answered``, the same of those that get a class, null
        where none does.
    """
    table: dict[str, dict[str, Any]] = {}
    for target, label in enumerate(scores.labels):
        rows = np.flatnonzero(scores.targets == target)
        if not len(rows):
            continue
        part, with_class = scores.only(rows), has_class[rows]
        table[label] = {
            "images": len(rows),
            "called": _shares(part, resamples, seed),
            "called_answered": _shares(part.only(with_class), resamples, seed)
            if with_class.any()
            else None,
        }
    return table


def _shares(scores: Scores, resamples: int, seed: int) -> dict[str, dict[str, float | None]]:
    """Return the share of images that are called each class, with its interval by patient."""
    weights = value_and_resamples(scores.patients, resamples=resamples, seed=seed)
    calls_of = np.eye(len(scores.labels))[scores.predicted]
    totals = weights.sum(axis=1, keepdims=True).astype(np.float64)
    shares = ratio(weights @ calls_of, np.broadcast_to(totals, (len(weights), len(scores.labels))))
    units = len(set(scores.patients))
    return {
        label: percentile_interval(float(column[0]), column[1:], units=units).as_dict()
        for label, column in zip(scores.labels, shares.T, strict=True)
    }
