import json
import math

import numpy as np
import pytest
from sklearn import metrics as reference

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.intervals import patient_weights, wilson
from cxr_transfer.statistics.operating_points import (
    at_threshold,
    aurc,
    operating_points,
    risk_at,
    risk_coverage,
)
from cxr_transfer.statistics.scores import Scores

TWO = LabelSet(("normal", "covid19"))
BOTH = ("sensitivity 0.95", "specificity 0.95")
NULL = {"value": None, "low": None, "high": None}


def scores_of(targets, covid19, patients=None):
    """Two classes, by the score of covid19."""
    probabilities = np.stack([1 - np.asarray(covid19), np.asarray(covid19)], axis=1)
    files = tuple(f"{i}.png" for i in range(len(targets)))
    return Scores(TWO, targets, probabilities, tuple(patients or files), files)


def drawn(images=200, seed=0, decimals=None, per_patient=2):
    rng = np.random.default_rng(seed)
    targets = rng.integers(2, size=images)
    score = 1 / (1 + np.exp(-2 * rng.normal(size=images) - 3 * targets + 1.5))
    score = score if decimals is None else score.round(decimals)
    return scores_of(targets, score, [f"p{i // per_patient}" for i in range(images)])


def rates(scores, threshold, weights=None):
    """Sensitivity and specificity as scikit-learn computes them."""
    called = scores.probabilities[:, 1] >= threshold
    return reference.recall_score(
        scores.targets, called, labels=[1, 0], average=None, sample_weight=weights
    )


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
@pytest.mark.parametrize("seed", range(5))
def test_operating_points_reach_what_is_asked_and_the_next_score_does_not(decimals, seed):
    scores = drawn(seed=seed, decimals=decimals)
    sensitive, specific = (operating_points(scores, "covid19")[name] for name in BOTH)
    seen = np.unique(scores.probabilities[:, 1])
    # Between two scores, so that none of them needs the last digit.
    if decimals is None:
        assert min(np.abs(seen - sensitive).min(), np.abs(seen - specific).min()) > 1e-6
    assert rates(scores, sensitive)[0] >= 0.95
    # The lowest score above it is the last that is still called positive.
    assert all(rates(scores, other)[0] < 0.95 for other in seen[seen > sensitive][1:])
    assert rates(scores, specific)[1] >= 0.95
    assert all(rates(scores, other)[1] < 0.95 for other in seen[seen < specific])


def test_19_of_20_is_095():
    # Images of the class at 0.05, 0.10, ..., 1.00; the others 0.025 below each.
    of_class, others = np.arange(1, 21) / 20, np.arange(1, 21) / 20 - 0.025
    scores = scores_of([1] * 20 + [0] * 20, np.r_[of_class, others])
    found = operating_points(scores, "covid19")
    # 19 of 20 score at least 0.1, and 0.075 is the next lower score.
    assert found["sensitivity 0.95"] == 0.0875
    # 19 of 20 of the others lie below 0.95, the last of them at 0.925.
    assert found["specificity 0.95"] == 0.9375
    for images in range(1, 300):  # however the division rounds
        score = np.arange(1, images + 1) / images
        found = operating_points(scores_of([1] * images + [0], np.r_[score, 0]), "covid19")
        missed = (score < found["sensitivity 0.95"]).sum()
        assert 20 * missed <= images < 20 * (missed + 1)
        found = operating_points(scores_of([0] * images + [1], np.r_[score, 0]), "covid19")
        alarms = (score >= found["specificity 0.95"]).sum()
        assert 20 * alarms <= images < 20 * (alarms + 1)


def test_no_image_is_positive_where_no_score_is_specific_enough():
    found = operating_points(scores_of([1, 1, 0], [0.2, 1.0, 1.0]), "covid19")
    assert found["specificity 0.95"] == 1.000001
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["sensitivity 0.95"] == 0.1


def test_either_class_is_looked_for_in_its_own_score():
    scores = scores_of([1, 1, 0, 0], [0.9, 0.4, 0.3, 0.1])
    found = operating_points(scores, "normal")
    assert found == {BOTH[0]: 0.65, BOTH[1]: 0.65}


def test_a_threshold_picks_the_same_images_by_scores_as_they_are_given():
    """Scores of a network that is far too sure lie so near 1 that six decimals make them equal."""
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=400)
    logits = 8 * (2 * targets - 1) + 6 * rng.normal(size=400)
    scores = scores_of(targets, 1 / (1 + np.exp(-logits)))
    given = np.array([float(f"{score:.6f}") for score in scores.probabilities[:, 1]])
    assert len(np.unique(given)) < len(np.unique(scores.probabilities[:, 1]))
    for threshold in operating_points(scores, "covid19").values():
        assert float(f"{threshold:.6f}") == threshold
        found = at_threshold(scores, "covid19", threshold, resamples=5)
        called = given >= threshold
        assert found["sensitivity"]["value"] == called[targets == 1].mean()
        assert found["specificity"]["value"] == (~called)[targets == 0].mean()
    for row in risk_at(scores, [0.3, 0.6], resamples=5):
        highest = np.maximum(given, np.round(1 - scores.probabilities[:, 1], 6))
        assert row["images"] == (highest >= row["threshold"]).sum()


@pytest.mark.parametrize(("targets", "words"), [([0, 0], "0 of 2"), ([1, 1], "2 of 2")])
def test_no_operating_point_without_images_of_the_class_or_of_others(targets, words):
    with pytest.raises(DataError, match=words) as error:
        operating_points(scores_of(targets, [0.5, 0.5]), "covid19")
    assert error.value.code == "no_class"


def test_an_unknown_class_is_refused():
    for ask in (
        lambda: operating_points(drawn(), "viral"),
        lambda: at_threshold(drawn(), "viral", 0.5),
    ):
        with pytest.raises(DataError, match="got 'viral'"):
            ask()


def bayes(sensitivity, specificity, prevalence):
    """Counted out over a million images, as on paper."""
    ill = 1e6 * prevalence
    well = 1e6 - ill
    found, spared = sensitivity * ill, specificity * well
    return found / (found + well - spared), spared / (spared + ill - found)


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
def test_at_threshold_is_scikit_learns_recall_and_bayes_rule(decimals):
    scores = drawn(decimals=decimals)
    found = at_threshold(scores, "covid19", 0.6, resamples=100, seed=3)
    weights = patient_weights(scores.patients, resamples=100, seed=3)
    sensitivity, specificity = rates(scores, 0.6)
    replicates = np.array([rates(scores, 0.6, of_image) for of_image in weights])

    def check(written, value, values):
        quantiles = np.quantile(values, (0.025, 0.975))
        assert written["value"] == pytest.approx(value)
        assert (written["low"], written["high"]) == pytest.approx(tuple(quantiles))

    assert found["threshold"] == 0.6
    check(found["sensitivity"], sensitivity, replicates[:, 0])
    check(found["specificity"], specificity, replicates[:, 1])
    assert [row["prevalence"] for row in found["prevalences"]] == [0.01, 0.05, 0.20]
    for row in found["prevalences"]:
        ppv, npv = bayes(sensitivity, specificity, row["prevalence"])
        again = [bayes(*both, row["prevalence"]) for both in replicates]
        check(row["ppv"], ppv, [one[0] for one in again])
        check(row["npv"], npv, [one[1] for one in again])


def test_a_test_worked_by_hand():
    # 9 of 10 found, 80 of 100 spared.
    scores = scores_of([1] * 10 + [0] * 100, [0.8] * 9 + [0.1] + [0.8] * 20 + [0.1] * 80)
    found = at_threshold(scores, "covid19", 0.5, prevalences=[0.01], resamples=20)
    (row,) = found["prevalences"]
    assert found["sensitivity"]["value"] == pytest.approx(0.9)
    assert found["specificity"]["value"] == pytest.approx(0.8)
    assert row["ppv"]["value"] == pytest.approx(9 / (9 + 198))  # of 1000: 10 ill, 990 well
    assert row["npv"]["value"] == pytest.approx(792 / (792 + 1))


def test_a_predictive_value_is_not_sure_because_no_alarm_was_false():
    # 40 patients of the class, 10 missed; 100 others, of two images each, none called.
    patients = [f"p{i}" for i in range(40)] + [f"o{i // 2}" for i in range(200)]
    scores = scores_of([1] * 40 + [0] * 200, [0.9] * 30 + [0.1] * 210, patients)
    found = at_threshold(scores, "covid19", 0.5, prevalences=[0.01], resamples=200)
    assert found["specificity"] == wilson(100, 100).as_dict()
    (row,) = found["prevalences"]
    assert (row["ppv"]["value"], row["ppv"]["high"]) == (1, 1)
    lowest = bayes(found["sensitivity"]["low"], wilson(100, 100).low, 0.01)[0]
    assert row["ppv"]["low"] == pytest.approx(lowest)
    assert lowest < 0.2  # 3.7 % of false alarms at 1 % prevalence
    assert row["npv"]["low"] < row["npv"]["value"] < row["npv"]["high"]


def test_what_is_not_defined_is_null():
    scores = scores_of([1, 0, 0], [0.3, 0.2, 0.1])
    none_called = at_threshold(scores, "covid19", 0.9, resamples=20)
    assert none_called["sensitivity"]["value"] == 0
    assert all(row["ppv"] == NULL for row in none_called["prevalences"])
    assert none_called["prevalences"][1]["npv"]["value"] == pytest.approx(0.95)
    without = at_threshold(scores_of([0, 0], [0.9, 0.1]), "covid19", 0.5, resamples=20)
    assert without["sensitivity"] == NULL
    assert without["specificity"]["value"] == 0.5
    assert all(row[name] == NULL for row in without["prevalences"] for name in ("ppv", "npv"))
    assert json.dumps([none_called, without], allow_nan=False)


@pytest.mark.parametrize("prevalence", [0, 1, 5, -0.1, math.nan])
def test_a_prevalence_out_of_bounds_is_refused(prevalence):
    with pytest.raises(UsageError, match=f"got {prevalence}") as error:
        at_threshold(drawn(), "covid19", 0.5, prevalences=[0.1, prevalence])
    assert error.value.code == "prevalence"


@pytest.mark.parametrize("threshold", [math.nan, math.inf])
def test_a_threshold_that_is_none_is_refused(threshold):
    with pytest.raises(UsageError, match=f"got {threshold}") as error:
        at_threshold(drawn(), "covid19", threshold)
    assert error.value.code == "threshold"


def test_risk_is_one_less_the_accuracy_of_the_images_kept():
    scores = drawn(decimals=1)
    coverage, risk = risk_coverage(scores)
    highest = scores.probabilities.max(axis=1)
    levels = np.unique(highest)[::-1]
    assert len(levels) < 8  # ties indeed
    assert len(coverage) == len(levels)
    for level, kept, wrong in zip(levels, coverage, risk, strict=True):
        inside = highest >= level
        assert kept == pytest.approx(inside.mean())
        right = reference.accuracy_score(scores.targets[inside], scores.predicted[inside])
        assert wrong == pytest.approx(1 - right)
    assert (np.diff(coverage) > 0).all()
    assert coverage[-1] == 1


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
def test_the_images_order_changes_nothing(decimals):
    scores = drawn(decimals=decimals)
    turned = scores_of(scores.targets[::-1], scores.probabilities[::-1, 1], scores.patients[::-1])
    for one, other in zip(risk_coverage(scores), risk_coverage(turned), strict=True):
        assert one == pytest.approx(other)
    assert aurc(scores) == pytest.approx(aurc(turned))
    ours, theirs = (risk_at(s, resamples=50) for s in (scores, turned))
    for one, other in zip(ours, theirs, strict=True):
        assert one["risk"] == pytest.approx(other["risk"])
        assert one["images"] == other["images"]


def test_aurc_is_the_mean_of_the_risks_over_the_ranks():
    scores = drawn()
    order = np.argsort(-scores.probabilities.max(axis=1))
    wrong = (scores.predicted != scores.targets)[order]
    risks = [wrong[:kept].mean() for kept in range(1, len(wrong) + 1)]
    assert aurc(scores) == pytest.approx(np.mean(risks))


def test_aurc_of_the_best_the_worst_and_no_order():
    right, wrong = [1, 1, 1], [0]
    best = scores_of(right + wrong, [0.9, 0.8, 0.7, 0.6])
    worst = scores_of(wrong + right, [0.9, 0.8, 0.7, 0.6])
    equal = scores_of(right + wrong, [0.9, 0.9, 0.9, 0.9])
    assert aurc(best) == pytest.approx(0.25 / 4)
    assert aurc(worst) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert aurc(equal) == pytest.approx(0.25)
    assert risk_coverage(equal)[0].tolist() == [1]
    # Two of equal score, one of them wrong: either counts with both kept.
    some = scores_of(right + wrong, [0.9, 0.8, 0.7, 0.8])
    assert aurc(some) == pytest.approx((0 + 1 / 3 + 1 / 3 + 1 / 4) / 4)


def test_risk_at_keeps_at_least_what_is_asked_and_gives_the_interval_by_patient():
    scores = drawn()
    weights = patient_weights(scores.patients, resamples=200, seed=1)
    highest = scores.probabilities.max(axis=1).round(6)
    wrong = scores.predicted != scores.targets
    rows = risk_at(scores, resamples=200, seed=1)
    assert [row["coverage"] for row in rows] == [1.0, 0.95, 0.9, 0.8, 0.7, 0.5]
    assert [row["images"] for row in rows] == [200, 190, 180, 160, 140, 100]
    for row in rows:
        kept = highest >= row["threshold"]
        assert kept.sum() == row["images"]
        assert row["risk"]["value"] == pytest.approx(wrong[kept].mean())
        replicates = [np.average(wrong[kept], weights=of_image[kept]) for of_image in weights]
        quantiles = np.quantile(replicates, (0.025, 0.975))
        assert (row["risk"]["low"], row["risk"]["high"]) == pytest.approx(tuple(quantiles))
    assert json.dumps(rows, allow_nan=False)


def test_equal_scores_are_kept_together():
    scores = scores_of([1, 1, 0, 1], [0.9, 0.8, 0.8, 0.6])
    rows = risk_at(scores, [0.25, 0.5, 0.75, 0.76], resamples=5)
    assert [row["images"] for row in rows] == [1, 3, 3, 4]
    assert [row["threshold"] for row in rows] == pytest.approx([0.9, 0.8, 0.8, 0.6])
    assert rows[1]["risk"]["value"] == pytest.approx(1 / 3)


def test_no_error_among_those_kept_is_bounded_over_their_patients():
    patients = [f"p{i // 2}" for i in range(40)]
    scores = scores_of([1] * 30 + [0] * 10, [0.9] * 30 + [0.6] * 10, patients)
    (row,) = risk_at(scores, [0.5], resamples=50)
    assert row["images"] == 30
    assert row["risk"] == wilson(0, 15).as_dict()


@pytest.mark.parametrize("coverage", [0, -0.5, 1.01, 95, math.nan])
def test_a_coverage_out_of_bounds_is_refused(coverage):
    with pytest.raises(UsageError, match=f"got {coverage}") as error:
        risk_at(drawn(), [1.0, coverage])
    assert error.value.code == "coverage"


def test_no_resamples_are_refused():
    for ask in (
        lambda: risk_at(drawn(), resamples=0),
        lambda: at_threshold(drawn(), "covid19", 0.5, resamples=0),
    ):
        with pytest.raises(UsageError, match="got 0"):
            ask()
