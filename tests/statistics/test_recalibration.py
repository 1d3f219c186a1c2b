"""Maps of a score: they help where it is wrong, do no harm where it is right, and never peek."""

import numpy as np
import pytest
from scipy.special import expit, logit

from cxr_transfer.statistics.recalibration import (
    AS_GIVEN,
    METHODS,
    calibration_error,
    chance_error,
    choose_method,
    cross_fitted,
    fit_map,
    folds_of,
    local_threshold,
    log_losses,
    nested,
)


def drawn(images, seed=0, slope=1.0, shift=0.0):
    """Scores that are wrong by a factor and a shift of the logit, and what is true."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 2, images)
    positive = rng.random(images) < expit(truth)
    return expit(slope * truth + shift), positive, [f"p{row}" for row in range(images)]


def test_each_method_mends_what_it_is_for():
    score, positive, _ = drawn(4000, slope=2.0)
    assert fit_map("temperature", score, positive).slope == pytest.approx(0.5, abs=0.05)
    score, positive, _ = drawn(4000, slope=2.0, shift=1.0)
    platt = fit_map("platt", score, positive)
    assert (platt.slope, platt.intercept) == pytest.approx((0.5, -0.5), abs=0.07)
    for method in ("platt", "isotonic"):
        mended = fit_map(method, score, positive)(score)
        assert calibration_error(mended, positive) < 0.03 < calibration_error(score, positive)
    prior = fit_map("prior", np.full(200, 0.5), np.arange(200) < 20, 0.5)
    assert prior(np.array([0.5]))[0] == pytest.approx(21 / 202)


def test_maps_keep_the_order_and_survive_a_class_told_apart_altogether():
    score = np.linspace(0.01, 0.99, 60)
    for method in ("platt", "isotonic"):
        mapped = fit_map(method, score, score > 0.5)(score)
        assert (np.diff(mapped) >= 0).all()
        assert 0 < mapped.min() < mapped.max() < 1
    assert fit_map("temperature", score, score > 0.5) is None
    assert fit_map("platt", np.full(60, 0.3), score > 0.5) is None
    assert fit_map("platt", score, score < 0.5) is None, "it would turn the order round"
    assert all(fit_map(method, score, score > 0.9, 0.5) is None for method in METHODS)


def test_right_scores_are_left_and_wrong_ones_are_mended():
    score, positive, patients = drawn(300, seed=3)
    assert choose_method(score, positive, patients) == AS_GIVEN
    wrong, positive, patients = drawn(300, seed=3, slope=3.0, shift=1.5)
    held_out, chosen = nested(wrong, positive, patients)
    assert AS_GIVEN not in chosen
    assert log_losses(held_out, positive).mean() < log_losses(wrong, positive).mean() - 0.1


def test_no_image_has_a_part_in_its_own_map():
    score, positive, patients = drawn(120, seed=5)
    patients = [f"p{row // 2}" for row in range(120)]
    fold = folds_of(positive, patients)
    assert all(fold[row] == fold[row + 1] for row in range(0, 120, 2))
    before = cross_fitted(score, positive, patients)["isotonic"]
    changed = positive.copy()
    changed[:2] = ~changed[:2]
    if (folds_of(changed, patients) == fold).all():
        after = cross_fitted(score, changed, patients)["isotonic"]
        assert (after[:2] == before[:2]).all()
    by_hand = fit_map("isotonic", score[fold != 2], positive[fold != 2])
    assert by_hand(score[fold == 2]) == pytest.approx(before[fold == 2])


def test_the_local_threshold_keeps_its_promise_in_nine_of_ten_draws():
    rng = np.random.default_rng(1)
    kept = {"ours": 0, "plain": 0}
    sensitivities = []
    for _ in range(1500):
        score = rng.normal(size=50)
        unit = expit(score)
        ours = logit(local_threshold(unit, np.ones(50, bool), 0.9, 0.05).value)
        plain = np.sort(score)[5]  # the highest that finds 45 of 50
        from_there = [1 - normal_cdf(ours), 1 - normal_cdf(plain)]
        sensitivities.append(from_there[0])
        for name, sensitivity in zip(kept, from_there, strict=True):
            kept[name] += sensitivity >= 0.85
    assert kept["ours"] >= 0.9 * 1500 - 35
    assert kept["plain"] < kept["ours"]
    assert np.mean(sensitivities) >= 0.9


def normal_cdf(value):
    from scipy.stats import norm

    return norm.cdf(value)


def test_too_few_positives_are_said_to_be_too_few():
    score = np.linspace(0.1, 0.9, 8)
    few = local_threshold(score, np.ones(8, bool), 0.9, 0.05)
    assert (few.is_sure, few.allowed_misses) == (False, 0)
    assert few.value <= 0.1


def test_chance_alone_makes_an_error():
    score = drawn(40, seed=8)[0]
    assert chance_error(score) > 0.08
    assert chance_error(np.tile(score, 100)) < 0.03
    assert calibration_error(np.full(4, 0.9), np.array([1, 1, 1, 0], bool)) == pytest.approx(0.15)
