"""The bytes of a DICOM file in, the elements that say how its picture is shown out.

Only the elements in `WANTED` are looked at. Names, numbers and dates of patients are skipped as
bytes, so no message, warning or log can hold them. Clauses are those of the DICOM standard, edition
2024.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.dicom_capsule import SHORT, with_pixels
from cxr_transfer.radiograph.dicom_elements import (
    MAX_READS,
    Bounded,
    Element,
    Elements,
    content_of,
    cut_short,
    damaged,
    has_vr,
    name_of,
    texts_of,
)
from cxr_transfer.radiograph.radiograph import MAX_PIXELS

MAX_INFLATED = 2 * MAX_PIXELS + (8 << 20)
"""Bytes that a deflated data set may have: the largest image of 16 bits, and its header."""

_PREAMBLE = 132  # PS3.10, section 7.1
_WINDOW = (tags.CENTRE, tags.WIDTH, tags.FUNCTION)
_RESCALE = (tags.INTERCEPT, tags.SLOPE)


def read_elements(content: bytes) -> Elements:
    """Read the elements that are wanted, and no others.

    Raises:
        ImageError: ``no_pixel_data``, ``truncated_image``, ``corrupt_image``, ``too_many_bytes``,
            ``too_complex``.
    """
    stream = Bounded(content)
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
    syntax = next(iter(texts_of(content_of(meta.get(tags.SYNTAX)))), "")
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = Bounded(_inflated(content[stream.tell() :]))
    start = stream.tell()
    first = stream.read(6)
    stream.seek(start)
    # Some writers name the one and write the other; letters where the VR would be, and a first
    # group that is small, tell them apart.
    explicit = has_vr(first)
    little = is_named_little = syntax != ExplicitVRBigEndian
    if any(first[:2]) and not all(first[:2]):
        little = first[0] != 0
    by_tag: dict[int, Element] = {}
    try:
        for element in data_element_generator(
            stream,
            not explicit,
            little,
            stop_when=lambda tag, *_: tag == tags.PIXELS,
            specific_tags=list(tags.WANTED),
        ):
            by_tag[int(element.tag)] = element
    except EOFError:
        is_cut_short = True
    else:
        is_cut_short = stream.tell() > len(stream.view)
    if is_cut_short:
        if explicit and _lacks_vr(stream.view[start:], little):
            raise ImageError(
                "corrupt_image",
                "Expected a value representation in each element of the DICOM file, but one has "
                "none; export it anew.",
            )
        raise cut_short()
    elements = Elements(by_tag, syntax, little)
    if syntax and little != is_named_little:
        elements.warn(f"{name_of(tags.SYNTAX)} names another order of bytes than the file has")
    _take_functional_groups(by_tag, elements)
    return with_pixels(elements, stream, explicit)


def _lacks_vr(content: memoryview, little: bool) -> bool:
    """Tell whether an element without value representation stands in an explicit data set."""
    start = 0
    for _ in range(MAX_READS):
        head = bytes(content[start : start + 12])
        if len(head) < 12:
            return False
        if not has_vr(head):
            return True
        is_short = head[4:6].decode() in SHORT
        length = int.from_bytes(head[6:8] if is_short else head[8:], "little" if little else "big")
        start += length + (8 if is_short else 12)
    return False


def _take_functional_groups(by_tag: dict[int, Element], elements: Elements) -> None:
    """Put what the functional groups of the one frame say in the place of what the data set says.

    They belong to the frame: PS3.3, C.7.6.16.2.9 (pixel value transformation) and C.7.6.16.2.10
    (frame VOI LUT). What stands together is taken together, and what is empty says nothing.
    """
    groups = list(_groups(by_tag, elements))
    for needed, together in (((tags.CENTRE, tags.WIDTH), _WINDOW), ((tags.SLOPE,), _RESCALE)):
        for group in groups:
            if not all(_says(group.get_item(tag) if tag in group else None) for tag in needed):
                continue
            group_elements = {tag: group.get_item(tag) for tag in together if tag in group}
            for tag in together:
                own, groups_own = (_says(source.get(tag)) for source in (by_tag, group_elements))
                if own and own != groups_own:
                    elements.warn(
                        f"{name_of(tag)} is not that of the frame's functional group, which was "
                        "taken"
                    )
                by_tag.pop(tag, None)
            by_tag.update(group_elements)
            break


def _groups(by_tag: dict[int, Element], elements: Elements) -> Iterator[Dataset]:
    """Yield what the functional groups hold, those of the frame before those of all frames."""
    for sequence in (tags.FRAME_GROUPS, tags.SHARED_GROUPS):
        for item in elements.items(by_tag.get(sequence))[:1]:
            for group in tags.GROUPS_OF_INTEREST:
                if group in item:
                    yield from elements.items(item.get_item(group))[:1]


def _says(element: Element | None) -> bytes:
    return content_of(element).strip(b" \0\\")


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
        raise ImageError(
            "too_many_bytes",
            f"Expected at most {MAX_INFLATED} bytes, but the deflated file unfolds to more; export "
            "it uncompressed.",
        )
    raise cut_short()
