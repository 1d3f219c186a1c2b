"""DeLong's test keeps its level, also where patients have several images."""

import numpy as np
import pytest

from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.delong import delong
from cxr_transfer.statistics.scores import Scores

LABELS = LabelSet(("normal", "covid19"))


def drawn(images=60, seed=0, decimals=8, models=2):
    rng = np.random.default_rng(seed)
    positive = rng.random(images) < 0.3
    shared = rng.normal(size=images)
    scores = np.stack([positive + shared + rng.normal(size=images) for _ in range(models)])
    return positive, np.round(scores, decimals)


def scores_of(positive, row, patients=None):
    ill = 1 / (1 + np.exp(-row))
    files = tuple(f"{i}.png" for i in range(len(row)))
    both = np.stack([1 - ill, ill], 1)
    return Scores(LABELS, positive.astype(int), both, tuple(patients or files), files)


def test_the_test_is_symmetric_and_of_both_classes_alike():
    positive, (a, b) = drawn()
    one, other = scores_of(positive, a), scores_of(positive, b)
    found, turned = delong(one, other, "covid19"), delong(other, one, "covid19")
    assert found.p == pytest.approx(turned.p)
    assert found.difference.value == pytest.approx(-turned.difference.value)
    assert found.difference.low == pytest.approx(-turned.difference.high)
    # Of two classes one's score is the other's turned round.
    assert delong(one, other, "normal").p == pytest.approx(found.p)


def test_models_that_rank_alike_do_not_differ():
    positive, (a, _) = drawn()
    found = delong(scores_of(positive, a), scores_of(positive, 3 * a + 1), "covid19")
    assert found.p == 1.0
    assert found.difference.value == found.difference.low == found.difference.high == 0


def test_a_better_model_is_told_from_a_worse_one():
    positive, (a, b) = drawn(images=400)
    found = delong(scores_of(positive, a), scores_of(positive, b + 4 * positive), "covid19")
    assert found.p < 1e-6
    assert found.difference.low > 0


def test_models_that_are_alike_are_told_apart_in_one_of_twenty_data_sets():
    ps = []
    for seed in range(400):
        positive, (a, b) = drawn(images=120, seed=seed)
        ps.append(delong(scores_of(positive, a), scores_of(positive, b), "covid19").p)
    assert 0.025 < np.mean(np.array(ps) < 0.05) < 0.085


@pytest.mark.slow
def test_and_so_are_they_where_each_patient_has_several_images_but_not_image_by_image():
    by_patient, by_image = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(60), 4)
        positive = (rng.random(60) < 0.4)[patient]
        # What a model makes of a patient it makes of all of the patient's images.
        a, b = (positive + rng.normal(size=60)[patient] for _ in range(2))
        images = [scores_of(positive, row) for row in (a, b)]
        patients = [scores_of(positive, row, [f"p{i}" for i in patient]) for row in (a, b)]
        by_image.append(delong(*images, "covid19").p)
        by_patient.append(delong(*patients, "covid19").p)
    assert 0.025 < np.mean(np.array(by_patient) < 0.05) < 0.085
    assert np.mean(np.array(by_image) < 0.05) > 0.2


@pytest.mark.parametrize("patients", [list("abc"), list("aabc"), list("abcc")])
def test_too_few_patients_have_no_test(patients):
    positive = np.arange(len(patients)) < len(patients) // 2
    row = np.arange(len(patients), dtype=float)
    scores = scores_of(positive, row, patients)
    with pytest.raises(DataError, match="at least 2 patients") as error:
        delong(scores, scores, "covid19")
    assert error.value.code == "no_curve"


def test_other_images_are_refused():
    positive, (a, b) = drawn()
    with pytest.raises(DataError) as error:
        delong(scores_of(positive, a), scores_of(~positive, b), "covid19")
    assert error.value.code == "not_paired"
