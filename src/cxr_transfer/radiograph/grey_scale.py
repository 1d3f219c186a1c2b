"""Stored values in, grey out: the grey-scale pipeline of DICOM PS3.3, C.11, as one table.

Modality LUT or rescale, then VOI LUT or window, then inversion: each is a function of the stored
value alone, so all of them are computed once for every value that its bits can hold, and the film
is looked up. Knows nothing of files and tags.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph.film import Grey

Values = npt.NDArray[np.float64]
_BLOCK = 1 << 20  # pixels


@dataclass(frozen=True)
class Bits:
    """Where a sample's bits lie: PS3.5, 8.1.1.

    Attributes:
        stored: How many bits a sample has, at most 16.
        high: The highest of them; what lies above and below is overlay or nothing.
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
        """Return the samples' own bits, from 0 on: (height, width) of `samples`."""
        kind = f"u{samples.dtype.itemsize}"
        unsigned = samples.view(np.dtype(kind).newbyteorder(samples.dtype.byteorder))
        shift = self.high + 1 - self.stored
        mask = (1 << self.stored) - 1
        if shift == 0 and mask == np.iinfo(unsigned.dtype).max:
            return unsigned
        return (unsigned >> shift) & mask


@dataclass(frozen=True)
class Table:
    """A look-up table: PS3.3, C.11.1.1 and C.11.2.1.1.

    Attributes:
        first: The value that the first entry stands for; smaller ones have it too.
        entries: What comes out; values beyond the last have the last.
    """

    first: int
    entries: npt.NDArray[np.uint16]

    @property
    def highest(self) -> int:
        """The largest value of its range: all of the bits that its entries use, and at least 8."""
        return (1 << max(8, int(self.entries.max()).bit_length())) - 1

    def __call__(self, values: Values) -> Values:
        """Return the entries for ``values``."""
        index = np.clip(values - self.first, 0, len(self.entries) - 1).astype(np.int64)
        return self.entries[index].astype(np.float64)


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
        centre: Its middle.
        width: Its width; at least 1 for "LINEAR", else above 0.
        function: "LINEAR", "LINEAR_EXACT" or "SIGMOID".
    """

    centre: float
    width: float
    function: str = "LINEAR"

    @property
    def is_possible(self) -> bool:
        """Whether the standard gives it a meaning."""
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


@dataclass(frozen=True)
class GreyScale:
    """How stored values become grey.

    Attributes:
        bits: Where they lie.
        modality: To the values of the device.
        voi: To brightness; None shows the whole range of the bits that are in use.
        inverted: Whether the lowest value is white. Applied last.
        padding: The lowest and highest stored value that is no picture: PS3.3, C.7.5.1.1.2.
    """

    bits: Bits
    modality: Rescale | Table = Rescale()
    voi: Window | Table | None = None
    inverted: bool = False
    padding: tuple[int, int] | None = None

    def apply(self, samples: npt.NDArray[Any]) -> tuple[Grey, bool]:
        """Return the film, and whether fewer bits than announced were in use.

        Args:
            samples: (height, width) integers as stored.

        Returns:
            uint8 where nothing finer comes out, else float32 in [0, 1]; padding is black.

        Raises:
            FilmError: ``bad_grey_scale`` where no finite brightness comes out.
        """
        patterns = self.bits.patterns(samples)
        values = self.bits.values()
        is_padding = np.zeros(values.shape, bool)
        if self.padding:
            is_padding = (values >= self.padding[0]) & (values <= self.padding[1])
        low, high = values.min(), values.max()
        plain = self.voi is None and isinstance(self.modality, Rescale)
        if plain and self.bits.stored > 8:
            low, high = self._range_in_use(patterns, values, is_padding)
        is_narrow = high - low + 1 < len(values)
        with np.errstate(all="ignore"):
            brightness = self._brightness(values, low, high)
        if not np.isfinite(brightness).all():
            raise FilmError(
                "bad_grey_scale",
                "Expected a grey scale with finite values, but its rescale or window gives none; "
                "export the film anew.",
            )
        if self.inverted:
            brightness = 1 - brightness
        brightness[is_padding] = 0
        whole = np.rint(brightness * 255)
        is_whole = self.bits.stored <= 8 and bool(np.allclose(brightness * 255, whole, atol=1e-6))
        table = whole.astype(np.uint8) if is_whole else brightness.astype(np.float32)
        return _looked_up(table, patterns), is_narrow

    def _brightness(self, values: Values, low: float, high: float) -> Values:
        shown = self.modality(values)
        if self.voi is not None:
            shown = self.voi(shown)
            return shown / self.voi.highest if isinstance(self.voi, Table) else shown
        if isinstance(self.modality, Table):
            return shown / self.modality.highest
        dark, bright = sorted(self.modality(np.array([low, high])))
        return np.asarray(np.clip((shown - dark) / (bright - dark), 0, 1))

    def _range_in_use(
        self, patterns: npt.NDArray[Any], values: Values, is_padding: npt.NDArray[np.bool_]
    ) -> tuple[float, float]:
        """Return the range of the bits that the film uses, for many of 12 bits say they have 16.

        By whole bits, and never less than 8: a dark film stays dark. Around zero as far below as
        above, unless the film goes so little below (a filter's overshoot) that black would be grey.
        """
        seen = np.zeros(values.shape, bool)
        for rows in _blocks(patterns):
            seen[patterns[rows]] = True
        present = values[seen & ~is_padding]
        if not len(present):
            return float(values.min()), float(values.max())
        lowest, highest = int(present.min()), int(present.max())
        if lowest >= 0:
            return 0, (1 << max(8, highest.bit_length())) - 1
        below = 1 << (-lowest - 1).bit_length()
        half = max(128, below, 1 << max(0, highest).bit_length())
        low = -below if _OVERSHOOT * below <= half else -half
        return low, max(half - 1, low + 255)


_OVERSHOOT = 8  # times as far above zero as below


def _looked_up(table: Grey, patterns: npt.NDArray[Any]) -> Grey:
    film = np.empty(patterns.shape, table.dtype)
    for rows in _blocks(patterns):
        film[rows] = table[patterns[rows]]
    return film


def _blocks(patterns: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield slices of rows: numpy widens the indices of a look-up to 64 bits."""
    height, width = patterns.shape
    step = max(1, _BLOCK // width)
    return (slice(start, start + step) for start in range(0, height, step))
