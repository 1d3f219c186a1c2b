"""What a PNG is made of, before a decoder sees it: PNG 1.2 (ISO/IEC 15948), clause 5.

Walks through the chunks, checks their sums and counts them. Knows nothing of pixels.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph import exif
from cxr_transfer.radiograph.film import too_complex

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 20_000
"""Chunks that a picture may have: 60 million pixels in pieces of 8 kB take 15,000."""

_GREY, _PALETTE = 0, 3  # colour types, 11.2.2
_PROFILE = b"iCCP"  # may be there once, 11.3.3.3; Pillow inflates each
_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"


@dataclass(frozen=True)
class Png:
    """What a PNG is made of.

    Attributes:
        width: Columns of the picture.
        height: Rows of the picture.
        is_deep_colour: Whether it has 16 bits and more than one channel.
        orientation: How it lies, 1 to 8, as Exif or XMP says.
    """

    width: int
    height: int
    is_deep_colour: bool
    orientation: int


def read_png(content: bytes) -> Png | None:
    """Walk through the chunks of a PNG.

    Args:
        content: The file, beginning with its signature.

    Returns:
        None of a signature without anything behind it.

    Raises:
        FilmError: ``too_complex``, ``corrupt_image`` for a damaged header or a wrong checksum,
            which Pillow does not look for in the chunks of the pixels.
    """
    view, start, chunks, profiles = memoryview(content), len(SIGNATURE), 0, 0
    header, orientation = b"", 0
    while start + 12 <= len(content):
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise too_complex(f"{MOST_CHUNKS} chunks in a PNG")
        end = start + 8 + int.from_bytes(view[start : start + 4])
        if end + 4 > len(content):
            break  # Cut off: decoding it says so.
        if zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise FilmError(
                "corrupt_image",
                "Expected a whole image, but the checksum of a PNG chunk is wrong; export it anew.",
            )
        name, body = bytes(view[start + 4 : start + 8]), view[start + 8 : end]
        profiles += name == _PROFILE
        if profiles > 1:
            raise too_complex("1 colour profile in a PNG")
        if name == b"IHDR":
            header = header or bytes(body)
        elif name == b"eXIf":
            orientation = orientation or exif.orientation(bytes(body))
        elif name == b"iTXt" and bytes(body[: len(_XMP)]) == _XMP:
            orientation = orientation or exif.orientation_in_xmp(bytes(body))
        start = end + 4
    if len(header) < 13:
        if len(content) <= len(SIGNATURE):
            return None
        raise FilmError(
            "corrupt_image",
            "Expected a whole image, but its PNG header is damaged; export it anew.",
        )
    width, height, bits, kind = struct.unpack(">LLBB", header[:10])
    is_deep_colour = bits == 16 and kind not in (_GREY, _PALETTE)
    return Png(width, height, is_deep_colour, orientation or 1)
