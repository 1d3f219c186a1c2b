"""What happens to an image before any network sees it: the same for a path, bytes and an image."""

import pickle

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.errors import UsageError
from cxr_transfer.inference import prepare as prepare_module
from cxr_transfer.inference.prepare import prepare, prepare_for_each
from cxr_transfer.radiograph import Preprocessing, read_radiograph
from cxr_transfer.radiograph.in_memory import read_image
from made import chest, write_image
from made_dicom import dataset

SIZE = Preprocessing(height=64, width=64)


@pytest.fixture
def radiograph(tmp_path):
    return write_image(tmp_path / "image.png")


def test_a_path_bytes_and_an_image_come_out_the_same(radiograph):
    images = [
        prepare(given, SIZE).image
        for given in (
            radiograph,
            str(radiograph),
            radiograph.read_bytes(),
            read_radiograph(radiograph),
        )
    ]
    assert images[0].shape == (64, 64)
    for image in images[1:]:
        assert np.array_equal(image, images[0])


def test_for_several_networks_an_image_is_read_once_and_prepared_as_for_each(
    radiograph, monkeypatch
):
    crops = Preprocessing(height=48, width=64, crop="lungs")
    expected = [prepare(radiograph, one) for one in (SIZE, crops, SIZE)]
    read = []
    monkeypatch.setattr(
        prepare_module, "read_image", lambda *a, **k: read.append(1) or read_image(*a, **k)
    )
    found = prepare_for_each(radiograph, [SIZE, crops, SIZE])
    assert len(read) == 1
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.image, other.image)
        assert (one.box, one.warnings, one.radiograph) == (other.box, other.warnings, None)
    assert found[0] is found[2]
    assert (
        prepare(radiograph, SIZE, keep_radiograph=True).radiograph.digest()
        == read_radiograph(radiograph).digest()
    )


def test_what_a_program_has_in_memory_comes_out_the_same(radiograph):
    expected = prepare(radiograph, SIZE).image
    grey = chest()
    floats = grey.astype(np.float32) / 255
    with radiograph.open("rb") as handle:
        for given, stated in (
            (handle, None),
            (grey, None),
            (Image.fromarray(grey), None),
            (dataset(grey), None),
            (grey.astype(np.uint16) * 16, (0, 4080)),
            (floats, (0, 1)),
        ):
            found = prepare(given, SIZE, value_range=stated)
            assert (found.file, found.status) == ("", "ok")
            assert np.array_equal(found.image, expected)


@pytest.mark.parametrize("given", [None, 3, [], {}, np.zeros((2, 2, 2), np.uint8)], ids=str)
def test_what_is_no_image_is_the_programs_fault_and_no_answer(given):
    with pytest.raises(TypeError, match="Expected a"):
        prepare(given, SIZE)


def test_a_range_that_is_missing_is_the_programs_fault_and_a_wrong_value_the_images():
    array = np.full((150, 150), 300, np.uint16)
    with pytest.raises(TypeError, match="value_range"):
        prepare(array, SIZE)
    with pytest.raises(UsageError, match="lower one first"):
        prepare(array, SIZE, value_range=(255, 0))
    found = prepare(array, SIZE, value_range=(0, 255))
    assert (found.status, found.code, found.file) == ("error", "outside_value_range", "")
    found = prepare(array, SIZE, value_range=(0, 300))
    assert (found.status, found.code) == ("cannot_assess", "blank_or_noise")


def test_it_is_named_as_it_was_given(radiograph):
    assert prepare(radiograph, SIZE).file == str(radiograph)
    assert prepare(str(radiograph), SIZE).file == str(radiograph)
    assert prepare(radiograph.read_bytes(), SIZE).file == ""
    assert prepare(radiograph.read_bytes(), SIZE, file="upload.png").file == "upload.png"


def test_an_image_that_cannot_be_read_is_an_error_with_its_code():
    found = prepare(b"no image at all", SIZE, file="x")
    assert (found.status, found.code, found.image) == ("error", "unsupported_format", None)
    assert found.message


@pytest.mark.parametrize("grey", [0, 255])
def test_what_holds_no_picture_cannot_be_assessed(grey, tmp_path):
    path = tmp_path / "blank.png"
    Image.new("L", (300, 300), grey).save(path)
    found = prepare(path, SIZE)
    assert (found.status, found.code, found.image) == ("cannot_assess", "blank_or_noise", None)


def test_without_the_gate_it_is_told_and_not_refused(tmp_path):
    path = tmp_path / "blank.png"
    Image.new("L", (300, 300), 0).save(path)
    found = prepare(path, SIZE, quality_control=False)
    assert found.status == "ok"
    assert found.image is not None
    assert found.warnings


def test_it_can_be_sent_to_another_process(radiograph):
    sent = pickle.loads(pickle.dumps(prepare(radiograph, SIZE)))
    assert np.array_equal(sent.image, prepare(radiograph, SIZE).image)
    refused = pickle.loads(pickle.dumps(prepare(b"", SIZE)))
    assert refused.code == "empty_file"
