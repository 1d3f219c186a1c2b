"""Every bad file of the table gets its code; every good one comes out as what a reader sees."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode, png_structure, read_radiograph
from cxr_transfer.radiograph.radiograph import MAX_BYTES
from made import encoded, full
from watchdog import seconds

IMAGE = full()
EXACT = IMAGE.astype(np.float32) / np.float32(255)
PNG = encoded(IMAGE)
JPEG = encoded(IMAGE, "JPEG", quality=90)
PROGRESSIVE = encoded(IMAGE, "JPEG", quality=90, progressive=True)


def chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(width, height, *chunks, bits=8, colour=0):
    """A PNG of any header and any further chunks."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return png_structure.SIGNATURE + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(radiograph, bits=8, photometric=1):
    """An uncompressed grey TIFF; 12 bits are packed as the standard has them."""
    height, width = radiograph.shape
    if bits == 12:
        first, second = radiograph.ravel()[::2].astype(int), radiograph.ravel()[1::2].astype(int)
        packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
        pixels = packed.astype(np.uint8).tobytes()
    else:
        pixels = radiograph.astype(f"<u{bits // 8}").tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    tags |= {278: height, 279: len(pixels)}
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory + bytes(4)


def animation(kind):
    return encoded(
        IMAGE, kind, save_all=True, append_images=[Image.fromarray(255 - IMAGE)], duration=100
    )


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]


IDAT = PNG.index(b"IDAT")
ZEROS = zlib.compress(bytes(1000))
REFUSED = {
    "no bytes": (b"", "empty_file"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "truncated_image"),
    "half a progressive JPEG": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "truncated_image"),
    "half a JPEG and an end marker": (JPEG[: len(JPEG) // 2] + b"\xff\xd9", "truncated_image"),
    "half a progressive JPEG and an end marker": (
        PROGRESSIVE[: len(PROGRESSIVE) // 2] + b"\xff\xd9",
        "truncated_image",
    ),
    "half a PNG": (PNG[: len(PNG) // 2], "truncated_image"),
    "PNG with a damaged header": (flipped(PNG, 20), "corrupt_image"),
    "PNG with damaged pixels": (flipped(PNG, IDAT + 500), "corrupt_image"),
    "PNG with damaged last pixels": (flipped(PNG, len(PNG) - 40), "corrupt_image"),
    "PNG with a wrong checksum": (flipped(PNG, len(PNG) - 14), "corrupt_image"),
    "PNG signature alone": (PNG[:8], "unsupported_format"),
    "text": (b"not an image\n" * 50, "unsupported_format"),
    "HTML": (b"<!doctype html><title>404</title>", "unsupported_format"),
    "PDF": (b"%PDF-1.7\n1 0 obj\n", "unsupported_format"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n", "unsupported_format"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported_format"),
    "zip": (b"PK\x03\x04" + bytes(60), "unsupported_format"),
    "still GIF": (encoded(IMAGE, "GIF"), "unsupported_format"),
    "still WebP": (encoded(IMAGE, "WEBP"), "unsupported_format"),
    "BMP": (encoded(IMAGE, "BMP"), "unsupported_format"),
    "floating-point TIFF": (encoded(EXACT, "TIFF"), "unsupported_format"),
    "1-bit PNG": (encoded(Image.fromarray(IMAGE).convert("1")), "insufficient_depth"),
    "1-bit TIFF": (encoded(Image.fromarray(IMAGE).convert("1"), "TIFF"), "insufficient_depth"),
    "nothing but transparency": (
        encoded(np.dstack([IMAGE, IMAGE, IMAGE, IMAGE * 0])),
        "blank_image",
    ),
    "animated GIF": (animation("GIF"), "multi_frame"),
    "animated PNG": (animation("PNG"), "multi_frame"),
    "animated WebP": (animation("WEBP"), "multi_frame"),
    "TIFF of two pages": (animation("TIFF"), "multi_frame"),
    "JPEG of two pictures": (animation("MPO"), "multi_frame"),
    "one pixel": (encoded(IMAGE[:1, :1]), "too_small"),
    "127 rows": (encoded(IMAGE[:127]), "too_small"),
    "127 columns": (encoded(IMAGE[:, :127]), "too_small"),
    "10 x 2000": (encoded(np.zeros((2000, 10), np.uint8)), "bad_aspect"),
    "2000 x 10": (encoded(np.zeros((10, 2000), np.uint8)), "bad_aspect"),
    "30000 x 30000": (png(30_000, 30_000, chunk(b"IDAT", ZEROS)), "too_many_pixels"),
    "12000 x 12000": (png(12_000, 12_000, chunk(b"IDAT", ZEROS)), "too_many_pixels"),
    "8000 x 8000": (png(8_000, 8_000, chunk(b"IDAT", ZEROS)), "too_many_pixels"),
}


def refusal(path):
    with seconds(20), pytest.raises(ImageError) as error:
        read_radiograph(path)
    message = error.value.message
    assert "\n" not in message
    assert "Doe" not in message, "an image's name may be a patient's"
    return error.value.code


@pytest.mark.parametrize(("content", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_file_is_refused_by_its_code_and_never_by_its_name(tmp_path, content, code):
    path = tmp_path / "Doe, Jane 1970.jpg"
    path.write_bytes(content)
    assert refusal(path) == code


@pytest.mark.parametrize("whole", [JPEG, PROGRESSIVE, PNG], ids=["JPEG", "progressive", "PNG"])
def test_a_file_cut_off_anywhere_in_its_pixels_is_never_an_image(whole):
    start = whole.index(b"IDAT" if whole is PNG else b"\xff\xda")
    for end in range(start + 20, len(whole) - 20, 101):
        with pytest.raises(ImageError) as error:
            decode(whole[:end])
        assert error.value.code == "truncated_image", end


def test_a_changed_bit_anywhere_in_a_png_is_found():
    for position in range(8, len(PNG) - 12, 37):
        with pytest.raises(ImageError) as error:
            decode(flipped(PNG, position))
        assert error.value.code in ("corrupt_image", "truncated_image"), position


def test_a_whole_jpeg_with_a_mid_grey_corner_is_an_image():
    corner = IMAGE.copy()
    corner[-40:, -40:] = 128
    for options in ({}, {"progressive": True}):
        whole = encoded(corner, "JPEG", quality=95, **options)
        assert decode(whole).pixels[-1, -1] == np.float32(128 / 255)
        assert decode(whole + b"a camera's own trailer").warnings == ()


# What cannot be opened as a file


def test_what_is_no_regular_file_is_refused_without_hanging(tmp_path):
    os.mkfifo(tmp_path / "Doe.jpg")
    (tmp_path / "Doe.png").symlink_to("/dev/zero")
    (tmp_path / "Doe").mkdir()
    for name in ("Doe.jpg", "Doe.png", "Doe"):
        assert refusal(tmp_path / name) == "not_a_file"


def test_what_is_not_there_is_missing(tmp_path):
    (tmp_path / "Doe.jpg").symlink_to(tmp_path / "nowhere")
    assert refusal(tmp_path / "Doe.jpg") == "missing_file"
    assert refusal(tmp_path / "Doe.png") == "missing_file"


@pytest.mark.parametrize("name", ["Doe.jpg/below", "Doe" * 100 + ".jpg", "Doe\0.jpg", "Doe\ud800"])
def test_a_name_that_the_system_refuses_is_unreadable(tmp_path, name):
    (tmp_path / "Doe.jpg").write_bytes(JPEG)
    assert refusal(tmp_path / name) == "unreadable"


def test_a_file_that_the_system_does_not_give_is_unreadable():
    assert refusal(Path("/proc/self/mem")) == "unreadable"


@pytest.mark.parametrize(
    "name", ["Röntgen 胸.jpg", "two\nlines.jpg", "CON.jpg", "=cmd().jpg", "-rf.jpg", "..jpg", "x"]
)
def test_an_odd_name_does_not_matter(tmp_path, name):
    (tmp_path / name).write_bytes(JPEG)
    assert read_radiograph(tmp_path / name).digest() == decode(JPEG).digest()


def test_too_many_bytes_are_not_read(tmp_path):
    with (tmp_path / "Doe.png").open("wb") as handle:
        handle.truncate(MAX_BYTES + 1)  # takes no room on the disk
    assert refusal(tmp_path / "Doe.png") == "too_many_bytes"


def test_a_file_that_says_less_than_it_holds_is_not_read_on():
    assert Path("/proc/self/smaps").stat().st_size == 0
    assert refusal(Path("/proc/self/smaps")) == "unreadable"


# Bombs


def bombs():
    text = zlib.compress(bytes(150_000_000), 1)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in IMAGE)))
    size = IMAGE.shape[::-1]
    return {
        "pixels": (png(30_000, 30_000, chunk(b"IDAT", text)), "too_many_pixels"),
        "zTXt": (png(*size, chunk(b"zTXt", b"a\0\0" + text), pixels), "corrupt_image"),
        "zTXt behind": (png(*size, pixels, chunk(b"zTXt", b"a\0\0" + text)), "corrupt_image"),
        "iTXt": (png(*size, chunk(b"iTXt", b"a\0\1\0\0\0" + text), pixels), "corrupt_image"),
        "iCCP": (png(*size, chunk(b"iCCP", b"a\0\0" + text), pixels), "corrupt_image"),
    }


def test_bombs_are_refused_in_bounded_memory(tmp_path):
    """The child may have 50 MB more than it needs to start; any of the bombs unfolds to more."""
    expected = bombs()
    for name, (content, _) in expected.items():
        (tmp_path / name).write_bytes(content)
    script = (
        "import pathlib, resource, sys\n"
        "from cxr_transfer.errors import ImageError\n"
        "from cxr_transfer.radiograph import read_radiograph\n"
        "read_radiograph(pathlib.Path(sys.argv[1]) / 'image')\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 50_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n"
        "        read_radiograph(pathlib.Path(sys.argv[1]) / name)\n"
        "    except ImageError as error:\n"
        "        print(name, error.code, sep=': ')\n"
    )
    (tmp_path / "image").write_bytes(PNG)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *expected], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{name}: {code}" for name, (_, code) in expected.items()]


# Good images


@pytest.mark.parametrize(
    "content", [PNG, encoded(IMAGE, "TIFF"), encoded(IMAGE, "TIFF", compression="tiff_lzw")]
)
def test_grey_values_come_out_as_stored(content):
    radiograph = decode(content)
    assert radiograph.pixels.dtype == np.float32
    assert np.array_equal(radiograph.pixels, EXACT)
    assert (radiograph.height, radiograph.width) == IMAGE.shape
    assert radiograph.warnings == ()


@pytest.mark.parametrize(
    ("name", "warned"),
    [("a.jpg", 1), ("a.JPEG", 1), ("a.tif", 1), ("a.png", 0), ("a.PNG", 0), ("a", 0), ("a.x", 0)],
)
def test_content_decides_and_a_wrong_suffix_is_warned_of(tmp_path, name, warned):
    (tmp_path / name).write_bytes(PNG)
    radiograph = read_radiograph(tmp_path / name)
    assert radiograph.format == "PNG"
    assert radiograph.digest() == decode(PNG).digest()
    assert len(radiograph.warnings) == warned


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(kind, orientation, turns):
    exif = Image.Exif()
    exif[274] = orientation
    plain, turned = decode(encoded(IMAGE, kind)), decode(encoded(IMAGE, kind, exif=exif))
    assert np.array_equal(turned.pixels, np.rot90(plain.pixels, turns))
    assert turned.warnings == (("turned as its EXIF orientation says",) if turns else ())


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_equal_their_8_bit_copy(kind):
    deep = IMAGE.astype(np.uint16) * 256 + np.random.default_rng(1).integers(0, 256, IMAGE.shape)
    radiograph = decode(encoded(deep.astype(np.uint16), kind))
    assert np.abs(radiograph.pixels - EXACT).max() < 1 / 255
    assert len(np.unique(radiograph.pixels)) > 10_000, "the low byte is lost"
    assert np.array_equal(decode(encoded(IMAGE.astype(np.uint16) * 257, kind)).stored, IMAGE)


def test_8_bits_stored_deeper_tell_of_a_stretch_that_can_be_seen():
    for low, high, is_told in ((0, 255, False), (2, 252, False), (0, 210, True), (30, 255, True)):
        radiograph = low + np.rint(IMAGE * ((high - low) / 255)).astype(np.uint16)
        for kind in ("PNG", "TIFF"):
            copy = decode(encoded(radiograph * 257, kind))
            assert np.array_equal(copy.stored, radiograph), "8 bits in 16 are those 8 bits"
            assert copy.warnings == decode(encoded(radiograph.astype(np.uint8), kind)).warnings
            warnings = decode(
                encoded(radiograph * 257 - (radiograph == radiograph.max()), kind)
            ).warnings
            assert any("scaled over the values in use" in text for text in warnings) == is_told


def test_every_depth_and_polarity_of_a_tiff_gives_one_image():
    versions = {
        (8, 0): tiff(255 - IMAGE, photometric=0),
        (16, 1): tiff(IMAGE * np.uint16(257), bits=16),
        (16, 0): tiff(65535 - IMAGE * np.uint16(257), bits=16, photometric=0),
        (12, 1): tiff(np.rint(IMAGE * (4095 / 255)).astype(np.uint16), bits=12),
    }
    for version, content in versions.items():
        radiograph = decode(content)
        assert np.abs(radiograph.pixels - EXACT).max() < 2e-4, version
        assert 0 <= radiograph.pixels.min() < radiograph.pixels.max() <= 1


def test_cmyk_is_converted_with_a_warning():
    radiograph = decode(encoded(Image.fromarray(IMAGE).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(radiograph.pixels - EXACT).mean() < 0.01
    assert radiograph.warnings == ("CMYK was converted to grey",)


def test_ycck_is_converted_like_cmyk():
    """Y is what is left of the paper's white, without colour; Adobe and Pillow store inverted."""
    neutral = Image.fromarray(np.full_like(IMAGE, 127))
    planes = [Image.fromarray(IMAGE), neutral, neutral, Image.fromarray(IMAGE * 0)]
    stored = encoded(Image.merge("CMYK", planes), "JPEG", quality=95)
    assert stored[6:11] == b"Adobe"
    radiograph = decode(stored[:17] + b"\2" + stored[18:])  # the marker's transform: YCCK
    assert np.abs(radiograph.pixels - EXACT).mean() < 0.01
    assert radiograph.warnings == ("CMYK was converted to grey",)


def test_a_palette_is_applied():
    image = Image.fromarray(255 - IMAGE, mode="L").convert("P")
    image.putpalette([255 - index for index in range(256) for _ in range(3)])
    assert np.array_equal(decode(encoded(image)).pixels, EXACT)


def test_colour_is_made_full():
    assert np.array_equal(decode(encoded(Image.fromarray(IMAGE).convert("RGB"))).pixels, EXACT)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_parts_are_black(mode):
    alpha = np.full_like(IMAGE, 255)
    alpha[:, :50] = 0
    image = Image.fromarray(IMAGE).convert(mode)
    assert decode(encoded(image)).warnings == ()
    assert np.array_equal(decode(encoded(image)).pixels, EXACT)
    image.putalpha(Image.fromarray(alpha))
    radiograph = decode(encoded(image))
    assert np.array_equal(radiograph.pixels, np.where(alpha, EXACT, 0))
    assert radiograph.warnings == ("transparent parts were laid on black",)


KEY = int(IMAGE[70, 70])


@pytest.mark.parametrize(
    ("mode", "key"), [("L", KEY), ("RGB", (KEY,) * 3), ("P", KEY)], ids=["L", "RGB", "P"]
)
def test_a_transparent_colour_is_black(mode, key):
    image = Image.fromarray(IMAGE)
    if mode == "P":
        image = Image.frombytes("P", image.size, IMAGE.tobytes())
        image.putpalette([index for index in range(256) for _ in range(3)])
    radiograph = decode(encoded(image.convert(mode), transparency=key))
    assert np.array_equal(radiograph.pixels, np.where(IMAGE == KEY, 0, EXACT))
    assert radiograph.warnings == ("transparent parts were laid on black",)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_colour_is_measured_before_it_is_taken_away(kind):
    assert decode(encoded(IMAGE, kind)).colour == 0
    assert decode(encoded(Image.fromarray(IMAGE).convert("RGB"), kind)).colour == 0
    tinted = np.dstack([IMAGE, IMAGE // 2, IMAGE])
    expected = (IMAGE - IMAGE // 2).mean() / 255
    assert decode(encoded(tinted, kind)).colour == pytest.approx(expected, abs=0.02)


def test_colour_of_a_palette_is_measured():
    image = Image.fromarray(IMAGE, mode="L").convert("P")
    image.putpalette([value for index in range(256) for value in (index, 0, 0)])
    assert decode(encoded(image)).colour == pytest.approx(IMAGE.mean() / 255, abs=1e-3)


def test_a_jpeg_with_restart_markers_is_whole_only_with_all_of_them():
    whole = encoded(IMAGE, "JPEG", quality=90, restart_marker_rows=1)
    assert np.array_equal(decode(whole).stored, decode(encoded(IMAGE, "JPEG", quality=90)).stored)
    first, second = whole.index(b"\xff\xd0"), whole.index(b"\xff\xd1")
    swapped = bytearray(whole)
    swapped[first + 1], swapped[second + 1] = 0xD1, 0xD0
    for damaged in (whole[:first] + whole[second:], bytes(swapped)):
        with pytest.raises(ImageError) as error:
            decode(damaged)
        assert error.value.code == "corrupt_image"


@pytest.mark.parametrize("marker", [b"\xff\x02", b"\xff\xd3", b"\xff\xd8"])
def test_a_marker_inside_the_pixels_of_a_jpeg_is_found(marker):
    scan = JPEG.index(b"\xff\xda") + 200
    with pytest.raises(ImageError) as error:
        decode(JPEG[:scan] + marker + JPEG[scan + 2 :])
    assert error.value.code == "corrupt_image"


@pytest.mark.parametrize(
    ("kind", "named"),
    [("GIF", "a GIF"), ("WEBP", "a WebP"), ("BMP", "a BMP"), ("JPEG2000", "a JPEG 2000")],
)
def test_a_format_that_is_not_read_is_named_with_a_remedy(kind, named):
    with pytest.raises(ImageError, match=f"{named}.*PNG"):
        decode(encoded(IMAGE, kind))


def test_a_digest_is_of_what_is_seen():
    assert decode(PNG).digest() == decode(encoded(IMAGE, "TIFF")).digest()
    assert decode(PNG).digest() != decode(encoded(IMAGE[::-1])).digest()
    reshaped = IMAGE.reshape(IMAGE.shape[::-1])  # the same values in the same order
    assert decode(PNG).digest() != decode(encoded(reshaped)).digest()


# Whatever the bytes


def exif_jpeg():
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    return encoded(IMAGE, "JPEG", exif=exif)


SEEDS = [
    *(JPEG, PROGRESSIVE, PNG, exif_jpeg(), animation("PNG"), tiff(IMAGE)),
    *(encoded(Image.fromarray(IMAGE).convert(mode)) for mode in ("P", "LA", "RGBA")),
    *(encoded(IMAGE, "TIFF", compression=how) for how in ("tiff_lzw", "tiff_deflate", "jpeg")),
]


def mutations(kind):
    """Some bytes of a real file changed, most of them in its header, and its end cut off."""
    position = st.integers(0, 400) | st.integers(0, len(kind) - 1)
    changes = st.lists(st.tuples(position, st.integers(0, 255)), max_size=12)
    end = st.just(len(kind)) | st.integers(0, len(kind))
    return st.tuples(st.just(kind), changes, end)


def check_any(content):
    try:
        radiograph = decode(content)
    except ImageError:
        return
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.pixels.ndim == 2
    assert radiograph.pixels.min() >= 0
    assert radiograph.pixels.max() <= 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # as `raster` sets it; pytest takes that back
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SEEDS).flatmap(mutations))
def test_a_mutated_file_is_an_image_or_refused(mutation):
    content, changes, end = mutation
    mutated = bytearray(content)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    mutated = bytes(mutated[:end])
    if mutated.startswith(png_structure.SIGNATURE):  # else its checksums would say it all
        mutated = mend(mutated)
    check_any(mutated)


def mend(content):
    """Give every chunk of a PNG the checksum that its content has."""
    mended, start = bytearray(content), 8
    while start + 12 <= len(mended):
        end = start + 8 + int.from_bytes(mended[start : start + 4])
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[start + 4 : end]))
        start = end + 4
    return bytes(mended[: len(content)])


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", png_structure.SIGNATURE, b"II*\0"]),
)
@example(b"", b"\xff\xd8\xff")
def test_random_bytes_are_an_image_or_refused(content, signature):
    check_any(signature + content)
