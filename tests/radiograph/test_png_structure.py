"""Chunks of a PNG: counted, checked, and asked for what a picture needs."""

import struct

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.png_structure import MOST_CHUNKS, SIGNATURE, read_png
from made import encoded, full
from made_bombs import chunk, png

FILM = full()


def deep(values, colour):
    """A PNG of 16 bits a channel, as Pillow cannot write it."""
    import zlib

    height, width = values.shape
    channels = {2: 3, 4: 2, 6: 4}[colour]
    stacked = np.repeat(values[..., None], channels, axis=2)
    if colour in (4, 6):
        stacked[..., -1] = 65_535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in stacked)
    header = struct.pack(">LLBBBBB", width, height, 16, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return SIGNATURE + body


def test_header_and_orientation_are_read():
    exif = Image.Exif()
    exif[274] = 6
    found = read_png(encoded(FILM, exif=exif))
    assert (found.height, found.width, found.orientation) == (*FILM.shape, 6)
    assert not found.is_deep_colour
    assert not read_png(encoded(FILM.astype(np.uint16))).is_deep_colour


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_16_bit_colours_are_read_where_they_fill_their_bits(colour):
    film = decode(deep(FILM.astype(np.uint16) * 257, colour))
    assert np.array_equal(film.stored, FILM)
    for bits in (12, 14):
        few = np.rint(FILM * (((1 << bits) - 1) / 255)).astype(np.uint16)
        with pytest.raises(FilmError, match="16 bits") as error:
            decode(deep(few, colour))
        assert error.value.code == "insufficient_depth"


def test_many_chunks_are_no_reason_to_refuse_and_very_many_are():
    assert np.array_equal(decode(png(b"tIME", 1000)).stored, FILM)
    with pytest.raises(FilmError, match=f"at most {MOST_CHUNKS} chunks") as error:
        decode(png(b"tIME", MOST_CHUNKS))
    assert error.value.code == "too_complex"
