import dataclasses
import json
import math

import numpy as np
import pytest
from sklearn import metrics as reference

from cxr_transfer.errors import UsageError
from cxr_transfer.labels import DATASET_1, LabelSet
from cxr_transfer.statistics.calibration import (
    apply_temperature,
    calibration,
    reliability,
    statistics,
)
from cxr_transfer.statistics.intervals import patient_weights, wilson
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import calibration_error, fit_temperature

NAMES = ("ece", "ece_classwise", "brier", "log_loss")


def scores_of(targets, probabilities, patients=None, labels=DATASET_1):
    files = tuple(f"{i}.png" for i in range(len(targets)))
    return Scores(labels, targets, probabilities, tuple(patients or files), files)


def calibrated(images=300, seed=0, spread=2.0, per_patient=1):
    """Scores that are the very chances with which the classes were drawn."""
    rng = np.random.default_rng(seed)
    chances = np.exp(spread * rng.normal(size=(images, 3)))
    chances /= chances.sum(axis=1, keepdims=True)
    targets = [rng.choice(3, p=chance) for chance in chances]
    return scores_of(targets, chances, [f"p{i // per_patient}" for i in range(images)])


def temperature(scores):
    return fit_temperature(scores.probabilities, scores.targets)


def expected_calibration_error(score, right, weights):
    """Bin by bin, as the definition reads."""
    total = 0.0
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        inside = ((score > low) | ((number == 0) & (score == 0))) & (score <= high)
        if weights[inside].sum():
            share = np.average(right[inside], weights=weights[inside])
            mean = np.average(score[inside], weights=weights[inside])
            total += weights[inside].sum() / weights.sum() * abs(share - mean)
    return total


def by_definition(scores, weights):
    truth, p = scores.targets, scores.probabilities
    return {
        "ece": expected_calibration_error(p.max(axis=1), truth == p.argmax(axis=1), weights),
        "ece_classwise": np.mean(
            [expected_calibration_error(p[:, c], truth == c, weights) for c in range(3)]
        ),
        "brier": reference.brier_score_loss(truth, p, sample_weight=weights, labels=[0, 1, 2]),
        "log_loss": reference.log_loss(truth, p, sample_weight=weights, labels=[0, 1, 2]),
    }


def test_statistics_are_those_of_the_definitions_and_of_scikit_learn():
    scores = calibrated(per_patient=3)
    weights = patient_weights(scores.patients, resamples=8, seed=5)
    weights = np.concatenate([np.ones_like(weights[:1]), weights])
    ours = statistics(scores, weights)
    assert tuple(ours) == NAMES
    for row, of_image in enumerate(weights):
        for name, value in by_definition(scores, of_image).items():
            assert ours[name][row] == pytest.approx(value, abs=1e-12), (name, row)


def test_calibration_holds_the_values_and_the_quantiles_of_the_replicates():
    scores = calibrated(per_patient=3)
    found = calibration(scores, resamples=300, seed=4)
    replicates = statistics(scores, patient_weights(scores.patients, resamples=300, seed=4))
    values = by_definition(scores, np.ones(len(scores.files)))
    for name in NAMES:
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(values[name], abs=1e-12)
        quantiles = np.quantile(replicates[name], (0.025, 0.975))
        assert (estimate.low, estimate.high) == pytest.approx(tuple(quantiles))
        assert estimate.low < estimate.high
    assert found.ece.value == pytest.approx(
        calibration_error(scores.probabilities, scores.targets), abs=1e-12
    )
    written = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert tuple(written) == NAMES
    assert written["brier"] == found.brier.as_dict()


def test_a_calibration_worked_by_hand():
    # Highest scores 0.8 (right), 0.8 (wrong), 0.6 (right): bins (0.7, 0.8] and (0.5, 0.6].
    scores = scores_of([0, 1, 1], [[0.8, 0.1, 0.1], [0.8, 0.2, 0.0], [0.4, 0.6, 0.0]])
    found = calibration(scores, resamples=2)
    assert found.ece.value == pytest.approx((2 * abs(0.5 - 0.8) + abs(1 - 0.6)) / 3)
    # normal: 0.8, 0.8 (one of two) and 0.4 (none); bacterial: 0.1, 0.2, 0.6 (none, all, all);
    # covid19: 0.1, 0, 0, all of the first bin, (none).
    of_class = [0.6 + 0.4, 0.1 + 0.8 + 0.4, 0.1]
    assert found.ece_classwise.value == pytest.approx(sum(of_class) / 3 / 3)
    brier = 0.04 + 0.01 + 0.01 + 0.64 + 0.64 + 0.16 + 0.16
    assert found.brier.value == pytest.approx(brier / 3)
    assert found.log_loss.value == pytest.approx(-math.log(0.8 * 0.2 * 0.6) / 3)


def test_a_score_of_0_has_a_finite_loss():
    scores = scores_of([0, 1], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert calibration(scores, resamples=5).log_loss.value == pytest.approx(math.log(1e12) / 2)


def test_images_that_are_all_surely_right_bound_the_calibration_error_by_patient():
    targets = [0, 1, 2] * 20
    patients = [f"p{i // 2}" for i in range(60)]
    found = calibration(scores_of(targets, np.eye(3)[targets], patients), resamples=20)
    for estimate in (found.ece, found.ece_classwise):
        assert estimate.value == 0
        assert estimate.high == pytest.approx(wilson(0, 30).high)
    assert found.brier.high == 0


def test_images_of_one_patient_widen_the_interval():
    one = calibrated(images=60)
    again = scores_of(np.repeat(one.targets, 5), np.repeat(one.probabilities, 5, axis=0))
    clustered = dataclasses.replace(again, patients=tuple(np.repeat(one.patients, 5)))
    by_image, by_patient = (calibration(s, resamples=1000).brier for s in (again, clustered))
    assert by_image.value == pytest.approx(by_patient.value)
    # Five times as many images as patients: sqrt(5) times as wide.
    ratio = (by_patient.high - by_patient.low) / (by_image.high - by_image.low)
    assert ratio == pytest.approx(5**0.5, rel=0.15)


def test_the_seed_alone_decides():
    scores = calibrated()
    one, again, other = (calibration(scores, resamples=50, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one.ece.value == other.ece.value
    assert one.ece.low != other.ece.low


def test_calibrated_scores_need_no_temperature():
    assert temperature(calibrated(images=20_000)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("factor", [0.3, 0.8, 1.7, 4.0])
def test_temperature_undoes_what_a_temperature_did(factor):
    scores = calibrated()
    undone = temperature(apply_temperature(scores, factor))
    # Not quite: sharpened scores end below 1e-12, where they are cut off.
    assert undone == pytest.approx(temperature(scores) / factor, rel=1e-4)


def test_temperature_has_the_lowest_log_loss():
    sharp = apply_temperature(calibrated(images=80, seed=3), 0.5)
    best = temperature(sharp)

    def loss(at):
        return reference.log_loss(sharp.targets, apply_temperature(sharp, at).probabilities)

    others = [loss(at) for at in np.geomspace(0.05, 20, 400)]
    assert loss(best) <= min(others)
    assert loss(best) < loss(best * 1.01)
    assert loss(best) < loss(best / 1.01)
    assert loss(best) < loss(1) - 0.05


def test_there_is_no_temperature_where_images_set_none():
    targets = [0, 1, 2] * 5
    right = 0.8 * np.eye(3)[targets] + 0.2 / 3
    assert temperature(scores_of(targets, right)) is None
    wrong = np.roll(right, 1, axis=1)
    assert temperature(scores_of(targets, wrong)) is None
    # Scores of 0 and 1 alone, one of them wrong: a finite answer all the same.
    certain = np.eye(3)[[0, 1, 2, 0]]
    assert 1 < temperature(scores_of([0, 1, 2, 1], certain)) < 20


def test_tempered_keeps_the_order_and_everything_else():
    scores = calibrated(images=50)
    assert apply_temperature(scores, 1).probabilities == pytest.approx(
        scores.probabilities, abs=1e-12
    )
    for at in (0.05, 0.5, 3, 20):
        changed = apply_temperature(scores, at)
        assert (changed.predicted == scores.predicted).all()
        assert (changed.targets == scores.targets).all()
        for name in ("labels", "patients", "files"):
            assert getattr(changed, name) == getattr(scores, name)
        highest, before = changed.probabilities.max(axis=1), scores.probabilities.max(axis=1)
        assert (highest <= before).all() if at > 1 else (highest >= before).all()
    powers = scores.probabilities**2
    powers /= powers.sum(axis=1, keepdims=True)
    assert apply_temperature(scores, 0.5).probabilities == pytest.approx(powers, abs=1e-12)


def test_tempered_takes_scores_of_0_and_1_at_any_temperature():
    scores = scores_of([0, 1], [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    for at in (1e-6, 0.05, 20, 1e6):
        assert apply_temperature(scores, at).predicted.tolist() == [0, 1]
    assert apply_temperature(scores, 1e6).probabilities[0] == pytest.approx(
        np.full(3, 1 / 3), abs=1e-4
    )


@pytest.mark.parametrize("at", [0, -1.0, math.nan, math.inf, -math.inf])
def test_a_temperature_that_is_none_is_refused(at):
    with pytest.raises(UsageError, match=f"got {at}") as error:
        apply_temperature(calibrated(images=3), at)
    assert error.value.code == "temperature"


def test_reliability_holds_every_image_once_and_makes_the_calibration_error():
    scores = calibrated(spread=1.0)
    rows = reliability(scores)
    assert sum(row["images"] for row in rows) == 300
    assert [row["low"] for row in rows] == sorted({row["low"] for row in rows})
    assert rows[0]["low"] == 0.3  # of three scores the highest is a third at least
    for row in rows:
        assert row["low"] < row["mean_score"] <= row["high"]
        right = round(row["right"]["value"] * row["images"])
        assert row["right"] == wilson(right, row["images"]).as_dict()
    gaps = [row["images"] * abs(row["right"]["value"] - row["mean_score"]) for row in rows]
    assert sum(gaps) / 300 == pytest.approx(calibration(scores, resamples=2).ece.value)
    assert json.dumps(rows, allow_nan=False)


def test_a_score_on_an_edge_belongs_to_the_bin_below():
    labels = LabelSet(tuple("abcd"))
    for tenths in range(3, 11):
        high = tenths / 10
        rest = (1 - high) / 3
        (row,) = reliability(scores_of([0], [[high, rest, rest, rest]], labels=labels))
        assert (row["low"], row["high"]) == ((tenths - 1) / 10, high)


def test_reliability_takes_another_number_of_bins():
    scores = calibrated()
    (row,) = reliability(scores, bins=1)
    assert (row["low"], row["high"], row["images"]) == (0, 1, 300)
    assert row["mean_score"] == pytest.approx(scores.probabilities.max(axis=1).mean())
    assert len(reliability(scores, bins=100)) > 10
    with pytest.raises(UsageError, match="got 0") as error:
        reliability(scores, bins=0)
    assert error.value.code == "bins"
