"""Whether a 95 % interval holds the truth in about 95 of 100 data sets whose truth is known.

More data sets than the 500 that would do for a glance: at 95 % their number alone moves the
share found by one point either way, at 2000 by half a point.
"""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.auroc import auroc_intervals
from cxr_transfer.statistics.intervals import (
    patient_weights,
    percentile_interval,
    share,
    wilson,
)
from cxr_transfer.statistics.metrics import evaluate, statistics
from cxr_transfer.statistics.scores import Scores

LABELS = LabelSet(("normal", "covid19"))


def held(estimates, truth):
    """The share of intervals that hold the truth."""
    return np.mean([found.low <= truth <= found.high for found in estimates])


def names(patients):
    return [f"p{patient}" for patient in patients]


def chance_of_right(effect):
    """How likely an image of a patient is called rightly; hard patients are hard every time."""
    return expit(1.5 + 2 * effect)


def chance_of_more(effect):
    """How likely each of three further images is: hard patients have more of them."""
    return norm.cdf(-effect / 2)


def drawn_accuracy(rng, patients=150):
    """(images,) whether each was called rightly, and its patient: 1 to 4 images a patient."""
    effect = rng.normal(size=patients)
    number = 1 + rng.binomial(3, chance_of_more(effect))
    patient = np.repeat(np.arange(patients), number)
    return rng.random(len(patient)) < chance_of_right(effect)[patient], patient


def true_accuracy():
    """Expected right images over expected images, integrated over the normal patient effect."""
    effect, weight = np.polynomial.hermite_e.hermegauss(80)
    number = 1 + 3 * chance_of_more(effect)
    return (weight * number * chance_of_right(effect)).sum() / (weight * number).sum()


def test_wilson_holds_a_proportion():
    successes = np.random.default_rng(0).binomial(200, 0.9, size=2000)
    assert 0.93 < held([wilson(int(right), 200) for right in successes], 0.9) < 0.97


def test_the_truth_of_the_clustered_images_is_that_of_a_huge_sample():
    right, _ = drawn_accuracy(np.random.default_rng(0), patients=400_000)
    assert true_accuracy() == pytest.approx(right.mean(), abs=0.003)


def test_the_bootstrap_by_patient_holds_the_accuracy_of_clustered_images_and_by_image_does_not():
    rng, truth = np.random.default_rng(0), true_accuracy()
    by_patient, by_image = [], []
    for seed in range(2000):
        right, patient = drawn_accuracy(rng)
        by_patient.append(share(right, names(patient), resamples=1000, seed=seed))
        if seed < 500:
            images = names(range(len(right)))
            by_image.append(share(right, images, resamples=1000, seed=seed))
    assert 0.93 < held(by_patient, truth) < 0.97
    # Why the patient is the unit: taken one by one, images pretend to more than they know.
    assert held(by_image, truth) < 0.93


def test_the_accuracy_of_an_evaluation_is_that_share():
    """What the test above shows of `share` holds of the accuracy that a report gives."""
    right, patient = drawn_accuracy(np.random.default_rng(0))
    files = tuple(f"{radiograph}.png" for radiograph in range(len(right)))
    scores = Scores(LABELS, [1] * len(right), np.eye(2)[right.astype(int)], names(patient), files)
    accuracy = evaluate(scores, resamples=100, seed=4).accuracy
    alone = share(right, names(patient), resamples=100, seed=4)
    assert (accuracy.value, accuracy.low, accuracy.high) == pytest.approx(
        (alone.value, alone.low, alone.high), abs=1e-12
    )


@pytest.mark.parametrize("clustered", [False, True], ids=["one image each", "one to three"])
@pytest.mark.parametrize("positives", [20, 100])
@pytest.mark.parametrize("area", [0.7, 0.9, 0.97, 0.99])
def test_the_interval_of_an_area_holds_it_from_chance_to_near_1(area, positives, clustered):
    """The grid of docs/results/interval_coverage.md, over data sets that it has not seen.

    There it is 93 to 97 %; over 800 data sets chance alone moves it by 1 to 2 points.
    """
    rng = np.random.default_rng(20)
    distance = norm.ppf(area) * np.sqrt(2)
    found = []
    for _ in range(800):
        patient, of_class = [], []
        for number, label in ((positives, True), (200, False)):
            sizes = 1 + rng.integers(3, size=number) if clustered else np.ones(number, int)
            images = np.repeat(np.arange(number), sizes)[:number]
            patient += [f"{label}{one}" for one in images]
            of_class += [label] * number
        positive = np.array(of_class)
        names, whose = np.unique(patient, return_inverse=True)
        noise = rng.normal(size=len(positive))
        if clustered:
            noise = (noise + rng.normal(size=len(names))[whose]) / np.sqrt(2)
        score = noise + distance * positive
        found += auroc_intervals(positive[None], score[None], patient)[0]
    assert 0.92 < held(found, area) < 0.98
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in found)


@pytest.mark.slow
def test_the_bootstrap_does_not_hold_an_area_near_1():
    """Why it is not used for areas."""
    area, positives, images = 0.99, 20, 220
    rng, everyone = np.random.default_rng(1), names(range(images))
    targets = (np.arange(images) < positives).astype(int)
    percentiles, ours = [], []
    for seed in range(300):
        score = expit(rng.normal(size=images) + norm.ppf(area) * np.sqrt(2) * targets)
        both = np.stack([1 - score, score], 1)
        scores = Scores(LABELS, targets, both, tuple(everyone), tuple(everyone))
        weights = patient_weights(everyone, resamples=400, seed=seed)
        found = statistics(scores, np.concatenate([np.ones_like(weights[:1]), weights]))
        value, *replicates = found["auroc"][:, 1]
        percentiles.append(percentile_interval(value, replicates, units=positives))
        ours.append(evaluate(scores, resamples=1).per_class["covid19"]["auroc"])
    assert held(ours, area) > 0.93
    assert held(percentiles, area) < 0.85


def test_the_interval_of_a_macro_area_holds_it():
    rng = np.random.default_rng(3)

    def drawn(images):
        targets = rng.integers(3, size=images)
        scores = rng.normal(size=(3, images))
        scores[targets, np.arange(images)] += 2
        return targets == np.arange(3)[:, None], scores, names(range(images))

    truth = auroc_intervals(*drawn(200_000))[1].value
    found = [auroc_intervals(*drawn(150))[1] for _ in range(600)]
    assert 0.93 < held(found, truth) < 0.97
