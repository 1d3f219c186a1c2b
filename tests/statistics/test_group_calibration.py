"""Calibration by group: calibrated scores are rarely blamed, and the excess is the one put in."""

import dataclasses

import numpy as np
import pytest

from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.group_calibration import calibration_by_group
from cxr_transfer.statistics.scores import Scores
from made import case

LABELS = LabelSet(("normal", "covid19"))
IMAGES = 240


def groups_of(seed, shift=0.0):
    """Scores that are right as often as they say; those of women by so much less often."""
    rng = np.random.default_rng(seed)
    women = np.arange(IMAGES) % 2 == 1
    highest = rng.uniform(0.75, 0.95, IMAGES)
    right = rng.random(IMAGES) < highest - shift * women
    called = rng.integers(0, 2, IMAGES)
    targets = np.where(right, called, 1 - called)
    ill = np.where(called == 1, highest, 1 - highest)
    cases = [
        dataclasses.replace(
            case(f"{row}.png", LABELS.names[targets[row]], f"p{row}"), sex="MF"[int(woman)]
        )
        for row, woman in enumerate(women)
    ]
    names = tuple(each.file for each in cases)
    patients = tuple(each.patient for each in cases)
    scores = Scores(LABELS, targets, np.stack([1 - ill, ill], axis=1), patients, names)
    return calibration_by_group(scores, cases, resamples=20, seed=seed)


@pytest.mark.slow
def test_scores_that_mean_what_they_say_are_rarely_blamed():
    blamed = [any(group["p"] < 0.05 for group in groups_of(seed)) for seed in range(60)]
    assert sum(blamed) <= 7  # 3 are expected
    mean = np.mean([group["excess"] for seed in range(60) for group in groups_of(seed)])
    assert abs(mean) < 0.01  # what chance makes is taken off


def test_the_group_whose_scores_are_too_high_stands_first():
    first, second = groups_of(0, shift=0.3)
    assert (first["axis"], first["group"]) == ("sex", "F")
    assert abs(first["ece"]["value"] - 0.3) < 0.1
    assert first["p"] < 0.01 < second["p"]
    assert first["accuracy"] < first["confidence"] - 0.2
