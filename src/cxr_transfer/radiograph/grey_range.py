"""Which values are shown from black to white where nothing in a file says it.

A file of more than 8 bits need not fill them: 12 bits stand in containers of 16, an offset lies
under all values, a marker is four times as bright as anything else. So that a picture looks the
same however it was stored, the values in use decide, at both ends, by one rule for every format.
Files of 8 bits are taken as they are: somebody has already chosen what they show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Values = npt.NDArray[np.float64]

TAIL = 0.01
"""Share of the pixels at either end that does not decide what is usual."""
FENCE = 0.5
"""How far beyond the usual values others may lie, in widths of the usual range, before they are
marks on the picture: of 600 real images 97 % lose nothing by it."""
LEAST_LEVELS = 64
"""Levels that the range has at least: what varies less is blank, and must not be made to look like
a picture."""
UNTOLD = 0.02
"""Share of a picture's range by which grey values may move without a word: five levels of 256."""


@dataclass(frozen=True)
class Range:
    """The values that are shown from black to white.

    Attributes:
        low: Value that is shown black, as are all below.
        high: Value that is shown white, as are all above.
        outside: Share of the pixels that lie beyond it.
    """

    low: float
    high: float
    outside: float

    def brightness(self, values: Values) -> Values:
        """Return the brightness of ``values``, in [0, 1]."""
        return np.asarray(np.clip((values - self.low) / (self.high - self.low), 0, 1))

    def notice(self, bits: int, container: tuple[float, float] | None = None) -> str:
        """Return what to tell of the choice; "" where the values fill their bits.

        Args:
            bits: Bits of a stored value.
            container: Lowest and highest value that the file can hold; None for 0 and
                2 ** ``bits`` - 1.
        """
        first, last = container or (0.0, float((1 << bits) - 1))
        # No grey value moves by more than those at the ends, which become black and white.
        moved = max(self.low - first, last - self.high) / (last - first)
        if moved <= UNTOLD and not self.outside:
            return ""
        beyond = (
            "" if not self.outside else f"; {100 * self.outside:.2g} % of the pixels lie beyond"
        )
        return (
            f"nothing says which of the {bits} bits are shown: scaled over the values in use, "
            f"{self.low:g} to {self.high:g}{beyond}"
        )


def range_in_use(values: Values, counts: npt.NDArray[np.int64], *, step: float = 1.0) -> Range:
    """Return the range that a picture's values use.

    First what stands apart is left out: values on the other side of a gap that is wider than all
    that the other values span. Then the ends are the most extreme values within a fence around the
    percentiles 1 and 99. The whiskers of a box plot are drawn so (Tukey 1977, Exploratory Data
    Analysis, section 2C).

    Args:
        values: Different values, in rising order, finite.
        counts: Number of pixels that have each of them.
        step: Difference between two neighbouring values that the file can hold.

    >>> marked = np.append(np.arange(4096.0), 16383.0)
    >>> range_in_use(marked, np.append(np.full(4096, 500), 16))  # doctest: +ELLIPSIS
    Range(low=0.0, high=4095.0, outside=7.812438965...e-06)
    """
    is_used = counts > 0
    values, counts = values[is_used], counts[is_used]
    total = int(counts.sum())
    if not total:
        return Range(0.0, LEAST_LEVELS * step, 0.0)
    values, counts = _without_what_stands_apart(values, counts)
    below = np.cumsum(counts)
    kept = int(below[-1])
    usual_low = values[np.searchsorted(below, TAIL * kept, side="right")]
    usual_high = values[np.searchsorted(below, (1 - TAIL) * kept)]
    fence = FENCE * (usual_high - usual_low)
    is_inside = (values >= usual_low - fence) & (values <= usual_high + fence)
    low, high = float(values[is_inside][0]), float(values[is_inside][-1])
    outside = (total - int(counts[is_inside].sum())) / total
    return Range(low, max(high, low + (LEAST_LEVELS - 1) * step), outside)


def _without_what_stands_apart(
    values: Values, counts: npt.NDArray[np.int64]
) -> tuple[Values, npt.NDArray[np.int64]]:
    """Drop marks and padding, at most at both ends, that a wide gap separates from the picture."""
    for _ in range(2):
        if len(values) < 3:
            break
        gaps = np.diff(values)
        at = int(gaps.argmax()) + 1
        # The picture is the side of more different values: a flat border may have more pixels.
        keep = slice(at, None) if len(values) - at > at else slice(None, at)
        if gaps[at - 1] <= values[keep][-1] - values[keep][0]:
            break
        values, counts = values[keep], counts[keep]
    return values, counts


def spread(
    samples: npt.NDArray[Any], bits: int, is_left_out: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.uint8] | npt.NDArray[np.float32], Range]:
    """Return a picture as brightness over the values that it uses, and which those are.

    Args:
        samples: (height, width) integers, from 0 on, below 2 ** ``bits``.
        bits: Bits of a sample.
        is_left_out: (height, width); pixels that do not count.

    Returns:
        (height, width) float32 in [0, 1], or uint8 of a picture of 8 bits in 16; and the range.
    """
    values = np.arange(1 << bits, dtype=np.float64)
    counts = counted(samples, len(values), is_left_out)
    if is_8_bits_in_16(counts):
        return looked_up(as_8_bits(np.arange(len(counts))), samples), Range(0, values[-1], 0)
    used_range = range_in_use(values, counts)
    table = used_range.brightness(values).astype(np.float32)
    return looked_up(table, samples), used_range


def notice_of_8_bits(pixels: npt.NDArray[Any]) -> str:
    """Return what to tell of a picture that uses few of its 256 levels; "" where it uses many.

    Its contrast stays as somebody chose it, and may be too little to judge by.

    Args:
        pixels: (height, width); of more than 8 bits there is nothing to tell here.
    """
    if pixels.dtype != np.uint8:
        return ""
    levels = 0
    # Every fourth row and column tell as much of most pictures, in a sixteenth of the time.
    for part in (np.ascontiguousarray(pixels[::4, ::4]), pixels):
        # Pillow counts bytes a hundred times as fast as numpy.
        counts = np.array(Image.fromarray(part).histogram(), np.int64)
        used_range = range_in_use(np.arange(256, dtype=np.float64), counts)
        levels = int(np.count_nonzero(counts))
        if used_range.high - used_range.low + 1 >= 128 and levels >= LEAST_LEVELS:
            return ""
    return f"only {levels} of 256 grey levels are in use; contrast was left as it is"


_FROM_8_TO_16 = 257
"""Factor by which 8 bits are multiplied to fill 16: 255 times it is 65,535."""


def is_8_bits_in_16(counts: npt.NDArray[np.int64]) -> bool:
    """Tell a picture of 8 bits that was stored in 16, as every tool does it: times 257.

    It is shown as the 8 bits that it is, so that the copy is the very picture.

    Args:
        counts: Number of pixels that have each of the values from 0 on.
    """
    if len(counts) != 1 << 16:
        return False
    others = counts.copy()
    others[::_FROM_8_TO_16] = 0
    return not others.any()


def as_8_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the levels of 8 bits that values of 16 bits are multiples of."""
    return (values // _FROM_8_TO_16).astype(np.uint8)


_BLOCK = 1 << 20  # pixels


def row_blocks(height: int, width: int) -> list[slice]:
    """Return the rows of a picture in blocks of about a million pixels."""
    # numpy widens what it counts, and the indices of a look-up, to 64 bits.
    step = max(1, _BLOCK // max(1, width))
    return [slice(start, start + step) for start in range(0, height, step)]


def counted(
    samples: npt.NDArray[Any], number: int, is_left_out: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """Return how many pixels have each of the values 0 to ``number`` - 1.

    Args:
        samples: (height, width) integers in that range.
        number: Number of values.
        is_left_out: (height, width); pixels that do not count.
    """
    counts = np.zeros(number, np.int64)
    for rows in row_blocks(*samples.shape):
        block = samples[rows]
        if is_left_out is not None:
            block = block[~is_left_out[rows]]
        counts += np.bincount(block.ravel(), minlength=number)
    return counts


def looked_up(table: npt.NDArray[Any], samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the table's entry for each sample (height, width)."""
    picture = np.empty(samples.shape, table.dtype)
    for rows in row_blocks(*samples.shape):
        picture[rows] = table[samples[rows]]
    return picture
