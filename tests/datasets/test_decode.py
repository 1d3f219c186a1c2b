"""A file is opened once, and its record is what each of its readers would find."""

import hashlib

import numpy as np
import pytest

from cxr_transfer.datasets import decode as decode_module
from cxr_transfer.datasets.decode import Records, Wanted, decode_image
from cxr_transfer.datasets.file_features import file_features
from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import Preprocessing, read_radiograph
from made import case, write_image

SMALL = Preprocessing(height=48, width=64)
CROPS = Preprocessing(height=48, width=64, crop="lungs", detail=32, equalise=True)


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that were opened, in order."""
    names, read = [], decode_module.read_content
    monkeypatch.setattr(
        decode_module, "read_content", lambda path: names.append(path.name) or read(path)
    )
    return names


def test_a_record_is_what_each_reader_finds(tmp_path):
    path = write_image(tmp_path / "a.jpg", 3)
    radiograph, content = read_radiograph(path), path.read_bytes()
    wanted = Wanted((SMALL, CROPS, CROPS.unfinished), file_features=True, grey_levels=True)
    found = decode_image(path, wanted)
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.pixels == radiograph.digest()
    assert (found.width, found.height) == (radiograph.width, radiograph.height)
    assert (found.format, found.header) == ("JPEG", radiograph.header)
    assert (found.grey_levels, found.warnings) == (radiograph.levels, radiograph.warnings)
    assert found.file_features == file_features(content, radiograph)
    assert list(found.images) == list(wanted.preprocessings)
    for one, image in found.images.items():
        assert np.array_equal(image, one.apply(radiograph))


def test_nothing_is_kept_that_is_not_wanted(tmp_path):
    found = decode_image(write_image(tmp_path / "a.png"))
    assert (found.images, found.file_features, found.grey_levels) == ({}, None, None)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(ImageError):
        decode_image(tmp_path / "a.png")


def test_data_sets_that_share_files_open_them_once(tmp_path, opened):
    cases = [case(write_image(tmp_path / f"{number}.png", number)) for number in range(3)]
    first = Records(SMALL)
    for each in cases[:2]:
        first.keep(first.read(each))
    second = Records(SMALL, shared=first)
    for each in cases:
        second.keep(second.read(each))
    assert opened == ["0.png", "1.png", "2.png"]
    # Each takes its images by itself.
    for records in (second, first):
        image = records.take(cases[0], SMALL)
        assert np.array_equal(image, SMALL.apply(read_radiograph(cases[0].path)))
    assert opened == ["0.png", "1.png", "2.png"]


def test_another_preprocessing_than_was_kept_is_decoded_anew(tmp_path, opened):
    one = case(write_image(tmp_path / "a.png"))
    first = Records(SMALL)
    first.keep(first.read(one))
    second = Records(CROPS, shared=first)
    second.keep(second.read(one))
    assert opened == ["a.png"] * 2
    expected = CROPS.apply(read_radiograph(one.path))
    assert np.array_equal(second.take(one, CROPS), expected)
    # Taken once, it is kept no longer.
    assert np.array_equal(second.take(one, CROPS), expected)
