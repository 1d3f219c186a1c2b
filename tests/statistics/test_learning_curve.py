"""A known law is found again; intervals hold draws and patients; what cannot be fitted is said."""

import numpy as np
import pytest

from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.learning_curve import (
    FACTOR,
    Point,
    PowerLaw,
    Resampling,
    extrapolated,
    images_needed,
    points,
)
from cxr_transfer.statistics.metrics import aurocs
from cxr_transfer.statistics.scores import Scores

SIZES = (10, 20, 50, 100, 200, 400)
LABELS = LabelSet(("normal", "covid19"))


def made_points(law, sizes=SIZES, noise=0.0, seed=0, resamples=200):
    """Accuracy by a law at each size; each resample has its own noise."""
    rng = np.random.default_rng(seed)
    found = []
    for size in sizes:
        errors = law.error(size) + noise * rng.standard_normal(1 + resamples)
        found.append(Point.of(np.array([1 - errors[0]]), 1 - errors, patients=250))
    return found


@pytest.mark.parametrize(
    "law", [PowerLaw(0.9, 0.5, 0.0), PowerLaw(0.8, 0.35, 0.03), PowerLaw(2.0, 1.1, 0.1)], ids=str
)
def test_a_law_without_noise_is_found_again(law):
    found = extrapolated(SIZES, made_points(law))
    assert found.refused == ""
    assert found.law.b == pytest.approx(law.b, rel=0.01)
    assert found.law.c == pytest.approx(law.c, abs=0.002)
    assert found.law.a == pytest.approx(law.a, rel=0.03)
    assert found.images == FACTOR * 400
    assert found.error.value == pytest.approx(law.error(4000), abs=0.002)
    assert found.gained.value == pytest.approx(law.error(400) - law.error(4000), abs=0.002)


@pytest.mark.slow
def test_intervals_of_what_is_extrapolated_mostly_hold_it():
    law, held = PowerLaw(0.9, 0.5, 0.02), 0
    for seed in range(20):
        found = extrapolated(SIZES, made_points(law, noise=0.01, seed=seed, resamples=60))
        assert found.error.low <= found.error.high
        held += found.error.low <= law.error(4000) <= found.error.high
    # Its resamples scatter around the true law here, and not around the one that was measured.
    assert held >= 18


def test_too_few_sizes_and_no_decrease_get_a_sentence():
    few = extrapolated(SIZES[:3], made_points(PowerLaw(0.9, 0.5, 0.0), SIZES[:3]))
    assert (few.law, few.images) == (None, 0.0)
    assert "4 sizes, and there are 3" in few.refused
    assert not few.error.defined
    for flat in (PowerLaw(0.0, 0.5, 0.3), PowerLaw(0.0001, 0.5, 0.3)):
        found = extrapolated(SIZES, made_points(flat, noise=0.02))
        assert found.law is None
        assert "may be chance" in found.refused
    no_error = extrapolated(SIZES, made_points(PowerLaw(0.0, 0.5, 0.0)))
    assert no_error.law is None


def scores_of(right, seed=0):
    """Scores of an image for each flag: called right or not."""
    right = np.asarray(right)
    targets = np.arange(len(right)) % 2
    sure = 0.6 + 0.3 * np.random.default_rng(seed).random(len(right))
    of_target = np.where(right, sure, 1 - sure)
    table = np.where(targets[:, None] == np.arange(2), of_target[:, None], 1 - of_target[:, None])
    names = tuple(map(str, range(len(right))))
    return Scores(LABELS, targets, table, names, names)


@pytest.mark.slow
def test_the_interval_holds_the_chance_of_the_draw_and_of_the_patients():
    patients = tuple(map(str, range(1000)))
    # Images that all draws call alike: what varies is the patients. And the other way round.
    same = np.arange(1000) % 10 > 0
    shares = np.array([0.80, 0.85, 0.90, 0.95, 1.0])
    resampling = Resampling.of(patients, 5, resamples=2000, seed=1)
    alike = points([scores_of(same)] * 5, resampling)["accuracy"]
    differing = points([scores_of(np.arange(1000) % 20 < 20 * x) for x in shares], resampling)
    assert alike.estimate.value == pytest.approx(0.9)
    assert alike.replicates[1:].std() == pytest.approx(np.sqrt(0.9 * 0.1 / 1000), rel=0.06)
    accuracy = differing["accuracy"]
    assert accuracy.of_draws == pytest.approx(shares)
    # Rao & Wu: the variance of a mean of D is that of one, by D, and then as Student's t is wider.
    # The patients add little: the draws are of the same images.
    expected = 2.776 / 1.960 * shares.std(ddof=1) / np.sqrt(5)
    assert accuracy.replicates[1:].std() == pytest.approx(expected, rel=0.1)


def test_intervals_of_five_draws_hold_the_mean_about_as_often_as_they_say():
    """Without both corrections it would be about 84 of 100."""
    rng, held = np.random.default_rng(7), 0
    resampling = Resampling.of(["one"], 5, resamples=1000)
    for _ in range(300):
        of_draws = rng.normal(0.8, 0.02, 5)
        found = Point.of(of_draws, resampling.draws @ of_draws, 1).estimate
        held += found.low <= 0.8 <= found.high
    assert 270 <= held <= 297


def test_auroc_near_1_has_an_interval_as_wide_as_for_one_model_or_wider():
    right = np.arange(100) % 25 > 0
    draws = [scores_of(right, seed) for seed in range(5)]
    (one,) = [aurocs(scores)[1] for scores in draws[:1]]
    found = points(draws, Resampling.of(draws[0].patients, 5, resamples=50))["auroc_macro"]
    assert found.estimate.value == pytest.approx(np.mean([aurocs(x)[1].value for x in draws]))
    alike = points([draws[0]] * 3, Resampling.of(draws[0].patients, 3, resamples=50))["auroc_macro"]
    assert alike.estimate.value == pytest.approx(one.value)
    assert alike.estimate.low == pytest.approx(one.low, abs=1e-9)
    assert found.estimate.low <= max(aurocs(x)[1].low for x in draws)


def test_a_single_draw_has_an_interval_of_patients_alone():
    scores = scores_of(np.arange(200) % 10 > 0)
    found = points([scores], Resampling.of(scores.patients, 1, resamples=500))["accuracy"]
    assert 0.8 < found.estimate.low < 0.9 < found.estimate.high < 1


def test_differences_are_paired_over_draws_and_patients():
    right = np.arange(400) % 10 > 0
    better = right.copy()
    better[:80] = True
    resampling = Resampling.of(tuple(map(str, range(400))), 3, resamples=500)
    low = points([scores_of(right, seed) for seed in range(3)], resampling)
    high = points([scores_of(better, seed) for seed in range(3)], resampling)
    gained = high["accuracy"].gained_over(low["accuracy"])
    assert gained.value == pytest.approx(0.02)
    assert gained.low > 0, "though the two intervals overlap"
    assert low["accuracy"].estimate.high > high["accuracy"].estimate.low


def test_where_every_draw_is_right_the_interval_keeps_a_width():
    scores = scores_of(np.ones(50, dtype=bool))
    found = points([scores, scores], Resampling.of(scores.patients, 2, resamples=100))
    assert found["accuracy"].estimate.percent() == "100.0 [92.9, 100.0]"
    assert found["auroc_macro"].estimate.value == 1


def test_one_seed_gives_one_interval():
    names = tuple(map(str, range(30)))
    first, again = (Resampling.of(names, 3, resamples=10, seed=4) for _ in range(2))
    assert (first.patients == again.patients).all()
    assert (first.draws == again.draws).all()
    assert first.draws.sum(axis=1) == pytest.approx(np.ones(11))
    assert (Resampling.of(names, 3, resamples=10, seed=5).draws != first.draws).any()


def test_how_many_images_another_model_needs_is_read_between_its_sizes():
    scratch = made_points(PowerLaw(1.0, 0.5, 0.0))

    def needed(accuracy, spread=0.0):
        replicates = accuracy + spread * np.linspace(-1, 1, 201)
        replicates[0] = accuracy
        return images_needed(SIZES, scratch, Point.of(np.array([accuracy]), replicates, 250))

    assert needed(1 - 100**-0.5).value == pytest.approx(100)
    assert 110 < needed(1 - 140**-0.5).value < 160
    assert needed(0.1).value == 10, "as many or fewer"
    assert np.isinf(needed(0.999).value)
    wide = needed(1 - 140**-0.5, spread=0.04)
    assert 50 < wide.low < wide.value < wide.high
    assert np.isinf(wide.high)


def test_a_curve_that_rises_by_chance_is_taken_for_flat():
    errors = [0.4, 0.2, 0.3, 0.1]
    rising = [Point.of(np.array([1 - e]), np.full(5, 1 - e), 100) for e in errors]
    found = images_needed(
        (10, 20, 40, 80), rising, Point.of(np.array([0.85]), np.full(5, 0.85), 100)
    )
    assert found.value == pytest.approx(np.sqrt(40 * 80))
