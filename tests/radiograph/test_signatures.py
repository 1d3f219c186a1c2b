"""What a file is, by its first bytes."""

import os

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian

from cxr_transfer.figures.canvas import canvas
from cxr_transfer.radiograph.signatures import Kind, is_dicom_file, kind_of, kind_of_content
from made import encoded, grey
from made_dicom import PLAIN, dicom

PICTURE = grey()
SAMPLES = np.arange(130 * 130, dtype=np.uint16).reshape(130, 130)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_rasters_are_images_whatever_their_name(kind, tmp_path):
    (tmp_path / "IM0001").write_bytes(encoded(PICTURE, kind))
    assert kind_of(tmp_path / "IM0001") is Kind.IMAGE
    assert not is_dicom_file(tmp_path / "IM0001")


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("syntax", PLAIN)
def test_dicom_files_are_images_with_and_without_preamble(syntax, preamble, tmp_path):
    (tmp_path / "1.2.840.1").write_bytes(dicom(SAMPLES, syntax, preamble=preamble))
    assert kind_of(tmp_path / "1.2.840.1") is Kind.IMAGE
    assert is_dicom_file(tmp_path / "1.2.840.1")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "JPEG2000"])
def test_pictures_of_other_formats_are_told_apart(kind):
    assert kind_of_content(encoded(PICTURE, kind)) is Kind.OTHER_FORMAT


@pytest.mark.parametrize("content", [b"", b"path,label\n", b"BMI,age\n20,3\n", b"{}", b"%PDF-1.7"])
def test_texts_are_no_images(content):
    assert kind_of_content(content) is Kind.OTHER


def test_a_dicom_directory_is_no_image():
    head = dicom(SAMPLES, ImplicitVRLittleEndian, SOPClassUID="1.2.840.10008.1.3.10")
    assert kind_of_content(head[:4096]) is Kind.DIRECTORY


def test_a_picture_of_this_program_is_no_radiograph(tmp_path):
    with canvas(tmp_path / "drawn.png", (4, 3), "a figure") as figure:
        figure.subplots().imshow(PICTURE)
    assert kind_of(tmp_path / "drawn.png") is Kind.OURS
    Image.open(tmp_path / "drawn.png").convert("L").save(tmp_path / "again.png")
    assert kind_of(tmp_path / "again.png") is Kind.IMAGE


def test_a_damaged_image_is_one_by_its_name(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.JPG").write_text("<html>")
    (tmp_path / "empty").touch()
    kinds = [kind_of(tmp_path / name) for name in ("empty.png", "page.JPG", "empty")]
    assert kinds == [Kind.IMAGE, Kind.IMAGE, Kind.OTHER]


def test_nothing_that_could_block_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert kind_of(tmp_path / "pipe.png") is Kind.SPECIAL
    assert not is_dicom_file(tmp_path / "pipe.png")


def test_links_are_followed_and_broken_ones_named(tmp_path):
    (tmp_path / "image").write_bytes(encoded(PICTURE))
    (tmp_path / "link").symlink_to("image")
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    (tmp_path / "self.png").symlink_to("self.png")
    assert kind_of(tmp_path / "link") is Kind.IMAGE
    assert kind_of(tmp_path / "broken.png") is Kind.BROKEN_LINK
    assert kind_of(tmp_path / "self.png") is Kind.BROKEN_LINK
    assert kind_of(tmp_path / "gone.png") is Kind.UNREADABLE
