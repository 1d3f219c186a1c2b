"""How well readers agree: against other implementations, worked examples, and at the edges."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cxr_transfer.errors import DataError
from cxr_transfer.statistics.agreement import agreement


def each(images):
    return [f"p{number}" for number in range(images)]


def test_cohens_kappa_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 80)
    second = np.where(rng.uniform(size=80) < 0.7, first, rng.integers(0, 3, 80))
    found = agreement([first, second], 3, each(80))
    assert found["kappa"].value == pytest.approx(cohen_kappa_score(first, second))
    assert found["agree"].value == pytest.approx((first == second).mean())
    assert found["kappa"].low < found["kappa"].value < found["kappa"].high


def test_fleiss_kappa_and_ac1_are_what_their_formulas_give():
    """Three readers, worked by hand: AAA, AAB, BBB, ABB."""
    ratings = np.array([[0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 1, 1]])
    found = agreement(ratings, 2, each(4))
    # Pairs that agree: 3 of 3, 1 of 3, 3 of 3, 1 of 3; A is 6 of 12 ratings.
    assert found["agree"].value == pytest.approx(2 / 3)
    assert found["kappa"].value == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    assert found["ac1"].value == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))


def test_kappa_falls_where_one_category_is_rare_and_ac1_does_not():
    first = np.zeros(100, int)
    second = first.copy()
    first[:3], second[3:6] = 1, 1
    found = agreement([first, second], 2, each(100))
    assert found["agree"].value == pytest.approx(0.94)
    assert found["kappa"].value < 0
    assert found["ac1"].value > 0.9


def test_images_of_one_patient_make_the_interval_wider():
    rng = np.random.default_rng(3)
    first = np.repeat(rng.integers(0, 2, 20), 5)
    second = np.where(np.repeat(rng.uniform(size=20), 5) < 0.7, first, 1 - first)
    apart = agreement([first, second], 2, each(100))["kappa"]
    of_few = agreement([first, second], 2, list(np.repeat(each(20), 5)))["kappa"]
    assert of_few.high - of_few.low > 1.5 * (apart.high - apart.low)


def test_where_all_agree_no_width_of_zero_is_claimed():
    found = agreement([[0, 1, 0, 1]] * 3, 2, each(4))
    assert found["kappa"].value == 1
    assert math.isnan(found["kappa"].low)
    assert math.isnan(agreement([[0, 0], [0, 0]], 2, each(2))["kappa"].value)


@pytest.mark.parametrize("ratings", [[[0, 1, 0]], [[0, 1], [0, 1]], [0, 1, 1]])
def test_one_reader_or_other_images_are_refused(ratings):
    with pytest.raises(DataError) as error:
        agreement(ratings, 2, each(3))
    assert error.value.code == "ratings"
