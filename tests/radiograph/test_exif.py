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
        ONE[:8] + struct.pack("<HHHLL", 1, 274, 4, 2, 6),  # two numbers where nothing is
        ONE[:8] + struct.pack("<H", 65_535),
    ],
)
def test_what_names_none_says_so(block):
    assert orientation(ONE) == 6
    assert orientation(block) == 0


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("letter", "BHLbhl")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_any_whole_number_is_an_orientation(letter, number, order):
    """Two long integers do not fit into an entry, which then says where they are."""
    kind = {"B": 1, "H": 3, "L": 4, "b": 6, "h": 8, "l": 9}[letter]
    value = struct.pack(f"{order}{letter}", 6) * 2
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, 1)
    entry = struct.pack(f"{order}HHL", 274, kind, number)
    if struct.calcsize(f"={letter}") * number > 4:
        assert orientation(head + entry + struct.pack(f"{order}L", 22) + value) == 6
    else:
        assert orientation(head + entry + value[:4].ljust(4, b"\0")) == 6


def test_xmp_names_it_in_two_ways():
    assert orientation_in_xmp(b'<rdf:Description tiff:Orientation="8"/>') == 8
    assert orientation_in_xmp(b"<tiff:Orientation>3</tiff:Orientation>") == 3
    assert orientation_in_xmp(b"<tiff:Orientation>9</tiff:Orientation>") == 0
    assert orientation_in_xmp(b"") == 0
