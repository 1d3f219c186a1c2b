"""Means over draws: their value is the plain mean, and their interval holds draws and patients."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.learning_curve import Resampling, draws_variance
from cxr_transfer.statistics.local_curve import area_point, ranked_classes, rates_at
from cxr_transfer.statistics.scores import Scores

LABELS = LabelSet(("normal", "other_pneumonia", "covid19"))
TARGETS = np.repeat([0, 2], 40)
NAMES = tuple(f"p{row}" for row in range(80))


def scores_of(strength, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(80, 3)) + strength * np.eye(3)[TARGETS]
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Scores(LABELS, TARGETS, table, NAMES, NAMES)


def test_the_mean_is_over_draws_and_over_the_classes_that_are_there():
    draws = [scores_of(1.0, seed) for seed in range(3)]
    point = area_point(draws, Resampling.of(NAMES, 3, resamples=100))
    assert ranked_classes(draws[0]).tolist() == [0, 2]
    areas = np.array(
        [[roc_auc_score(at == TARGETS, one.probabilities[:, at]) for at in (0, 2)] for one in draws]
    )
    assert point.mean.value == pytest.approx(areas.mean())
    assert point.replicates[0] == pytest.approx(areas.mean())
    assert point.of_draws == pytest.approx(areas.mean(axis=1))
    assert point.classes.keys() == {"normal", "covid19"}
    assert point.classes["covid19"].value == pytest.approx(areas[:, 1].mean())
    assert point.mean.low < point.mean.value < point.mean.high


def test_draws_that_differ_widen_the_interval():
    alike = [scores_of(1.0, 0)] * 3
    apart = [scores_of(strength, 0) for strength in (0.2, 1.0, 2.0)]
    resampling = Resampling.of(NAMES, 3, resamples=200)
    widths = [
        point.mean.high - point.mean.low
        for point in (area_point(alike, resampling), area_point(apart, resampling))
    ]
    assert widths[1] > 1.5 * widths[0]
    assert draws_variance(np.array([0.7])) == 0
    assert draws_variance(np.array([0.6, 0.8])) > 0.02 / 2 * 4, "two draws tell little"


def test_what_is_gained_is_paired_by_patient():
    weak, strong = scores_of(0.3, 1), scores_of(2.0, 1)
    first = area_point([weak], Resampling.of(NAMES, 1, resamples=200))
    more = area_point([strong] * 2, Resampling.of(NAMES, 2, resamples=200))
    gained = more.gained_over(first)
    assert gained.value == pytest.approx(more.mean.value - first.mean.value)
    assert gained.low > 0
    assert first.gained_over(first).value == 0


def test_each_draw_has_its_own_threshold():
    draws = [scores_of(1.0, seed) for seed in range(2)]
    thresholds = [0.2, 0.6]
    rates = rates_at(draws, thresholds, "covid19", Resampling.of(NAMES, 2, resamples=50))
    ill = TARGETS == 2
    called = [one.probabilities[:, 2] >= at for one, at in zip(draws, thresholds, strict=True)]
    assert rates["sensitivity"].value == pytest.approx(np.mean([one[ill].mean() for one in called]))
    assert rates["specificity"].value == pytest.approx(
        np.mean([(~one[~ill]).mean() for one in called])
    )
    # Nobody is called: both draws agree, and the interval is not of no width.
    none = rates_at(draws, [1.0, 1.0], "covid19", Resampling.of(NAMES, 2, resamples=50))
    assert none["specificity"].value == 1
    assert none["specificity"].low < 1
    absent = dataclasses.replace(draws[0], targets=np.zeros(80, dtype=int))
    gone = rates_at([absent] * 2, thresholds, "covid19", Resampling.of(NAMES, 2, resamples=5))
    assert not gone["sensitivity"].defined
