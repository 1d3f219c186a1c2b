"""A picture with all that its file holds: every level, and what is said of its grey values.

What a viewer needs and a network does not. Each sample stands for ``slope * sample + intercept`` in
the file's units, after the modality LUT. Knows no file format and no tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.radiograph.grey_range import counted, looked_up
from cxr_transfer.radiograph.grey_scale import (
    GreyScale,
    Logarithm,
    Rescale,
    Table,
    Values,
    Window,
    window_over,
)

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_MOST = 65_535
_BAND = 1 << 21  # pixels


@dataclass(frozen=True)
class Preset:
    """A way to show values, as the file has it.

    Attributes:
        name: Words for it: the file's own explanation, or "".
        voi: Window or VOI LUT, over values in the file's units.
    """

    name: str
    voi: Window | Table


@dataclass(frozen=True)
class PixelSpacing:
    """Distance between the middles of neighbouring pixels.

    Attributes:
        row: Distance between rows, in mm.
        column: Distance between columns, in mm.
        source: DICOM attribute that says so, such as "ImagerPixelSpacing".
        calibration: Pixel Spacing Calibration Type: "GEOMETRY", "FIDUCIAL", or "" without one.
        magnification: Estimated Radiographic Magnification Factor; None where it is unknown.
    """

    row: float
    column: float
    source: str
    calibration: str = ""
    magnification: float | None = None


@dataclass(frozen=True)
class PictureFacts:
    """Facts that a file states of its picture, and none of whom it shows.

    Attributes:
        photometric: Photometric Interpretation, such as "MONOCHROME1"; "" of other files.
        laterality: "L", "R", "B" or "U"; "" where it is not said.
        lossy: Whether it was compressed with a loss; None where nothing is known of that.
        lossy_ratio: Ratio of that compression; None where it is unknown.
        spacing: Distance of pixels; None where it is unknown.
    """

    photometric: str = ""
    laterality: str = ""
    lossy: bool | None = None
    lossy_ratio: float | None = None
    spacing: PixelSpacing | None = None


@dataclass(frozen=True, eq=False)
class FullDepth:
    """A picture with every level that its file holds.

    Attributes:
        samples: (height, width), upright, unsigned. What is no picture (outside a shutter, padding,
            transparent) is the darkest there can be.
        bits: Bits that the file stores of each.
        assessed: Window or VOI LUT over which the picture is made that networks see.
        slope: Units of the file for each step of a sample.
        intercept: Value of the sample 0, in units of the file.
        inverted: Whether low values are bright, once window or VOI LUT are applied.
        lowest: Lowest sample that a pixel of the picture has.
        highest: Highest sample that a pixel of the picture has.
        presets: Windows and VOI LUTs of the file.
        facts: Facts that it states.
    """

    samples: Samples
    bits: int
    assessed: Window | Table
    slope: float = 1.0
    intercept: float = 0.0
    inverted: bool = False
    lowest: int = 0
    highest: int = 255
    presets: Sequence[Preset] = ()
    facts: PictureFacts = PictureFacts()

    def shown(self, voi: Window | Table | None = None) -> npt.NDArray[np.uint8]:
        """Return what a viewer shows, (height, width), by a window or VOI LUT; None as assessed."""
        voi = voi or self.assessed
        values = self.slope * np.arange(int(self.samples.max()) + 1.0) + self.intercept
        values = values.astype(np.float64)
        brightness = voi(values) / (voi.highest if isinstance(voi, Table) else 1)
        brightness = 1 - brightness if self.inverted else brightness
        table = np.rint(255 * brightness).astype(np.uint8)
        return np.asarray(looked_up(table, self.samples))


def of_8_bits(grey: npt.NDArray[np.uint8]) -> FullDepth:
    """Return a picture of 8 bits as it is."""
    return FullDepth(grey, 8, window_over(0, 255), lowest=int(grey.min()), highest=int(grey.max()))


def of_raster(
    samples: npt.NDArray[np.uint16],
    bits: int,
    low: float,
    high: float,
    *,
    inverted: bool,
    opacity: npt.NDArray[np.uint8] | None,
) -> FullDepth:
    """Return a picture of more than 8 bits.

    Args:
        samples: (height, width), upright.
        bits: Bits of a sample.
        low: Sample that is shown black, or white where it is inverted.
        high: Sample that is shown white, or black where it is inverted.
        inverted: Whether the lowest value is white.
        opacity: (height, width) 0 to 255; None where all pixels are whole.
    """
    lowest, highest = int(samples.min()), int(samples.max())
    if opacity is not None:
        visible = samples[opacity > 0]
        lowest, highest = int(visible.min()), int(visible.max())
        black = high if inverted else low
        share = opacity / np.float32(255)
        # What is half transparent over black is half way to black.
        mixed = black + (np.clip(samples, low, high) - np.float32(black)) * share
        whole = opacity == 255
        samples = np.where(whole, samples, np.rint(mixed).astype(np.uint16))
    return FullDepth(
        np.ascontiguousarray(samples),
        bits,
        window_over(low, high),
        inverted=inverted,
        lowest=lowest,
        highest=highest,
    )


def of_grey_scale(
    samples: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    hidden: npt.NDArray[np.bool_] | None,
    scale: GreyScale,
    assessed: Window | Table,
    presets: Sequence[Preset],
    facts: PictureFacts,
) -> FullDepth:
    """Return a picture that a grey scale shows.

    Args:
        samples: (height, width) as stored, upright.
        hidden: (height, width); pixels that are no picture; None where all are.
        scale: Grey scale by which they are shown.
        assessed: Window or VOI LUT that it came to.
        presets: Windows and VOI LUTs of the file.
        facts: Facts that it states.
    """
    kind = np.dtype(f"u{samples.dtype.itemsize}").newbyteorder(samples.dtype.byteorder)
    samples = samples.view(kind)
    stored = scale.bits.values()
    levels, slope, intercept = _levels(scale, stored)
    is_padding = np.zeros(stored.shape, bool)
    if scale.padding:
        is_padding = (stored >= scale.padding[0]) & (stored <= scale.padding[1])
    patterns = scale.bits.patterns(np.arange(1 << 8 * kind.itemsize))
    counts = np.bincount(patterns, counted(samples, len(patterns), hidden), len(stored))
    used = levels[(counts > 0) & ~is_padding]
    black = _darkest(assessed, scale.inverted, levels, slope, intercept)
    levels = np.where(is_padding, black, levels).astype(np.uint8 if levels.max() < 256 else "<u2")
    picture = looked_up(levels[patterns], samples)
    if hidden is not None:
        picture[hidden] = black
    return FullDepth(
        picture,
        scale.bits.stored,
        assessed,
        slope,
        intercept,
        scale.inverted,
        *((int(used.min()), int(used.max())) if used.size else (0, int(levels.max()))),
        presets,
        facts,
    )


def reduced(samples: Samples, scale: int) -> Samples:
    """Return the means of squares of samples; those at the ends have what is left of a picture.

    Args:
        samples: (height, width).
        scale: Side of the squares.

    Returns:
        (height / scale, width / scale), both rounded up.
    """
    if scale == 1:
        return samples
    height, width = samples.shape
    means = np.empty((-(-height // scale), -(-width // scale)), samples.dtype)
    step = max(1, _BAND // (width * scale))  # rows of the result; more would take more memory
    for top in range(0, len(means), step):
        rows = samples[top * scale : (top + step) * scale]
        band = Image.fromarray(rows.astype(np.float32)).reduce(scale)
        means[top : top + step] = np.rint(np.asarray(band))
    return means


def _levels(scale: GreyScale, stored: Values) -> tuple[npt.NDArray[np.int64], float, float]:
    """Return the sample that stands for each stored value, and slope and intercept of samples."""
    first = float(stored.min())
    if isinstance(scale.modality, Rescale):
        rescale = scale.modality
        levels = stored - first
        return levels.astype(np.int64), rescale.slope, rescale.slope * first + rescale.intercept
    values = scale.modality(stored)
    if isinstance(scale.modality, Logarithm):
        low, step = float(values.min()), float(np.ptp(values)) / _MOST
        return np.rint((values - low) / step).astype(np.int64), step, low
    return values.astype(np.int64), 1.0, 0.0


def _darkest(
    voi: Window | Table,
    inverted: bool,
    levels: npt.NDArray[np.int64],
    slope: float,
    intercept: float,
) -> int:
    """Return the sample that is shown darkest: of several, the one that stays so the longest."""
    values = (slope * levels + intercept).astype(np.float64)
    brightness = voi(values) * (-1 if inverted else 1)
    darkest = levels[brightness == brightness.min()]
    return int(darkest.max() if (slope < 0) != inverted else darkest.min())
