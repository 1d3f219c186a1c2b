"""Pixel Data in the bytes of a DICOM file: plain pixels, or the fragments of one frame.

Clauses are those of the DICOM standard, edition 2024.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.dicom_elements import (
    MAX_READS,
    Bounded,
    Elements,
    cut_short,
    damaged,
    has_vr,
    name_of,
)
from cxr_transfer.radiograph.dicom_syntaxes import PLAIN
from cxr_transfer.radiograph.radiograph import too_complex

ITEM_BYTES = b"\xfe\xff\x00\xe0"
"""First bytes of pixels that are encapsulated: PS3.5, A.4."""

_UNDEFINED = 0xFFFFFFFF
_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # JPEG; JPEG 2000, JP2
_RUN_SEGMENTS = range(1, 16)  # of RLE: PS3.5, G.5; the first begins behind the header
_RUN_HEADER = 64
_OF_ITEMS = 0xFFFE  # group of items and delimiters
SHORT = frozenset(
    (
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "PN"),
        *("SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
    )
)
"""Value representations whose length takes two bytes: PS3.5, 7.1.2."""


def with_pixels(elements: Elements, stream: Bounded, explicit: bool) -> Elements:
    """Return the elements with the pixel data that the stream stands before.

    Raises:
        ImageError: ``no_pixel_data``, ``truncated_image``, ``corrupt_image``, ``too_complex``.
    """
    length, vr = _announced(stream, explicit, elements.little)
    if length is None:
        if not elements.by_tag.keys() & {tags.FLOAT_PIXELS, tags.DOUBLE_PIXELS}:
            raise ImageError(
                "no_pixel_data",
                "Expected an image, but the DICOM file holds no picture (a report, a directory or "
                "a header alone); send the image itself.",
            )
        return elements
    content = stream.view[stream.tell() :]
    if length == _UNDEFINED:
        frame = b"".join(_fragments(content, elements))
        return replace(elements, pixels=frame, is_encapsulated=True, pixels_vr=vr)
    if length > len(content):
        raise cut_short()
    content = content[:length]
    head = bytes(content[:16])
    # Some writers give encapsulated pixels a length, and some leave the capsule out.
    if elements.syntax not in PLAIN and head.startswith(ITEM_BYTES):
        elements.warn(f"{name_of(tags.PIXELS)} is encapsulated and has a length")
        frame = b"".join(_fragments(content, elements))
    elif elements.syntax not in PLAIN and head.startswith(_STARTS):
        elements.warn(f"{name_of(tags.PIXELS)} is compressed and not encapsulated")
        frame = bytes(content)
    else:
        return replace(elements, pixels=content, pixels_vr=vr)
    return replace(elements, pixels=frame, is_encapsulated=True, pixels_vr=vr)


def _order(little: bool) -> Literal["little", "big"]:
    return "little" if little else "big"


def _announced(stream: Bounded, explicit: bool, little: bool) -> tuple[int | None, str]:
    """Return length and VR of the pixel data that the stream stands before; None without any."""
    order = _order(little)
    head = stream.read(8)
    group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
    if len(head) < 8 or group << 16 | element != tags.PIXELS:
        return None, ""
    if not explicit or not has_vr(head):
        return int.from_bytes(head[4:8], order), ""
    vr = head[4:6].decode()
    # A picture has pixels: a short length of none is the padding before a long one.
    if vr in SHORT and any(head[6:8]):
        return int.from_bytes(head[6:8], order), vr
    long = stream.read(4)
    if len(long) < 4:
        raise cut_short()
    return int.from_bytes(long, order), vr


def _fragments(content: memoryview, elements: Elements) -> Iterator[bytes]:
    """Yield the fragments of the one frame: PS3.5, A.4.

    Raises:
        ImageError: ``truncated_image``, ``corrupt_image``, ``too_complex``.
    """
    order = _order(elements.little)
    start = number = 0
    first, is_marked = b"", False
    while start + 8 <= len(content):
        group, element = (
            int.from_bytes(content[start + at : start + at + 2], order) for at in (0, 2)
        )
        tag, length = group << 16 | element, int.from_bytes(content[start + 4 : start + 8], order)
        is_marked = tag == _DELIMITER
        if is_marked or (number and _is_behind(group, content[start:])):
            break
        if tag != _ITEM or length == _UNDEFINED:
            raise damaged()
        start += 8
        if start + length > len(content):
            raise cut_short()
        number += 1
        if number > MAX_READS:
            raise too_complex(f"{MAX_READS} fragments of a DICOM picture")
        fragment = bytes(content[start : start + length])
        start += length
        if number == 1:
            first = fragment
            if not _is_picture(first):
                continue
            elements.warn(f"{name_of(tags.PIXELS)} lacks its table of offsets")
        yield fragment
    else:
        if any(content[start:]):
            raise cut_short()
    if not is_marked:
        elements.warn(f"the end of {name_of(tags.PIXELS)} is not marked; its fragments are whole")
    if number == 1 and len(first) > 4 and not _is_picture(first):
        elements.warn(f"{name_of(tags.PIXELS)} lacks its table of offsets")
        yield first


def _is_behind(group: int, following: memoryview) -> bool:
    """Tell whether an element behind the pixel data, or nothing but padding, begins here."""
    if group == 0:
        return not bytes(following).strip(b"\0")
    return group > tags.PIXELS >> 16 and group != _OF_ITEMS


def _is_picture(fragment: bytes) -> bool:
    """Tell whether the first fragment is no table of offsets, of which the first is 0."""
    if fragment.startswith(_STARTS):
        return True
    if len(fragment) < _RUN_HEADER:
        return False
    segments, begin = struct.unpack_from("<2L", fragment)
    return segments in _RUN_SEGMENTS and begin == _RUN_HEADER
