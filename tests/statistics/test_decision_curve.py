"""Net benefit by counting, and what it says of scores that are known."""

import numpy as np
import pytest

from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.decision_curve import THRESHOLDS, decision_curve
from cxr_transfer.statistics.scores import Scores

LABELS = LabelSet(("normal", "covid19"))


def scores_of(ill, targets):
    names = tuple(f"{row}.png" for row in range(len(ill)))
    return Scores(LABELS, targets, np.stack([1 - ill, ill], axis=1), names, names)


def test_net_benefit_is_what_counting_gives():
    rng = np.random.default_rng(0)
    targets, ill = rng.integers(0, 2, 60), rng.random(60).round(6)
    curve = decision_curve(scores_of(ill, targets), "covid19", resamples=20)["curve"]
    assert [point["threshold"] for point in curve] == list(THRESHOLDS)
    for point in curve[4::9]:
        odds = point["threshold"] / (1 - point["threshold"])
        called = ill >= point["threshold"]
        found, false = (called & (targets == 1)).sum(), (called & (targets == 0)).sum()
        assert point["model"] == pytest.approx(found / 60 - false / 60 * odds)
        assert point["all"] == pytest.approx(targets.mean() - (1 - targets.mean()) * odds)
        better = max(point["all"], 0)
        assert point["gain"]["value"] == pytest.approx(point["model"] - better)


def test_a_score_that_knows_is_useful_everywhere_and_one_that_is_even_nowhere():
    targets = np.arange(200) % 2
    perfect = decision_curve(scores_of(np.where(targets, 0.99, 0.001), targets), "covid19")
    assert perfect["useful"] == 1
    assert perfect["harmful"] == 0
    even = decision_curve(scores_of(np.full(200, 0.5), targets), "covid19")
    assert even["useful"] == even["harmful"] == 0
    assert even["prevalence"] == 0.5
