"""Watching figures as they come, with a false-alarm rate that holds however often one looks.

In come counts and scores, in the order of time; out go p-values and evidence. Drift is tested week
by week, each week at its share of the rate of a year (Bonferroni). Performance is tested after
every outcome by a bet against the promise, which holds for ever.

The bet: the likelihood ratio of all smaller shares, each as likely as the other, against the share
that is promised. Where the promise is kept its mean never rises, and so it ever reaches 1 / alpha
with probability alpha at most (Ville 1939; Ramdas et al. 2023, Stat. Sci. 38:576).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln, xlogy
from scipy.stats import fisher_exact, ks_2samp

Floats = npt.NDArray[np.float64]

BINS = 10
"""Groups of equal size, by the scores of the reference, in which two sets of scores are compared.
"""

_EMPTY = 0.5  # images in a group without one: else the logarithm of a share would be infinite


def evidence_against(hits: npt.ArrayLike, promised: float) -> Floats:
    """Return the evidence after each outcome that a share lies below what is promised, (N,).

    Args:
        hits: Outcomes in the order of time, 1 for a hit and 0 for a miss, (N,); or (K, N) of
            several watches.
        promised: Share that is promised, strictly between 0 and 1.

    Returns:
        Evidence, at least 0; at 1 / alpha or more an alarm has a false-alarm rate of alpha.

    >>> evidence_against([0, 0, 0], 0.9).round(1)
    array([  5.5,  37. , 277.8])
    """
    outcomes = np.asarray(hits, dtype=np.float64)
    hit = outcomes.cumsum(axis=-1)
    missed = np.arange(1, outcomes.shape[-1] + 1) - hit
    # The integral of p^hit (1 - p)^missed from 0 to the promise, a part of the beta function.
    with np.errstate(divide="ignore"):  # No evidence at all: the logarithm of 0.
        part = np.log(betainc(hit + 1, missed + 1, promised))
    whole = betaln(hit + 1, missed + 1) + part
    logs = whole - math.log(promised) - xlogy(hit, promised) - xlogy(missed, 1 - promised)
    return np.asarray(np.exp(np.minimum(logs, 700.0)))


def share_changed(hits: int, total: int, reference_hits: int, reference_total: int) -> float:
    """Return the p-value of Fisher's exact test that two shares are the same; 1 without images.

    >>> share_changed(10, 20, 5, 100) < 0.001, share_changed(0, 0, 5, 100)
    (True, 1.0)
    """
    if not total or not reference_total:
        return 1.0
    table = [[hits, total - hits], [reference_hits, reference_total - reference_hits]]
    return float(fisher_exact(table).pvalue)


def scores_changed(scores: Floats, reference: Floats) -> float:
    """Return the p-value of the two-sample Kolmogorov-Smirnov test; 1 without images.

    >>> scores_changed(np.linspace(0.5, 1, 40), np.linspace(0, 1, 200)) < 0.001
    True
    """
    if not len(scores) or not len(reference):
        return 1.0
    # Exact where that is quick; SciPy's own choice would say so by a warning where it is not.
    method = "exact" if len(scores) * len(reference) <= 250_000 else "asymp"
    return float(ks_2samp(scores, reference, method=method).pvalue)


def stability_index(scores: Floats, reference: Floats) -> float:
    """Return the population stability index of scores against a reference; NaN without images.

    The sum over `BINS` groups of (share - reference share) times the logarithm of their ratio. Its
    mean without any drift is about (groups - 1) (1 / n + 1 / m): 0.1 and 0.25, which are quoted as
    bounds, say little of fewer than 200 images.

    Source: Siddiqi 2006, Credit Risk Scorecards, chapter 10; its chance level: Yurdakul & Naranjo
    2020, J. Risk Model Validation 14(4).

    >>> stability_index(np.linspace(0, 1, 100), np.linspace(0, 1, 100)) < 0.01
    True
    """
    if not len(scores) or not len(reference):
        return math.nan
    edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
    shares = []
    for values in (scores, reference):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        shares.append(np.maximum(counts, _EMPTY) / len(values))
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
