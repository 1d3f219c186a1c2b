"""The bytes of a DICOM file in, the elements that say how its picture is shown out.

Only the elements in `WANTED` are looked at. Names, numbers and dates of patients are skipped as
bytes, so no message, warning or log can hold them. One odd element never refuses a whole picture:
what cannot be understood is left out, and a warning names it. Clauses are those of the DICOM
standard, edition 2024.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from pydicom.datadict import dictionary_description
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator, read_sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.film import MAX_PIXELS, too_complex
from cxr_transfer.radiograph.grey_scale import Table

MAX_INFLATED = 2 * MAX_PIXELS + (8 << 20)
"""Bytes that a deflated data set may have: the largest film of 16 bits, and its header."""
MAX_READS = 40_000
"""Reads that a data set may take: far above any film's, and less than a second."""

_PREAMBLE = 132  # PS3.10, section 7.1
UNDEFINED = 0xFFFFFFFF
_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_ITEM_BYTES = b"\xfe\xff\x00\xe0"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")  # of a JPEG, of a JPEG 2000
PLAIN = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian),
    *(ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    "",
)
"""Transfer syntaxes of pixels that are not compressed; "" where the file names none."""
_MOST_TEXT = 1 << 16  # of an element's bytes that are looked at

_Element: TypeAlias = RawDataElement | DataElement


def name_of(tag: int) -> str:
    """Return an element's name and tag, for people.

    >>> name_of(0x00281050)
    'Window Center (0028,1050)'
    """
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


class _Bounded(io.BytesIO):
    """Bytes that can be read from only so often: sequences may nest, and be empty by millions."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        # Not `getbuffer`: that copies, and Python 3.13 minds a stream that ends before its buffer.
        self.view = memoryview(content)
        self.reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
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
        little: Whether its numbers are little-endian.
        pixels: Value of Pixel Data: plain pixels, or the one frame that is encapsulated in it;
            None where there is none.
        is_encapsulated: Whether the pixels are compressed.
        pixels_vr: Value representation of Pixel Data; "" of implicit ones.
        warnings: What was left out or read in another way than it was written, each once.
    """

    by_tag: Mapping[int, _Element]
    syntax: str
    little: bool
    pixels: bytes | None = None
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
        return _content(self.by_tag.get(tag))

    def texts(self, tag: int) -> list[str]:
        """Return the values of a text element (CS, DS, IS, UI), upper case: PS3.5, 6.2 and 6.4."""
        return _texts(self.content(tag))

    def text(self, tag: int) -> str:
        """Return the first value of a text element; "" where it is missing."""
        return next(iter(self.texts(tag)), "")

    def numbers(self, tag: int) -> list[float]:
        """Return the values of a decimal or integer string: PS3.5, 6.2.

        Returns:
            None of them where one is no finite number, with a warning.
        """
        found = []
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
            found.append(number)
        return found

    def integers(self, tag: int, *, signed: bool = False) -> list[int]:
        """Return the values of a US or SS element."""
        return self._integers(self.content(tag), signed)

    def integer(self, tag: int, otherwise: int) -> int:
        """Return the first value of a US element."""
        return next(iter(self.integers(tag)), otherwise)

    def table(self, sequence: int, signed: bool) -> Table | None:
        """Return the look-up table of a sequence's first item; None without one.

        Args:
            sequence: Its tag.
            signed: Whether the values that it stands for may be negative.

        Returns:
            None, too, for an item that describes none, with a warning.
        """
        items = _items(self.by_tag.get(sequence), self.little)
        if not items:
            return None
        item = items[0]
        descriptor, data = (
            item.get_item(tag) if tag in item else None
            for tag in (tags.LUT_DESCRIPTOR, tags.LUT_DATA)
        )
        if descriptor is not None and descriptor.VR in ("US", "SS"):
            signed = descriptor.VR == "SS"
        found = self.table_of(_content(descriptor), _content(data), signed)
        if found is None:
            self.warn(f"{name_of(sequence)} describes no table, and was left out")
        return found

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

    def _integers(self, content: bytes, signed: bool) -> list[int]:
        kind = ("<" if self.little else ">") + ("i2" if signed else "u2")
        return [int(value) for value in np.frombuffer(content[: len(content) // 2 * 2], kind)]


def _content(element: _Element | None) -> bytes:
    if element is None or not isinstance(element.value, bytes):
        return b""
    return element.value


def _texts(content: bytes) -> list[str]:
    text = content[:_MOST_TEXT].decode("ascii", "replace").upper()
    return [part.strip(" \0") for part in text.split("\\")]


def _items(element: _Element | None, little: bool) -> Sequence[Dataset]:
    """Return the items of a sequence."""
    if isinstance(element, RawDataElement):
        content = element.value or b""
        return read_sequence(
            _Bounded(content), element.is_implicit_VR, little, len(content), "iso8859"
        )
    return element.value if element is not None else ()


def read_elements(content: bytes) -> Elements:
    """Read the elements that are wanted, and no others.

    Raises:
        FilmError: ``no_pixel_data``, ``truncated_image``, ``corrupt_image``, ``too_many_bytes``,
            ``too_complex``, ``multi_frame``.
    """
    stream = _Bounded(content)
    stream.seek(_PREAMBLE if content[_PREAMBLE - 4 : _PREAMBLE] == b"DICM" else 0)
    # PS3.10, section 7.1: the file meta information is explicit and little-endian, always.
    meta = {
        int(element.tag): element
        for element in data_element_generator(
            stream,
            False,
            True,
            stop_when=lambda tag, *_: tag >> 16 != 2,
            specific_tags=[tags.SYNTAX],
        )
    }
    syntax = next(iter(_texts(_content(meta.get(tags.SYNTAX)))), "")
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = _Bounded(_inflated(content[stream.tell() :]))
    start = stream.tell()
    first = stream.read(6)
    stream.seek(start)
    little = syntax != ExplicitVRBigEndian if syntax else first[:1] != b"\0"
    # Some writers name the one and write the other; letters where the VR would be tell them apart.
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    found: dict[int, _Element] = {}
    try:
        for element in data_element_generator(
            stream,
            not explicit,
            little,
            stop_when=lambda tag, *_: tag == tags.PIXELS,
            specific_tags=list(tags.WANTED),
        ):
            found[int(element.tag)] = element
    except EOFError:
        raise cut_short() from None
    elements = Elements(found, syntax, little)
    _take_functional_groups(found, elements)
    length, vr = _pixels_announced(stream, explicit, little)
    if length is None:
        if not found.keys() & {tags.FLOAT_PIXELS, tags.DOUBLE_PIXELS}:
            if stream.tell() > len(stream.view):
                raise cut_short()
            raise FilmError(
                "no_pixel_data",
                "Expected a film, but the DICOM file holds no picture (a report, a directory or a "
                "header alone); send the image itself.",
            )
        return elements
    view = stream.view
    start = stream.tell()
    if length != UNDEFINED:
        if start + length > len(view):
            raise cut_short()
        pixels, is_encapsulated = bytes(view[start : start + length]), False
        # Some writers give encapsulated pixels a length, and some leave the capsule out.
        if syntax not in PLAIN and pixels.startswith(_ITEM_BYTES):
            elements.warn(f"{name_of(tags.PIXELS)} is encapsulated and has a length")
            pixels, is_encapsulated = (
                b"".join(_fragments(memoryview(pixels), little, elements)),
                True,
            )
        elif syntax not in PLAIN and pixels.startswith(_STARTS):
            elements.warn(f"{name_of(tags.PIXELS)} is compressed and not encapsulated")
            is_encapsulated = True
        return Elements(found, syntax, little, pixels, is_encapsulated, vr, elements.warnings)
    frame = b"".join(_fragments(view[start:], little, elements))
    return Elements(found, syntax, little, frame, True, vr, elements.warnings)


def _take_functional_groups(found: dict[int, _Element], elements: Elements) -> None:
    """Add what the functional groups of the one frame say, where the data set itself says nothing.

    PS3.3, C.7.6.16.2.9 (pixel value transformation) and C.7.6.16.2.10 (frame VOI LUT).
    """
    for sequence in (tags.FRAME_GROUPS, tags.SHARED_GROUPS):
        for item in _items(found.get(sequence), elements.little)[:1]:
            for group in tags.GROUPS_OF_INTEREST:
                if group not in item:
                    continue
                for inner in _items(item.get_item(group), elements.little)[:1]:
                    for tag in (tags.CENTRE, tags.WIDTH, tags.FUNCTION, tags.INTERCEPT, tags.SLOPE):
                        if tag in inner and tag not in found:
                            found[tag] = inner.get_item(tag)


def _pixels_announced(stream: _Bounded, explicit: bool, little: bool) -> tuple[int | None, str]:
    """Return length and VR of the pixel data that the stream stands before; None without any."""
    order: Literal["little", "big"] = "little" if little else "big"
    head = stream.read(8)
    group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
    if len(head) < 8 or group << 16 | element != tags.PIXELS:
        return None, ""
    if not explicit or not (head[4:6].isalpha() and head[4:6].isupper()):
        return int.from_bytes(head[4:8], order), ""
    if head[4:6] not in (b"OB", b"OW", b"UN"):  # PS3.5, 7.1.2: others have a short length
        return int.from_bytes(head[6:8], order), head[4:6].decode()
    long = stream.read(4)
    if len(long) < 4:
        raise cut_short()
    return int.from_bytes(long, order), head[4:6].decode()


def _fragments(content: memoryview, little: bool, elements: Elements) -> Iterator[bytes]:
    """Yield the fragments of the one frame: PS3.5, A.4.

    Raises:
        FilmError: ``truncated_image``, ``corrupt_image``, ``too_complex``.
    """
    order: Literal["little", "big"] = "little" if little else "big"
    start = number = 0
    offsets = b""
    while start + 8 <= len(content):
        group, element = (
            int.from_bytes(content[start + at : start + at + 2], order) for at in (0, 2)
        )
        tag, length = group << 16 | element, int.from_bytes(content[start + 4 : start + 8], order)
        if tag == _DELIMITER:
            break
        if tag != _ITEM or length == UNDEFINED:
            raise damaged()
        start += 8
        if start + length > len(content):
            raise cut_short()
        number += 1
        if number > MAX_READS:
            raise too_complex(f"{MAX_READS} fragments of a DICOM picture")
        if number == 1:
            offsets = bytes(content[start : start + length])
        else:
            yield bytes(content[start : start + length])
        start += length
    else:
        if any(content[start:]):
            raise cut_short()
        elements.warn(f"the end of {name_of(tags.PIXELS)} is not marked; its fragments are whole")
    if number == 1 and len(offsets) > 4:  # no table of offsets: the picture stands in its place
        elements.warn(f"{name_of(tags.PIXELS)} lacks its table of offsets")
        yield offsets


def _inflated(content: bytes) -> bytes:
    """Inflate a deflated data set, up to a limit: PS3.5, A.5."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(content, MAX_INFLATED)
    except zlib.error:
        raise damaged() from None
    if inflater.eof:
        return plain
    if inflater.unconsumed_tail:
        raise FilmError(
            "too_many_bytes",
            f"Expected at most {MAX_INFLATED} bytes, but the deflated file unfolds to more; export "
            "it uncompressed.",
        )
    raise cut_short()


def damaged() -> FilmError:
    """Return the error for bytes that make no data set."""
    return FilmError(
        "corrupt_image", "Expected a whole DICOM file, but it is damaged; export it anew."
    )


def cut_short() -> FilmError:
    """Return the error for a file that ends early."""
    return FilmError(
        "truncated_image", "Expected a whole DICOM file, but it ends early; copy it anew."
    )
