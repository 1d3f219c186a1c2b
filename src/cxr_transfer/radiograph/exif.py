"""How a camera or a scanner says that a picture lies turned: one number out of Exif or XMP.

Reads that number and nothing else: a library that parses all of Exif can be kept busy for minutes.
Source: TIFF 6.0, section 8 (Orientation); Exif 2.32, section 4.5.4.
"""

from __future__ import annotations

import re
import struct

ORIENTATION = 274
_MOST_ENTRIES = 1000
_KINDS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l"}  # whole numbers, TIFF 6.0, section 2
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, of an Exif block; 0 where it names none.

    It is to be one short integer; writers that give another kind, or count wrongly, mean the same.

    Args:
        exif: A block that begins as a TIFF file does: byte order, 42, offset of the directory.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return 0
    (start,) = struct.unpack_from(f"{order}L", exif, 4)
    if start + 2 > len(exif):
        return 0
    (entries,) = struct.unpack_from(f"{order}H", exif, start)
    for at in range(start + 2, start + 2 + 12 * min(entries, _MOST_ENTRIES), 12):
        if at + 12 > len(exif):
            return 0
        tag, kind, number = struct.unpack_from(f"{order}HHL", exif, at)
        if tag == ORIENTATION and kind in _KINDS:
            place, size = at + 8, struct.calcsize(f"={_KINDS[kind]}")
            if size * number > 4:
                (place,) = struct.unpack_from(f"{order}L", exif, place)
            if place + size > len(exif):
                return 0
            (value,) = struct.unpack_from(f"{order}{_KINDS[kind]}", exif, place)
            return value if 1 <= value <= 8 else 0
    return 0


def orientation_in_xmp(packet: bytes) -> int:
    """Return the orientation, 1 to 8, that an XMP packet names; 0 where it names none."""
    match = _XMP.search(packet)
    return int(match[1]) if match else 0
