"""TIFFs that Pillow refuses, or of which it gives half of the bits: one picture in every form."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.tiff_structure import read_tiff
from made import encoded, full

IMAGE = full()
DEEP = IMAGE.astype(np.uint16) * 257
WHOLE = np.full_like(DEEP, 65_535)

PLAIN, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
PACKERS = {
    PLAIN: bytes,
    LZW: imagecodecs.lzw_encode,
    DEFLATE: zlib.compress,
    PACKBITS: imagecodecs.packbits_encode,
}


def tiff(samples, *, order="<", big=False, compression=PLAIN, tile=0, planar=1, rows=50, **fields):
    """A TIFF of samples (height, width, channels) in any form."""
    samples = samples if samples.ndim == 3 else samples[..., None]
    height, width, channels = samples.shape
    kind = samples.dtype.newbyteorder(order)
    planes = np.split(samples, channels, axis=2) if planar == 2 else [samples]
    pieces = []
    for plane in planes:
        for top in range(0, height, tile or rows):
            for left in range(0, width, tile or width):
                part = plane[top : top + (tile or rows), left : left + (tile or width)]
                if tile:
                    room = ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0))
                    part = np.pad(part, room)
                pieces.append(PACKERS[compression](part.astype(kind).tobytes()))
    start = 16 if big else 8
    places = [start + sum(map(len, pieces[:index])) for index in range(len(pieces))]
    numbers = {256: [width], 257: [height], 258: [8 * kind.itemsize] * channels}
    numbers |= {259: [compression], 262: [1], 277: [channels], 284: [planar]}
    own = (324, 325) if tile else (273, 279)
    numbers |= {own[0]: places, own[1]: [len(piece) for piece in pieces]}
    numbers |= {322: [tile], 323: [tile]} if tile else {278: [rows]}
    numbers |= {339: [{"u": 1, "i": 2, "f": 3, "c": 6}[kind.kind]] * channels}
    numbers |= {int(tag[1:]): value for tag, value in fields.items() if value is not None}
    return start_of(order, big, pieces) + directory(numbers, order, big, start, pieces)


def start_of(order, big, pieces):
    place = (16 if big else 8) + sum(map(len, pieces))
    mark = b"II" if order == "<" else b"MM"
    if big:
        head = mark + struct.pack(f"{order}HHHQ", 43, 8, 0, place)
    else:
        head = mark + struct.pack(f"{order}HL", 42, place)
    return head + b"".join(pieces)


def directory(numbers, order, big, start, pieces):
    count, entry, room = ("Q", "HHQ", 8) if big else ("H", "HHL", 4)
    numbers = {tag: value for tag, value in numbers.items() if value}
    place = start + sum(map(len, pieces)) + struct.calcsize(f"={count}") + room
    place += len(numbers) * (struct.calcsize(f"={entry}") + room)
    values, entries = b"", struct.pack(f"{order}{count}", len(numbers))
    for tag in sorted(numbers):
        value = struct.pack(f"{order}{len(numbers[tag])}L", *numbers[tag])
        entries += struct.pack(f"{order}{entry}", tag, 4, len(numbers[tag]))
        if len(value) > room:
            entries += struct.pack(f"{order}{'Q' if big else 'L'}", place + len(values))
            values += value
        else:
            entries += value.ljust(room, b"\0")
    return entries + bytes(room) + values


FORMS = {
    "white is zero": (65_535 - DEEP, {"T262": [0]}),
    "signed": ((DEEP.astype(int) - 32_768).astype(np.int16), {}),
    "signed, white is zero": ((32_767 - DEEP.astype(int)).astype(np.int16), {"T262": [0]}),
    "32 bits": (DEEP.astype(np.uint32), {}),
    "32 bits, signed": (DEEP.astype(np.int32) - 70_000, {}),
    "grey and alpha": (np.dstack([DEEP, WHOLE]), {"T338": [2]}),
    "grey and another channel": (np.dstack([DEEP, WHOLE // 3]), {"T338": [0]}),
    "grey and another channel, unsaid": (np.dstack([DEEP, WHOLE // 3]), {}),
    "colours": (np.dstack([DEEP] * 3), {"T262": [2]}),
    "colours and alpha": (np.dstack([DEEP] * 3 + [WHOLE]), {"T262": [2], "T338": [2]}),
    "inks": (np.dstack([0 * DEEP] * 3 + [65_535 - DEEP]), {"T262": [5]}),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("samples", "fields"), FORMS.values(), ids=FORMS.keys())
def test_one_picture_in_every_form(samples, fields, order):
    for compression in PACKERS:
        for options in ({}, {"tile": 64}, {"big": True}, {"big": True, "tile": 64}):
            content = tiff(samples, order=order, compression=compression, **options, **fields)
            image = decode(content)
            assert np.abs(image.pixels - IMAGE / 255).max() < 2e-4, (compression, options)
            assert not any("scaled" in text for text in image.warnings)


@pytest.mark.parametrize("order", ["<", ">"])
def test_differences_of_32_bits_are_summed(order):
    samples = DEEP.astype(np.uint32)
    differences = np.diff(samples.astype(int), axis=1, prepend=0).astype(np.uint32)
    content = tiff(differences, order=order, compression=DEFLATE, T317=[2])
    assert np.array_equal(decode(content).stored, decode(tiff(samples)).stored)


@pytest.mark.parametrize("photometric", [0, 1])
def test_8_bits_that_are_signed_are_the_picture(photometric):
    seen = IMAGE if photometric else 255 - IMAGE
    for compression in PACKERS:
        signed = (seen.astype(int) - 128).astype(np.int8)
        image = decode(tiff(signed, compression=compression, T262=[photometric]))
        assert np.array_equal(image.stored, IMAGE)
        assert image.warnings == ()


def test_grey_and_alpha_may_stand_apart():
    for samples, whole in ((IMAGE, 255), (DEEP, 65_535)):
        opacity = np.full_like(samples, whole)
        for compression in PACKERS:
            form = {"planar": 2, "compression": compression, "T338": [2]}
            image = decode(tiff(np.dstack([samples, opacity]), **form))
            assert np.abs(image.pixels - IMAGE / 255).max() < 1e-6
            assert image.warnings == ()
        opacity[:, :50] = 0
        image = decode(tiff(np.dstack([samples, opacity]), **form))
        assert not image.stored[:, :50].any()
        assert image.warnings[0] == "transparent parts were laid on black"


def test_lengths_of_strips_that_are_not_compressed_are_not_needed():
    content = tiff(DEEP, T279=[])
    assert 279 not in read_tiff(content).numbers
    assert np.array_equal(decode(content).stored, decode(encoded(DEEP, "TIFF")).stored)


def test_twelve_bits_in_rows_of_odd_length():
    image = IMAGE[:, :147]
    values = np.pad(np.rint(image * (4095 / 255)).astype(int), ((0, 0), (0, 1)))
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    packed = packed.reshape(132, -1)[:, : -(-147 * 12 // 8)].astype(np.uint8)
    for compression in PACKERS:
        content = tiff(packed, compression=compression, T256=[147], T258=[12])
        assert np.abs(decode(content).pixels - image / 255).max() < 2e-4


def test_a_strip_that_ends_early_is_cut_short():
    for compression in (PLAIN, DEFLATE):
        content = tiff(DEEP, compression=compression, rows=200)
        place = read_tiff(content).pieces[0].start
        assert read_tiff(content).height == 132
        short = tiff(DEEP[:100], compression=compression, rows=200, T257=[132])
        assert place == 8
        with pytest.raises(ImageError) as error:
            decode(short[: 8 + 100 * 148 * 2] if compression == PLAIN else short)
        assert error.value.code in ("truncated_image", "corrupt_image")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (tiff(IMAGE / np.float16(255)), "floating-point"),
        (tiff(IMAGE / np.float32(255)), "floating-point"),
        (tiff(IMAGE / np.float32(255), compression=DEFLATE, T317=[3]), "floating-point"),
        (tiff(IMAGE / 255), "floating-point"),
        (tiff(IMAGE.astype(np.complex64)), "complex numbers"),
        (tiff(np.dstack([IMAGE] * 3), T262=[8]), "CIE Lab"),
        (tiff(np.dstack([DEEP] * 3), T262=[8]), "CIE Lab"),
        (tiff(IMAGE, T262=[32803]), "raw values"),
        (tiff(IMAGE, T262=[77]), "interpretation 77"),
        (tiff(DEEP.astype(np.uint64)), "64 bits"),
        (tiff(DEEP, T258=[14]), "14 bits"),
        (tiff(np.dstack([DEEP] * 3), T258=[8, 16, 9], T262=[2]), "samples of 8 to 16 bits"),
        (tiff(DEEP, T262=[3]), "palette"),
        (tiff(np.dstack([DEEP.astype(np.int16)] * 3), T262=[2]), "3 signed channels"),
        (tiff(np.dstack([DEEP.astype(np.uint32)] * 3), T262=[2]), "3 channels of 32 bits"),
        (tiff(DEEP.astype(np.uint32) * 60_000), "larger ones"),
        (tiff(np.dstack([DEEP] * 3), planar=2, T262=[2]), "separate planes"),
    ],
)
def test_what_is_not_read_is_named(content, named):
    with pytest.raises(ImageError, match=named) as error:
        decode(content)
    assert error.value.code == "unsupported_format"
    assert "damaged" not in error.value.message
