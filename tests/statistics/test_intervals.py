import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.statistics.intervals import (
    NOT_DEFINED,
    Estimate,
    patient_weights,
    percentile_interval,
    wilson,
)


@pytest.mark.parametrize(
    ("wrong", "printed"),
    [(23, "92.3 [88.8, 94.8]"), (13, "95.7 [92.7, 97.5]"), (7, "97.7 [95.3, 98.9]")],
)
def test_wilson_gives_the_intervals_of_the_papers_table(wrong, printed):
    assert wilson(300 - wrong, 300).percent() == printed


@settings(deadline=None)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts):
    successes, total = counts
    for level in (0.95, 0.8):
        ours = wilson(successes, total, level)
        theirs = binomtest(successes, total).proportion_ci(level, method="wilson")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        assert 0 <= ours.low <= ours.value <= ours.high <= 1


@pytest.mark.parametrize(("successes", "total"), [(0, 0), (-1, 10), (11, 10)])
def test_wilson_refuses_impossible_counts(successes, total):
    with pytest.raises(DataError, match=f"got {successes} of {total}") as error:
        wilson(successes, total)
    assert error.value.code == "counts"


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(UsageError, match="between 0 and 1"):
        wilson(1, 2, level)
    with pytest.raises(UsageError, match="between 0 and 1"):
        percentile_interval(0.5, [0.5], level)


def test_estimate_as_json_and_text():
    estimate = Estimate(np.float64(0.5), np.float64(0.25), 0.75)
    assert json.dumps(estimate.as_dict()) == '{"value": 0.5, "low": 0.25, "high": 0.75}'
    assert str(estimate) == "0.500 [0.250, 0.750]"
    assert estimate.percent() == "50.0 [25.0, 75.0]"
    assert str(NOT_DEFINED) == "not defined"
    assert Estimate(0.5, math.nan, math.nan).percent() == "50.0 [not defined]"
    assert json.dumps(NOT_DEFINED.as_dict()) == '{"value": null, "low": null, "high": null}'


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_images_of_a_patient_are_drawn_together_and_patients_as_often_as_there_are(
    patients, resamples, seed
):
    weights = patient_weights(patients, resamples=resamples, seed=seed)
    assert weights.shape == (resamples, len(patients))
    assert np.issubdtype(weights.dtype, np.integer)
    first_images = [patients.index(patient) for patient in sorted(set(patients))]
    for image, patient in enumerate(patients):
        assert (weights[:, image] == weights[:, patients.index(patient)]).all()
    assert (weights[:, first_images].sum(axis=1) == len(first_images)).all()


def test_patients_are_drawn_uniformly_and_with_replacement():
    patients = [f"p{i}" for i in range(50) for _ in range(1 + i % 3)]
    weights = patient_weights(patients, resamples=20_000, seed=3)
    assert weights.mean(axis=0) == pytest.approx(np.ones(len(patients)), abs=0.05)
    # Binomial(50, 1/50): variance 0.98, and e^-1 of the patients (0.364) left out.
    assert weights.var(axis=0) == pytest.approx(np.full(len(patients), 0.98), abs=0.08)
    assert (weights == 0).mean() == pytest.approx(0.98**50, abs=0.005)


def test_weights_depend_on_the_seed_alone_and_not_on_the_images_order():
    patients = [f"p{i // 2}" for i in range(40)]
    weights = patient_weights(patients, resamples=50, seed=1)
    assert (weights == patient_weights(patients, resamples=50, seed=1)).all()
    assert (weights != patient_weights(patients, resamples=50, seed=2)).any()
    assert (weights[:, ::-1] == patient_weights(patients[::-1], resamples=50, seed=1)).all()


def test_patient_weights_refuses_no_images_and_no_resamples():
    with pytest.raises(DataError, match="at least one image"):
        patient_weights([])
    with pytest.raises(UsageError, match="got 0"):
        patient_weights(["a"], resamples=0)


def test_percentile_interval_is_the_quantiles_of_the_defined_replicates():
    replicates = np.r_[np.linspace(0, 1, 1001), np.full(500, np.nan)]
    found = percentile_interval(0.4, replicates)
    assert found == Estimate(0.4, pytest.approx(0.025), pytest.approx(0.975))
    assert percentile_interval(0.4, np.linspace(0, 1, 101), 0.8).low == pytest.approx(0.1)


def test_percentile_interval_of_nothing_is_not_defined():
    assert not percentile_interval(math.nan, [0.1, 0.2]).defined
    alone = percentile_interval(0.3, [math.nan])
    assert alone.value == 0.3
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)


@pytest.mark.slow
def test_the_interval_by_patient_covers_the_truth_and_the_one_by_image_does_not():
    """500 sets of 150 patients with 1 to 8 images; images of a patient share their difficulty."""
    draw = np.random.default_rng(2020)
    truth, sets, patients, resamples = 0.8, 500, 150, 400
    by_patient = by_image = 0
    for seed in range(sets):
        images = draw.integers(1, 9, size=patients)
        # Beta(0.8, 0.2): mean 0.8, correlation within a patient 1 / (1 + 0.8 + 0.2) = 0.5.
        ease = draw.beta(0.8, 0.2, size=patients)
        of_image = np.repeat(np.arange(patients), images)
        right = (draw.random(len(of_image)) < ease[of_image]).astype(float)
        for unit in ("patient", "image"):
            names = of_image if unit == "patient" else np.arange(len(of_image))
            weights = patient_weights(names.astype(str), resamples=resamples, seed=seed)
            replicates = weights @ right / weights.sum(axis=1)
            found = percentile_interval(right.mean(), replicates)
            holds = found.low <= truth <= found.high
            by_patient += holds and unit == "patient"
            by_image += holds and unit == "image"
    assert 0.93 <= by_patient / sets <= 0.97
    assert by_image / sets < 0.85


def test_a_mean_of_figures_that_do_not_vary_has_an_interval_with_a_width():
    # Three findings that are always right and one that is always wrong, on three patients.
    found = percentile_interval(0.75, np.full(50, 0.75), units=3)
    whole = percentile_interval(0.75, np.full(50, 0.75), units=4)
    assert (whole.low, whole.high) == pytest.approx((wilson(3, 4).low, wilson(3, 4).high))
    assert found.low < whole.low < 0.75 < whole.high < found.high < 1
