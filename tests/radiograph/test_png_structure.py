"""Chunks of a PNG: counted, checked, and asked for what a picture needs."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.png_structure import MOST_CHUNKS, MOST_TEXT, read_png
from made import encoded, full
from made_bombs import chunk, png

IMAGE = full()


def test_header_and_orientation_are_read():
    exif = Image.Exif()
    exif[274] = 6
    found = read_png(encoded(IMAGE, exif=exif))
    assert (found.height, found.width, found.orientation) == (*IMAGE.shape, 6)
    assert (found.bits, found.colours, found.has_alpha, found.warnings) == (8, 1, False, ())
    found = read_png(encoded(np.dstack([IMAGE] * 4), exif=exif))
    assert (found.bits, found.colours, found.has_alpha) == (8, 3, True)


BEHIND_HEADER = 33
LONG = zlib.compress(b"a" * 3_000_000)
FAULTS = {
    "zTXt": b"k\0\0" + LONG,
    "iTXt": b"k\0\1\0\0\0" + LONG,
    "iCCP": b"k\0\0" + LONG,
    "zTXt ": b"k\0\0no zlib",
    "iCCP ": b"no name",
    "pHYs": b"\1",
    "gAMA": b"",
    "cHRM": b"\1\2\3",
    "sRGB": b"",
    "acTL": b"\0",
    "tRNS": b"",
}


@pytest.mark.parametrize(("name", "body"), FAULTS.items(), ids=FAULTS.keys())
def test_a_chunk_that_is_no_pixels_never_refuses_a_picture(name, body):
    name = name.strip()
    plain = encoded(IMAGE)
    radiograph = decode(plain[:BEHIND_HEADER] + chunk(name.encode(), body) + plain[BEHIND_HEADER:])
    assert np.array_equal(radiograph.stored, IMAGE)
    (warning,) = radiograph.warnings
    assert warning.startswith(f"the {name} chunk of its PNG was passed over: ")


def test_a_wrong_checksum_is_damage_where_pixels_are_made_of_it_and_else_a_warning():
    plain = encoded(IMAGE)
    for name, is_read in ((b"tEXt", True), (b"eXIf", True), (b"tRNS", False), (b"ABCD", False)):
        wrong = bytearray(chunk(name, b"a\0text"))
        wrong[-1] ^= 1
        content = plain[:BEHIND_HEADER] + wrong + plain[BEHIND_HEADER:]
        if is_read:
            radiograph = decode(content)
            assert np.array_equal(radiograph.stored, IMAGE)
            (warning,) = radiograph.warnings
            assert name.decode() in warning
            assert "checksum" in warning
        else:
            with pytest.raises(ImageError) as error:
                decode(content)
            assert error.value.code == "corrupt_image"


def test_what_pixels_are_not_made_of_is_not_handed_on():
    image = Image.frombytes("P", IMAGE.shape[::-1], IMAGE.tobytes())
    image.putpalette([index for index in range(256) for _ in range(3)])
    info = PngImagePlugin.PngInfo()
    info.add_text("maker", "mine")
    content = encoded(image, pnginfo=info, dpi=(100, 100), transparency=3)
    pixels = read_png(content).pixels
    assert b"tEXt" not in pixels
    assert b"pHYs" not in pixels
    for name in (b"PLTE", b"tRNS"):
        assert name in pixels
    whole, found = (Image.open(io.BytesIO(file)).convert("RGBA") for file in (content, pixels))
    assert np.array_equal(np.asarray(whole), np.asarray(found))


def test_texts_unfold_within_a_bound():
    plain = encoded(IMAGE)
    texts = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(MOST_TEXT // 8))) * 9
    with pytest.raises(ImageError, match="unfold without an end") as error:
        decode(plain[:BEHIND_HEADER] + texts + plain[BEHIND_HEADER:])
    assert error.value.code == "corrupt_image"


def test_exif_is_heard_before_xmp_wherever_it_stands():
    exif = Image.Exif()
    exif[274] = 6
    content = encoded(IMAGE, exif=exif)
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<rdf:Description tiff:Orientation="3"/>'
    content = content[:BEHIND_HEADER] + chunk(b"iTXt", xmp) + content[BEHIND_HEADER:]
    assert read_png(content).orientation == 6


def test_many_chunks_are_no_reason_to_refuse_and_very_many_are():
    assert np.array_equal(decode(png(b"tIME", 1000)).stored, IMAGE)
    with pytest.raises(ImageError, match=f"at most {MOST_CHUNKS} chunks") as error:
        decode(png(b"tIME", MOST_CHUNKS))
    assert error.value.code == "too_complex"


def test_what_follows_the_end_is_passed_over():
    plain = encoded(IMAGE)
    for behind in (bytes(9000), b"a camera's own trailer", plain, chunk(b"fdAT", b"frame")):
        radiograph = decode(plain + behind)
        assert np.array_equal(radiograph.stored, IMAGE)
        assert radiograph.warnings == ()


def test_frames_are_several_pictures_whatever_their_number_is_said_to_be():
    plain = encoded(IMAGE)
    for chunks in (
        chunk(b"acTL", (2).to_bytes(4) + bytes(4)),
        chunk(b"acTL", b"") + chunk(b"fdAT", b"frame"),
        chunk(b"fdAT", b"frame"),
    ):
        with pytest.raises(ImageError) as error:
            decode(plain[:BEHIND_HEADER] + chunks + plain[BEHIND_HEADER:])
        assert error.value.code == "multi_frame"
    one = chunk(b"acTL", (1).to_bytes(4) + bytes(4))
    assert decode(plain[:BEHIND_HEADER] + one + plain[BEHIND_HEADER:]).warnings == ()
