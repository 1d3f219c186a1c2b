"""Which bits of a DICOM sample are its value: what the header says, held against the samples.

A header may call fewer bits stored than the values have, or a high bit that belongs to another
layout: then a mask folds a picture over itself, or a shift takes its fine greys away, and what
comes out still looks like an image. The samples tell: values go on smoothly from one pixel to the
next where a higher bit changes, overlays and padding do not. Clauses are those of the DICOM
standard, edition 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.codestream import Samples
from cxr_transfer.radiograph.dicom_elements import Elements, name_of
from cxr_transfer.radiograph.grey_range import LEAST_LEVELS, TAIL, row_blocks
from cxr_transfer.radiograph.grey_scale import Bits

Mask = npt.NDArray[np.bool_]

_SEEN = 1 << 21  # pixels that are compared with their neighbours
_DRAWN = 0.1  # of a picture, at most, is covered by an overlay's lines and letters
_CHOSEN_BITS = 8  # of these somebody has chosen what they show, and no few pixels may widen them


def bits_of(elements: Elements, allocated: int) -> Bits:
    """Return where the bits of a sample lie as the header says: PS3.5, 8.1.1.

    Args:
        elements: Elements of the data set.
        allocated: Bits that a sample takes, 8 or 16.
    """
    stored = elements.integer(tags.STORED, allocated)
    if not 2 <= stored <= allocated:
        elements.warn(f"{name_of(tags.STORED)} does not fit, and was taken as {allocated}")
        stored = allocated
    high = elements.integer(tags.HIGH, stored - 1)
    if not stored - 1 <= high < allocated:
        high = _without_high_bit(elements, stored)
    return Bits(stored, high, elements.integer(tags.SIGNED, 0) == 1)


def bits_in(elements: Elements, samples: Samples, bits: Bits) -> tuple[Bits, Mask | None]:
    """Return where the bits lie in the samples themselves.

    Args:
        elements: Elements of the data set; they get a warning where the samples say something else.
        samples: (height, width) as stored.
        bits: Bits of a sample, as the header states them.

    Returns:
        Where they lie, and which pixels hold a value beyond them that is padding and no picture;
        None where none do.
    """
    width = 8 * samples.dtype.itemsize
    # A decoder gives no more bits than were compressed.
    high = min(bits.high, width - 1)
    bits = Bits(min(bits.stored, high + 1), high, bits.signed)
    overlays = _overlays(elements)
    if bits.stored == width or (bits.signed and overlays):
        return bits, None
    whole = _Whole.of(samples, bits.signed, overlays, padding_of(elements, bits.signed))
    if bits.high == bits.stored - 1 and whole.is_plain(bits):
        return bits, None
    return _beyond(elements, whole, _without_false_shift(elements, whole, bits))


def padding_of(elements: Elements, signed: bool) -> tuple[int, int] | None:
    """Return the lowest and highest stored value that is no picture: PS3.3, C.7.5.1.1.2."""
    value = elements.integers(tags.PADDING, signed=signed)[:1]
    limit = elements.integers(tags.PADDING_LIMIT, signed=signed)[:1] or value
    return (min(value + limit), max(value + limit)) if value else None


def _without_high_bit(elements: Elements, stored: int) -> int:
    elements.warn(
        f"{name_of(tags.HIGH)} contradicts {name_of(tags.STORED)}, and was taken as {stored - 1}"
    )
    return stored - 1


def _overlays(elements: Elements) -> int:
    """Return the bits that hold overlays: PS3.5, 8.1.2; bit 0 is that of overlays of their own."""
    positions = [elements.integer(tag, 0) for tag in tags.OVERLAY_POSITIONS]
    return sum({1 << position for position in positions if 0 < position < 16})


def _is_inside(values: Samples, bits: Bits) -> Mask:
    """Tell which samples use no bits beyond their own but, if negative, those of the sign."""
    values = values >> bits.high + 1 - bits.stored
    is_inside = values >> bits.stored == 0
    if bits.signed:
        half = 1 << bits.stored - 1
        is_inside |= (values >= -half) & (values < half)
    return np.asarray(is_inside)


@dataclass(frozen=True)
class _Whole:
    """Samples with all of their bits but those of overlays.

    Attributes:
        samples: (height, width), signed or unsigned.
        kept: Mask of the bits that are no overlay's.
        padding: Lowest and highest value that the header calls padding.
    """

    samples: Samples
    kept: int
    padding: tuple[int, int] | None

    @classmethod
    def of(
        cls, samples: Samples, signed: bool, overlays: int, padding: tuple[int, int] | None
    ) -> _Whole:
        kind = np.dtype(f"{'i' if signed else 'u'}{samples.dtype.itemsize}")
        kept = -1 if signed else int(np.iinfo(kind).max) & ~overlays
        return cls(samples.view(kind.newbyteorder(samples.dtype.byteorder)), kept, padding)

    @property
    def used(self) -> int:
        """All bits that are set in any sample."""
        return int(np.bitwise_or.reduce(self.samples, axis=None)) & self.kept

    def is_plain(self, bits: Bits) -> bool:
        """Tell at once whether all samples are inside of their bits."""
        if bits.signed:
            ends = np.array([self.samples.min(), self.samples.max()])
            return bool(_is_inside(ends, bits).all())
        return not self.used >> bits.high + 1

    def seen(self) -> tuple[Samples, Mask]:
        """Return some whole rows of the picture, and where they are no padding."""
        return self._rows(slice(None, None, 1 + self.samples.size // _SEEN))

    def beyond(self, bits: Bits) -> tuple[Mask, int]:
        """Return which pixels have a value beyond `bits`, and how far theirs lie apart."""
        height, width = self.samples.shape
        beyond = np.zeros((height, width), np.bool_)
        ends: list[int] = []
        for rows in row_blocks(height, width):
            values, is_value = self._rows(rows)
            beyond[rows] = is_value & ~_is_inside(values, bits)
            if beyond[rows].any():
                outside = values[beyond[rows]]
                ends += [int(outside.min()), int(outside.max())]
        return beyond, max(ends) - min(ends) if ends else 0

    def _rows(self, rows: slice) -> tuple[Samples, Mask]:
        values = self.samples[rows]
        is_value = np.ones(values.shape, np.bool_)
        if self.padding:
            is_value = (values < self.padding[0]) | (values > self.padding[1])
        return values & values.dtype.type(self.kept), is_value


def _without_false_shift(elements: Elements, whole: _Whole, bits: Bits) -> Bits:
    """Return the bits from 0 on where a high bit above them is a mistake.

    Values that lie higher leave the bits below unused, or reach beyond their number.
    """
    shift = bits.high + 1 - bits.stored
    if not shift or not whole.used & ((1 << shift) - 1):
        return bits
    values, is_value = whole.seen()
    low = Bits(bits.stored, bits.stored - 1, bits.signed)
    beyond = values[is_value & ~_is_inside(values, low)].astype(np.int32)
    if len(beyond) > TAIL * values.size and np.ptp(beyond) >= LEAST_LEVELS:
        return bits
    return Bits(bits.stored, _without_high_bit(elements, bits.stored), bits.signed)


def _beyond(elements: Elements, whole: _Whole, bits: Bits) -> tuple[Bits, Mask | None]:
    """Return as many bits as the values have, and which pixels are padding beyond them."""
    if whole.is_plain(bits):
        return bits, None
    stated = bits.stored
    bits = _as_wide_as_its_values(whole, bits)
    if bits.stored > stated:
        elements.warn(
            f"{name_of(tags.STORED)} is {stated}, but the values go beyond that; they were read "
            f"whole, with {bits.stored} bits"
        )
    beyond, spread = whole.beyond(bits)
    if not beyond.any():
        return bits, None
    if spread < LEAST_LEVELS:
        elements.warn(
            f"{100 * beyond.mean():.2g} % of the pixels have a value beyond "
            f"{name_of(tags.STORED)} and apart from all others: taken for padding, and black"
        )
        return bits, beyond
    elements.warn(
        f"bits above {name_of(tags.HIGH)} are set that are no overlay's and no values; they were "
        "not looked at"
    )
    return bits, None


def _as_wide_as_its_values(whole: _Whole, bits: Bits) -> Bits:
    """Return the bits up to the highest one that values go on smoothly across.

    Where neighbours differ in a bit, those of a picture differ little for all that, less than half
    of what the bit stands for; those of an overlay or of padding do not. Where they differ only at
    edges, such as a collimator's, the bit must cover more than is drawn on a picture.
    """
    shift = bits.high + 1 - bits.stored
    values, is_value = whole.seen()
    is_few = np.count_nonzero(is_value & ~_is_inside(values, bits)) <= TAIL * values.size
    if is_few and bits.stored <= _CHOSEN_BITS:
        return bits
    values = values.astype(np.int32) >> shift
    top = 8 * whole.samples.dtype.itemsize - 1
    if bits.signed:
        # By which of the ranges that the stored bits span a value lies in.
        ranges = values + (1 << bits.stored - 1) >> bits.stored
        crosses = _pairs(is_value) & (ranges[:, 1:] != ranges[:, :-1])
        is_wide = _goes_on(values, crosses, 1 << bits.stored - 1)
        return Bits(top + 1 - shift, top, signed=True) if is_wide else bits
    for bit in range(top - shift, bits.stored - 1, -1):
        values &= (2 << bit) - 1
        is_set = is_value & (values >> bit == 1)
        set_values = values[is_set]
        if not len(set_values):
            continue
        is_varied = np.ptp(set_values) >= LEAST_LEVELS
        crosses = _pairs(is_value) & (is_set[:, 1:] != is_set[:, :-1])
        is_area = np.count_nonzero(crosses) < _DRAWN * len(set_values) and (
            len(set_values) > _DRAWN * values.size
        )
        if _goes_on(values, crosses, 1 << bit - 1) or (is_area and is_varied):
            return Bits(bit + 1, bit + shift, signed=False)
        if not is_varied:  # padding, also in the bits below
            is_value &= ~is_set
    return bits


def _pairs(is_value: Mask) -> Mask:
    return is_value[:, 1:] & is_value[:, :-1]


def _goes_on(values: Samples, crosses: Mask, limit: int) -> bool:
    """Tell whether most of the neighbours that `crosses` names differ by less than `limit`."""
    steps = np.abs(np.diff(values, axis=1)[crosses])
    return 2 * int(np.count_nonzero(steps < limit)) > len(steps)
