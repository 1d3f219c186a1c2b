"""Curves of one class against the rest: receiver operating characteristic, precision and recall.

In come the `Scores` of a model, out go the points of a curve, and how sure they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sklearn_metrics

from cxr_transfer.errors import DataError
from cxr_transfer.statistics.intervals import patient_weights
from cxr_transfer.statistics.scores import Floats, Scores


def roc_curve(scores: Scores, label: str) -> tuple[Floats, Floats, Floats]:
    """Return false positive rates, true positive rates and thresholds of ``label`` vs the rest.

    Raises:
        DataError: ``no_curve`` when all images or no image are of the class.
    """
    false_rate, true_rate, thresholds = sklearn_metrics.roc_curve(*_curved(scores, label))
    return false_rate, true_rate, thresholds


def roc_band(
    scores: Scores, label: str, *, resamples: int = 500, seed: int = 0, points: int = 101
) -> tuple[Floats, Floats, Floats]:
    """Return how sure the ROC curve of ``label`` is: its 95 % band by patient, point by point.

    Args:
        scores: N images.
        label: Against the rest.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
        points: False positive rates at which the band is given, evenly spaced.

    Returns:
        False positive rates from 0 to 1, and the lower and upper bound of the true positive rate
        at each (its percentiles over resamples; between steps the curve is drawn straight).

    Raises:
        DataError: ``no_curve``, as `roc_curve`.
    """
    positive, score = _curved(scores, label)
    weights = patient_weights(scores.patients, resamples=resamples, seed=seed)
    order = np.argsort(-score, kind="stable")
    last_of_equals = np.flatnonzero(np.diff(score[order], append=-np.inf))
    ranked = weights[:, order].astype(np.float64)
    hits = np.cumsum(ranked * positive[order], axis=1)[:, last_of_equals]
    alarms = np.cumsum(ranked * ~positive[order], axis=1)[:, last_of_equals]
    rates = np.linspace(0, 1, points)
    drawn = np.array(
        [
            np.interp(rates, np.append(0, false / false[-1]), np.append(0, true / true[-1]))
            for false, true in zip(alarms, hits, strict=True)
            if false[-1] and true[-1]  # a resample without an image of either kind has no curve
        ]
    )
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return rates, low, high


def pr_curve(scores: Scores, label: str) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and thresholds of ``label`` against the rest.

    Raises:
        DataError: ``no_curve``, as `roc_curve`.
    """
    ranked = _curved(scores, label)
    precision, recall, thresholds = sklearn_metrics.precision_recall_curve(*ranked)
    return precision, recall, thresholds


def _curved(scores: Scores, label: str) -> tuple[npt.NDArray[np.bool_], Floats]:
    positive, score = scores.one_vs_rest(label)
    if positive.all() or not positive.any():
        got = f"{positive.sum()} of {len(positive)}; leave this curve out."
        raise DataError("no_curve", f"Expected images of {label!r} and of others, but got {got}")
    return positive, score
