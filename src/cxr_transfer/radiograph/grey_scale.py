"""Stored values in, grey out: the grey-scale pipeline of DICOM PS3.3, C.11, as one table.

Modality LUT or rescale, then VOI LUT or window (where there is none, the values in use decide:
``grey_range.py``), then inversion. Each is a function of the stored value alone. So all of them are
computed once for every value that its bits can hold, and the image is looked up. Knows nothing of
files and tags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.grey_range import (
    LEAST_LEVELS,
    as_8_bits,
    counted,
    is_8_bits_in_16,
    looked_up,
    range_in_use,
)
from cxr_transfer.radiograph.radiograph import Grey

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
_EACH = 4  # of the rows and columns that are looked at for a blank picture
_BLANK = 0.02  # standard deviation in [0, 1]: as quality control has it
_LOG_STEP = 0.01  # of a logarithm: a chest spans 2 and more


@dataclass(frozen=True)
class Bits:
    """Place of the bits of a sample: PS3.5, 8.1.1.

    Attributes:
        stored: Number of bits of a sample, at most 16.
        high: Highest of them; what lies above and below is overlay or nothing.
        signed: Whether they are in two's complement.
    """

    stored: int
    high: int
    signed: bool

    def values(self) -> Values:
        """Return what each of the 2 ** stored bit patterns means."""
        values = np.arange(1 << self.stored, dtype=np.float64)
        if self.signed:
            values[len(values) // 2 :] -= len(values)
        return values

    def patterns(self, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the own bits of unsigned samples, from 0 on."""
        return (samples >> self.high + 1 - self.stored) & (1 << self.stored) - 1


@dataclass(frozen=True)
class Table:
    """A look-up table: PS3.3, C.11.1.1 and C.11.2.1.1.

    Attributes:
        first: Value that the first entry stands for; smaller ones have it too.
        entries: Results, in the order of the values; values beyond the last have the last.
        missing: Number of entries that were described and are not there.
    """

    first: int
    entries: npt.NDArray[np.uint16]
    missing: int = 0

    @property
    def highest(self) -> int:
        """The largest value of its range: all of the bits that its entries use, and at least 8."""
        return (1 << max(8, int(self.entries.max()).bit_length())) - 1

    def __call__(self, values: Values) -> Values:
        """Return the entries for ``values``."""
        index = np.clip(values - self.first, 0, len(self.entries) - 1).astype(np.int64)
        return self.entries[index].astype(np.float64)

    def missing_of(self, values: Values, counts: Counts) -> int:
        """Return how many of the missing entries stand for values that pixels have.

        Args:
            values: Values that would be looked up.
            counts: Number of pixels that have each of them.
        """
        used = np.unique(np.floor(values[counts > 0]))
        end = self.first + len(self.entries)
        return int(((used >= end) & (used < end + self.missing)).sum())


@dataclass(frozen=True)
class Rescale:
    """The linear modality LUT: PS3.3, C.11.1.1.2."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, values: Values) -> Values:
        """Return ``slope * values + intercept``."""
        return self.slope * values + self.intercept


@dataclass(frozen=True)
class Window:
    """A window of values that are shown from black to white: PS3.3, C.11.2.1.2 and C.11.2.1.3.

    Attributes:
        centre: Middle of the window.
        width: Width of the window; at least 1 for "LINEAR", else above 0.
        function: Function: "LINEAR", "LINEAR_EXACT" or "SIGMOID".
    """

    centre: float
    width: float
    function: str = "LINEAR"

    @property
    def is_possible(self) -> bool:
        """Whether the standard gives the window a meaning."""
        least = self.width >= 1 if self.function == "LINEAR" else self.width > 0
        return least and math.isfinite(self.centre) and math.isfinite(self.width)

    def __call__(self, values: Values) -> Values:
        """Return the shown brightness of ``values``, in [0, 1]."""
        if self.function == "SIGMOID":  # C.11.2.1.3.1
            steepness = np.clip(-4 * (values - self.centre) / self.width, -700, 700)
            return np.asarray(1 / (1 + np.exp(steepness)))
        if self.function == "LINEAR_EXACT":  # C.11.2.1.3.2
            return np.clip((values - self.centre) / self.width + 0.5, 0, 1)
        if self.width == 1:  # C.11.2.1.2.1: nothing lies between black and white
            return (values > self.centre - 0.5).astype(np.float64)
        return np.clip((values - (self.centre - 0.5)) / (self.width - 1) + 0.5, 0, 1)


def window_over(low: float, high: float) -> Window:
    """Return the window that shows ``low`` black and ``high`` white.

    >>> window_over(0, 255)
    Window(centre=128.0, width=256.0, function='LINEAR')
    """
    return Window((low + high + 1) / 2, float(high - low + 1))


@dataclass(frozen=True)
class Logarithm:
    """The negative logarithm: from what a detector counted to what stopped the rays.

    For pixels that are linear to the X-ray intensity (PS3.3, C.8.11.3.1.2, "LIN").
    """

    def __call__(self, values: Values) -> Values:
        """Return ``-log(values)``; what is less than 1 counts as 1."""
        return -np.log(np.maximum(values, 1.0))


class Shown(NamedTuple):
    """An image as its grey scale shows it.

    Attributes:
        pixels: (height, width): uint8 where nothing finer comes out, else float32 in [0, 1]; what
            is hidden, and padding, is black.
        notices: Lines on how its values were shown.
        voi: What decided over that; of a range in use, the window over it.
    """

    pixels: Grey
    notices: tuple[str, ...]
    voi: Window | Table


@dataclass(frozen=True)
class GreyScale:
    """Steps by which stored values become grey.

    Attributes:
        bits: Place of the stored values' bits.
        modality: Step to the values of the device.
        voi: Step to brightness; None shows the range of values in use (`range_in_use`).
        inverted: Whether the lowest value is white. Applied last.
        padding: Lowest and highest stored value that is no picture: PS3.3, C.7.5.1.1.2.
    """

    bits: Bits
    modality: Rescale | Table | Logarithm = Rescale()
    voi: Window | Table | None = None
    inverted: bool = False
    padding: tuple[int, int] | None = None

    def apply(
        self, samples: npt.NDArray[Any], hidden: npt.NDArray[np.bool_] | None = None
    ) -> Shown:
        """Show an image.

        Args:
            samples: (height, width) integers as stored.
            hidden: (height, width); pixels that are no picture.

        Raises:
            ImageError: ``bad_grey_scale`` where no finite brightness comes out, or a modality table
                lacks what pixels need.
        """
        kind = np.dtype(f"u{samples.dtype.itemsize}")
        samples = samples.view(kind.newbyteorder(samples.dtype.byteorder))
        # Of all samples that there can be: a picture's own are not copied to be masked.
        patterns = self.bits.patterns(np.arange(1 << 8 * kind.itemsize))
        values = self.bits.values()
        is_padding = np.zeros(values.shape, bool)
        if self.padding:
            is_padding = (values >= self.padding[0]) & (values <= self.padding[1])
        counts: Counts | None = None
        needs_counts = self.voi is None or isinstance(self.modality, Table)
        if needs_counts or isinstance(self.voi, Table):
            pixel_counts = counted(samples, len(patterns), hidden)
            counts = np.bincount(patterns, pixel_counts, len(values)).astype(np.int64)
            counts[is_padding] = 0
        is_8_bits = counts is not None and self._shows_8_bits(counts)
        with np.errstate(all="ignore"):
            brightness, voi, notices = (
                (as_8_bits(values) / 255, window_over(0, values[-1]), ())
                if is_8_bits
                else self._brightness(values, counts)
            )
        if not np.isfinite(brightness).all():
            raise _bad_scale("its rescale or window gives none that is finite")
        if self.inverted:
            brightness = 1 - brightness
        brightness[is_padding] = 0
        whole = np.rint(brightness * 255)
        is_shallow = self.bits.stored <= 8 or is_8_bits
        is_whole = is_shallow and bool(np.allclose(brightness * 255, whole, atol=1e-6))
        table = whole.astype(np.uint8) if is_whole else brightness.astype(np.float32)
        radiograph = looked_up(table[patterns], samples)
        if hidden is not None:
            radiograph[hidden] = 0
        if self.voi is not None and _shows_nothing(
            radiograph, self.bits.patterns(_thinned(samples))
        ):
            shown = replace(self, voi=None).apply(samples, hidden)
            notice = "its window or VOI LUT shows next to nothing, and was left out"
            return shown._replace(notices=(notice, *shown.notices))
        return Shown(radiograph, notices, voi)

    def _shows_8_bits(self, counts: Counts) -> bool:
        """Tell whether nothing but a picture of 8 bits in 16 is to be shown."""
        is_plain = self.voi is None and self.modality == Rescale() and self.padding is None
        return is_plain and not self.bits.signed and is_8_bits_in_16(counts)

    def _brightness(
        self, values: Values, counts: Counts | None
    ) -> tuple[Values, Window | Table, tuple[str, ...]]:
        """Return what each value is shown as, by what, and notices of it."""
        notices: list[str] = []
        if isinstance(self.modality, Table) and counts is not None:
            missing = self.modality.missing_of(values, counts)
            if missing:
                raise _bad_scale(f"its modality LUT lacks {missing} entries that pixels need")
            if self.modality.missing:
                notices.append(
                    "its modality LUT is shorter than described; no pixel needs the rest"
                )
        shown = self.modality(values)
        voi = self.voi
        if isinstance(voi, Table) and counts is not None and voi.missing:
            lacking = voi.missing_of(shown, counts)
            notices.append(
                "its VOI LUT is shorter than described"
                + (", and was left out" if lacking else "; no pixel needs the rest")
            )
            voi = None if lacking else voi
        if isinstance(voi, Table):
            return voi(shown) / voi.highest, voi, tuple(notices)
        if voi is not None:
            return voi(shown), voi, tuple(notices)
        low, high = self._range_in_use(shown, counts, notices)
        brightness = np.clip((shown - low) / (high - low), 0, 1)
        return brightness, window_over(low, high), tuple(notices)

    def _range_in_use(
        self, shown: Values, counts: Counts | None, notices: list[str]
    ) -> tuple[float, float]:
        """Return the values that are black and white where nothing says it."""
        if not np.isfinite(shown).all():
            return math.nan, math.nan
        if not np.ptp(shown):
            raise _bad_scale("its rescale gives all of them the same")
        if self.bits.stored <= 8 and not isinstance(self.modality, Logarithm):
            # Of 8 bits somebody has chosen already what they show.
            if isinstance(self.modality, Table):
                return 0.0, float(self.modality.highest)
            return float(shown.min()), float(shown.max())
        if counts is None:
            counts = np.ones(len(shown), np.int64)
        order = np.argsort(shown, kind="stable")
        steps = {Rescale: getattr(self.modality, "slope", 1.0), Logarithm: _LOG_STEP}
        step = abs(steps.get(type(self.modality), 1.0))
        used_range = range_in_use(shown[order], counts[order], step=step)
        container = (float(shown.min()), float(shown.max()))
        if isinstance(self.modality, Table):
            container = (0.0, float(self.modality.highest))
        notice = used_range.notice(self.bits.stored, container)
        if notice and not isinstance(self.modality, Logarithm):
            notices.append(notice)
        return used_range.low, used_range.high


def _thinned(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return picture[::_EACH, ::_EACH]


def _shows_nothing(radiograph: Grey, stored: npt.NDArray[Any]) -> bool:
    """Tell whether a window leaves a blank picture of stored values, thinned, that are none."""
    sample = _thinned(radiograph)
    whole = 255 if radiograph.dtype == np.uint8 else 1
    if float(sample.std(dtype=np.float64)) >= _BLANK * whole:
        return False
    return len(np.unique(stored)) >= LEAST_LEVELS


def _bad_scale(reason: str) -> ImageError:
    return ImageError(
        "bad_grey_scale",
        f"Expected a grey scale that gives every pixel a brightness, but {reason}; export the "
        "image anew.",
    )
