"""Cases become tensors in their order, image for image what the decoder gives."""

import numpy as np
import pytest
import torch

from cxr_transfer.errors import ImageError
from cxr_transfer.labels import DATASET_1
from cxr_transfer.radiograph import Preprocessing, read_radiograph
from cxr_transfer.training.tensors import load_tensors
from made import case, write_image

SMALL = Preprocessing(height=48, width=64)


@pytest.fixture
def cases(tmp_path):
    labels = ["covid19", "normal", "viral", "bacterial", "normal", "Normal"]
    return [
        case(write_image(tmp_path / f"{number}.png", number), label)
        for number, label in enumerate(labels)
    ]


def test_images_stand_in_the_order_of_their_cases(cases):
    tensors = load_tensors(cases, SMALL, DATASET_1)
    assert len(tensors) == len(cases)
    assert (tensors.images.dtype, tensors.images.shape) == (torch.uint8, (6, 1, 48, 64))
    for image, each in zip(tensors.images, cases, strict=True):
        assert np.array_equal(image[0], SMALL.apply(read_radiograph(each.path)))


def test_a_label_that_the_network_does_not_know_is_no_target(cases):
    tensors = load_tensors(cases, SMALL, DATASET_1)
    assert tensors.targets.dtype == torch.int64
    assert tensors.targets.tolist() == [2, 0, -1, 1, 0, -1]


def test_every_image_is_told_of(cases):
    told = []
    load_tensors(cases, SMALL, DATASET_1, on_image=lambda: told.append(None))
    assert len(told) == len(cases)


def test_no_cases_are_no_images():
    tensors = load_tensors([], SMALL, DATASET_1)
    assert tensors.images.shape == (0, 1, 48, 64)
    assert len(tensors) == 0


def test_an_image_damaged_since_it_was_opened_stops_the_loading(cases):
    cases[3].path.write_bytes(cases[3].path.read_bytes()[:2000])
    with pytest.raises(ImageError) as error:
        load_tensors(cases, SMALL, DATASET_1)
    assert error.value.code == "truncated_image"


def test_rows_are_taken_by_number_or_by_flag(cases):
    tensors = load_tensors(cases, SMALL, DATASET_1)
    by_number = tensors.only(np.array([4, 0]))
    assert by_number.targets.tolist() == [0, 2]
    assert torch.equal(by_number.images, tensors.images[[4, 0]])
    by_flag = tensors.only(np.array([True, False, False, True, False, False]))
    assert by_flag.targets.tolist() == [2, 1]
    assert len(tensors.only(np.zeros(6, dtype=bool))) == 0
