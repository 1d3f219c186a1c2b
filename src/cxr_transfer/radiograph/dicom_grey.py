"""What a data set says of its grey values in, the grey-scale pipeline out: DICOM PS3.3, C.11.

Modality LUT or rescale, VOI LUT or window, polarity, padding. One odd element never refuses a whole
picture: it is left out, and a warning names it. Knows nothing of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.dicom_bits import padding_of
from cxr_transfer.radiograph.dicom_elements import Elements, name_of
from cxr_transfer.radiograph.grey_scale import (
    Bits,
    GreyScale,
    Logarithm,
    Rescale,
    Table,
    Window,
)

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def grey_scale(elements: Elements, bits: Bits, *, is_for_processing: bool) -> GreyScale:
    """Return how stored values become grey; VOI first, then inversion.

    Args:
        elements: Elements of the data set.
        bits: Place of the stored values' bits in the samples.
        is_for_processing: Whether the values are what a detector gave, not what is to be shown.
    """
    photometric, shape = elements.text(tags.PHOTOMETRIC), elements.text(tags.SHAPE)
    inverted = photometric == "MONOCHROME1"  # C.7.6.3.1.2: the lowest value is white
    padding = padding_of(elements, bits.signed)
    if is_for_processing:
        return _for_processing(elements, bits, inverted, padding)
    if shape == "INVERSE" and not inverted:  # C.8.11.3.1.2
        elements.warn("inverted as its presentation LUT shape says")
        inverted = True
    elif shape == "IDENTITY" and inverted:
        elements.warn("inverted as MONOCHROME1 says, against its presentation LUT shape")
    elif shape not in ("", "IDENTITY", "INVERSE"):
        elements.warn(f"{name_of(tags.SHAPE)} is none of the standard's, and was left out")
    modality: Rescale | Table | None = elements.table(tags.MODALITY_LUT, bits.signed)
    is_known = True
    if modality is None:
        modality, is_known = _rescale(elements)
    negative = isinstance(modality, Rescale) and bool((modality(bits.values()) < 0).any())
    voi: Window | Table | None = elements.table(tags.VOI_LUT, bits.signed or negative)
    window = _window(elements)
    if voi is not None and window is not None and isinstance(voi, Table) and voi.missing:
        elements.warn(
            f"{name_of(tags.VOI_LUT)} lacks {voi.missing} entries; the window beside it was taken"
        )
        voi = window
    voi = voi or window
    if not is_known and voi is not None:
        elements.warn("without its rescale, a window says nothing, and was left out")
        voi = None
    return GreyScale(bits, modality, voi, inverted, padding)


def _for_processing(
    elements: Elements, bits: Bits, inverted: bool, padding: tuple[int, int] | None
) -> GreyScale:
    """Return how a detector's own values are shown: PS3.3, C.8.11.3.1.1 and C.8.11.3.1.2."""
    if elements.text(tags.INTENSITY) == "LIN":
        # Linear to the rays that arrived: the logarithm falls where they were stopped.
        return GreyScale(bits, Logarithm(), None, False, padding)
    signs = elements.integers(tags.INTENSITY_SIGN, signed=True)
    # 1: lower values are less intensity, that is denser, which is to be bright.
    inverted = signs[0] == 1 if signs else inverted
    return GreyScale(bits, Rescale(), None, inverted, padding)


def _rescale(elements: Elements) -> tuple[Rescale, bool]:
    """Return the linear modality LUT, and whether it is the file's own."""
    is_there = bool(elements.text(tags.SLOPE)) or bool(elements.text(tags.INTERCEPT))
    slopes, intercepts = elements.numbers(tags.SLOPE), elements.numbers(tags.INTERCEPT)
    if slopes[:1] == [0.0]:
        elements.warn(f"{name_of(tags.SLOPE)} is 0, and was left out")
        slopes = []
    lacks = bool(elements.text(tags.SLOPE)) and not slopes
    lacks |= bool(elements.text(tags.INTERCEPT)) and not intercepts
    if not is_there or lacks:
        return Rescale(), not lacks
    return Rescale(*(slopes[:1] or [1.0]), *(intercepts[:1] or [0.0])), True


def _window(elements: Elements) -> Window | None:
    """Return the first window, PS3.3, C.11.2.1.2; None without one that has a meaning."""
    function = elements.text(tags.FUNCTION) or "LINEAR"
    if function not in FUNCTIONS:
        elements.warn(f"{name_of(tags.FUNCTION)} is none of the standard's; LINEAR was taken")
        function = "LINEAR"
    centres, widths = elements.numbers(tags.CENTRE), elements.numbers(tags.WIDTH)
    if not centres or not widths:
        return None
    window = Window(centres[0], widths[0], function)
    if window.is_possible:
        return window
    elements.warn("its window has no width, and was left out")
    return None


def palette(elements: Elements) -> Sequence[Table]:
    """Return the red, green and blue look-up table: PS3.3, C.7.6.3.1.5.

    Raises:
        ImageError: ``bad_grey_scale`` for one that is missing or short, ``unsupported_format`` for
            one that is in segments (C.7.9.2).
    """
    tables = [
        elements.table_of(elements.content(descriptor), elements.content(data), False)
        for descriptor, data in zip(tags.PALETTE_DESCRIPTORS, tags.PALETTES, strict=True)
    ]
    whole = [table for table in tables if table is not None and not table.missing]
    if len(whole) < len(tables) and any(map(elements.content, tags.SEGMENTED_PALETTES)):
        raise ImageError(
            "unsupported_format",
            "Expected a palette with all of its entries, but got a segmented one, which is not "
            "read; export the image as MONOCHROME2.",
        )
    if len(whole) < len(tables):
        raise bad_grey_scale("its palette is shorter than described")
    return whole


def bad_grey_scale(reason: str) -> ImageError:
    """Return the error for a header that leaves open how values are to be shown."""
    return ImageError(
        "bad_grey_scale",
        f"Expected a header that says how stored values become grey, but {reason}; export the "
        "image anew.",
    )
