"""What a JPEG 2000 codestream is made of, before a decoder sees it: ISO/IEC 15444-1, annex A.

Walks through the main header and from tile-part to tile-part. A decoder sets memory aside for every
tile, code-block and packet that the headers announce, and a few hundred bytes can announce
billions: these are counted first. Knows nothing of coefficients.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cxr_transfer.radiograph.film import too_complex

MOST_TILES = 16_384
"""Tiles that a picture may have: 60 million pixels in tiles of 64 x 64 take 14,648."""
MOST_CODE_BLOCKS = 1_000_000
"""Code-blocks that a picture may have: 60 million pixels in blocks of 16 x 16 take 312,500."""
MOST_PRECINCTS = 200_000
"""Precincts, over all resolutions, that a picture may have: each takes OpenJPEG 2 kB. 60 million
pixels in precincts of 64 x 64 take 20,000."""
MOST_PACKETS = 1_000_000
"""Packets (of a layer, component, resolution and precinct) that a picture may have."""
MOST_LEVELS = 32  # A.6.1

_START, _END = b"\xff\x4f", b"\xff\xd9"
_SIZE, _CODING, _CODING_OF, _TILE_PART, _DATA = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93
_JP2 = b"\0\0\0\x0cjP  "
_CODESTREAM_BOX = b"jp2c"
_MOST_BOXES = 1000


@dataclass(frozen=True)
class Jpeg2000:
    """What a codestream is made of.

    Attributes:
        rows: Rows of the picture.
        columns: Columns of the picture.
        components: Samples of a pixel.
        bits: Bits of a sample, of the first component.
        is_signed: Whether samples are signed.
        pixels: The codestream from its start to its end marker.
        is_ended: Whether it has an end marker of its own.
    """

    rows: int
    columns: int
    components: int
    bits: int
    is_signed: bool
    pixels: bytes
    is_ended: bool


def read_jpeg_2000(content: bytes) -> Jpeg2000 | None:
    """Walk through a JPEG 2000 codestream, or one in the boxes of a JP2 file (annex I).

    Returns:
        None of anything else.

    Raises:
        FilmError: ``too_complex``.
        ValueError, struct.error: It is damaged, or "truncated".
    """
    start = _in_boxes(content) if content.startswith(_JP2) else 0
    if start is None or content[start : start + 4] != _START + _SIZE.to_bytes(2):
        return None
    stream = memoryview(content)[start:]
    right, bottom, left, top, *tile, components = struct.unpack_from(">8LH", stream, 8)
    tile_width, tile_height, tile_left, tile_top = tile
    columns, rows = right - left, bottom - top
    if min(columns, rows, tile_width, tile_height, components) < 1:
        raise ValueError("a picture without pixels")
    depth = stream[42]
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > MOST_TILES:
        raise too_complex(f"{MOST_TILES} tiles in a JPEG 2000")
    size = min(tile_width, right), min(tile_height, bottom)
    end, is_ended = _tile_parts(stream, size, tiles * components)
    pixels = bytes(stream[:end]) + _END
    return Jpeg2000(
        rows, columns, components, (depth & 0x7F) + 1, bool(depth & 0x80), pixels, is_ended
    )


def _in_boxes(content: bytes) -> int | None:
    """Return where the codestream begins in a JP2 file: in its own box, and nowhere else (I.4)."""
    start = 0
    for _ in range(_MOST_BOXES):
        if start + 8 > len(content):
            return None
        length, kind = struct.unpack_from(">L4s", content, start)
        head = 8
        if length == 1 and start + 16 <= len(content):
            (length,) = struct.unpack_from(">Q", content, start + 8)
            head = 16
        if kind == _CODESTREAM_BOX:
            return start + head
        if length < head:  # 0 is "to the end of the file"
            return None
        start += length
    raise too_complex(f"{_MOST_BOXES} boxes in a JP2 file")


def _tile_parts(stream: memoryview, tile: tuple[int, int], parts: int) -> tuple[int, bool]:
    """Check every header, and return where the data ends and whether an end marker follows.

    Args:
        stream: The codestream.
        tile: Width and height of the largest tile.
        parts: Tiles times components, each of which may be coded by one header's terms.

    Raises:
        ValueError: A tile-part ends behind the file ("truncated"), or something else stands where
            one must begin.
    """
    at = _headers(stream, 2, _TILE_PART, tile, parts)
    seen = 0
    while True:
        seen += 1
        if seen > 255 * MOST_TILES:
            raise too_complex(f"{255 * MOST_TILES} tile-parts in a JPEG 2000")
        _, _, length = struct.unpack_from(">HHL", stream, at + 2)
        _headers(stream, at + 12, _DATA, tile, parts)
        if length == 0:  # A.4.2: up to the end marker
            end = _last_end(stream)
            if end is None:
                raise ValueError("truncated")
            return end, True
        at += max(14, length)
        if at > len(stream):
            raise ValueError("truncated")
        following = bytes(stream[at : at + 2])
        if following == _END:
            return at, True
        if len(following) < 2 or not any(stream[at:]):
            # All tile-parts are whole, and nothing but padding follows. Some writers count the end
            # marker to the last of them.
            return at, bytes(stream[at - 2 : at]) == _END
        if following != _TILE_PART.to_bytes(2):
            raise ValueError("something else where a tile-part must begin")


def _last_end(stream: memoryview) -> int | None:
    """Return where the end marker stands behind which nothing but padding follows."""
    plain = bytes(stream).rstrip(b"\0\xff")
    return len(plain) - 2 if plain.endswith(_END) else None


def _headers(stream: memoryview, at: int, last: int, tile: tuple[int, int], parts: int) -> int:
    """Walk through marker segments up to ``last``, and return where that stands."""
    while True:
        (marker,) = struct.unpack_from(">H", stream, at)
        if marker == last:
            return at
        (length,) = struct.unpack_from(">H", stream, at + 2)
        if length < 2 or not 0xFF30 < marker < 0xFFFF:
            raise ValueError("no marker where one must be")
        if marker == _CODING:
            style, _, layers = struct.unpack_from(">BBH", stream, at + 4)
            _check_coding(stream, at + 9, bool(style & 1), layers, tile, parts)
        elif marker == _CODING_OF:
            # A.6.2: of one component, its number in one or two bytes; layers are the main one's.
            start = at + (6 if parts > 256 else 5)
            _check_coding(stream, start + 1, bool(stream[start] & 1), 1, tile, parts)
        at += 2 + length


def _check_coding(
    stream: memoryview,
    at: int,
    has_precincts: bool,
    layers: int,
    tile: tuple[int, int],
    parts: int,
) -> None:
    """Count the code-blocks and packets that coding parameters announce: A.6.1, B.6 to B.9."""
    levels = stream[at]
    if levels > MOST_LEVELS:
        raise ValueError("more levels than there can be")
    block = 1 << (stream[at + 1] & 15) + 2, 1 << (stream[at + 2] & 15) + 2
    blocks = precincts = 0
    for level in range(levels + 1):
        # Sizes of a resolution, of which the bands are half as large but for the lowest.
        width, height = (-(-side >> levels - level) for side in tile)
        exponents = stream[at + 5 + level] if has_precincts else 0xFF
        across, down = 1 << (exponents & 15), 1 << (exponents >> 4)
        precincts += -(-width // across) * -(-height // down)
        bands, half = (1, 0) if level == 0 else (3, 1)
        # A code-block is no larger than the part of a precinct that lies in its band.
        wide, high = min(block[0], max(1, across >> half)), min(block[1], max(1, down >> half))
        blocks += bands * -(-(width >> half or 1) // wide) * -(-(height >> half or 1) // high)
    if parts * precincts > MOST_PRECINCTS:
        raise too_complex(f"{MOST_PRECINCTS} precincts in a JPEG 2000")
    if parts * precincts * layers > MOST_PACKETS:
        raise too_complex(f"{MOST_PACKETS} packets in a JPEG 2000")
    if parts * blocks > MOST_CODE_BLOCKS:
        raise too_complex(f"{MOST_CODE_BLOCKS} code-blocks in a JPEG 2000")
