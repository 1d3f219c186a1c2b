"""Segments and scans of a JPEG: what pixels are made of is kept, the rest is never parsed."""

import io

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.jpeg_structure import MOST_SCANS, read_jpeg
from made import encoded, full
from made_bombs import jpeg, scans

FILM = full()
PLAIN = encoded(FILM, "JPEG", quality=90)


def code_of(content):
    try:
        return "read" if decode(content).height == 132 else "other"
    except FilmError as error:
        return error.code


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_pixels_are_those_of_the_whole_file():
    exif = Image.Exif()
    exif[271] = "maker"
    for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}, {"optimize": True}):
        content = encoded(FILM, "JPEG", exif=exif, comment=b"a comment", **options) + b"trailer"
        found = read_jpeg(content)
        assert (found.height, found.width) == FILM.shape
        assert np.array_equal(pixels(found.pixels), pixels(content))
        for secret in (b"maker", b"a comment", b"trailer"):
            assert secret not in found.pixels
    cmyk = encoded(Image.fromarray(FILM).convert("CMYK"), "JPEG")
    assert b"Adobe" in read_jpeg(cmyk).pixels, "it says how colours are stored"
    assert np.array_equal(pixels(read_jpeg(cmyk).pixels), pixels(cmyk))


@pytest.mark.parametrize("colour", [False, True])
def test_a_missing_end_marker_is_all_that_may_be_missing(colour):
    film = np.dstack([FILM] * 3) if colour else FILM
    whole = encoded(film, "JPEG", quality=90)
    assert whole.endswith(b"\xff\xd9")
    assert read_jpeg(whole).is_ended
    for cut in (whole[:-2], whole[:-1]):
        assert not read_jpeg(cut).is_ended
        film = decode(cut)
        assert film.digest() == decode(whole).digest()
        assert film.warnings == ("the end marker of its JPEG is missing; its pixels are whole",)
    for end in range(whole.index(b"\xff\xda") + 20, len(whole) - 4, 97):
        with pytest.raises(FilmError) as error:
            decode(whole[:end])
        assert error.value.code == "truncated_image"


def test_a_preview_is_passed_over_and_a_second_picture_is_not():
    preview = Image.fromarray(FILM).resize((90, 80))
    content = encoded(FILM, "MPO", save_all=True, quality=90, append_images=[preview])
    assert read_jpeg(content).others == ((90, 80),)
    film = decode(content)
    assert film.digest() == decode(PLAIN).digest()
    assert film.format == "JPEG"
    assert film.warnings == ("a smaller copy of the picture in the same file was passed over",)
    for second in (Image.fromarray(255 - FILM), preview.resize((148, 90))):
        content = encoded(FILM, "MPO", save_all=True, append_images=[second])
        with pytest.raises(FilmError) as error:
            decode(content)
        assert error.value.code == "multi_frame"


def test_an_index_of_pictures_that_lies_is_no_error():
    content = encoded(FILM, "MPO", save_all=True, append_images=[Image.fromarray(FILM[::2, ::2])])
    place, codes = content.index(b"MPF\0") + 4, set()
    for at in range(place, place + 60):
        for value in (0, 0xFF):
            codes.add(code_of(content[:at] + bytes([value]) + content[at + 1 :]))
    assert codes == {"read"}


def test_scans_are_counted():
    few = scans(20)
    assert decode(few).stored.shape == (4000, 4000)
    with pytest.raises(FilmError, match=f"at most {MOST_SCANS} scans") as error:
        decode(scans(MOST_SCANS))
    assert error.value.code == "too_complex"


def test_a_thousand_comments_are_no_reason_to_refuse():
    assert decode(jpeg(b"\xff\xfe\0\x06text", 1000)).digest() == decode(PLAIN).digest()


@pytest.mark.parametrize("marker", [0xC4, 0xDB, 0xDA, 0xC0, 0xF5])
def test_tables_behind_the_last_scan_are_damage(marker):
    content = PLAIN[:-2] + bytes([0xFF, marker, 0, 4, 1, 1]) + PLAIN[-2:]
    with pytest.raises(FilmError) as error:
        decode(content)
    assert error.value.code == "corrupt_image"
