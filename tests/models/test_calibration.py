"""A temperature is found on arrays alone, by whoever trains or evaluates."""

import math

import numpy as np
import pytest
from scipy.special import softmax

from cxr_transfer.models.calibration import fit_temperature


def drawn(at, films=4000, seed=0):
    """Scores of logits that are ``at`` times too large, and classes drawn with the due chances."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(films, 3))
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
