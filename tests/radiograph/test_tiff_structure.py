"""The directory of a TIFF: bounded, and handed on without what pixels do not need."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.tiff_structure import read_tiff
from made import encoded, full

IMAGE = full()
DEEP = IMAGE.astype(np.uint16) * 257


def big_tiff(radiograph):
    """A BigTIFF, which Pillow reads, with the values of many a field elsewhere."""
    height, width = radiograph.shape
    fields = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    fields += [(273, 16, 16), (277, 3, 1), (278, 4, height), (279, 16, radiograph.size)]
    start = 16 + radiograph.size
    directory = struct.pack("<Q", len(fields))
    directory += b"".join(struct.pack("<HHQQ", tag, kind, 1, value) for tag, kind, value in fields)
    return (
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) + radiograph.tobytes() + directory + bytes(8)
    )


@pytest.mark.parametrize(
    "content",
    [
        encoded(IMAGE, "TIFF"),
        encoded(IMAGE, "TIFF", big_tiff=True),
        big_tiff(IMAGE),
        *(
            encoded(IMAGE, "TIFF", compression=how)
            for how in ("tiff_lzw", "packbits", "tiff_deflate")
        ),
        encoded(IMAGE, "TIFF", tiffinfo={270: "a description", 65_000: "mine"}),
        encoded(IMAGE, "TIFF", strip_size=148),
    ],
)
def test_pixels_are_those_of_the_whole_file(content):
    found = read_tiff(content)
    assert (found.height, found.width) == IMAGE.shape
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(found.plain))), IMAGE)
    assert not Image.open(io.BytesIO(found.plain)).tag_v2.keys() & {270, 65_000}
    assert np.array_equal(decode(content).stored, IMAGE)


def test_a_big_endian_file_is_read():
    content = encoded(Image.fromarray(DEEP.astype(">u2")), "TIFF")
    assert content[:2] == b"MM"
    assert np.abs(decode(content).pixels - IMAGE / 255).max() < 1e-6


def pages(*sizes, kinds):
    """A TIFF of several pages, each with its New Subfile Type."""
    images = [Image.fromarray(IMAGE).resize(size) for size in sizes]
    for image, kind in zip(images, kinds, strict=True):
        image.encoderinfo = {"tiffinfo": {254: kind}}
    return encoded(images[0], "TIFF", save_all=True, append_images=images[1:])


def test_a_reduced_copy_is_passed_over_and_a_second_page_is_not():
    content = pages((148, 132), (74, 66), kinds=(0, 1))
    radiograph = decode(content)
    assert np.array_equal(radiograph.stored, IMAGE)
    assert radiograph.warnings == (
        "a smaller copy of the picture in the same file was passed over",
    )
    with pytest.raises(ImageError) as error:
        decode(pages((148, 132), (148, 132), kinds=(0, 0)))
    assert error.value.code == "multi_frame"


def test_colours_of_16_bits_in_separate_planes_are_refused():
    """Pillow decodes them as garbage."""
    planes = np.stack([DEEP, DEEP, DEEP])
    start = 8 + planes.nbytes
    fields = [(256, 4, 1, 148), (257, 4, 1, 132), (258, 3, 3, start), (259, 3, 1, 1)]
    fields += [(262, 3, 1, 2), (273, 4, 3, start + 6), (277, 3, 1, 3), (278, 4, 1, 132)]
    fields += [(279, 4, 3, start + 18), (284, 3, 1, 2)]
    places = [8 + number * DEEP.nbytes for number in range(3)]
    values = struct.pack("<3H3L3L", 16, 16, 16, *places, *[DEEP.nbytes] * 3)
    directory = struct.pack("<H", len(fields))
    directory += b"".join(struct.pack("<HHLL", *field) for field in fields) + bytes(4)
    content = (
        b"II*\0" + struct.pack("<L", start + len(values)) + planes.tobytes() + values + directory
    )
    with pytest.raises(ImageError, match="separate planes") as error:
        decode(content)
    assert error.value.code == "unsupported_format"


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_colours_of_16_bits_side_by_side_are_as_grey(compression):
    for samples in (DEEP, DEEP >> 3, (DEEP >> 1) + 9000):
        colours = imagecodecs.tiff_encode(
            np.dstack([samples] * 3), photometric="rgb", compression=compression
        )
        radiograph, grey = decode(colours), decode(encoded(samples, "TIFF"))
        assert np.array_equal(radiograph.stored, grey.stored)
        assert radiograph.warnings == grey.warnings
        assert np.abs(radiograph.pixels - IMAGE / 255).max() < 1e-3


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [12, 14])
def test_values_that_fill_few_bits_are_the_picture_with_a_warning(bits, signed):
    few = np.rint(IMAGE.astype(np.float64) * (((1 << bits) - 1) / 255)).astype(np.uint16)
    if signed:
        few = (few.astype(np.int32) - 2000).astype(np.int16)
        content = encoded(few.view(np.uint16), "TIFF", tiffinfo={339: 2})
    else:
        content = encoded(few, "TIFF")
    radiograph = decode(content)
    assert np.abs(radiograph.pixels - IMAGE / 255).max() < 1 / (1 << bits)
    (warning,) = radiograph.warnings
    assert "16 bits" in warning
