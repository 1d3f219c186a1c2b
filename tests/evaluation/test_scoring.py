"""Quicker scores are used only where they call the same images the same."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.evaluation.scoring import Scorer, write_scores
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.forward import features, probabilities
from cxr_transfer.models.registry import build
from cxr_transfer.statistics.comparison import check_same_images
from cxr_transfer.statistics.scores import Scores
from made import case

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 1, 48, 48)).astype(np.uint8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("simple_cnn", 3, size=(48, 48), epsilon=1e-3).eval()


def test_exact_scores_are_those_of_the_network(network):
    scorer = Scorer(network, "cpu")
    plain = probabilities(network, torch.from_numpy(IMAGES)).double().numpy()
    assert np.array_equal(scorer.exact(IMAGES), plain)
    assert np.array_equal(scorer.quick(IMAGES), plain), "until another precision is settled"
    assert np.array_equal(
        scorer.features(IMAGES), features(network, torch.from_numpy(IMAGES)).double().numpy()
    )


def test_one_pass_gives_the_scores_and_the_features_of_two(network):
    counted = []
    scorer = Scorer(network, "cpu", temperature=2.0)
    scorer.on_image = counted.append
    scores, seen = scorer.exact_with_features(IMAGES)
    assert sum(counted) == len(IMAGES)
    assert np.array_equal(scores, scorer.exact(IMAGES))
    assert np.array_equal(seen.astype(np.float64), scorer.features(IMAGES))


def test_bfloat16_is_settled_where_it_calls_images_the_same(network):
    with torch.no_grad():  # far from the border between two classes
        network.head.bias.copy_(torch.tensor([0.0, 5.0, 0.0]))
    scorer = Scorer(network, "cpu")
    exact = scorer.exact(IMAGES)
    told = scorer.settle(IMAGES, exact, "bfloat16")
    assert (told["quoted_scores"], told["changed_images"]) == ("float32", "bfloat16")
    assert told["called_otherwise"] == 0
    quick = scorer.quick(IMAGES)
    assert 0 < np.abs(quick - exact).max() == told["largest_difference"] < 0.05
    assert np.array_equal(scorer.exact(IMAGES), exact)


def test_bfloat16_is_left_where_it_calls_images_otherwise():
    class Torn(nn.Sequential):
        """Two classes so close that rounding decides."""

        def forward(self, images):
            grey = images.float().mean(dim=(1, 2, 3), keepdim=False)[:, None] / 255
            return super().forward(grey)

    torch.manual_seed(0)
    network = Torn(nn.Linear(1, 64), nn.Linear(64, 2))
    with torch.no_grad():
        network[1].weight[1] = network[1].weight[0]
        network[1].weight[1, ::2] += 1e-4
        network[1].weight[1, 1::2] -= 1e-4
        network[1].bias.zero_()
    scorer = Scorer(network.eval(), "cpu")
    told = scorer.settle(IMAGES, scorer.exact(IMAGES), "bfloat16")
    assert told["called_otherwise"] > 1
    assert told["changed_images"] == "float32"
    assert np.array_equal(scorer.quick(IMAGES), scorer.exact(IMAGES))


def test_two_images_of_one_name_are_told_apart_in_every_row(tmp_path):
    cases = [
        case(f"/data/{place}/1.png", "normal", written=f"{place}/1.png", patient=f"p {place}")
        for place in ("a", "b")
    ]
    cases = [replace(each, split="test", sha256=2 * "ab" * 16, source="clinic") for each in cases]
    scored = np.array([[0.75, 0.25], [0.5, 0.5]])
    labels = LabelSet(("normal", "sick"))
    write_scores(tmp_path / "t.csv", labels, scored, cases, numbered=True)
    with (tmp_path / "t.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert rows[1] == {
        "number": "2",
        "file": "b/1.png",
        "patient": "p b",
        "source": "clinic",
        "split": "test",
        "sha256": 2 * "ab" * 16,
        "label": "normal",
        "predicted": "normal",
        "score_normal": "0.500000",
        "score_sick": "0.500000",
        "temperature": "",
    }
    write_scores(tmp_path / "t.csv", labels, scored, cases, temperature=1.25)
    with (tmp_path / "t.csv").open(newline="") as handle:
        assert [row["temperature"] for row in csv.DictReader(handle)] == ["1.25", "1.25"]
    scores = Scores.of(labels, np.array([0, 0]), scored, cases)
    assert scores.files == ("a/1.png", "b/1.png")
    swapped = Scores.of(labels, np.array([0, 0]), scored, cases[::-1])
    with pytest.raises(DataError) as error:
        check_same_images(scores, swapped)
    assert error.value.code == "not_paired"


def test_float32_asks_nothing_and_another_precision_is_refused(network):
    scorer = Scorer(network, "cpu")
    exact = scorer.exact(IMAGES)
    assert scorer.settle(IMAGES, exact, "float32") == {
        "quoted_scores": "float32",
        "changed_images": "float32",
    }
    with pytest.raises(UsageError) as error:
        scorer.settle(IMAGES, exact, "float8")
    assert error.value.code == "unknown_precision"
