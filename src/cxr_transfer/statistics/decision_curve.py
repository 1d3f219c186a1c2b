"""Whether acting on a score does more good than acting on nobody, or on everybody.

In come `Scores`; out go net benefits. The prevalence is that of the images at hand: another place
has another one, and another curve.

Source: Vickers & Elkin 2006, "Decision Curve Analysis", Med. Decis. Making 26:565.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cxr_transfer.statistics.intervals import percentile_interval, value_and_resamples
from cxr_transfer.statistics.scores import Floats, Scores
from cxr_transfer.statistics.temperature import as_given

THRESHOLDS = tuple(number / 100 for number in range(1, 51))
"""Chances of the class from which on somebody would act."""


def decision_curve(
    scores: Scores, label: str, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Return the net benefit of acting from a chance on that the image is of a class.

    Net benefit is TP / n - FP / n * t / (1 - t) at the threshold t: who acts from a chance of 10 %
    on takes nine false alarms for one finding.

    Args:
        scores: Scores of N images.
        label: Class, against the rest.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        ``prevalence`` of the class, and by `THRESHOLDS` in ``curve``: ``threshold``, ``model``,
        ``all`` (everybody is acted on) and ``gain``, the model's net benefit less the better one
        of ``all`` and nobody's 0, `Estimate` as a dict. ``useful`` and ``harmful``: shares of the
        thresholds at which the gain's interval lies above, and below, 0.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcd")
    >>> ill = np.array([0.1, 0.3, 0.6, 0.9])
    >>> scores = Scores(names, np.array([0, 0, 1, 1]), np.stack([1 - ill, ill], 1), files, files)
    >>> at_20 = decision_curve(scores, "covid19", resamples=10)["curve"][19]
    >>> round(at_20["model"], 4), round(at_20["all"], 4)  # 2 / 4 - 1 / 4 / 4, 2 / 4 - 2 / 4 / 4
    (0.4375, 0.375)
    """
    positive, score = scores.one_vs_rest(label)
    thresholds = np.array(THRESHOLDS)
    odds = thresholds / (1 - thresholds)
    called = as_given(score)[:, None] >= thresholds
    worth = np.where(positive[:, None], 1.0, -odds)
    weights = value_and_resamples(scores.patients, resamples=resamples, seed=seed)
    weights_float: Floats = weights.astype(np.float64)
    images = weights_float.sum(axis=1, keepdims=True)
    model = weights_float @ (called * worth) / images
    everybody = weights_float @ worth / images
    gains = model - np.maximum(everybody, 0.0)
    curve: list[dict[str, Any]] = []
    for number, threshold in enumerate(THRESHOLDS):
        gain = percentile_interval(float(gains[0, number]), gains[1:, number])
        curve.append(
            {
                "threshold": threshold,
                "model": float(model[0, number]),
                "all": float(everybody[0, number]),
                "gain": gain.as_dict(),
            }
        )
    low, high = (np.array([point["gain"][end] for point in curve]) for end in ("low", "high"))
    return {
        "prevalence": float(positive.mean()),
        "curve": curve,
        "useful": float((low > 0).mean()),
        "harmful": float((high < 0).mean()),
    }
