"""What a data set says of its picture to whoever looks at it: windows, spacing, side, compression.

Nothing here changes what a network sees, and nothing tells whom the picture shows. One odd element
is left out. Clauses are those of the DICOM standard, edition 2024.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.dicom_elements import Elements, content_of, texts_of
from cxr_transfer.radiograph.dicom_grey import FUNCTIONS
from cxr_transfer.radiograph.full_depth import PictureFacts, PixelSpacing, Preset
from cxr_transfer.radiograph.grey_scale import Table, Window

_MOST_PRESETS = 16
_MOST_SPACING = 10.0  # mm: a chest of 3 m and 300 pixels
_NOT_PLAIN = re.compile(r"[^A-Z0-9 _.+/()-]")
_LATERALITIES = ("L", "R", "B", "U")
_CALIBRATIONS = ("GEOMETRY", "FIDUCIAL")


def presets_of(elements: Elements, *, signed: bool) -> tuple[Preset, ...]:
    """Return the file's windows and VOI LUTs: PS3.3, C.11.2.

    Args:
        elements: Elements of the data set.
        signed: Whether the values that a VOI LUT stands for may be negative.
    """
    function = elements.text(tags.FUNCTION) or "LINEAR"
    function = function if function in FUNCTIONS else "LINEAR"
    words = elements.texts(tags.WINDOW_EXPLANATION)
    centres, widths = elements.numbers(tags.CENTRE), elements.numbers(tags.WIDTH)
    windows = [
        Preset(_plain(words[number] if number < len(words) else ""), Window(*pair, function))
        for number, pair in enumerate(zip(centres, widths, strict=False))
    ]
    tables: list[Preset] = []
    for item in elements.items(elements.by_tag.get(tags.VOI_LUT))[:_MOST_PRESETS]:
        descriptor, data, explanation = (
            content_of(item.get_item(tag) if tag in item else None)
            for tag in (tags.LUT_DESCRIPTOR, tags.LUT_DATA, tags.LUT_EXPLANATION)
        )
        table = elements.table_of(descriptor, data, signed)
        if isinstance(table, Table) and not table.missing:
            tables.append(Preset(_plain(texts_of(explanation)[0]), table))
    possible = [one for one in windows if isinstance(one.voi, Window) and one.voi.is_possible]
    return (*possible[:_MOST_PRESETS], *tables)


def facts_of(elements: Elements, *, is_transposed: bool) -> PictureFacts:
    """Return what the data set states of its picture.

    Args:
        elements: Elements of the data set.
        is_transposed: Whether rows became columns when the picture was put upright.
    """
    side = elements.text(tags.IMAGE_LATERALITY) or elements.text(tags.LATERALITY)
    lossy = {"01": True, "00": False}.get(elements.text(tags.LOSSY))  # C.7.6.1.1.5
    ratios = elements.numbers(tags.LOSSY_RATIO)
    photometric = elements.text(tags.PHOTOMETRIC)
    return PictureFacts(
        photometric=photometric if photometric.startswith("MONOCHROME") else "",
        laterality=side if side in _LATERALITIES else "",
        lossy=lossy,
        lossy_ratio=ratios[0] if lossy and ratios and ratios[0] >= 1 else None,
        spacing=_spacing(elements, is_transposed=is_transposed),
    )


def _spacing(elements: Elements, *, is_transposed: bool) -> PixelSpacing | None:
    """Return the distance of pixels, and which attribute says so: PS3.3, 10.7.1.3.

    Pixel Spacing is calibrated where it says how, or differs from that at the detector. Else that
    at the detector tells most: an object is smaller than its picture there, by the magnification.
    """
    calibration = elements.text(tags.SPACING_CALIBRATION)
    calibration = calibration if calibration in _CALIBRATIONS else ""
    pixel, imager, nominal = (
        _pair(elements.numbers(tag))
        for tag in (tags.PIXEL_SPACING, tags.IMAGER_SPACING, tags.NOMINAL_SPACING)
    )
    is_calibrated = pixel is not None and (bool(calibration) or pixel != imager)
    chosen = (
        (pixel if is_calibrated else None, "PixelSpacing"),
        (imager, "ImagerPixelSpacing"),
        (nominal, "NominalScannedPixelSpacing"),
    )
    for pair, source in chosen:
        if pair is None:
            continue
        factors = [number for number in elements.numbers(tags.MAGNIFICATION) if 1 <= number < 10]
        row, column = pair[::-1] if is_transposed else pair
        return PixelSpacing(
            *(row, column, source),
            calibration=calibration if source == "PixelSpacing" else "",
            magnification=factors[0] if factors else None,
        )
    return None


def _pair(numbers: Sequence[float]) -> tuple[float, float] | None:
    if len(numbers) != 2 or not all(0 < number <= _MOST_SPACING for number in numbers):
        return None
    return numbers[0], numbers[1]


def _plain(text: str) -> str:
    """Return a maker's words for a window, so far as they are plain."""
    return _NOT_PLAIN.sub("", text)[:64].strip()
