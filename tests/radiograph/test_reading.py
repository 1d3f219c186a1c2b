"""The one door: by content, and without what a plain image does not need."""

import subprocess
import sys

import numpy as np
import pytest

from cxr_transfer import radiograph
from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import Header, decode, read_radiograph, reading
from cxr_transfer.radiograph.in_memory import read_image
from made import encoded, grey
from made_dicom import dicom

IMAGE = grey()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (encoded(IMAGE), "PNG"),
        (encoded(IMAGE, "JPEG"), "JPEG"),
        (encoded(IMAGE, "TIFF"), "TIFF"),
        (dicom(IMAGE), "DICOM"),
        (dicom(IMAGE, preamble=False), "DICOM"),
    ],
)
def test_content_decides_what_decodes_it(tmp_path, content, kind):
    radiograph = decode(content)
    assert radiograph.format == kind
    assert np.abs(radiograph.pixels - IMAGE / 255).max() < 0.05
    for name, warned in (("a.dcm", kind != "DICOM"), ("a.png", kind != "PNG"), ("a", False)):
        (tmp_path / name).write_bytes(content)
        assert read_radiograph(tmp_path / name).digest() == radiograph.digest()
        assert len(read_radiograph(tmp_path / name).warnings) == warned


def test_a_raster_image_says_nothing_of_its_picture():
    assert decode(encoded(IMAGE)).header == Header() == Header("", "", "")


@pytest.mark.parametrize(
    "content",
    [b"\x08", b"\2\0", b"\x08\0\x05\0", b"II*\0", b"\0\x08 a text", b"\x08\0\5\0\xff\xff\xff\x7f"],
)
def test_bytes_that_only_begin_alike_are_no_dicom(content):
    assert not reading._is_dicom(content)
    with pytest.raises(ImageError):
        decode(content)


def test_grey_levels_are_those_in_use():
    deep = np.arange(132 * 148, dtype=np.uint16).reshape(132, 148)
    assert decode(encoded(deep)).levels == 132 * 148
    assert decode(encoded((deep % 50).astype(np.uint8))).levels == 50
    assert decode(dicom(deep % 4096, BitsStored=12)).levels == 4096


def test_few_grey_levels_of_8_bits_are_told_whatever_the_format():
    for few in (grey() // 4, grey() & 0xF0):
        levels = len(np.unique(few))
        told = (f"only {levels} of 256 grey levels are in use; contrast was left as it is",)
        for content in (encoded(few), encoded(few, "TIFF"), dicom(few)):
            radiograph = decode(content, named="")
            assert np.array_equal(radiograph.stored, few)
            assert radiograph.warnings == told
        assert read_image(few).warnings == told
        assert decode(encoded(few), named="TIFF").warnings[0] == told[0]


def test_a_plain_image_does_not_wait_for_pydicom(tmp_path):
    (tmp_path / "image.png").write_bytes(encoded(IMAGE))
    script = (
        "import pathlib, sys\n"
        "from cxr_transfer.radiograph import read_radiograph\n"
        "read_radiograph(pathlib.Path(sys.argv[1]))\n"
        "print({'pydicom', 'imagecodecs', 'torch'} & sys.modules.keys())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "image.png")], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout == "set()\n"


def test_the_names_of_the_room():
    assert {"Header", "Radiograph", "decode", "read_radiograph"} <= set(radiograph.__all__)
