"""The elements of a DICOM data set that say how its picture is shown, as texts, numbers and tables.

One odd element never refuses a whole picture: what cannot be understood is left out, and a warning
names it. Nothing here reads a file: ``dicom_reading.py`` does. Clauses are those of the DICOM
standard, edition 2024.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from pydicom.datadict import dictionary_description
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.grey_scale import Table
from cxr_transfer.radiograph.radiograph import too_complex

MAX_READS = 40_000
"""Reads that a data set may take: far above any image's, and less than a second."""

_MOST_TEXT = 1 << 16  # of an element's bytes that are looked at
# Value representations: PS3.5, 6.2.
_TEXTS = (
    *("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC"),
    *("UI", "UR", "UT"),
)
_WORDS = {"US": "u2", "SS": "i2"}
_OTHER_NUMBERS = {"UL": "u4", "SL": "i4", "UV": "u8", "SV": "i8", "FL": "f4", "FD": "f8"}
_INTEGERS = re.compile(rb"[-+]?[0-9]+(\\[-+]?[0-9]+)*")

Element: TypeAlias = RawDataElement | DataElement


def name_of(tag: int) -> str:
    """Return an element's name and tag, for people.

    >>> name_of(0x00281050)
    'Window Center (0028,1050)'
    """
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


class Bounded(io.BytesIO):
    """Bytes that can be read from only so often: sequences may nest, and be empty by millions."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        # Not `getbuffer`: that copies, and Python 3.13 minds a stream that ends before its buffer.
        self.view = memoryview(content)
        self.reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes.

        Raises:
            ImageError: ``too_complex``.
        """
        self.reads += 1
        if self.reads > MAX_READS:
            raise too_complex(f"{MAX_READS} reads of a DICOM header")
        return super().read(size)


@dataclass(frozen=True)
class Elements:
    """The elements of a data set that say how its picture is shown.

    Attributes:
        by_tag: Elements by tag; values are bytes still, but those of undefined-length sequences.
        syntax: UID of the transfer syntax; "" where the file does not name it.
        little: Whether numbers are little-endian.
        pixels: Value of Pixel Data: plain pixels, a view of the file, or the one frame that is
            encapsulated in it; None where there is none.
        is_encapsulated: Whether the pixels are compressed.
        pixels_vr: Value representation of Pixel Data; "" of implicit ones.
        warnings: Lines on what was left out or read in another way than it was written, each once.
    """

    by_tag: Mapping[int, Element]
    syntax: str
    little: bool
    pixels: bytes | memoryview | None = None
    is_encapsulated: bool = False
    pixels_vr: str = ""
    warnings: list[str] = field(default_factory=list)

    def __contains__(self, tag: int) -> bool:
        return tag in self.by_tag

    def warn(self, message: str) -> None:
        """Add a warning, once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def content(self, tag: int) -> bytes:
        """Return the bytes of an element; none where it is missing."""
        return content_of(self.by_tag.get(tag))

    def texts(self, tag: int) -> list[str]:
        """Return the values of a text element (CS, DS, IS, UI), upper case: PS3.5, 6.2 and 6.4."""
        return texts_of(self.content(tag))

    def text(self, tag: int) -> str:
        """Return the first value of a text element; "" where it is missing."""
        return next(iter(self.texts(tag)), "")

    def numbers(self, tag: int) -> list[float]:
        """Return the values of a decimal or integer string: PS3.5, 6.2.

        Returns:
            None of them where one is no finite number, with a warning.
        """
        numbers = []
        if self._vr(tag) in _WORDS | _OTHER_NUMBERS:
            return self._odd_numbers(tag)
        for text in self.texts(tag):
            if not text:
                continue
            # A decimal comma, as many a country's machines write it.
            plain = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
            try:
                number = float(plain)
            except ValueError:
                number = math.nan
            if not math.isfinite(number) or "_" in plain:
                self.warn(f"{name_of(tag)} is no number, and was left out")
                return []
            if plain != text:
                self.warn(f"{name_of(tag)} has a decimal comma, and was read with a point")
            numbers.append(number)
        return numbers

    def integers(self, tag: int, *, signed: bool = False) -> list[int]:
        """Return the values of a US or SS element; of another kind of number, with a warning."""
        vr, content = self._vr(tag), self.content(tag)
        is_text = vr in _TEXTS and _INTEGERS.fullmatch(content.strip(b" \0"))
        if is_text or vr in _OTHER_NUMBERS:
            return [int(number) for number in self._odd_numbers(tag)]
        return self._integers(content, signed)

    def integer(self, tag: int, otherwise: int) -> int:
        """Return the first value of a US element."""
        return next(iter(self.integers(tag)), otherwise)

    def table(self, sequence: int, signed: bool) -> Table | None:
        """Return the look-up table of a sequence's first item; None without one.

        Args:
            sequence: Tag of the sequence.
            signed: Whether the values that it stands for may be negative.

        Returns:
            None, too, for an item that describes none, with a warning.
        """
        items = self.items(self.by_tag.get(sequence))
        if not items:
            return None
        item = items[0]
        descriptor, data = (
            item.get_item(tag) if tag in item else None
            for tag in (tags.LUT_DESCRIPTOR, tags.LUT_DATA)
        )
        if descriptor is not None and descriptor.VR in ("US", "SS"):
            signed = descriptor.VR == "SS"
        table = self.table_of(content_of(descriptor), content_of(data), signed)
        if table is None:
            self.warn(f"{name_of(sequence)} describes no table, and was left out")
        return table

    def table_of(self, descriptor: bytes, data: bytes, signed: bool) -> Table | None:
        """Return a look-up table: PS3.3, C.11.1.1 and C.7.6.3.1.5; None where none is described.

        One with fewer entries than described says how many are missing.
        """
        described = self._integers(descriptor, False)
        if len(described) != 3:
            return None
        count = described[0] or 1 << 16
        first = self._integers(descriptor, signed)[1]
        if len(data) in (count, count + count % 2) and described[2] <= 8:
            entries = np.frombuffer(data, "u1", count)
        else:
            entries = np.frombuffer(
                data, "<u2" if self.little else ">u2", min(count, len(data) // 2)
            )
        if not len(entries):
            return None
        return Table(first, entries.astype(np.uint16), count - len(entries))

    def items(self, element: Element | None) -> Sequence[Dataset]:
        """Return the items of a sequence; none, with a warning, of what is no sequence."""
        if not isinstance(element, RawDataElement):
            return element.value if element is not None else ()
        content = element.value or b""
        implicit = element.is_implicit_VR
        if element.VR == "UN":  # PS3.5, 6.2.2: implicit, which not every writer knows
            implicit = not has_vr(content[8:14])
        try:
            return read_sequence(Bounded(content), implicit, self.little, len(content), "iso8859")
        except (ImageError, MemoryError, RecursionError):
            raise
        except Exception:
            # Other bytes lead to every kind of exception; they all say the same.
            self.warn(f"{name_of(int(element.tag))} is no sequence, and was left out")
            return ()

    def _vr(self, tag: int) -> str:
        element = self.by_tag.get(tag)
        return (element.VR or "") if element is not None else ""

    def _odd_numbers(self, tag: int) -> list[float]:
        """Return the values of an element that is written as another kind of number or text."""
        vr, content = self._vr(tag), self.content(tag)
        self.warn(f"{name_of(tag)} has the value representation {vr}, and was read as that")
        if vr in _TEXTS:
            return [float(text) for text in texts_of(content)]
        kind = np.dtype(("<" if self.little else ">") + (_WORDS | _OTHER_NUMBERS)[vr])
        size = kind.itemsize
        values = np.frombuffer(content[: len(content) // size * size], kind).astype(np.float64)
        return [float(value) for value in values] if np.isfinite(values).all() else []

    def _integers(self, content: bytes, signed: bool) -> list[int]:
        kind = ("<" if self.little else ">") + ("i2" if signed else "u2")
        return [int(value) for value in np.frombuffer(content[: len(content) // 2 * 2], kind)]


def content_of(element: Element | None) -> bytes:
    """Return the bytes of an element; none of a missing one, and of a sequence that was read."""
    if element is None or not isinstance(element.value, bytes):
        return b""
    return element.value


def has_vr(head: bytes) -> bool:
    """Tell whether the 6 bytes that begin an element hold a value representation: PS3.5, 7.1.2."""
    return head[4:6].isalpha() and head[4:6].isupper()


def texts_of(content: bytes) -> list[str]:
    """Return the values of a text, upper case: PS3.5, 6.2 and 6.4."""
    text = content[:_MOST_TEXT].decode("ascii", "replace").upper()
    return [part.strip(" \0") for part in text.split("\\")]


def damaged() -> ImageError:
    """Return the error for bytes that make no data set."""
    return ImageError(
        "corrupt_image", "Expected a whole DICOM file, but it is damaged; export it anew."
    )


def cut_short() -> ImageError:
    """Return the error for a file that ends early."""
    return ImageError(
        "truncated_image", "Expected a whole DICOM file, but it ends early; copy it anew."
    )
