"""Scores of the validation images come back as they were, or it is said that they are not."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from cxr_transfer.errors import ModelError
from cxr_transfer.labels import DATASET_0, DATASET_1
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.simple_cnn import simple_cnn
from cxr_transfer.runs.validation_scores import FILE, read_validation, write_validation
from made import case
from miniature import SIDE, make_images


@pytest.fixture
def written(tmp_path):
    images = make_images(7, seed=3)
    cases = [
        case(f"{row}.png", DATASET_1.names[target], patient=f"p{row // 2}")
        for row, target in enumerate(images.targets.tolist())
    ]
    torch.manual_seed(0)
    network = simple_cnn(3, size=(SIDE, SIDE))
    scores = probabilities(network, images.images).numpy()
    write_validation(tmp_path, cases, scores, DATASET_1)
    return tmp_path, scores, images.targets.numpy()


def test_every_digit_comes_back(written):
    folder, expected, targets = written
    found, scores, patients, files = read_validation(folder, DATASET_1)
    assert np.array_equal(scores.astype(np.float32), expected)
    assert np.array_equal(found, targets)
    assert patients == ("p0", "p0", "p1", "p1", "p2", "p2", "p3")
    assert files[0] == "0.png"


def test_rows_tell_which_image_is_meant(tmp_path, written):
    cases = [
        replace(case(f"/data/{place}/1.png", patient="p"), split="validation", written=f"{place}/1")
        for place in "ab"
    ]
    write_validation(tmp_path, cases, np.full((2, 3), 1 / 3), DATASET_1)
    assert read_validation(tmp_path, DATASET_1)[3] == ("a/1", "b/1")
    with (tmp_path / FILE).open(newline="") as handle:
        row = next(csv.DictReader(handle))
    assert (row["patient"], row["split"], row["source"]) == ("p", "validation", "made")
    assert row["sha256"] == ""


def test_a_table_of_before_more_columns_came_is_read(written):
    folder, _, targets = written
    with (folder / FILE).open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    kept = ["file", "patient", "label", *(f"score_{name}" for name in DATASET_1)]
    with (folder / FILE).open("w", newline="") as handle:
        writer = csv.DictWriter(handle, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    assert np.array_equal(read_validation(folder, DATASET_1)[0], targets)


def test_what_is_not_there_or_of_other_labels_is_said(written, tmp_path):
    folder, _, _ = written
    with pytest.raises(ModelError) as raised:
        read_validation(folder, DATASET_0)
    assert raised.value.code == "bad_validation"
    assert read_validation(tmp_path / "elsewhere", DATASET_1) is None
    (folder / FILE).write_text("file,patient,label\n")
    assert read_validation(folder, DATASET_1) is None
