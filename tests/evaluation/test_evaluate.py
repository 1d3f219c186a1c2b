"""An evaluation forms groups by a column of the manifest, or says before any image why not."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from cxr_transfer.errors import UsageError
from cxr_transfer.evaluation.evaluate import evaluate_checkpoint
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.labels import DATASET_1
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from made import case, write_image

SIDE = 48


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("checkpoint")
    card = {
        "name": "made",
        "architecture": "simple_cnn",
        "labels": DATASET_1.names,
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, build("simple_cnn", 3, size=(SIDE, SIDE), epsilon=1e-3), card)
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """44 images of three classes, from two scanners, one of which has an odd name."""
    root = tmp_path_factory.mktemp("images")
    return [
        case(
            write_image(root / f"{row:02}.png", seed=row),
            DATASET_1.names[row % 3],
            extra=(("scanner|kV", ("<b>old", "new")[row % 2]),),
        )
        for row in range(44)
    ]


@pytest.mark.slow
def test_the_groups_of_a_column_stand_in_the_report(checkpoint, cases, tmp_path):
    known = {"device": "cpu", "resamples": 20}
    found = evaluate_checkpoint(checkpoint, cases, tmp_path, columns=["SCANNER|kV"], **known)
    groups = found["worth"]["subgroups"]["scanner|kV"]
    assert [(one["group"], one["images"]) for one in groups] == [("<b>old", 22), ("new", 22)]
    assert found["worth"]["gaps"]["scanner|kV"]["gap"] >= 0
    page = (tmp_path / "report.md").read_text()
    assert r"| scanner\|kV | &lt;b>old | 22 | 22 |" in page, "inert, whatever it is called"


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 44])
def test_the_scores_are_those_of_predict(checkpoint, cases, tmp_path, number):
    evaluate_checkpoint(checkpoint, cases[:number], tmp_path, device="cpu", resamples=20)
    with (tmp_path / "predictions.csv").open(newline="") as table:
        written = [
            [float(row[f"score_{name}"]) for name in DATASET_1.names]
            for row in csv.DictReader(table)
        ]
    answers = Predictor.open(checkpoint).predict_files([one.path for one in cases[:number]])
    given = [list(answer.probabilities.values()) for answer in answers]
    assert np.abs(np.array(written) - np.array(given)).max() <= 1e-6


def test_a_column_that_is_not_there_is_refused_before_an_image_is_read(checkpoint, tmp_path):
    gone = [dataclasses.replace(case("no such image.png"), extra=(("ward", "a"),))]
    with pytest.raises(UsageError) as refused:
        evaluate_checkpoint(checkpoint, gone, tmp_path, columns=["scanner"])
    assert refused.value.code == "unknown_subgroup"
    assert not list(tmp_path.iterdir())
