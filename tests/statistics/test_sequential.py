"""Sequential tests: their false-alarm rates by simulation, and that they do alarm."""

import numpy as np
import pytest

from cxr_transfer.statistics.sequential import (
    evidence_against,
    scores_changed,
    share_changed,
    stability_index,
)

PATHS, LENGTH, ALPHA = 2000, 400, 0.05


def alarmed(true, promised, seed=0):
    """Share of paths that ever alarm."""
    rng = np.random.default_rng(seed)
    hits = rng.random((PATHS, LENGTH)) < true
    return np.mean(evidence_against(hits, promised).max(axis=1) >= 1 / ALPHA)


@pytest.mark.parametrize("promised", [0.85, 0.95])
def test_looking_after_every_outcome_keeps_the_false_alarm_rate(promised):
    # Three standard errors of 2,000 paths: 0.015.
    assert alarmed(promised, promised) <= ALPHA + 0.015
    assert alarmed((1 + promised) / 2, promised) < ALPHA / 2, "better than promised"
    assert alarmed(promised - 0.15, promised) > 0.95


def test_evidence_is_the_mean_of_likelihood_ratios():
    hits = [1, 0, 1, 1, 0, 1]
    shares = (np.arange(200_000) + 0.5) / 200_000 * 0.8
    ratio = (shares**4 * (1 - shares) ** 2).mean() / (0.8**4 * 0.2**2)
    assert evidence_against(hits, 0.8)[-1] == pytest.approx(ratio, rel=1e-6)
    assert np.isfinite(evidence_against(np.zeros(5000), 0.9)).all()
    assert evidence_against([], 0.9).size == 0


@pytest.mark.slow
def test_p_values_of_drift_are_no_smaller_than_they_may_be():
    rng = np.random.default_rng(2)
    reference = rng.random(150)
    by_scores = [scores_changed(rng.random(40), rng.random(150)) for _ in range(800)]
    by_share = [
        share_changed(rng.binomial(40, 0.2), 40, rng.binomial(150, 0.2), 150) for _ in range(800)
    ]
    for values in (by_scores, by_share):
        for limit in (0.01, 0.05, 0.2):
            assert np.mean(np.array(values) <= limit) <= limit + 0.03
    assert scores_changed(rng.random(40) ** 3, reference) < 1e-3
    assert scores_changed(np.zeros(0), reference) == 1.0


def test_the_stability_index_is_that_of_the_shares():
    reference = np.repeat([0.25, 0.75], 50)
    scores = np.repeat([0.25, 0.75], [20, 80])
    expected = (0.2 - 0.5) * np.log(0.2 / 0.5) + (0.8 - 0.5) * np.log(0.8 / 0.5)
    assert stability_index(scores, reference) == pytest.approx(expected, rel=0.05)
    assert np.isnan(stability_index(np.zeros(0), reference))
