"""Headers of a JPEG 2000 codestream: what they announce is counted before it is decoded."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.jpeg_2000_structure import read_jpeg_2000
from made import full
from made_bombs import box, codestream

IMAGE = full()


def written(**options):
    out = io.BytesIO()
    Image.fromarray(IMAGE).save(out, "JPEG2000", irreversible=False, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        written(no_jp2=True),
        written(),
        written(no_jp2=True, tile_size=(64, 64)),
        written(no_jp2=True, quality_layers=[20, 10, 0]),
        written(no_jp2=True, precinct_size=(64, 64), codeblock_size=(32, 32)),
        imagecodecs.htj2k_encode(IMAGE),
    ],
)
def test_a_codestream_is_found_whole(content):
    found = read_jpeg_2000(content)
    assert (found.rows, found.columns, found.components) == (*IMAGE.shape, 1)
    assert (found.bits, found.is_signed) == (8, False)
    assert found.is_ended
    assert np.array_equal(imagecodecs.jpeg2k_decode(found.pixels), IMAGE)


@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_a_missing_end_marker_is_all_that_may_be_missing(tile):
    whole = written(no_jp2=True, **({"tile_size": tile} if tile else {}))
    for cut in (whole[:-2], whole[:-2] + b"\0\0"):
        found = read_jpeg_2000(cut)
        assert not found.is_ended
        assert np.array_equal(imagecodecs.jpeg2k_decode(found.pixels), IMAGE)
    for cut in (whole[:-3], whole[: len(whole) // 2], whole[: len(whole) // 2] + b"\xff\xd9"):
        with pytest.raises(ValueError, match="truncated"):
            read_jpeg_2000(cut)


def test_only_its_own_box_holds_the_codestream():
    start = b"\0\0\0\x0cjP  \r\n\x87\n"
    decoy, real = codestream(10, 10), codestream(300, 200)
    found = read_jpeg_2000(start + box(b"free", decoy) + box(b"jp2c", real))
    assert (found.rows, found.columns) == (200, 300)
    long = struct.pack(">L4sQ", 1, b"jp2c", 16 + len(real)) + real
    assert read_jpeg_2000(start + long).columns == 300
    assert read_jpeg_2000(start + box(b"free", decoy)) is None
    assert read_jpeg_2000(b"\xff\xd8\xff") is None
    with pytest.raises(ImageError) as error:
        read_jpeg_2000(start + box(b"free", b"") * 2000)
    assert error.value.code == "too_complex"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tile": (16, 16)}, "tiles"),
        ({"block": (0, 0)}, "code-blocks"),
        ({"precincts": b"\x11" * 6}, "precincts"),
        ({"layers": 60_000, "precincts": b"\x88" * 6}, "packets"),
    ],
)
def test_what_would_fill_memory_is_refused_by_its_number(options, named):
    assert read_jpeg_2000(codestream(7000, 7000)).columns == 7000
    with pytest.raises(ImageError, match=named) as error:
        read_jpeg_2000(codestream(7000, 7000, **options))
    assert error.value.code == "too_complex"


def test_parameters_of_a_tile_are_counted_too():
    plain = codestream(7000, 7000)
    coding = plain[plain.index(b"\xff\x52") : plain.index(b"\xff\x5c")]
    hidden = coding[:-5] + b"\x05\0\0\0\1"  # code-blocks of 4 x 4
    assert len(hidden) == len(coding)
    part = plain.index(b"\xff\x93")
    with pytest.raises(ImageError, match="code-blocks"):
        read_jpeg_2000(plain[:part] + hidden + plain[part:])


def test_what_makes_no_sense_is_damage():
    for broken in (
        codestream(7000, 7000)[:50],
        codestream(0, 0),
        codestream(700, 700, tile=(0, 0)),
        codestream(700, 700, levels=33),
        codestream(700, 700).replace(b"\xff\x5c", b"\0\0"),
    ):
        with pytest.raises((ValueError, struct.error)):
            read_jpeg_2000(broken)


def test_terms_of_one_component_stand_behind_a_number_of_one_byte():
    large, out = np.tile(IMAGE, (15, 14)), io.BytesIO()
    Image.fromarray(large).save(out, "JPEG2000", no_jp2=True, tile_size=(32, 32))
    whole = out.getvalue()
    at = whole.index(b"\xff\x52")
    own = b"\xff\x53\0\x09\0\0" + whole[at + 9 : at + 14]
    found = read_jpeg_2000(whole[: at + 14] + own + whole[at + 14 :])
    assert np.array_equal(imagecodecs.jpeg2k_decode(found.pixels), large)
