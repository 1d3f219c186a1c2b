"""PNGs of 16 bits in colour and with alpha: both of their bytes, and the same as grey."""

import struct
import zlib

import numpy as np
import pytest

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.png_structure import SIGNATURE
from made import encoded, full
from made_bombs import chunk

IMAGE = full()
DEEP = IMAGE.astype(np.uint16) * 257

ADAM7 = [
    (slice(0, None, 8), slice(0, None, 8)),
    (slice(0, None, 8), slice(4, None, 8)),
    (slice(4, None, 8), slice(0, None, 4)),
    (slice(0, None, 4), slice(2, None, 4)),
    (slice(2, None, 4), slice(0, None, 2)),
    (slice(0, None, 2), slice(1, None, 2)),
    (slice(1, None, 2), slice(0, None, 1)),
]  # PNG, 8.2


def deep(values, colour, *chunks, interlaced=False):
    """A PNG of 16 bits a channel, as Pillow cannot write it."""
    height, width = values.shape
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    stacked = np.repeat(values[..., None], channels, axis=2)
    if colour in (4, 6):
        stacked[..., -1] = 65_535
    passes = [stacked[down, across] for down, across in ADAM7] if interlaced else [stacked]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in passes for row in part)
    header = struct.pack(">LLBBBBB", width, height, 16, colour, 0, 0, interlaced)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"".join((SIGNATURE, chunk(b"IHDR", header), *chunks, pixels, chunk(b"IEND", b"")))


@pytest.mark.parametrize("colour", [2, 4, 6])
@pytest.mark.parametrize("values", [DEEP, DEEP >> 1, DEEP >> 4, DEEP // 3 + 30_000, DEEP // 5 * 3])
def test_colours_of_16_bits_are_as_grey(values, colour):
    image, grey = decode(deep(values, colour)), decode(encoded(values))
    assert np.array_equal(image.stored, grey.stored)
    assert image.warnings == grey.warnings
    assert bool(image.warnings) == (values is not DEEP)
    assert np.abs(image.pixels - IMAGE / 255).max() < 1e-3


@pytest.mark.parametrize("colour", [0, 2])
def test_a_transparent_colour_of_16_bits_is_black(colour):
    values = np.minimum(DEEP, 60_000)
    values[:, :50] = 65_535
    key = chunk(b"tRNS", struct.pack(">H", 65_535) * (3 if colour else 1))
    image = decode(deep(values, colour, key))
    assert not image.pixels[:, :50].any()
    assert image.pixels[:, 50:].max() == 1
    assert image.warnings[0] == "transparent parts were laid on black"


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_deep_colours_that_end_early_are_cut_short(colour, capfd):
    whole = deep(DEEP, colour)
    for end in range(60, len(whole) - 20, 997):
        with pytest.raises(ImageError) as error:
            decode(whole[:end])
        assert error.value.code == "truncated_image", end
    assert np.array_equal(decode(whole[:-12]).stored, decode(whole).stored)
    at = whole.index(b"IDAT")
    for place in range(at + 4, len(whole) - 20, 997):
        body = bytearray(whole[at + 4 : -16])
        body[place - at - 4] ^= 0x10
        with pytest.raises(ImageError) as error:
            decode(whole[: at - 4] + chunk(b"IDAT", bytes(body)) + whole[-12:])
        assert error.value.code in ("corrupt_image", "truncated_image")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_interlaced_rows_are_put_in_order(colour):
    found = decode(deep(DEEP, colour, interlaced=True))
    assert np.array_equal(found.stored, decode(encoded(DEEP)).stored)


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_a_second_header_is_damage_before_memory_is_set_aside(colour):
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", 30_000, 30_000, 16, colour, 0, 0, 0))
    with pytest.raises(ImageError) as error:
        decode(deep(DEEP, colour, header))
    assert error.value.code == "corrupt_image"


def changed(content, name, change):
    """The PNG with another body in its chunk of that name, and a right checksum."""
    start = content.index(name) - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    return content[:start] + chunk(name, change(content[start + 8 : end - 4])) + content[end:]


def with_another_checksum(body):
    return body[:-1] + bytes([body[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        (b"IHDR", lambda body: body[:10] + b"\x01" + body[11:], "corrupt_image"),
        (b"IHDR", lambda body: body[:11] + b"\x02" + body[12:], "corrupt_image"),
        (b"IHDR", lambda body: body[:12] + b"\x07", "corrupt_image"),
        (b"IDAT", with_another_checksum, "corrupt_image"),
        (b"IDAT", lambda body: body + b"more", "corrupt_image"),
        (b"IDAT", lambda body: body[: len(body) // 2], "truncated_image"),
        (b"IDAT", lambda body: zlib.compress(zlib.decompress(body)[:-9]), "truncated_image"),
        (b"IDAT", lambda body: zlib.compress(zlib.decompress(body) + bytes(99)), "corrupt_image"),
    ],
    ids=["compression", "filter", "interlace", "sum", "behind", "half", "short", "long"],
)
@pytest.mark.parametrize("interlaced", [False, True])
def test_damage_is_refused_and_no_library_says_a_word(name, change, code, interlaced, capfd):
    whole = deep(DEEP >> 1, 2, interlaced=interlaced)
    assert changed(whole, name, lambda body: body) == whole
    with pytest.raises(ImageError) as error:
        decode(changed(whole, name, change))
    assert error.value.code == code
    assert capfd.readouterr() == ("", "")
