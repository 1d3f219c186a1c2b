"""Areas and variances are those of their definitions, and intervals what they are said to be."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit, ndtri
from scipy.stats import mannwhitneyu, multivariate_normal, norm
from sklearn.metrics import roc_auc_score

from cxr_transfer.errors import UsageError
from cxr_transfer.statistics.auroc import (
    NEARER,
    areas_and_covariance,
    auroc_intervals,
    binormal_variance,
    effective_number,
)
from cxr_transfer.statistics.intervals import NOT_DEFINED, wilson


def drawn(images=60, seed=0, decimals=8, models=2, per_patient=1, mixed=False):
    """Which images are positive, what the models score them, and whose they are."""
    rng = np.random.default_rng(seed)
    patients = np.arange(images) // per_patient
    positive = (rng.random(images) < 0.3) if mixed else (rng.random(images) < 0.3)[patients]
    shared = rng.normal(size=images)[patients] + rng.normal(size=images)
    scores = np.stack([positive + shared + rng.normal(size=images) for _ in range(models)])
    return np.stack([positive] * models), np.round(scores, decimals), patients.astype(str).tolist()


def wins(positive, score):
    """(positives, others): 1 where the positive scores higher, one half where both are equal."""
    apart = score[positive][:, None] - score[~positive][None]
    return (apart > 0) + 0.5 * (apart == 0)


def by_delong(positive, scores):
    """DeLong et al. 1988, equations 4 to 6, pair by pair; independent images."""
    above = [wins(row, score).mean(axis=1) for row, score in zip(positive, scores, strict=True)]
    below = [wins(row, score).mean(axis=0) for row, score in zip(positive, scores, strict=True)]
    covariance = np.cov(above) / len(above[0]) + np.cov(below) / len(below[0])
    return np.mean(above, axis=1), covariance


def by_obuchowski(positive, score, patients):
    """Obuchowski 1997, section 3, patient by patient."""
    pairs = wins(positive, score)
    area = pairs.mean()
    above, below = pairs.mean(axis=1), pairs.mean(axis=0)
    whose = np.asarray(patients)
    m, n = pairs.shape
    residuals = []
    for patient in sorted(set(patients)):
        own, others = above[whose[positive] == patient], below[whose[~positive] == patient]
        residuals.append((own.sum() - len(own) * area, others.sum() - len(others) * area))
    of_class, without = np.transpose(residuals)
    i10, i01 = len(set(whose[positive])), len(set(whose[~positive]))
    every = len(residuals)
    s10 = i10 / ((i10 - 1) * m) * (of_class**2).sum()
    s01 = i01 / ((i01 - 1) * n) * (without**2).sum()
    s11 = every / (every - 1) * (of_class * without).sum()
    return area, s10 / m + s01 / n + 2 * s11 / (m * n)


@pytest.mark.parametrize("decimals", [8, 1, 0], ids=["all differ", "some equal", "most equal"])
@pytest.mark.parametrize("seed", range(4))
def test_of_independent_images_midranks_give_what_delong_gives(decimals, seed):
    positive, scores, patients = drawn(seed=seed, decimals=decimals, models=3)
    areas, covariance = areas_and_covariance(positive, scores, patients)
    expected, expected_covariance = by_delong(positive, scores)
    assert areas == pytest.approx(expected)
    assert covariance == pytest.approx(expected_covariance)
    for area, row, score in zip(areas, positive, scores, strict=True):
        assert area == pytest.approx(roc_auc_score(row, score))
        u = mannwhitneyu(score[row], score[~row]).statistic
        assert area == pytest.approx(u / row.sum() / (~row).sum())


@pytest.mark.parametrize("mixed", [False, True], ids=["patients of one class", "of both"])
@pytest.mark.parametrize("decimals", [8, 0], ids=["all differ", "most equal"])
@pytest.mark.parametrize("seed", range(3))
def test_of_several_images_a_patient_they_are_obuchowskis(seed, decimals, mixed):
    positive, scores, patients = drawn(90, seed, decimals, per_patient=3, mixed=mixed)
    areas, covariance = areas_and_covariance(positive, scores, patients)
    for at in (0, 1):
        area, variance = by_obuchowski(positive[at], scores[at], patients)
        assert areas[at] == pytest.approx(area)
        assert covariance[at, at] == pytest.approx(variance)
    # The order of the images decides nothing.
    turned = areas_and_covariance(positive[:, ::-1], scores[:, ::-1], patients[::-1])
    assert turned[1] == pytest.approx(covariance)


def jackknifed(positive, scores, patients):
    """(patients, K): the areas without each patient, for a variance that knows no formula."""
    whose = np.asarray(patients)
    return np.array(
        [
            [
                roc_auc_score(row[whose != one], score[whose != one])
                for row, score in zip(positive, scores, strict=True)
            ]
            for one in sorted(set(patients))
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [False, True], ids=["patients of one class", "of both"])
def test_the_jackknife_by_patient_finds_the_same_covariance(mixed):
    positive, scores, patients = drawn(600, seed=5, per_patient=2, mixed=mixed)
    left_out = jackknifed(positive, scores, patients)
    expected = (len(left_out) - 1) * np.cov(left_out.T, ddof=0)
    covariance = areas_and_covariance(positive, scores, patients)[1]
    assert covariance == pytest.approx(expected, rel=0.03)


def test_areas_of_several_classes_vary_together_as_the_jackknife_says():
    """One against the rest, class by class: what the interval of their mean rests on."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(200), 2)
    targets = rng.integers(3, size=200)[patients]
    scores = rng.normal(size=(3, 400)) + rng.normal(size=(3, 200))[:, patients]
    scores[targets, np.arange(400)] += 1.5
    positive = targets == np.arange(3)[:, None]
    left_out = jackknifed(positive, scores, patients.tolist())
    expected = (len(left_out) - 1) * np.cov(left_out.T, ddof=0)
    covariance = areas_and_covariance(positive, scores, patients.astype(str).tolist())[1]
    assert covariance == pytest.approx(expected, rel=0.05, abs=2e-5)


@pytest.mark.parametrize("area", [0.5, 0.7, 0.9, 0.99])
def test_the_variance_of_normal_scores_is_that_of_the_bivariate_normal_distribution(area):
    joint = multivariate_normal(cov=[[1, 0.5], [0.5, 1]]).cdf([ndtri(area)] * 2)
    expected = (area * (1 - area) + (12 + 30 - 2) * (joint - area**2)) / (12 * 30)
    assert binormal_variance(area, 12, 30) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_the_variance_of_normal_scores_is_that_of_many_data_sets():
    rng = np.random.default_rng(0)
    distance = norm.ppf(0.9) * math.sqrt(2)
    positive = np.arange(60) < 20
    found = [
        roc_auc_score(positive, rng.normal(size=60) + distance * positive) for _ in range(4000)
    ]
    assert binormal_variance(0.9, 20, 40) == pytest.approx(np.var(found), rel=0.06)


def test_as_many_images_tell_something_as_differ():
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(150), 4)
    copies = rng.normal(size=150)[patient]
    assert effective_number(copies, patient) == pytest.approx(150)
    strangers = rng.normal(size=600)
    assert effective_number(strangers, patient) == pytest.approx(600, rel=0.08)
    # Half of the variance within patients: 600 / (1 + 3 / 2).
    half = (rng.normal(size=150)[patient] + strangers) / math.sqrt(2)
    assert effective_number(half, patient) == pytest.approx(240, rel=0.15)
    # The scale of the scores decides nothing.
    assert effective_number(expit(half), patient) == pytest.approx(effective_number(half, patient))
    assert effective_number(strangers[:3], np.zeros(3, np.int64)) == 1
    assert effective_number(strangers[:3], np.arange(3)) == 3


def test_an_interval_worked_by_hand():
    positive, scores, patients = drawn(50, seed=2, models=1)
    (found,), _ = auroc_intervals(positive, scores, patients)
    (area,), ((variance,),) = areas_and_covariance(positive, scores, patients)
    m, n = int(positive.sum()), int((~positive).sum())
    moved = area - NEARER / (m * n)
    observed = math.sqrt(variance) / (area * (1 - area))
    normal = math.sqrt(binormal_variance(moved, m, n)) / (moved * (1 - moved))
    spread = max(observed, math.sqrt((observed**2 + normal**2) / 2))
    low, high = expit(logit(area) + 1.959964 * np.array([-spread, spread]))
    assert (found.value, found.low, found.high) == pytest.approx((area, low, high))


def test_the_mean_of_the_areas_has_the_variance_of_the_mean():
    positive, scores, patients = drawn(4000, seed=4, models=3)
    estimates, mean = auroc_intervals(positive, scores, patients)
    areas, covariance = areas_and_covariance(positive, scores, patients)
    assert mean.value == pytest.approx(np.mean([one.value for one in estimates]))
    # Of so many images it is what was observed.
    spread = math.sqrt(covariance.mean()) / (mean.value * (1 - mean.value))
    assert logit(mean.high) - logit(mean.value) == pytest.approx(1.959964 * spread, rel=0.02)
    assert areas.mean() == pytest.approx(mean.value)


def test_the_fewer_patients_the_wider_whatever_the_number_of_their_images():
    positive, scores, patients = drawn(200, seed=6, models=1)
    alone, _ = auroc_intervals(positive, scores, patients)
    copied = [np.repeat(each, 4, axis=1) for each in (positive, scores)]
    by_patient, _ = auroc_intervals(*copied, np.repeat(patients, 4).tolist())
    by_image, _ = auroc_intervals(*copied, np.arange(800).astype(str).tolist())
    widths = [one[0].high - one[0].low for one in (alone, by_patient, by_image)]
    assert widths[1] == pytest.approx(widths[0], rel=0.01)
    assert widths[2] == pytest.approx(widths[0] / 2, rel=0.05)


@pytest.mark.parametrize(("area", "positives"), [(1.0, 7), (0.0, 7), (1.0, 20)])
def test_an_area_without_a_pair_in_disorder_is_bounded_over_the_patients_that_are_fewer(
    area, positives
):
    positive = (np.arange(50) < positives)[None]
    scores = np.where(positive, area, 1 - area)
    patients = [f"p{i}" for i in range(50)]
    (found,), mean = auroc_intervals(positive, scores, patients)
    assert found == mean == wilson(int(area) * positives, positives)
    # Two images each: half as many patients say half as much.
    pairs = [f"p{i // 2}" for i in range(50)]
    (found,), _ = auroc_intervals(positive, scores, pairs)
    assert found == wilson(int(area) * -(-positives // 2), -(-positives // 2))


def test_one_pair_in_disorder_is_not_all_that_an_interval_rests_on():
    """Its variance is next to nothing: by itself it would leave the lower bound at 0.9989."""
    positive = (np.arange(220) < 20)[None]
    scores = np.where(positive, 1.0, 0.0)
    scores[0, 0], scores[0, -1] = 0.5, 0.6
    patients = [f"p{i}" for i in range(220)]
    (found,), _ = auroc_intervals(positive, scores, patients)
    _, ((variance,),) = areas_and_covariance(positive, scores, patients)
    assert found.value == 1 - 1 / (20 * 200)
    observed = 1.959964 * math.sqrt(variance) / (found.value * (1 - found.value))
    assert expit(logit(found.value) - observed) == pytest.approx(0.9960, abs=1e-4)
    assert found.low == pytest.approx(0.9929, abs=1e-4)


def test_what_is_not_defined_is_said():
    positive = np.array([[True, True, False, False], [False] * 4, [True] * 4])
    scores = np.tile([0.9, 0.3, 0.5, 0.1], (3, 1))
    estimates, mean = auroc_intervals(positive, scores, list("abcd"))
    assert estimates[0].value == 0.75
    assert estimates[0].low < 0.75 < estimates[0].high
    assert not estimates[1].defined
    assert not estimates[2].defined
    assert not mean.defined
    # Both positives are of one patient, of whom no variance follows.
    (alone,), mean = auroc_intervals(positive[:1], scores[:1], list("aacd"))
    assert alone.value == mean.value == 0.75
    assert math.isnan(alone.low)
    assert math.isnan(mean.high)
    assert auroc_intervals(positive[1:2], scores[:1], list("abcd")) == ([NOT_DEFINED], NOT_DEFINED)


def test_another_level_is_narrower_and_what_is_no_level_is_refused():
    positive, scores, patients = drawn()
    wide, narrow = (auroc_intervals(positive, scores, patients, level)[1] for level in (0.95, 0.8))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    with pytest.raises(UsageError, match="between 0 and 1"):
        auroc_intervals(positive, scores, patients, 95)
