"""Figures within one source, checked against what was put in and against other ways to get them."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.external import (
    abstention,
    answered,
    calls,
    class_counts,
    recalibration,
    shortcut_ratio,
    transported_points,
    within_source,
)
from cxr_transfer.statistics.scores import Scores

LABELS = LabelSet(("normal", "other_pneumonia", "covid19"))


def scores_of(number, seed=0, classes=(0, 1, 2), images_each=1):
    """Scores that tell the classes a little, of patients with so many images each."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(classes, number)
    logits = rng.normal(size=(len(targets), 3)) + 1.5 * np.eye(3)[targets]
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    patients = tuple(f"p{row // images_each}" for row in range(len(targets)))
    return Scores(LABELS, targets, table, patients, tuple(map(str, range(len(targets)))))


def test_the_mean_is_over_the_classes_that_the_source_holds():
    scores = scores_of(30, classes=(0, 2))
    areas, mean = within_source(scores)
    expected = [roc_auc_score(scores.targets == at, scores.probabilities[:, at]) for at in (0, 2)]
    assert areas["other_pneumonia"] is None
    assert [areas["normal"].value, areas["covid19"].value] == pytest.approx(expected)
    assert mean.value == pytest.approx(np.mean(expected))
    assert mean.low < mean.value < mean.high
    assert class_counts(scores) == {"normal": 30, "other_pneumonia": 0, "covid19": 30}


def test_a_class_with_few_images_has_no_figure_and_is_in_no_mean():
    many, few = scores_of(30, classes=(0, 1)), scores_of(19, classes=(2,), seed=1)
    both = Scores(
        LABELS,
        np.concatenate([many.targets, few.targets]),
        np.concatenate([many.probabilities, few.probabilities]),
        many.files + tuple(f"few {name}" for name in few.files),
        many.files + tuple(f"few {name}" for name in few.files),
    )
    areas, mean = within_source(both)
    assert areas["covid19"] is None
    assert mean.value == pytest.approx((areas["normal"].value + areas["other_pneumonia"].value) / 2)
    assert not within_source(few)[1].defined


def test_thresholds_come_from_elsewhere_and_are_measured_here():
    here, elsewhere = scores_of(60, seed=1), scores_of(200, seed=2)
    # The same model at a place where every score of COVID-19 is twice as likely.
    points = transported_points(here, elsewhere, resamples=50)
    find, spare = points["covid19"]["sensitivity 0.9"], points["covid19"]["specificity 0.95"]
    ill, score = elsewhere.one_vs_rest("covid19")
    assert (score[ill] >= find["threshold"]).mean() >= 0.9
    assert (score[~ill] < spare["threshold"]).mean() >= 0.95
    ill, score = here.one_vs_rest("covid19")
    assert find["sensitivity"]["value"] == pytest.approx((score[ill] >= find["threshold"]).mean())
    assert find["specificity"]["value"] == pytest.approx((score[~ill] < find["threshold"]).mean())
    assert spare["specificity"]["low"] < spare["specificity"]["value"]
    assert find.keys() == {"threshold", "sensitivity", "specificity"}


def test_a_class_that_the_others_lack_sets_no_threshold_and_one_that_is_not_here_no_sensitivity():
    elsewhere = scores_of(30, classes=(0, 1))
    assert transported_points(scores_of(30), elsewhere, resamples=20)["covid19"] is None
    points = transported_points(scores_of(30, classes=(0, 1)), scores_of(30, seed=3), resamples=20)
    assert points["covid19"]["sensitivity 0.9"]["sensitivity"]["value"] is None
    assert points["covid19"]["sensitivity 0.9"]["specificity"]["value"] is not None


def test_recalibration_finds_the_slope_and_the_intercept_that_were_put_in():
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000)
    ill = rng.uniform(size=20_000) < expit(true)
    told = expit((true - 0.7) / 0.5)  # too sure by a factor of two, and shifted
    labels = LabelSet(("normal", "covid19"))
    names = tuple(map(str, range(20_000)))
    scores = Scores(labels, ill.astype(int), np.stack([1 - told, told], axis=1), names, names)
    found = recalibration(scores, "covid19")
    assert found["slope"].value == pytest.approx(0.5, abs=0.03)
    assert found["intercept"].value == pytest.approx(0.7, abs=0.06)
    assert found["slope"].low < 0.5 < found["slope"].high
    # The first class is the mirror image of the second.
    mirrored = recalibration(scores, "normal")
    assert mirrored["slope"].value == pytest.approx(found["slope"].value)
    assert mirrored["intercept"].value == pytest.approx(-found["intercept"].value)


def test_the_interval_of_a_slope_is_by_patient():
    scores = scores_of(40)
    copied = Scores(
        LABELS,
        np.tile(scores.targets, 4),
        np.tile(scores.probabilities, (4, 1)),
        scores.patients * 4,
        tuple(f"{copy} {file}" for copy in range(4) for file in scores.files),
    )
    once, often = recalibration(scores, "normal"), recalibration(copied, "normal")
    assert often["slope"].value == pytest.approx(once["slope"].value)
    assert often["slope"].high == pytest.approx(once["slope"].high), "copies tell nothing new"


@pytest.mark.parametrize("kind", ["separated", "equal", "few"])
def test_no_slope_is_told_where_none_is_set(kind):
    scores = scores_of(19 if kind == "few" else 30, classes=(0, 1))
    ill = scores.targets == 1
    if kind == "separated":
        table = np.where(ill[:, None], [0.1, 0.9, 0.0], [0.9, 0.1, 0.0])
        scores = dataclasses.replace(scores, probabilities=table)
    if kind == "equal":
        scores = dataclasses.replace(scores, probabilities=np.full((60, 3), 1 / 3))
    assert not recalibration(scores, "normal")["slope"].defined


def test_reasons_for_no_class_are_told_apart():
    scores = scores_of(40)
    limit = float(np.quantile(scores.probabilities.max(axis=1), 0.3))
    statuses = ["out_of_distribution"] * 12 + ["far"] * 6 + ["in_distribution"] * 102
    has_class, out = answered(scores, confidence_threshold=limit, statuses=statuses)
    found = abstention(scores, confidence_threshold=limit, statuses=statuses, resamples=50)
    assert out.sum() == 12
    assert not (has_class & out).any()
    assert found["out_of_distribution"]["value"] == pytest.approx(0.1)
    assert found["far"]["value"] == pytest.approx(0.05)
    assert found["without_class"]["value"] == pytest.approx(
        found["not_sure"]["value"] + found["out_of_distribution"]["value"]
    )
    assert found["answered"] == has_class.sum()
    right = (scores.predicted == scores.targets)[has_class]
    assert found["accuracy"]["value"] == pytest.approx(right.mean())
    assert found["risk_falls"]
    every = abstention(scores, confidence_threshold=None, statuses=None, resamples=20)
    assert every["without_class"]["value"] == 0
    assert (every["out_of_distribution"], every["far"]) == (None, None)


def test_nothing_answered_has_no_accuracy_and_sure_errors_do_not_fall():
    scores = scores_of(30)
    none = abstention(scores, confidence_threshold=1.0, statuses=None, resamples=20)
    assert (none["answered"], none["accuracy"]) == (0, None)
    wrong = np.roll(np.eye(3)[scores.targets], 1, axis=1)
    wrong = dataclasses.replace(scores, probabilities=wrong * 0.9 + 0.1 / 3)
    found = abstention(wrong, confidence_threshold=None, statuses=None, resamples=20)
    assert not found["risk_falls"]


def test_calls_are_shares_of_each_class():
    scores = scores_of(30, classes=(0, 2))
    has_class = np.arange(60) % 2 == 0
    found = calls(scores, has_class, resamples=50)
    assert found.keys() == {"normal", "covid19"}
    for target, label in ((0, "normal"), (2, "covid19")):
        rows = scores.targets == target
        for called, name in enumerate(LABELS):
            share = (scores.predicted[rows] == called).mean()
            assert found[label]["called"][name]["value"] == pytest.approx(share)
            share = (scores.predicted[rows & has_class] == called).mean()
            assert found[label]["called_answered"][name]["value"] == pytest.approx(share)
    assert calls(scores, ~has_class & has_class, resamples=5)["normal"]["called_answered"] is None


def test_a_shortcut_ratio_is_what_is_left_without_the_lungs():
    assert shortcut_ratio(0.8, 0.65) == pytest.approx(0.5)
    assert shortcut_ratio(0.8, 0.5) == 0
