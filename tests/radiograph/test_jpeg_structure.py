"""Segments and scans of a JPEG: what pixels are made of is kept, the rest is never parsed."""

import io
import re
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.jpeg_structure import MOST_SCANS, read_jpeg
from made import encoded, full
from made_bombs import jpeg, scans

IMAGE = full()
PLAIN = encoded(IMAGE, "JPEG", quality=90)


def code_of(content):
    try:
        return "read" if decode(content).height == 132 else "other"
    except ImageError as error:
        return error.code


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_pixels_are_those_of_the_whole_file():
    exif = Image.Exif()
    exif[271] = "maker"
    for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}, {"optimize": True}):
        content = encoded(IMAGE, "JPEG", exif=exif, comment=b"a comment", **options) + b"trailer"
        found = read_jpeg(content)
        assert (found.height, found.width) == IMAGE.shape
        assert np.array_equal(pixels(found.pixels), pixels(content))
        for secret in (b"maker", b"a comment", b"trailer"):
            assert secret not in found.pixels
    cmyk = encoded(Image.fromarray(IMAGE).convert("CMYK"), "JPEG")
    assert b"Adobe" in read_jpeg(cmyk).pixels, "it says how colours are stored"
    assert np.array_equal(pixels(read_jpeg(cmyk).pixels), pixels(cmyk))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("colour", [False, True])
def test_a_missing_end_marker_is_all_that_may_be_missing(colour, progressive):
    image = np.dstack([IMAGE] * 3) if colour else IMAGE
    whole = encoded(image, "JPEG", quality=90, progressive=progressive)
    assert whole.endswith(b"\xff\xd9")
    assert read_jpeg(whole).is_ended
    for cut in (whole[:-2], whole[:-1]):
        assert not read_jpeg(cut).is_ended
        image = decode(cut)
        assert image.digest() == decode(whole).digest()
        assert image.warnings == ("the end marker of its JPEG is missing; its pixels are whole",)
    for end in range(whole.index(b"\xff\xda") + 20, len(whole) - 4, 97):
        with pytest.raises(ImageError) as error:
            decode(whole[:end])
        assert error.value.code == "truncated_image"


def test_a_preview_is_passed_over_and_a_second_picture_is_not():
    preview = Image.fromarray(IMAGE).resize((90, 80))
    content = encoded(IMAGE, "MPO", save_all=True, quality=90, append_images=[preview])
    assert read_jpeg(content).others == ((90, 80),)
    image = decode(content)
    assert image.digest() == decode(PLAIN).digest()
    assert image.format == "JPEG"
    assert image.warnings == ("a smaller copy of the picture in the same file was passed over",)
    for second in (Image.fromarray(255 - IMAGE), preview.resize((148, 90))):
        content = encoded(IMAGE, "MPO", save_all=True, append_images=[second])
        with pytest.raises(ImageError) as error:
            decode(content)
        assert error.value.code == "multi_frame"


def test_an_index_of_pictures_that_lies_is_no_error():
    content = encoded(IMAGE, "MPO", save_all=True, append_images=[Image.fromarray(IMAGE[::2, ::2])])
    place, codes = content.index(b"MPF\0") + 4, set()
    for at in range(place, place + 60):
        for value in (0, 0xFF):
            codes.add(code_of(content[:at] + bytes([value]) + content[at + 1 :]))
    assert codes == {"read"}


def test_scans_are_counted():
    few = scans(20)
    assert decode(few).stored.shape == (4000, 4000)
    with pytest.raises(ImageError, match=f"at most {MOST_SCANS} scans") as error:
        decode(scans(MOST_SCANS))
    assert error.value.code == "too_complex"


def test_a_thousand_comments_are_no_reason_to_refuse():
    assert decode(jpeg(b"\xff\xfe\0\x06text", 1000)).digest() == decode(PLAIN).digest()


@pytest.mark.parametrize("marker", [0xC4, 0xDB, 0xDA, 0xC0, 0xF5])
def test_tables_behind_the_last_scan_are_damage(marker):
    content = PLAIN[:-2] + bytes([0xFF, marker, 0, 4, 1, 1]) + PLAIN[-2:]
    with pytest.raises(ImageError) as error:
        decode(content)
    assert error.value.code == "corrupt_image"


def test_a_progressive_picture_that_ends_between_two_scans_is_cut_short():
    whole = encoded(np.dstack([IMAGE] * 3), "JPEG", quality=90, progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", whole)]
    assert len(scans) > 5
    for end in scans[1:]:
        with pytest.raises(ImageError) as error:
            decode(whole[: whole.rindex(b"\xff\xc4", 0, end)])  # the tables of that scan
        assert error.value.code == "truncated_image"


def exif_block(*entries):
    body = b"II*\0" + struct.pack("<LH", 8, len(entries))
    body += b"".join(struct.pack("<HHLL", *entry) for entry in entries) + bytes(4)
    return segment(0xE1, b"Exif\0\0" + body)


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body


XMP = b"http://ns.adobe.com/xap/1.0/\0"


@pytest.mark.parametrize(
    ("before", "orientation"),
    [
        (segment(0xE1, XMP), 3),
        (segment(0xE1, XMP + b'<rdf:Description tiff:Orientation="1"/>'), 3),
        (exif_block((256, 3, 1, 100)), 3),
        (exif_block((274, 3, 1, 0)), 3),
        (exif_block((274, 3, 1, 6)), 6),
    ],
)
def test_a_block_without_an_orientation_does_not_hide_the_next(before, orientation):
    content = PLAIN[:2] + before + exif_block((274, 3, 1, 3)) + PLAIN[2:]
    assert read_jpeg(content).orientation == orientation
    assert read_jpeg(PLAIN[:2] + before + PLAIN[2:]).orientation in (1, 6)


def with_frame(marker=0xC0, bits=8, rows=132):
    at = PLAIN.index(b"\xff\xc0")
    return PLAIN[:at] + struct.pack(">BBHBH", 0xFF, marker, 11, bits, rows) + PLAIN[at + 7 :]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (with_frame(0xC9), "arithmetic coding"),
        (with_frame(0xCA), "arithmetic coding"),
        (with_frame(0xC5), "hierarchical"),
        (with_frame(0xC1, bits=12), "12 bits"),
        (with_frame(0xC3, bits=16), "16 bits"),
        (with_frame(rows=0), "DNL"),
        (imagecodecs.jpegls_encode(IMAGE), "JPEG-LS"),
    ],
)
def test_a_kind_of_jpeg_that_is_not_read_is_named(content, named):
    with pytest.raises(ImageError, match=named) as error:
        decode(content)
    assert error.value.code == "unsupported_format"
    assert "damaged" not in error.value.message


def test_a_lossless_jpeg_of_8_bits_is_read():
    assert np.array_equal(decode(imagecodecs.ljpeg_encode(IMAGE)).stored, IMAGE)
