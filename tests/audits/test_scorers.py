"""A checkpoint is asked as `cxr predict` asks it, and gives what its network gives."""

import dataclasses

import numpy as np
import pytest
import torch

from cxr_transfer.audits.scorers import scorer_of
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.inference.kept_conversions import converted_network
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.subjects.opening import open_subject

SIDE = 48
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 1, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    card = {
        "name": "small",
        "architecture": "simple_cnn",
        "labels": ("normal", "bacterial", "viral"),
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, build("simple_cnn", 3, size=(SIDE, SIDE), epsilon=1e-3), card)
    return open_subject(str(folder))


def test_scores_and_features_are_those_of_the_converted_network(subject):
    scorer = scorer_of(subject, "cpu")
    engine = Engine(converted_network(subject.path)[0])
    scores, seen = (
        np.concatenate(column)
        for column in zip(*(engine.answer(IMAGES[n : n + 4]) for n in (0, 4, 8)), strict=True)
    )
    assert np.array_equal(scorer.exact(IMAGES), scores.astype(np.float64))
    assert np.array_equal(scorer.quick(IMAGES), scorer.exact(IMAGES))
    assert np.array_equal(scorer.features(IMAGES), seen.astype(np.float64))


def test_they_are_within_the_tolerance_of_the_network_itself(subject):
    counted = []
    scorer, itself = scorer_of(subject, "cpu"), Scorer(subject.network, "cpu")
    scorer.on_image = counted.append
    assert np.abs(scorer.exact(IMAGES) - itself.exact(IMAGES)).max() < 1e-4
    assert sum(counted) == len(IMAGES)
    assert np.allclose(scorer.features(IMAGES), itself.features(IMAGES), atol=1e-3)


def test_bfloat16_is_asked_of_the_converted_network_too(subject):
    scorer = scorer_of(subject, "cpu")
    exact = scorer.exact(IMAGES)
    told = scorer.settle(IMAGES, exact, "bfloat16")
    if told["changed_images"] == "bfloat16":
        rounded = Engine(converted_network(subject.path)[0], precision="bfloat16")
        scores, seen = rounded.answer_all(IMAGES, lambda images: None)
        assert np.array_equal(scorer.quick(IMAGES), scores.astype(np.float64))
        assert np.array_equal(scorer.features(IMAGES), seen.astype(np.float64))
    assert np.array_equal(scorer.exact(IMAGES), exact)


def test_a_network_that_openvino_cannot_take_is_asked_itself(subject, tmp_path):
    # The folder of its own card is gone: nothing can be converted, and the network is here.
    away = dataclasses.replace(subject, path=tmp_path / "away")
    scorer = scorer_of(away, "cpu")
    itself = Scorer(subject.network, "cpu")
    assert np.array_equal(scorer.exact(IMAGES), itself.exact(IMAGES))
