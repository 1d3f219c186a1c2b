"""Compressed TIFFs are unpacked as Pillow's libtiff has them, in silence and within bounds."""

import contextlib
import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.tiff_pixels import unpacked
from cxr_transfer.radiograph.tiff_structure import PLAIN, read_tiff
from made import encoded, full

IMAGE = full()
DEEP = IMAGE.astype(np.uint16) * 257
COLOURS = np.dstack([IMAGE, IMAGE.T[:132, :132].repeat(2, axis=1)[:, :148], 255 - IMAGE])


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def as_mode(mode):
    if mode == "I;16B":
        return Image.fromarray(DEEP.astype(">u2"))
    if mode == "I;16":
        return Image.fromarray(DEEP)
    return Image.fromarray(COLOURS).convert(mode)


@pytest.mark.parametrize("strip", [148, 148 * 60, 1 << 20])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "I;16", "I;16B"])
@pytest.mark.parametrize("how", ["tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"])
def test_what_is_packed_without_loss(how, mode, strip):
    for predictor in (1, 2):
        info = {317: predictor} if how != "packbits" else {}
        content = encoded(as_mode(mode), "TIFF", compression=how, strip_size=strip, tiffinfo=info)
        tiff = read_tiff(content)
        assert tiff.compression != PLAIN
        assert np.array_equal(pixels(unpacked(content, tiff)), pixels(content))


@pytest.mark.parametrize("strip", [148 * 8, 148 * 48, 1 << 20])
@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_jpegs(mode, strip):
    image = Image.fromarray(COLOURS).convert(mode)
    content = encoded(image, "TIFF", compression="jpeg", quality=90, strip_size=strip)
    found = pixels(unpacked(content, read_tiff(content)))
    expected = Image.open(io.BytesIO(content))
    expected = expected.convert("RGB") if mode == "YCbCr" else expected
    assert np.array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("compression", ["lzw", "deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("samples", [IMAGE, DEEP, COLOURS], ids=["8", "16", "colour"])
def test_tiles(samples, compression):
    if compression == "jpeg" and samples is DEEP:
        return
    options = {"photometric": "rgb"} if samples is COLOURS else {}
    content = imagecodecs.tiff_encode(samples, tile=(64, 64), compression=compression, **options)
    assert np.array_equal(pixels(unpacked(content, read_tiff(content))), pixels(content))


def tiff(radiograph, compression, *strips, bits=8, rows=None, order="<", **fields):
    """A TIFF of any strips."""
    height, width = radiograph.shape[:2]
    numbers = {256: [width], 257: [height], 258: [bits], 259: [compression], 262: [1], 277: [1]}
    places = np.cumsum([8, *map(len, strips)])
    numbers |= {273: places[:-1], 278: [rows or height], 279: [len(strip) for strip in strips]}
    numbers |= {int(tag[1:]): value for tag, value in fields.items()}
    start = int(places[-1])
    values, entries = b"", struct.pack(f"{order}H", len(numbers))
    for tag in sorted(numbers):
        value = struct.pack(f"{order}{len(numbers[tag])}L", *map(int, numbers[tag]))
        if len(value) > 4:
            place = start + 2 + 12 * len(numbers) + 4 + len(values)
            values += value
            value = struct.pack(f"{order}L", place)
        entries += struct.pack(f"{order}HHL", tag, 4, len(numbers[tag])) + value
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", start)
    return head + b"".join(strips) + entries + bytes(4) + values


PACKED = zlib.compress(IMAGE.tobytes())


def test_bits_from_the_other_end_separate_planes_and_twelve_bits():
    reversed_bits = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    content = tiff(IMAGE, 8, PACKED.translate(reversed_bits), T266=[2])
    assert np.array_equal(decode(content).stored, IMAGE)
    planes = [zlib.compress(np.ascontiguousarray(COLOURS[..., index])) for index in range(3)]
    many = {"T258": [8] * 3, "T262": [2], "T277": [3], "T284": [2]}
    content = tiff(IMAGE, 8, *planes, **many)
    assert np.array_equal(pixels(unpacked(content, read_tiff(content))), COLOURS)
    twelve = np.rint(IMAGE * (4095 / 255)).astype(int)
    first, second = twelve.ravel()[::2], twelve.ravel()[1::2]
    bits = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    content = tiff(IMAGE, 8, zlib.compress(bits.astype(np.uint8).tobytes()), bits=12)
    assert np.abs(decode(content).pixels - IMAGE / 255).max() < 2e-4


def refusal(content):
    with pytest.raises(ImageError) as error:
        decode(content)
    return error.value.code


def test_missing_and_damaged_pieces_are_errors_and_nothing_is_written(capfd):
    half = tiff(IMAGE, 8, zlib.compress(IMAGE[:66].tobytes()))
    assert refusal(half) == "truncated_image"
    assert refusal(tiff(IMAGE, 8, PACKED, rows=66)) == "truncated_image"
    assert refusal(tiff(IMAGE, 8, PACKED[:-4] + b"\0\0\0\0")) == "corrupt_image"
    assert (
        refusal(tiff(IMAGE, 5, imagecodecs.lzw_encode(IMAGE[:66].tobytes()))) == "truncated_image"
    )
    assert refusal(tiff(IMAGE, 32773, b"\x05ab")) in ("truncated_image", "corrupt_image")
    content = encoded(IMAGE, "TIFF", compression="jpeg", strip_size=148 * 16)
    for at in range(8, len(content), 7):
        for value in (0, 0xFF):
            with contextlib.suppress(ImageError):
                decode(content[:at] + bytes([value]) + content[at + 1 :])
    assert capfd.readouterr() == ("", "")


def test_a_compression_that_is_no_number_is_not_passed_on(capfd):
    content = tiff(IMAGE, 5, imagecodecs.lzw_encode(IMAGE.tobytes()))
    field = struct.pack("<HHLL", 259, 4, 1, 5)
    assert content.count(field) == 1
    signed = content.replace(field, struct.pack("<HHLL", 259, 9, 1, 5))
    assert refusal(signed) == "truncated_image", "it is as if there were no such field"
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_cut_off_is_not_too_complex():
    content = encoded(IMAGE, "TIFF")
    assert refusal(content[:1500]) == "truncated_image"


def test_a_cut_off_jpeg_is_no_grey_strip():
    """libtiff says nothing, and the rest is grey."""
    whole = encoded(IMAGE, "JPEG", quality=90)
    cut = whole[: len(whole) * 2 // 3] + b"\xff\xd9"
    assert np.array_equal(decode(tiff(IMAGE, 7, whole)).stored, decode(whole).stored)
    assert refusal(tiff(IMAGE, 7, cut)) == "truncated_image"


@pytest.mark.parametrize("compression", [6, 32946 - 1, 34887, 50000, 50001, 34925])
def test_other_compressions_are_named(compression):
    assert refusal(tiff(IMAGE, compression, PACKED)) == "unsupported_format"


@pytest.mark.parametrize("compression", [2, 3, 4, 32771])
def test_black_and_white_is_too_little(compression):
    assert refusal(tiff(IMAGE, compression, PACKED, bits=1)) == "insufficient_depth"


def test_tiles_far_larger_than_the_picture_are_refused_by_their_number():
    tile = {"T322": [60_000], "T323": [60_000], "T324": [8], "T325": [len(PACKED)]}
    assert refusal(tiff(IMAGE, 8, PACKED, **tile)) == "too_complex"
