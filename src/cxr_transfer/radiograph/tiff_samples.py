"""The samples of those TIFFs that Pillow refuses, or of which it gives no more than 8 bits.

More than 8 bits, signed, or grey and alpha in separate planes: strips and tiles are put together
here. And in words, what a TIFF is that nobody reads. Source: TIFF 6.0, sections 8, 16 to 19 and 23.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import tiff_structure as tags
from cxr_transfer.radiograph.deep_raster import DeepRaster, flattened
from cxr_transfer.radiograph.tiff_pixels import Layout, layout_of, pieces_of
from cxr_transfer.radiograph.tiff_structure import Tiff

Samples = npt.NDArray[Any]

_WHITE_ZERO, _BLACK_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_ZERO: 1, _BLACK_ZERO: 1, _RGB: 3, _CMYK: 4}
_NAMES = {4: "a mask", 8: "CIE Lab colours", 9: "CIE Lab colours", 10: "CIE Lab colours"}
_NAMES |= {32803: "a camera's raw values", 34892: "a camera's raw values"}
_NAMES |= {32844: "floating-point luminance", 32845: "floating-point colours"}
_SIGNED, _FLOAT, _COMPLEX = 2, 3, (5, 6)
_STRAIGHT = 2  # alpha that the colours were not multiplied by
_ROWS_OF_12 = 1 << 18  # bytes


def check_kind(tiff: Tiff) -> None:
    """Refuse a TIFF whose samples are of a kind that nothing here decodes.

    Raises:
        ImageError: ``unsupported_format``.
    """
    photometric, bits = tiff.first(tags.PHOTOMETRIC, _BLACK_ZERO), max(tiff.bits)
    sample_format = tiff.first(tags.SAMPLE_FORMAT, 1)
    if photometric not in (*_COLOURS, _PALETTE, _YCBCR):
        raise _unread(_NAMES.get(photometric, f"photometric interpretation {photometric}"))
    if sample_format == _FLOAT:
        raise ImageError(
            "unsupported_format",
            "Expected integer grey values, but got floating-point pixels; export the image with 16 "
            "bits.",
        )
    if sample_format in _COMPLEX:
        raise _unread("complex numbers")
    if not is_read_here(tiff):
        return
    colours, channels = _COLOURS.get(photometric, 0), tiff.first(tags.SAMPLES, 1)
    if len(set(tiff.bits)) != 1 or bits not in (8, 12, 16, 32):
        depths = sorted(set(tiff.bits))
        raise _unread(
            f"samples of {depths[0]} to {depths[-1]} bits"
            if len(depths) > 2
            else f"samples of {' and '.join(map(str, depths))} bits"
        )
    if not 0 < colours <= channels:
        raise _unread(f"{channels} channels of {bits} bits in a palette or in YCbCr")
    if channels > 1 and (bits in (12, 32) or sample_format == _SIGNED):
        sign = "signed " if sample_format == _SIGNED else ""
        raise _unread(f"{channels} {sign}channels of {bits} bits")


def _unread(kind: str) -> ImageError:
    return ImageError(
        "unsupported_format",
        f"Expected grey or RGB samples of 8 or 16 bits in a TIFF, but got {kind}; save the image "
        "as PNG, or take the original.",
    )


def is_read_here(tiff: Tiff) -> bool:
    """Tell whether Pillow refuses these samples, or halves their bits."""
    is_planar = tiff.first(tags.PLANAR, 1) == tags.SEPARATE and tiff.first(tags.SAMPLES, 1) == 2
    return max(tiff.bits) > 8 or tiff.first(tags.SAMPLE_FORMAT, 1) == _SIGNED or is_planar


def read_samples(content: bytes, tiff: Tiff) -> DeepRaster | Image.Image:
    """Return the picture of a TIFF that `is_read_here`: deep, or as Pillow holds 8 bits.

    Args:
        content: The file.
        tiff: Structure of the file, which `check_kind` has judged.

    Raises:
        ImageError: ``unsupported_format``, ``insufficient_depth``, ``too_complex``.
        Exception: Whatever damaged bytes lead to.
    """
    samples = _put_together(content, tiff)
    photometric = tiff.first(tags.PHOTOMETRIC, _BLACK_ZERO)
    colours, extra = _COLOURS[photometric], tiff.numbers.get(tags.EXTRA_SAMPLES, ())
    has_alpha = samples.shape[2] > colours and extra[:1] == (_STRAIGHT,)
    if tiff.bits[0] == 8:
        return _of_8_bits(samples, photometric == _WHITE_ZERO, has_alpha)
    return flattened(
        _from_zero(samples),
        colours,
        alpha=colours if has_alpha else None,
        bits=12 if tiff.bits[0] == 12 else 16,
        is_white_zero=photometric == _WHITE_ZERO,
    )


def _of_8_bits(samples: Samples, is_white_zero: bool, has_alpha: bool) -> Image.Image:
    grey = samples[..., 0]
    if samples.dtype == np.int8:
        grey = grey.view(np.uint8) ^ np.uint8(128)
    if is_white_zero:
        grey = ~grey
    image = Image.fromarray(np.ascontiguousarray(grey))
    if has_alpha:
        image.putalpha(Image.fromarray(np.ascontiguousarray(samples[..., 1])))
    return image


def _put_together(content: bytes, tiff: Tiff) -> Samples:
    """Return the samples as stored, (height, width, channels)."""
    layout = layout_of(tiff)
    across = -(-tiff.width // layout.width)
    down = -(-tiff.height // layout.heights[0])
    sign = "i" if tiff.first(tags.SAMPLE_FORMAT, 1) == _SIGNED else "u"
    size = 2 if layout.bits == 12 else layout.bits // 8
    stored = np.dtype(f"{tiff.order}{sign}{size}")
    channels = tiff.first(tags.SAMPLES, 1)
    picture = np.empty((tiff.height, tiff.width, channels), stored.newbyteorder("="))
    for index, piece in enumerate(pieces_of(content, tiff, layout)):
        plane, place = divmod(index, across * down)
        top, left = place // across * layout.heights[0], place % across * layout.width
        block = _block(piece, layout, stored)
        room = picture[top : top + len(block), left : left + layout.width, plane:]
        room[..., : layout.samples] = block[: room.shape[0], : room.shape[1]]
    return picture


def _block(piece: bytes | bytearray, layout: Layout, stored: np.dtype[Any]) -> Samples:
    """Return the samples of a piece, (rows, columns, samples)."""
    if layout.bits != 12:
        return np.frombuffer(piece, stored).reshape(-1, layout.width, layout.samples)
    rows = np.frombuffer(piece, np.uint8).reshape(-1, layout.row)
    number = layout.width * layout.samples
    block = np.empty((len(rows), number + number % 2), np.uint16)
    step = max(1, _ROWS_OF_12 // layout.row)
    for start in range(0, len(rows), step):
        # Two samples take three bytes; each row begins with a byte of its own.
        packed = rows[start : start + step]
        part = np.zeros((len(packed), layout.row + -layout.row % 3), np.uint16)
        part[:, : layout.row] = packed
        block[start : start + step, ::2] = part[:, ::3] << 4 | part[:, 1::3] >> 4
        block[start : start + step, 1::2] = (part[:, 1::3] & 15) << 8 | part[:, 2::3]
    return block[:, :number].reshape(len(rows), layout.width, layout.samples)


def _from_zero(samples: Samples) -> Samples:
    """Return integers from 0 to 65535, where they have no larger range; may write into them.

    Raises:
        ImageError: ``unsupported_format``.
    """
    if samples.dtype == np.uint16:
        return samples
    low = min(0, int(samples.min()))
    if int(samples.max()) - low > 65535:
        raise ImageError(
            "unsupported_format",
            "Expected 16-bit grey values, but got larger ones; export the image with 16 bits.",
        )
    # Unsigned integers wrap around: no wider type is needed.
    unsigned = samples.view(f"u{samples.dtype.itemsize}")
    np.subtract(unsigned, unsigned.dtype.type(low % (1 << 8 * samples.itemsize)), out=unsigned)
    return unsigned.astype(np.uint16, copy=False)
