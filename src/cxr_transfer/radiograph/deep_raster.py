"""Samples of more than 8 bits in, grey out: one rule for grey, grey + alpha and colours.

The values in use decide what is black and white (``grey_range.py``). So the same values as grey and
as equal red, green and blue are the same picture. What is transparent is black, and does not count.
Knows no file format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.full_depth import FullDepth, of_raster
from cxr_transfer.radiograph.grey_range import spread
from cxr_transfer.radiograph.radiograph import Grey

Samples = npt.NDArray[Any]

LAID_ON_BLACK = "transparent parts were laid on black"
CMYK = "CMYK was converted to grey"
ALL_TRANSPARENT = (
    "Expected an image, but every pixel is transparent; export it without transparency."
)

_MOST, _OPAQUE = 65_535, 255
_LUMA = (19_595, 38_470, 7_471)  # of 65,536, as Pillow has them; equal colours give themselves
_BAND = 1 << 18  # pixels


@dataclass(frozen=True)
class DeepRaster:
    """A picture of more than 8 bits without its colours.

    Attributes:
        samples: (height, width) unsigned integers of at most 16 bits, as they are stored.
        bits: Bits of a sample, 12 or 16.
        is_white_zero: Whether the lowest value is white.
        opacity: (height, width) 0 to 255; None where all pixels are whole.
        differences: Number of visible pixels, for every value, in which it was the largest of red,
            green and blue, less that in which it was the smallest; None where all were grey.
        warnings: Lines on what was done to it.
    """

    samples: Samples
    bits: int
    is_white_zero: bool
    opacity: npt.NDArray[np.uint8] | None
    differences: npt.NDArray[np.int64] | None
    warnings: tuple[str, ...]


def flattened(
    samples: Samples,
    colours: int = 1,
    *,
    alpha: int | None = None,
    key: Sequence[int] = (),
    bits: int = 16,
    is_white_zero: bool = False,
) -> DeepRaster:
    """Take the colours from a picture, and what says how opaque it is.

    Args:
        samples: (height, width, channels) unsigned integers of at most 16 bits.
        colours: Number of colour channels, which come first: 1 of grey, 3 of red, green and blue, 4
            of inks.
        alpha: Channel that says how opaque a pixel is; None where all are.
        key: Colour that is transparent.
        bits: Bits of a sample, 12 or 16.
        is_white_zero: Whether the lowest grey is white.

    Raises:
        ImageError: ``blank_image`` where every pixel is transparent.
    """
    opacity = _opacity(samples, colours, alpha, key)
    differences = None
    if colours == 1:
        grey = samples[..., 0] if samples.shape[2] == 1 else samples[..., 0].copy()
    else:
        grey, differences = _without_colour(samples, colours, opacity)
    changes = {CMYK: colours == 4, LAID_ON_BLACK: opacity is not None}
    warnings = tuple(text for text, is_done in changes.items() if is_done)
    return DeepRaster(grey, bits, is_white_zero, opacity, differences, warnings)


class GreyRaster(NamedTuple):
    """A picture in grey.

    Attributes:
        pixels: (height, width) float32 in [0, 1], or uint8 of a picture of 8 bits in 16.
        warnings: Lines on what was done to it.
        colour: Amount of colour that was taken away, as `Radiograph.colour`.
        full_depth: All that the file holds of it, where it was asked for.
    """

    pixels: Grey
    warnings: tuple[str, ...]
    colour: float
    full_depth: FullDepth | None = None


def grey_of(raster: DeepRaster, orientation: int, *, full_depth: bool = False) -> GreyRaster:
    """Return the picture upright and in grey.

    Args:
        raster: Picture without its colours.
        orientation: Orientation of the picture as Exif has it, 1 to 8.
        full_depth: Whether all that the file holds of the picture is kept beside it.
    """
    opacity = None if raster.opacity is None else turned(raster.opacity, orientation)
    is_left_out = None if opacity is None else opacity == 0
    samples = turned(raster.samples, orientation)
    pixels, used_range = spread(samples, raster.bits, is_left_out)
    colour = 0.0
    if raster.differences is not None:
        brightness = used_range.brightness(np.arange(len(raster.differences), dtype=np.float64))
        colour = float((raster.differences * brightness).sum()) / pixels.size
    notice = used_range.notice(raster.bits)
    if raster.is_white_zero:
        np.subtract(pixels.dtype.type(255 if pixels.dtype == np.uint8 else 1), pixels, out=pixels)
    if opacity is not None:
        if pixels.dtype == np.uint8:
            pixels = np.divide(pixels, 255, dtype=np.float32)
        for rows in _bands(pixels):
            pixels[rows] *= opacity[rows] / np.float32(_OPAQUE)
    deep = None
    if full_depth:
        ends = used_range.low, used_range.high
        deep = of_raster(
            samples, raster.bits, *ends, inverted=raster.is_white_zero, opacity=opacity
        )
    return GreyRaster(pixels, raster.warnings + ((notice,) if notice else ()), colour, deep)


def turned(picture: Samples, orientation: int) -> Samples:
    """Return a view of a picture (height, width) upright: TIFF 6.0, section 8."""
    if orientation >= 5:
        picture = picture.T
    across = -1 if orientation in (2, 3, 6, 7) else 1
    down = -1 if orientation in (3, 4, 7, 8) else 1
    return picture[::down, ::across]


def _opacity(
    samples: Samples, colours: int, alpha: int | None, key: Sequence[int]
) -> npt.NDArray[np.uint8] | None:
    if alpha is None and not key:
        return None
    opacity = np.empty(samples.shape[:2], np.uint8)
    for rows in _bands(opacity):
        if alpha is not None:
            opacity[rows] = samples[rows, :, alpha] >> 8  # as fine as anybody can see
        else:
            opacity[rows] = np.where((samples[rows, :, :colours] == key).all(axis=2), 0, _OPAQUE)
    if opacity.min() == _OPAQUE:
        return None
    if not opacity.max():
        raise ImageError("blank_image", ALL_TRANSPARENT)
    return opacity


def _without_colour(
    samples: Samples, colours: int, opacity: npt.NDArray[np.uint8] | None
) -> tuple[Samples, npt.NDArray[np.int64] | None]:
    """Return the luminance (height, width), and the differences as of `DeepRaster`."""
    luminance = np.empty(samples.shape[:2], np.uint16)
    differences: npt.NDArray[np.int64] | None = None
    for rows in _bands(luminance):
        red, green, blue = _red_green_blue(samples[rows], colours)
        if np.array_equal(red, green) and np.array_equal(red, blue):
            luminance[rows] = red
            continue
        together = red * np.uint32(_LUMA[0])
        together += green * np.uint32(_LUMA[1])
        together += blue * np.uint32(_LUMA[2])
        luminance[rows] = (together + np.uint32(1 << 15)) >> np.uint32(16)
        most, least = (extreme(extreme(red, green), blue) for extreme in (np.maximum, np.minimum))
        if opacity is not None:
            most, least = most[opacity[rows] > 0], least[opacity[rows] > 0]
        counts = np.bincount(most.ravel(), minlength=_MOST + 1)
        counts -= np.bincount(least.ravel(), minlength=_MOST + 1)
        differences = counts if differences is None else differences + counts
    return luminance, differences


def _red_green_blue(samples: Samples, colours: int) -> Iterator[Samples]:
    """Yield the three channels of some rows."""
    for channel in range(3):
        values = samples[..., channel].astype(np.uint32)
        if colours == 4:  # as Pillow has it: what either ink leaves of the light
            values = (_MOST - values) * (_MOST - samples[..., 3].astype(np.uint32)) // _MOST
        yield values


def _bands(picture: Samples) -> list[slice]:
    height, width = picture.shape
    step = max(1, _BAND // max(1, width))
    return [slice(start, start + step) for start in range(0, height, step)]
