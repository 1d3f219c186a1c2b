"""One number out of Exif or XMP, and nothing else."""

import struct

import pytest
from PIL import Image

from cxr_transfer.radiograph.exif import orientation, orientation_in_xmp


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_is_read_in_either_order_of_bytes(value, order):
    exif = Image.Exif()
    exif.endian = order
    exif[271], exif[274], exif[305] = "maker", value, "program"
    assert orientation(exif.tobytes().removeprefix(b"Exif\0\0")) == value


ONE = b"II*\0" + struct.pack("<L", 8) + struct.pack("<HHHLL", 1, 274, 3, 1, 6)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"XX*\0" + ONE[4:],
        ONE[:-2],
        ONE[:4] + struct.pack("<L", 4_000_000_000) + ONE[8:],
        ONE[:8] + struct.pack("<HHHLL", 1, 274, 3, 1, 9),  # no orientation
        ONE[:8] + struct.pack("<HHHLL", 1, 274, 2, 1, 6),  # text
        ONE[:8] + struct.pack("<HHHLL", 1, 274, 3, 2, 6),  # two numbers
        ONE[:8] + struct.pack("<H", 65_535),
    ],
)
def test_what_names_none_is_upright(block):
    assert orientation(ONE) == 6
    assert orientation(block) == 1


def test_xmp_names_it_in_two_ways():
    assert orientation_in_xmp(b'<rdf:Description tiff:Orientation="8"/>') == 8
    assert orientation_in_xmp(b"<tiff:Orientation>3</tiff:Orientation>") == 3
    assert orientation_in_xmp(b"<tiff:Orientation>9</tiff:Orientation>") == 1
    assert orientation_in_xmp(b"") == 1
