"""The temperature at which class scores mean what they say, found on arrays alone.

Training fits it at its end and evaluation to compare with it, so it stands before both. Knows
nothing of files, patients or parts: who calls it must not give it test films.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

SMALLEST = 1e-12
"""Taken for a smaller score wherever a logarithm is: one 0 would make every loss infinite."""

COLDEST, HOTTEST = 0.05, 20.0
"""Between these a temperature is looked for."""

_NEAR = 1.01  # so near to one of them, the search ended at it


def fit_temperature(
    scores: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]
) -> float | None:
    """Find the temperature T at which softmax(log p / T) has the lowest log loss.

    T > 1 makes scores less sure, T < 1 surer; the order of a film's classes stays. Looked for
    between 0.05 and 20: None where the lowest loss lies at a bound, for then these films set none,
    as when every film is right (the surer the better) or when scores tell nothing.

    Source: Guo et al. 2017, ICML, section 4.2.

    Args:
        scores: Class scores p (N, C) of films that neither trained the model nor will test it.
            Scores below 1e-12 are taken for 1e-12.
        targets: Index of the true class of each film (N,).

    All four films score 9 to 1, but only three are right: 3 to 1 is their due, and log 9 = 2 log 3.

    >>> round(fit_temperature(np.array([[0.9, 0.1]] * 4), np.array([0, 0, 0, 1])), 4)
    2.0
    """
    logs = log_scores(scores)
    # Against the true class: its own entry is 0, and a loss near 0 keeps its digits.
    margins = logs - np.take_along_axis(logs, targets[:, None], axis=1)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp.reduce(margins / math.exp(log_temperature), axis=1).mean())

    # The loss is convex in 1 / T, so that it has one valley, however T is scaled.
    bounds = (math.log(COLDEST), math.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    best = math.exp(float(found.x))
    return best if COLDEST * _NEAR < best < HOTTEST / _NEAR else None


def log_scores(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the logarithms of class scores (N, C), none of them infinite."""
    return np.asarray(np.log(np.maximum(scores, SMALLEST)), dtype=np.float64)
