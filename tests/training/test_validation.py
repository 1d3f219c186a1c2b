"""Scores of the validation films come back as they were, or it is said that they are not."""

import numpy as np
import pytest
import torch

from cxr_transfer.errors import ModelError
from cxr_transfer.labels import DATASET_0, DATASET_1
from cxr_transfer.models.networks import probabilities
from cxr_transfer.models.simple_cnn import simple_cnn
from cxr_transfer.training.validation import FILE, read_validation, write_validation
from made import case
from miniature import SIDE, make_films


@pytest.fixture
def written(tmp_path):
    films = make_films(7, seed=3)
    cases = [
        case(f"{row}.png", DATASET_1.names[target], patient=f"p{row // 2}")
        for row, target in enumerate(films.targets.tolist())
    ]
    torch.manual_seed(0)
    network = simple_cnn(3, size=(SIDE, SIDE))
    write_validation(tmp_path, network, cases, films, DATASET_1)
    return tmp_path, probabilities(network, films.images).numpy(), films.targets.numpy()


def test_every_digit_comes_back(written):
    folder, expected, targets = written
    found, scores, patients, files = read_validation(folder, DATASET_1)
    assert np.array_equal(scores.astype(np.float32), expected)
    assert np.array_equal(found, targets)
    assert patients == ("p0", "p0", "p1", "p1", "p2", "p2", "p3")
    assert files[0] == "0.png"


def test_what_is_not_there_or_of_other_labels_is_said(written, tmp_path):
    folder, _, _ = written
    with pytest.raises(ModelError) as raised:
        read_validation(folder, DATASET_0)
    assert raised.value.code == "bad_validation"
    assert read_validation(tmp_path / "elsewhere", DATASET_1) is None
    (folder / FILE).write_text("file,patient,label\n")
    assert read_validation(folder, DATASET_1) is None
