"""How a camera or a scanner says that a picture lies turned: one number out of Exif or XMP.

Reads that number and nothing else: a library that parses all of Exif can be kept busy for minutes.
Source: TIFF 6.0, section 8 (Orientation); Exif 2.32, section 4.5.4.
"""

from __future__ import annotations

import re
import struct

ORIENTATION = 274
_MOST_ENTRIES = 1000
_SHORT = 3
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, of an Exif block; 1 (upright) where it names none.

    Args:
        exif: A block that begins as a TIFF file does: byte order, 42, offset of the directory.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return 1
    (start,) = struct.unpack_from(f"{order}L", exif, 4)
    if start + 2 > len(exif):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", exif, start)
    for at in range(start + 2, start + 2 + 12 * min(entries, _MOST_ENTRIES), 12):
        if at + 12 > len(exif):
            return 1
        tag, kind, number, value = struct.unpack_from(f"{order}HHLH", exif, at)
        if tag == ORIENTATION:
            return value if kind == _SHORT and number == 1 and 1 <= value <= 8 else 1
    return 1


def orientation_in_xmp(packet: bytes) -> int:
    """Return the orientation, 1 to 8, that an XMP packet names; 1 where it names none."""
    found = _XMP.search(packet)
    return int(found[1]) if found else 1
