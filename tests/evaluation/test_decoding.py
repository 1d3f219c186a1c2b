"""One decoding gives what three gave: the index, the model inputs, and what the files tell."""

import dataclasses

import numpy as np
import pytest
import torch

from cxr_transfer.datasets.file_features import file_features
from cxr_transfer.datasets.index import index
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.decoding import decode_once, leave_out
from cxr_transfer.labels import DATASET_1
from cxr_transfer.radiograph import Preprocessing, read_radiograph
from cxr_transfer.training.tensors import load_tensors
from made import case, write_image

SMALL = Preprocessing(height=48, width=64)
CROPS = Preprocessing(height=48, width=64, crop="lungs", detail=32, equalise=True)


@pytest.fixture
def cases(tmp_path):
    labels = ["covid19", "normal", "viral", "bacterial", "normal"]
    return [
        case(write_image(tmp_path / f"{number}.{'png' if number % 2 else 'jpg'}", number), label)
        for number, label in enumerate(labels)
    ]


def test_it_gives_what_three_decodings_give(cases):
    told = []
    found = decode_once(cases, SMALL, DATASET_1, files=True, on_image=lambda: told.append(1))
    tensors = load_tensors(cases, SMALL, DATASET_1)
    assert found.cases == index(cases)
    assert torch.equal(found.tensors.images, tensors.images)
    assert torch.equal(found.tensors.targets, tensors.targets)
    assert list(found.files) == [
        file_features(each.path.read_bytes(), read_radiograph(each.path)) for each in cases
    ]
    assert np.array_equal(found.unfinished, tensors.images)
    assert len(told) == len(cases)


def test_files_are_looked_at_only_where_that_is_asked_for(cases):
    found = decode_once(cases, SMALL, DATASET_1)
    assert found.files == ()
    assert np.array_equal(found.tensors.images, load_tensors(cases, SMALL, DATASET_1).images)


def test_images_are_kept_before_the_last_steps_of_a_preprocessing_too(cases, tmp_path):
    found = decode_once(cases, CROPS, DATASET_1, unfinished=tmp_path / "place")
    assert np.array_equal(found.tensors.images, load_tensors(cases, CROPS, DATASET_1).images)
    before = load_tensors(cases, CROPS.unfinished, DATASET_1).images
    assert np.array_equal(found.unfinished, before)
    assert not np.array_equal(found.unfinished, found.tensors.images)
    assert [*(tmp_path / "place").iterdir()] == [], "nothing is left in the folder"


def test_every_damaged_image_is_named(cases):
    for each in cases[1:3]:
        each.path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"2 of 5 cannot: \S+/1\.png .*; \S+/2\.jpg") as error:
        decode_once(cases, SMALL, DATASET_1)
    assert error.value.code == "damaged_images"


def test_an_image_that_is_not_the_manifests_is_refused(cases):
    cases[3] = dataclasses.replace(cases[3], sha256="0" * 64)
    with pytest.raises(DataError, match=r"3\.png") as error:
        decode_once(cases, SMALL, DATASET_1)
    assert error.value.code == "changed_images"


def test_damaged_images_are_left_out_on_a_persons_word_and_the_rest_is_as_without_them(
    cases, tmp_path
):
    whole = [cases[0], *cases[3:]]
    expected = decode_once(whole, CROPS, DATASET_1, files=True, unfinished=tmp_path / "expected")
    for each in cases[1:3]:
        each.path.write_bytes(b"nothing")
    told = []
    found = decode_once(
        cases,
        CROPS,
        DATASET_1,
        files=True,
        unfinished=tmp_path / "found",
        skip_damaged=True,
        on_image=lambda: told.append(None),
    )
    assert [(one.path, one.code) for one in found.damaged] == [
        (each.file, "unsupported_format") for each in cases[1:3]
    ]
    assert found.cases == expected.cases
    assert torch.equal(found.tensors.images, expected.tensors.images)
    assert torch.equal(found.tensors.targets, expected.tensors.targets)
    assert found.files == expected.files
    assert np.array_equal(found.unfinished, expected.unfinished)
    assert len(told) == len(cases)


def test_where_all_are_damaged_nothing_is_left_to_decode(cases):
    for each in cases:
        each.path.write_bytes(b"nothing")
    with pytest.raises(DataError) as error:
        decode_once(cases, SMALL, DATASET_1, skip_damaged=True)
    assert error.value.code == "empty"


def test_an_image_that_is_not_the_manifests_is_refused_beside_damaged_ones(cases):
    cases[1].path.write_bytes(b"nothing")
    cases[3] = dataclasses.replace(cases[3], sha256="0" * 64)
    with pytest.raises(DataError) as error:
        decode_once(cases, SMALL, DATASET_1, skip_damaged=True)
    assert error.value.code == "changed_images"


def test_what_is_left_out_is_listed_in_the_report_and_said(cases, tmp_path):
    cases[1].path.write_bytes(b"nothing")
    damaged = decode_once(cases, SMALL, DATASET_1, skip_damaged=True).damaged
    said = []
    leave_out(tmp_path, damaged, said.append)
    assert "unsupported_format" in (tmp_path / "damaged.csv").read_text()
    where = tmp_path / "damaged.csv"
    assert said == [f"left out, since it cannot be read: 1 file, listed in {where}"]
    leave_out(tmp_path, (), said.append)
    assert len(said) == 1
    assert not (tmp_path / "damaged.csv").exists()
