"""From images to what a network is given, and from its numbers to scores of classes."""

import numpy as np
import pytest

from cxr_transfer.errors import ModelError
from cxr_transfer.subjects.arrays import class_scores, network_input
from cxr_transfer.subjects.description import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Description,
    SubjectInput,
    SubjectOutput,
)


def way(**changes):
    usual = {"height": 48, "width": 48, "channels": 1, "layout": "NCHW", "range": (0, 1)}
    return SubjectInput(**usual | changes)


def subject(labels=("normal", "covid19"), **output):
    meaning = {"values": "probabilities"} | output
    return Description(name="x", labels=labels, input=way(), output=SubjectOutput(**meaning))


GREY = np.array([[[[0, 51], [255, 102]]]], np.uint8)


def test_imagenets_means_and_channels_last():
    wanted = way(channels=3, layout="NHWC", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    values = network_input(GREY, wanted)
    assert values.shape == (1, 2, 2, 3)
    expected = (np.array([1.0, 1.0, 1.0]) - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(values[0, 1, 0], expected, rtol=1e-5)


def test_negatives_are_turned_round():
    values = network_input(GREY, way(range=(-1, 1), bright="air"))
    np.testing.assert_allclose(values[0, 0], [[1, 0.6], [-1, 0.2]], atol=1e-6)


@pytest.mark.parametrize(
    ("numbers", "output", "expected"),
    [
        ([[0.2]], {}, [0.8, 0.2]),
        ([0.2], {"swapped": True}, [0.2, 0.8]),
        ([[0.0]], {"values": "logits"}, [0.5, 0.5]),
        ([[0.0, np.log(3)]], {"values": "logits"}, [0.25, 0.75]),
        ([[0.3, 0.7]], {}, [0.3, 0.7]),
        ([[0.9, 0.1, 0.4]], {"column": 2}, [0.6, 0.4]),
    ],
)
def test_numbers_become_scores_that_sum_to_one(numbers, output, expected):
    scores = class_scores(np.array(numbers), subject(**output), 1)
    np.testing.assert_allclose(scores, [expected])


@pytest.mark.parametrize(
    ("numbers", "output", "word"),
    [
        ([[0.9, 0.4]], {}, "sum to 1"),
        ([[1.4]], {}, "between 0 and 1"),
        ([[np.nan]], {}, "not finite"),
        ([[0.1, 0.2, 0.7]], {}, "3 numbers"),
        ([[0.1, 0.2, 0.7]], {"column": 3}, "none in column 3"),
        ([[0.3, 0.7]], {"swapped": True}, "none can be swapped"),
        (0.3, {}, "shape"),
    ],
)
def test_numbers_that_are_not_as_described_are_refused(numbers, output, word):
    with pytest.raises(ModelError) as refused:
        class_scores(np.array(numbers), subject(**output), 1)
    assert refused.value.code == "bad_scores"
    assert word in refused.value.message
