"""What a TIFF is made of, before a decoder sees it: TIFF 6.0, section 2, and BigTIFF.

Reads the directory of the first page, and hands the file on with a directory of only those fields
that pixels are made of: private fields, Exif, colour profiles and further pages are never parsed
by a library. Knows nothing of pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.radiograph import several_frames, too_complex

MOST_FIELDS = 1000
"""Fields that a directory may have."""
MOST_PIECES = 100_000
"""Strips or tiles that a picture may have: as many as the rows of the tallest."""
_MOST_PAGES = 16

_KINDS = {b"II*\0": ("<", False), b"MM\0*": (">", False)}
_KINDS |= {b"II+\0": ("<", True), b"MM\0+": (">", True)}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}  # of each type in bytes
_NUMBERS = {1: "B", 3: "H", 4: "L", 16: "Q"}
_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, STRIPS, SAMPLES, ROWS_PER_STRIP, STRIP_LENGTHS = 266, 273, 277, 278, 279
PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT = 284, 317, 320, 322, 323
TILES, TILE_LENGTHS, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT = 324, 325, 332, 338, 339
_ORIENTATION, _JPEG_TABLES = 274, 347
_OF_PIXELS = frozenset(
    (
        *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, SAMPLES),
        *(ROWS_PER_STRIP, STRIP_LENGTHS, PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT),
        *(TILES, TILE_LENGTHS, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT),
    )
)
_IS_PREVIEW, SEPARATE, PLAIN = 1, 2, 1


@dataclass(frozen=True)
class Tiff:
    """Facts of a TIFF.

    Attributes:
        width: Columns of the picture.
        height: Rows of the picture.
        plain: File with a directory of nothing but what its pixels are made of.
        bits: Bits of each channel.
        order: Byte order, "<" or ">".
        compression: Code of the compression of the pixels; `PLAIN` where there is none.
        pieces: Places of the strips or tiles in the file.
        numbers: Values of those fields that hold integers, by tag.
        tables: Tables that the JPEGs of its strips or tiles have in common.
        orientation: Orientation, 1 to 8.
        has_preview: Whether smaller copies of the picture were left out.
    """

    width: int
    height: int
    plain: bytes
    bits: tuple[int, ...]
    order: str
    compression: int
    pieces: tuple[slice, ...]
    numbers: Mapping[int, tuple[int, ...]]
    tables: bytes
    orientation: int
    has_preview: bool

    def first(self, tag: int, otherwise: int) -> int:
        """Return the first value of a field; ``otherwise`` where it is missing."""
        return next(iter(self.numbers.get(tag, ())), otherwise)


@dataclass(frozen=True)
class _Field:
    kind: int
    place: slice
    entry: bytes
    values: tuple[int, ...]


def is_tiff(content: bytes) -> bool:
    """Tell a TIFF by its first bytes."""
    return content[:4] in _KINDS


def read_tiff(content: bytes) -> Tiff:
    """Read the directory of a TIFF.

    Args:
        content: Bytes of the file.

    Raises:
        ImageError: ``too_complex``, ``multi_frame`` for more than one page, ``unsupported_format``
            for 16-bit colours in separate planes.
        ValueError, struct.error: The directory is damaged.
    """
    order, is_big = _KINDS[content[:4]]
    (start,) = struct.unpack_from(
        f"{order}Q" if is_big else f"{order}L", content, 8 if is_big else 4
    )
    fields, following = _directory(content, start, order, is_big)
    has_preview = _check_pages(content, following, order, is_big)

    numbers = {tag: field.values for tag, field in fields.items() if field.values}
    bits = numbers.get(BITS, (1,))
    if len(bits) > 2 and max(bits) > 8 and numbers.get(PLANAR, ())[:1] == (SEPARATE,):
        raise ImageError(
            "unsupported_format",
            "Expected grey values, or colours that lie side by side, but got 16-bit colours in "
            "separate planes; save the image in grey.",
        )
    # Those alone that are understood here: what Pillow reads is to be what was checked.
    kept = {tag: field for tag, field in fields.items() if tag in _OF_PIXELS and field.values}
    width, height, compression, orientation = (
        next(iter(numbers.get(tag, ())), otherwise)
        for tag, otherwise in ((WIDTH, 0), (HEIGHT, 0), (COMPRESSION, PLAIN), (_ORIENTATION, 1))
    )
    return Tiff(
        width,
        height,
        _rewritten(content, kept, order, is_big),
        bits,
        order,
        compression,
        _pieces(content, numbers),
        numbers,
        content[fields[_JPEG_TABLES].place] if _JPEG_TABLES in fields else b"",
        orientation if 1 <= orientation <= 8 else 1,
        has_preview,
    )


def _pieces(content: bytes, numbers: Mapping[int, tuple[int, ...]]) -> tuple[slice, ...]:
    """Return where the bytes of each strip, or of each tile, are; what is cut off is left out."""
    places, lengths = (
        next((numbers[tag] for tag in tags if tag in numbers), ())
        for tags in ((TILES, STRIPS), (TILE_LENGTHS, STRIP_LENGTHS))
    )
    end = len(content)
    lengths = lengths or (end,) * len(places)
    return tuple(
        slice(min(place, end), min(place + length, end))
        for place, length in zip(places, lengths, strict=False)
    )


def _directory(
    content: bytes, start: int, order: str, is_big: bool
) -> tuple[dict[int, _Field], int]:
    """Return the fields of a directory by tag, and where the next directory is; 0 for nowhere."""
    (entries,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}H", content, start)
    if entries > MOST_FIELDS:
        raise too_complex(f"{MOST_FIELDS} fields in a TIFF's directory")
    size, head, room = (20, 8, 8) if is_big else (12, 2, 4)
    fields: dict[int, _Field] = {}
    held = 0
    for at in range(start + head, start + head + size * entries, size):
        entry = content[at : at + size]
        tag, kind, number = struct.unpack_from(f"{order}HHQ" if is_big else f"{order}HHL", entry)
        length = _SIZES.get(kind, 1) * number
        held += length
        # Each value would be copied: together they can be no more than there is.
        if held > len(content):
            raise ValueError("fields that hold more than the file")
        if tag in fields or tag not in _OF_PIXELS | {_SUBFILE, _ORIENTATION, _JPEG_TABLES}:
            continue
        if number > MOST_PIECES:
            raise too_complex(f"{MOST_PIECES} strips or tiles in a TIFF")
        place = at + size - room
        if length > room:
            (place,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}L", content, place)
        if place + length > len(content):
            raise ValueError("a field outside of the file")
        letter = _NUMBERS.get(kind)
        values = struct.unpack_from(f"{order}{number}{letter}", content, place) if letter else ()
        fields[tag] = _Field(kind, slice(place, place + length), entry, values)
    end = start + head + size * entries
    (following,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}L", content, end)
    return fields, following


def _check_pages(content: bytes, start: int, order: str, is_big: bool) -> bool:
    """Refuse a second page; return whether there is a preview, which a field tells from a page.

    Raises:
        ImageError: ``multi_frame``.
    """
    has_preview = False
    for _ in range(_MOST_PAGES):
        if not start:
            return has_preview
        try:
            fields, start = _directory(content, start, order, is_big)
        except (ValueError, struct.error):
            return has_preview  # bytes behind the last directory, and no page
        kind = fields.get(_SUBFILE)
        if not (kind and kind.values and kind.values[0] & _IS_PREVIEW):
            break
        has_preview = True
    raise several_frames()


def _rewritten(content: bytes, fields: dict[int, _Field], order: str, is_big: bool) -> bytes:
    """Return the file with a directory of these fields alone, which stands at its end."""
    start = len(content) + len(content) % 2
    number = struct.pack(f"{order}Q" if is_big else f"{order}H", len(fields))
    entries = b"".join(fields[tag].entry for tag in sorted(fields))
    place = struct.pack(f"{order}Q" if is_big else f"{order}L", start)
    head = content[:8] + place if is_big else content[:4] + place
    padding = bytes(len(content) % 2)
    return b"".join((head, content[len(head) :], padding, number, entries, bytes(len(place))))
