import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import DATASET_0, DATASET_1
from cxr_transfer.statistics.comparison import McNemar, holm, mcnemar, paired_difference
from cxr_transfer.statistics.metrics import AVERAGES, evaluate
from cxr_transfer.statistics.scores import Scores


def scores_of(predicted, targets, per_patient=1, certainty=1.0):
    images = len(targets)
    probabilities = np.full((images, 3), (1 - certainty) / 2)
    probabilities[np.arange(images), predicted] = certainty
    patients = tuple(f"p{i // per_patient}" for i in range(images))
    return Scores(
        DATASET_1, targets, probabilities, patients, tuple(f"{i}.png" for i in range(images))
    )


def two_models(images=240, seed=0, per_patient=2):
    rng = np.random.default_rng(seed)
    targets = rng.integers(3, size=images)
    wrong_a, wrong_b = rng.random(images) < 0.2, rng.random(images) < 0.08
    a, b = (np.where(wrong, (targets + 1) % 3, targets) for wrong in (wrong_a, wrong_b))
    return scores_of(a, targets, per_patient), scores_of(b, targets, per_patient)


def test_mcnemar_by_hand():
    # 1 against 5 discordant images: 2 * (1 + 6) / 2**6.
    targets = np.zeros(10, dtype=int)
    a = np.array([0, 1, 1, 1, 1, 1, 0, 0, 1, 2])
    b = np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    assert mcnemar(targets, a, b) == McNemar(1, 5, pytest.approx(14 / 64))
    assert mcnemar(targets, b, a) == McNemar(5, 1, pytest.approx(14 / 64))


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
def test_mcnemar_counts_only_images_on_which_one_model_is_right(only_a, only_b, both):
    a = [0] * only_a + [1] * only_b + [0] * both + [1] * both
    b = [1] * only_a + [0] * only_b + [0] * both + [2] * both
    found = mcnemar([0] * len(a), a, b)
    assert (found.only_a_right, found.only_b_right) == (only_a, only_b)
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    assert found.p == pytest.approx(min(1.0, 2 * tail / 2**n) if only_a != only_b else 1.0)
    if n:
        assert found.p == pytest.approx(binomtest(only_b, n).pvalue)


def test_models_that_never_differ_have_p_1():
    assert mcnemar([0, 1, 2], [0, 1, 1], [0, 1, 0]) == McNemar(0, 0, 1.0)


@pytest.mark.parametrize(
    ("targets", "a", "b"), [([0, 1], [0], [0, 1]), ([0, 1], [0, 1], [0]), ([[0]], [[0]], [[0]])]
)
def test_mcnemar_refuses_what_is_not_paired(targets, a, b):
    with pytest.raises(DataError, match="one entry per image") as error:
        mcnemar(targets, a, b)
    assert error.value.code == "not_paired"


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04 -> monotone.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_bonferroni_test(p):
    """Adjusted p = the largest Bonferroni p over all subsets that contain the hypothesis."""
    for i, adjusted in enumerate(holm(p)):
        others = [p[j] for j in range(len(p)) if j != i]
        closed = max(
            min(1.0, (size + 1) * min((p[i], *subset)))
            for size in range(len(p))
            for subset in itertools.combinations(others, size)
        )
        assert adjusted == pytest.approx(closed)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(DataError, match="from 0 to 1"):
        holm([0.5, p])


def test_the_difference_is_b_minus_a():
    a, b = two_models()
    found = paired_difference(a, b, resamples=500)
    right_a, right_b = a.predicted == a.targets, b.predicted == b.targets
    assert found.value == pytest.approx(right_b.mean() - right_a.mean())
    assert 0 < found.low < found.value < found.high
    back = paired_difference(b, a, resamples=500)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )


def test_the_interval_is_that_of_the_paired_patients():
    a, b = two_models(images=2000, per_patient=1)
    found = paired_difference(a, b, resamples=2000)
    gain = (b.predicted == b.targets).astype(float) - (a.predicted == a.targets)
    half = 1.96 * gain.std() / len(gain) ** 0.5
    assert found.low == pytest.approx(found.value - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.1 * half)


def test_images_of_one_patient_widen_the_interval():
    targets = np.zeros(300, dtype=int)
    right = np.repeat(np.arange(60) % 3 > 0, 5)
    a, b = np.where(right, 1, 0), np.where(right, 0, 1)
    widths = []
    for per_patient in (1, 5):
        found = paired_difference(
            scores_of(a, targets, per_patient), scores_of(b, targets, per_patient)
        )
        widths.append(found.high - found.low)
    assert widths[1] / widths[0] == pytest.approx(5**0.5, rel=0.1)


def test_what_is_hard_for_both_cancels_out():
    """Models that differ on one image of 100: narrow, however uncertain each one is."""
    targets = np.zeros(100, dtype=int)
    a = np.where(np.arange(100) < 40, 1, 0)
    b = np.where(np.arange(100) < 39, 1, 0)
    found = paired_difference(scores_of(a, targets), scores_of(b, targets))
    alone = evaluate(scores_of(a, targets)).accuracy
    assert found.value == pytest.approx(0.01)
    assert found.low == 0
    assert found.high <= 0.04 < (alone.high - alone.low) / 2


@pytest.mark.parametrize("metric", AVERAGES)
def test_every_average_can_be_compared(metric):
    a, b = two_models()
    found = paired_difference(a, b, metric, resamples=20, seed=3)
    ours = [getattr(evaluate(scores, resamples=2), metric).value for scores in (a, b)]
    assert found.value == pytest.approx(ours[1] - ours[0])


def test_a_model_does_not_differ_from_itself_and_the_seed_alone_decides():
    a, b = two_models()
    assert paired_difference(a, a, resamples=50).as_dict() == {"value": 0, "low": 0, "high": 0}
    one, again, other = (paired_difference(a, b, resamples=50, seed=s) for s in (0, 0, 1))
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"files": tuple(f"{i}.png" for i in (1, 0, 2, 3))},
            "files .* different ones at position 1",
        ),
        ({"targets": [0, 1, 2, 1]}, "targets .* position 4"),
        ({"patients": ("p0", "p0", "p1", "x")}, "patients .* position 4"),
        ({"labels": DATASET_0}, "labels .* position 3"),
        (
            {
                "files": ("0.png", "1.png"),
                "patients": ("p0", "p0"),
                "targets": [0, 1],
                "probabilities": np.eye(3)[[0, 1]],
            },
            "files .* 4 and 2",
        ),
    ],
)
def test_scores_of_other_images_are_refused(changes, words):
    a = scores_of([0, 1, 2, 0], [0, 1, 2, 0], per_patient=2)
    with pytest.raises(DataError, match=words) as error:
        paired_difference(a, dataclasses.replace(a, **changes))
    assert error.value.code == "not_paired"


def test_an_unknown_metric_is_refused_with_the_known_ones():
    a, b = two_models()
    with pytest.raises(UsageError, match=r"accuracy, precision_macro.*'kappa'"):
        paired_difference(a, b, "kappa")


def test_the_difference_of_one_class_is_that_of_its_areas_by_patient():
    a, b = two_models(per_patient=3)
    found = paired_difference(a, b, "auroc", label="covid19", resamples=200)
    one, other = (
        evaluate(scores, resamples=5).per_class["covid19"]["auroc"].value for scores in (a, b)
    )
    assert found.value == pytest.approx(other - one)
    assert found.low <= found.value <= found.high
    # Twelve times the same image under one name are one patient, not twelve images.
    rows = np.repeat(np.arange(0, 240, 3), 12)
    (one, once), (other, again) = (
        (scores.only(rows), scores.only(np.arange(0, 240, 3))) for scores in (a, b)
    )
    settings = {"label": "covid19", "resamples": 200}
    copied = paired_difference(one, other, "auroc", **settings)
    assert copied.as_dict() == pytest.approx(
        paired_difference(once, again, "auroc", **settings).as_dict()
    )


@pytest.mark.parametrize(
    ("metric", "label", "code"),
    [
        ("auroc", "", "unknown_metric"),
        ("accuracy", "covid19", "unknown_metric"),
        ("auroc", "viral", "unknown_label"),
    ],
)
def test_a_figure_and_a_class_that_do_not_go_together_are_refused(metric, label, code):
    with pytest.raises((DataError, UsageError)) as error:
        paired_difference(*two_models(), metric, label=label)
    assert error.value.code == code
