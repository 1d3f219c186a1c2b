"""A temperature is found on arrays alone, and kept only where it helps patients not met before."""

import math

import numpy as np
import pytest
from scipy.special import softmax

from cxr_transfer.statistics.temperature import (
    FEWEST_IMAGES,
    as_given,
    at_temperature,
    between,
    calibration_error,
    choose_temperature,
    confidence_threshold,
    fit_temperature,
    log_scores,
    score_scale,
)


def drawn(at, images=4000, seed=0):
    """Scores of logits that are ``at`` times too large, and classes drawn with the due chances."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(images, 3))
    due = softmax(logits, axis=1)
    targets = np.array([rng.choice(3, p=chances) for chances in due])
    return softmax(at * logits, axis=1), targets


@pytest.mark.parametrize("at", [0.5, 1.0, 2.0, 5.0])
def test_the_temperature_that_was_put_in_is_found_again(at):
    assert fit_temperature(*drawn(at)) == pytest.approx(at, rel=0.06)


def test_a_temperature_worked_by_hand():
    # Always 81 to 1 but right 3 times of 4: 81 ** (1 / T) = 3.
    scores = np.tile([81 / 82, 1 / 82], (4, 1))
    assert fit_temperature(scores, np.array([0, 0, 1, 0])) == pytest.approx(math.log(81, 3))


def test_images_that_are_all_right_set_none():
    assert fit_temperature(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])) is None


def test_a_score_of_zero_for_the_true_class_does_not_decide_alone():
    # With a loss of infinity for the first image, every temperature would be as good.
    scores = np.array([[0.0, 1.0]] + [[0.01, 0.99]] * 99)
    assert 1.5 < fit_temperature(scores, np.array([0] + [1] * 99)) < 2


def names(images, per_patient=1):
    return [f"p{number // per_patient}" for number in range(images)]


def log_loss(scores, targets):
    return -log_scores(scores)[np.arange(len(targets)), targets].mean()


def test_a_temperature_of_24_images_that_would_harm_others_is_not_kept():
    """It doubles the calibration error of new images, and was called calibrated."""
    scores, targets = drawn(0.8, images=24, seed=6)
    new, truth = drawn(0.8, images=20_000, seed=99)
    fitted = fit_temperature(scores, targets)
    assert calibration_error(new, truth) == pytest.approx(0.048, abs=0.001)
    harmed = calibration_error(at_temperature(new, fitted), truth)
    assert harmed == pytest.approx(0.128, abs=0.001)
    kept, check = choose_temperature(scores, targets, names(24))
    assert kept is None
    assert (check.reason, check.images, check.patients) == ("too_few_images", 24, 24)
    assert check.temperature == fitted
    assert "(24)" in check.words()
    # Nor would it be without the minimum: others' log loss does not fall.
    kept, check = choose_temperature(scores, targets, names(24), fewest=1)
    assert (kept, check.reason) == (None, "no_improvement")
    assert check.log_loss_after > check.log_loss_before - 0.05


@pytest.mark.parametrize("at", [2.0, 3.0])
def test_a_network_that_is_far_too_sure_is_calibrated_where_images_are_enough(at):
    new, truth = drawn(at, images=20_000, seed=99)
    for seed in range(5):
        scores, targets = drawn(at, images=200, seed=seed)
        kept, check = choose_temperature(scores, targets, names(200))
        assert kept == fit_temperature(scores, targets) == check.temperature
        assert check.reason == ""
        assert check.log_loss_after < check.log_loss_before
        assert check.ece_after < check.ece_before
        given = at_temperature(new, kept)
        assert calibration_error(given, truth) < calibration_error(new, truth) / 2
        assert log_loss(given, truth) < log_loss(new, truth)


def test_scores_that_are_right_as_they_are_are_left_alone():
    kept = [
        choose_temperature(*drawn(1.0, images=150, seed=seed), names(150))[0] for seed in range(60)
    ]
    assert sum(temperature is not None for temperature in kept) <= 4


def test_what_is_told_of_a_temperature_is_of_images_that_had_no_part_in_it():
    """Worked out again fold by fold, from the parts that a seed gives."""
    scores, targets = drawn(2.0, images=120, seed=3)
    patients = names(120, per_patient=2)
    _, check = choose_temperature(scores, targets, patients)
    order = sorted(set(patients))
    fold_of = dict(zip(order, np.random.default_rng(0).permutation(60) % 5, strict=True))
    fold = np.array([fold_of[patient] for patient in patients])
    held_out = np.empty_like(scores)
    for number in range(5):
        own = fold == number
        of_others = fit_temperature(scores[~own], targets[~own])
        held_out[own] = at_temperature(scores[own], of_others)
    assert check.log_loss_after == pytest.approx(log_loss(held_out, targets))
    assert check.ece_after == pytest.approx(calibration_error(held_out, targets))
    assert check.log_loss_before == pytest.approx(log_loss(scores, targets))
    assert check.ece_before == pytest.approx(calibration_error(scores, targets))
    # The order of the images decides nothing.
    turned = choose_temperature(scores[::-1], targets[::-1], patients[::-1])[1]
    assert turned.log_loss_after == pytest.approx(check.log_loss_after)


def test_patients_and_not_images_are_asked():
    """Ten copies of 15 images: by image each is met before, and a temperature of chance helps."""
    by_image, by_patient = 0, 0
    for seed in range(40):
        scores, targets = (np.repeat(each, 10, axis=0) for each in drawn(1.0, 15, seed))
        by_image += choose_temperature(scores, targets, names(150))[0] is not None
        by_patient += choose_temperature(scores, targets, names(150, 10))[0] is not None
    assert by_image >= 10
    assert by_patient <= 2


def test_what_sets_no_temperature_has_none_and_says_why():
    images = FEWEST_IMAGES + 50
    right = np.tile([0.9, 0.1], (images, 1))
    found = choose_temperature(right, np.zeros(images, int), names(images))
    assert found[0] is None
    assert found[1].reason == "no_errors"
    # Perfect, and few: that all are right is the reason that more images would not mend.
    assert choose_temperature(right[:9], np.zeros(9, int), names(9))[1].reason == "no_errors"
    # All errors are one patient's, without whom nothing sets a temperature.
    targets = np.zeros(images, int)
    targets[:3] = 1
    kept, check = choose_temperature(right, targets, ["one"] * 3 + names(images - 3))
    assert (kept, check.reason) == (None, "undetermined")
    assert check.log_loss_after is None
    few = choose_temperature(*drawn(2.0, images, 1), names(images, per_patient=40))
    assert (few[0], few[1].reason) == (None, "undetermined")
    for one in (found[1], check, few[1]):
        assert one.words().startswith("Scores are not calibrated: ")
        assert one.words().endswith(".")


def test_scales_are_named():
    assert score_scale(None) == "as the network gives them"
    assert score_scale(0.95713) == "calibrated (temperature 0.957)"


def test_a_limit_lies_between_the_scores_that_it_parts():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), size=1000)
    highest = as_given(scores.max(axis=1))
    for coverage in (1.0, 0.9, 0.5):
        limit = confidence_threshold(scores, coverage)
        assert limit == round(limit, 6)
        assert (highest >= limit).mean() == pytest.approx(coverage, abs=0.0011)
        assert (highest >= limit).mean() >= coverage
        assert np.abs(highest - limit).min() > 1e-6
    # Scores that are equal as they are given stay together.
    assert (
        confidence_threshold(np.array([[0.7000001, 0.2999999], [0.7, 0.3], [0.6, 0.4]]), 0.3)
        == 0.65
    )
    low, high = np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.500001, 1.000001])
    assert between(low, high).tolist() == [0.0, 0.500001, 1.000001]
