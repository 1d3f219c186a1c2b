"""Accuracy before and after changes that change no finding."""

import numpy as np
import pytest

from cxr_transfer.audits.perturbations import CORRUPTIONS
from cxr_transfer.audits.robustness import MOST_CHANGED, PASSES, robustness_evidence
from cxr_transfer.labels import LabelSet
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.statistics.scores import Scores

LABELS = LabelSet(("dark", "bright"))
SIDE = 48


def evidence_of(number, score, seed=0):
    """Of flat images, dark and bright in turn."""
    targets = np.arange(number) % 2
    images = np.repeat(np.where(targets, 160, 90).astype(np.uint8), SIDE * SIDE)
    names = tuple(str(row) for row in range(number))
    whole = Scores(LABELS, targets, np.eye(2)[targets], names, names)
    return robustness_evidence(
        score, images.reshape(-1, 1, SIDE, SIDE), whole, Preprocessing(height=SIDE, width=SIDE),
        resamples=50, seed=seed,
    )  # fmt: skip


def by_brightness(images):
    bright = images.mean(axis=(1, 2, 3)) > 120
    return np.stack([~bright, bright], axis=1).astype(np.float64)


def test_what_goes_by_the_grey_value_falls_under_gamma_alone():
    measured = evidence_of(40, by_brightness)
    assert measured["images"] == 40
    assert measured["accuracy"]["value"] == 1
    assert set(measured["fall"]) == set(CORRUPTIONS)
    # Gamma 0.7 makes 90 to 123: the dark half is called bright.
    assert measured["fall"]["gamma 0.7"]["value"] == pytest.approx(0.5)
    assert measured["fall"]["gamma 0.7"]["low"] < 0.5 < measured["fall"]["gamma 0.7"]["high"]
    for name in ("JPEG quality 30", "blur", "scaled down and up"):
        assert measured["fall"][name]["value"] == 0


def test_of_many_images_so_many_are_drawn_for_every_change():
    asked = []

    def score(images):
        asked.append(len(images))
        return by_brightness(images)

    measured = evidence_of(MOST_CHANGED + 1, score)
    assert measured["images"] == MOST_CHANGED
    assert asked == [MOST_CHANGED] * PASSES
