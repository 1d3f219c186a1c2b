"""What a TIFF is made of, before a decoder sees it: TIFF 6.0, section 2, and BigTIFF.

Reads the directory of the first page, and hands the file on with a directory of only those fields
that pixels are made of: private fields, Exif, colour profiles and further pages are never parsed
by a library. Knows nothing of pixels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph.film import several_frames, too_complex

MOST_FIELDS = 1000
"""Fields that a directory may have."""
MOST_PIECES = 100_000
"""Strips or tiles that a picture may have: as many as the rows of the tallest."""
MOST_SHARED = 4
"""How many times the bytes of the file its strips or tiles may have together: empty tiles may share
theirs."""
_MOST_PAGES = 16

_KINDS = {b"II*\0": ("<", False), b"MM\0*": (">", False)}
_KINDS |= {b"II+\0": ("<", True), b"MM\0+": (">", True)}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}  # of each type in bytes
_NUMBERS = {1: "B", 3: "H", 4: "L", 16: "Q"}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIPS, _STRIP_LENGTHS, _TILES, _TILE_LENGTHS = 273, 279, 324, 325
_ORIENTATION, _PLANAR, _SAMPLE_FORMAT = 274, 284, 339
_OF_PIXELS = frozenset(
    (
        *(
            _WIDTH,
            _HEIGHT,
            _BITS,
            _COMPRESSION,
            _PHOTOMETRIC,
            266,
            _STRIPS,
            277,
            278,
            _STRIP_LENGTHS,
            _PLANAR,
        ),
        *(292, 293, 317, 320, 322, 323, _TILES, _TILE_LENGTHS, 332, 338, _SAMPLE_FORMAT, 347),
        *(529, 530, 531, 532),
    )
)
_IS_PREVIEW, _SEPARATE, _PLAIN, _JPEG = 1, 2, 1, 7


@dataclass(frozen=True)
class Tiff:
    """What a TIFF is made of.

    Attributes:
        width: Columns of the picture.
        height: Rows of the picture.
        pixels: The file with a directory of nothing but what its pixels are made of.
        bits: Bits of each channel.
        is_compressed: Whether its pixels are compressed.
        jpegs: Places (start, end) of its strips or tiles, where each is a JPEG.
        is_white_zero: Whether the lowest value is white.
        orientation: How it lies, 1 to 8.
        has_preview: Whether smaller copies of the picture were left out.
    """

    width: int
    height: int
    pixels: bytes
    bits: tuple[int, ...]
    is_compressed: bool
    jpegs: tuple[slice, ...]
    is_white_zero: bool
    orientation: int
    has_preview: bool

    @property
    def is_deep_colour(self) -> bool:
        """Whether it has 16 bits and more than one channel."""
        return len(self.bits) > 1 and max(self.bits) > 8


@dataclass(frozen=True)
class _Field:
    kind: int
    number: int
    entry: bytes
    values: tuple[int, ...]


def is_tiff(content: bytes) -> bool:
    """Tell a TIFF by its first bytes."""
    return content[:4] in _KINDS


def read_tiff(content: bytes) -> Tiff:
    """Read the directory of a TIFF.

    Args:
        content: The file.

    Raises:
        FilmError: ``too_complex``, ``multi_frame`` for more than one page, ``unsupported_format``
            for 16-bit colours in separate planes, which Pillow decodes wrongly.
        ValueError, struct.error: The directory is damaged.
    """
    order, is_big = _KINDS[content[:4]]
    (start,) = struct.unpack_from(
        f"{order}Q" if is_big else f"{order}L", content, 8 if is_big else 4
    )
    fields, following = _directory(content, start, order, is_big)
    has_preview = _check_pages(content, following, order, is_big)

    def first(tag: int, otherwise: int) -> int:
        return next(iter(fields[tag].values), otherwise) if tag in fields else otherwise

    bits = fields[_BITS].values if _BITS in fields else (1,)
    if len(bits) > 1 and max(bits) > 8 and first(_PLANAR, 1) == _SEPARATE:
        raise FilmError(
            "unsupported_format",
            "Expected grey values, or colours that lie side by side, but got 16-bit colours in "
            "separate planes; save the image in grey.",
        )
    pieces = _pieces(content, fields)
    orientation = first(_ORIENTATION, 1)
    kept = {tag: field for tag, field in fields.items() if tag in _OF_PIXELS}
    return Tiff(
        first(_WIDTH, 0),
        first(_HEIGHT, 0),
        _rewritten(content, kept, order, is_big),
        bits,
        first(_COMPRESSION, _PLAIN) != _PLAIN,
        pieces if first(_COMPRESSION, _PLAIN) == _JPEG else (),
        first(_PHOTOMETRIC, 1) == 0,
        orientation if 1 <= orientation <= 8 else 1,
        has_preview,
    )


def _pieces(content: bytes, fields: dict[int, _Field]) -> tuple[slice, ...]:
    """Return where the bytes of each strip, or of each tile, are.

    Raises:
        FilmError: ``too_complex`` where they overlap so much that each byte is read many times.
    """
    places, lengths = (
        next((fields[tag].values for tag in tags if tag in fields), ())
        for tags in ((_STRIPS, _TILES), (_STRIP_LENGTHS, _TILE_LENGTHS))
    )
    if sum(lengths[: len(places)]) > MOST_SHARED * len(content):
        raise too_complex(f"{MOST_SHARED} times its bytes in the strips or tiles of a TIFF")
    return tuple(
        slice(place, place + length) for place, length in zip(places, lengths, strict=False)
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
        if tag in fields or tag not in _OF_PIXELS | {_SUBFILE, _ORIENTATION}:
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
        fields[tag] = _Field(kind, number, entry, values)
    end = start + head + size * entries
    (following,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}L", content, end)
    return fields, following


def _check_pages(content: bytes, start: int, order: str, is_big: bool) -> bool:
    """Refuse a second page; return whether there is a preview, which a field tells from a page.

    Raises:
        FilmError: ``multi_frame``.
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
