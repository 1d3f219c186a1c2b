"""The samples of a DICOM picture: plain ones by what the header says, others through a codec.

Clauses are those of the DICOM standard, edition 2024.
"""

from __future__ import annotations

import numpy as np
from pydicom.uid import UID, RLELossless

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.codestream import Samples, Shape, decode_frame, wrong_length
from cxr_transfer.radiograph.dicom_elements import Elements, name_of
from cxr_transfer.radiograph.dicom_grey import bad_grey_scale, palette
from cxr_transfer.radiograph.dicom_syntaxes import CODECS, PLAIN
from cxr_transfer.radiograph.grey_scale import Table

_SIMILAR = 3.0  # times the usual difference of two rows
_COMPARED = 1 << 21  # pixels that are compared with those below them, about
_RETIRED = ("YBR_PARTIAL_422", "YBR_PARTIAL_420")


def read_samples(elements: Elements, shape: Shape) -> tuple[Samples, bool]:
    """Read the samples as stored.

    Returns:
        (rows, columns), or (rows, columns, 3); and whether three samples are red, green and blue
        now, whatever the header says of them.

    Raises:
        ImageError: ``unsupported_syntax``, ``unsupported_format``, ``pixel_length_mismatch``, and
            those of `decode_frame`.
    """
    codec, content = CODECS.get(elements.syntax), elements.pixels or b""
    if codec is None and elements.syntax not in PLAIN:
        uid = UID(elements.syntax)
        # What is no UID at all is handed back as its own name, whatever is in it.
        name = uid.name if uid.is_valid and uid.name != uid else "an unknown one"
        raise ImageError(
            "unsupported_syntax",
            f"Expected a transfer syntax of still images, but got {name}; export the image "
            "uncompressed.",
        )
    if codec is not None and not elements.is_encapsulated:
        expected = shape.rows * shape.columns * shape.samples * shape.bits_allocated // 8
        if len(content) == expected + expected % 2:
            elements.warn(f"{name_of(tags.SYNTAX)} says {codec.name}, but the pixels are plain")
            codec = None
    if codec is None and not elements.is_encapsulated:
        return _plain_samples(elements, content, shape), False
    if codec is None or not elements.is_encapsulated:
        raise wrong_length("data of another transfer syntax")
    if not content:
        raise wrong_length("no frame")
    samples, is_ended = decode_frame(codec, bytes(content), shape)
    if not is_ended:
        elements.warn(f"the end marker of its {codec.name} is missing; its pixels are whole")
    return samples, elements.syntax != RLELossless


def _plain_samples(elements: Elements, content: bytes | memoryview, shape: Shape) -> Samples:
    count = shape.rows * shape.columns * shape.samples
    is_halved = shape.samples == 3 and _has_halved_colours(elements, content, shape)
    count = count // 3 * 2 if is_halved else count
    expected = count * shape.bits_allocated // 8
    if len(content) < expected:
        raise wrong_length(f"{len(content)} bytes instead of {expected}")
    order = "<" if elements.little else ">"
    if shape.bits_allocated == 16:
        samples = np.frombuffer(content, f"{order}u2", len(content) // 2)
    elif not elements.little and elements.pixels_vr == "OW":
        # PS3.5, A.3 and 8.2: bytes in big-endian words
        words = np.frombuffer(content[: len(content) // 2 * 2], "<u2").byteswap()
        samples = words.view(np.uint8)
    else:
        samples = np.frombuffer(content, np.uint8)
    if len(samples) > count + 1:  # one byte more makes the length even
        _check_surplus(samples, count, shape)
        surplus = len(content) - expected
        elements.warn(f"{name_of(tags.PIXELS)} has {surplus} bytes more than the picture needs")
    samples = samples[:count]
    if is_halved:  # PS3.3, C.7.6.3.1.2: two luminances, then both colours of the two
        pairs = samples.reshape(shape.rows, -1, 4) if shape.columns % 2 == 0 else None
        if pairs is None:
            raise wrong_length("an odd number of columns for two pixels at a time")
        colours = np.repeat(pairs[..., 2:], 2, axis=1)
        luminance = pairs[..., :2].reshape(shape.rows, shape.columns, 1)
        return np.concatenate([luminance, colours], axis=2)
    if shape.samples == 1:
        return samples.reshape(shape.rows, shape.columns)
    if elements.integer(tags.PLANAR, 0) == 1:
        return samples.reshape(3, shape.rows, shape.columns).transpose(1, 2, 0)
    return samples.reshape(shape.rows, shape.columns, 3)


def _has_halved_colours(elements: Elements, content: bytes | memoryview, shape: Shape) -> bool:
    """Tell whether two pixels share their colours: PS3.3, C.7.6.3.1.2.

    Raises:
        ImageError: ``unsupported_format`` for retired kinds, which have scales of their own.
    """
    photometric = elements.text(tags.PHOTOMETRIC)
    if photometric in _RETIRED:
        raise ImageError(
            "unsupported_format",
            f"Expected a grey image, but {name_of(tags.PHOTOMETRIC)} is {photometric}, which is "
            "not read; export it as MONOCHROME2.",
        )
    if photometric != "YBR_FULL_422":
        return False
    whole = shape.rows * shape.columns * 3 * shape.bits_allocated // 8
    if len(content) == whole + whole % 2:
        elements.warn(
            f"{name_of(tags.PHOTOMETRIC)} says that two pixels share their colours, but each has "
            "its own"
        )
        return False
    return True


def _check_surplus(samples: Samples, count: int, shape: Shape) -> None:
    """Refuse surplus samples that belong to the picture: rows of another width, or more rows.

    A picture whose rows are wider than its header says comes out slanted: then neighbours from row
    to row resemble each other less than at the width that the number of samples suggests. More
    rows resemble the last one as its neighbours do.
    """
    surplus = samples[count:]
    if len(surplus) >= count:
        raise wrong_length("samples for more than one frame")
    if shape.samples != 1 or not np.ptp(surplus):
        return

    def difference(columns: int) -> float:
        rows = samples[: columns * shape.rows].reshape(shape.rows, columns)
        step = 1 + len(samples) // _COMPARED
        upper, lower = (rows[at : shape.rows - 1 + at : step].astype(np.float32) for at in (0, 1))
        return float(np.abs(upper - lower).mean())

    usual, width = difference(shape.columns), len(samples) // shape.rows
    if width != shape.columns and difference(width) < usual:
        raise wrong_length(f"rows of {width} samples instead of {shape.columns}")
    if len(surplus) >= shape.columns:
        last = samples[count - shape.columns : count].astype(np.float32)
        if np.abs(surplus[: shape.columns] - last).mean() < _SIMILAR * usual:
            raise wrong_length(f"more than {shape.rows} rows")


def without_colour(
    elements: Elements, samples: Samples, shape: Shape, *, is_rgb: bool
) -> tuple[Samples, Table | None]:
    """Return grey samples, and the palette where they are indices into one that is grey.

    Args:
        elements: Elements of the data set.
        samples: Samples as `read_samples` returns them.
        shape: Size and kind of the samples.
        is_rgb: Whether three of them are red, green and blue whatever the data set says.

    Raises:
        ImageError: ``colour_dicom`` where red, green and blue are not the same everywhere.
    """
    photometric = elements.text(tags.PHOTOMETRIC)
    if photometric == "PALETTE COLOR" and shape.samples == 1:
        tables = palette(elements)
        red, green, blue = (table.entries for table in tables)
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            raise _colour()
        return samples, tables[0]
    if shape.samples == 1:
        if not photometric.startswith("MONOCHROME"):
            raise bad_grey_scale(f"{name_of(tags.PHOTOMETRIC)} is not that of a grey image")
        return samples, None
    first, second, third = (samples[..., channel] for channel in range(3))
    if not is_rgb and photometric.startswith("YBR_FULL"):  # PS3.3, C.7.6.3.1.2
        neutral = 1 << (elements.integer(tags.STORED, 8) - 1)
        if (second != neutral).any() or (third != neutral).any():
            raise _colour()
    elif (first != second).any() or (first != third).any():
        raise _colour()
    return np.ascontiguousarray(first), None


def _colour() -> ImageError:
    return ImageError(
        "colour_dicom",
        "Expected a grey image, but its red, green and blue differ; export it as MONOCHROME2.",
    )
