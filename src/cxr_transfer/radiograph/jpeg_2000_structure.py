"""What a JPEG 2000 codestream is made of, before a decoder sees it: ISO/IEC 15444-1, annex A.

Walks through the main header and from tile-part to tile-part. A decoder sets memory aside for every
tile, code-block and packet that the headers announce, and a few hundred bytes can announce
billions: these are counted first. Knows nothing of coefficients.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cxr_transfer.radiograph.radiograph import too_complex

MOST_TILES = 16_384
"""Tiles that a picture may have: 60 million pixels in tiles of 64 x 64 take 14,648."""
MOST_CODE_BLOCKS = 1_000_000
"""Code-blocks that a picture may have: 60 million pixels in blocks of 16 x 16 take 312,500."""
MOST_PRECINCTS = 200_000
"""Precincts, over all resolutions, that a picture may have: each takes OpenJPEG 2 kB. 60 million
pixels in precincts of 64 x 64 take 20,000."""
MOST_PACKETS = 1_000_000
"""Packets (of a layer, component, resolution and precinct) that a picture may have."""
MOST_SEGMENTS = 200_000
"""Marker segments of all headers, and tile-parts, that a picture may have."""
MOST_LEVELS = 32  # A.6.1

_START, _END = b"\xff\x4f", b"\xff\xd9"
_SIZE, _CODING, _CODING_OF, _TILE_PART, _DATA = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93
_JP2 = b"\0\0\0\x0cjP  "
STARTS = (_START + _SIZE.to_bytes(2), _JP2)
"""First bytes of a codestream, and of one in the boxes of a JP2 file."""
_CODESTREAM_BOX = b"jp2c"
_MOST_BOXES = 1000


@dataclass(frozen=True)
class Jpeg2000:
    """Facts of a codestream.

    Attributes:
        rows: Rows of the picture.
        columns: Columns of the picture.
        components: Samples of a pixel.
        bits: Bits of a sample, of the component that has most.
        is_signed: Whether samples of the first component are signed.
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
        Facts of the codestream; None where the content is anything else.

    Raises:
        ImageError: ``too_complex``.
        ValueError, struct.error: It is damaged, or "truncated".
    """
    start = _in_boxes(content) if content.startswith(_JP2) else 0
    if start is None or content[start : start + 4] != STARTS[0]:
        return None
    stream = memoryview(content)[start:]
    right, bottom, left, top, *tile, components = struct.unpack_from(">8LH", stream, 8)
    tile_width, tile_height, tile_left, tile_top = tile
    columns, rows = right - left, bottom - top
    if min(columns, rows, tile_width, tile_height, components) < 1:
        raise ValueError("a picture without pixels")
    depths = bytes(stream[42 : 42 + 3 * components : 3])
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > MOST_TILES:
        raise too_complex(f"{MOST_TILES} tiles in a JPEG 2000")
    size = min(tile_width, right), min(tile_height, bottom)
    end, is_ended = _Walk(stream, size, tiles, components).tile_parts()
    pixels = bytes(stream[:end]) + _END
    return Jpeg2000(
        rows,
        columns,
        components,
        max(depth & 0x7F for depth in depths) + 1,
        bool(depths[0] & 0x80),
        pixels,
        is_ended,
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


@dataclass
class _Walk:
    """A walk through all headers of a codestream, and what they announce together.

    Attributes:
        stream: Codestream.
        tile: Width and height of the largest tile.
        tiles: Number of tiles.
        components: Number of components; each of each tile may be coded by one header's terms.
        segments: Number of marker segments and tile-parts so far.
        layers: Most layers that a header announced so far.
        precincts: Most precincts, of one tile and component, that a header announced so far.
    """

    stream: memoryview
    tile: tuple[int, int]
    tiles: int
    components: int
    segments: int = 0
    layers: int = 1
    precincts: int = 1

    @property
    def parts(self) -> int:
        """Number of tiles times components."""
        return self.tiles * self.components

    def tile_parts(self) -> tuple[int, bool]:
        """Check every header, and return where the data ends and whether an end marker follows.

        Raises:
            ImageError: ``too_complex``.
            ValueError: A tile-part ends behind the file ("truncated"), or something else stands
                where one must begin.
        """
        at = self._headers(2, _TILE_PART)
        while True:
            self._count()
            _, _, length = struct.unpack_from(">HHL", self.stream, at + 2)
            self._headers(at + 12, _DATA)
            if length == 0:  # A.4.2: up to the end marker
                end = _last_end(self.stream)
                if end is None:
                    raise ValueError("truncated")
                return end, True
            at += max(14, length)
            if at > len(self.stream):
                raise ValueError("truncated")
            following = bytes(self.stream[at : at + 2])
            if following == _END:
                return at, True
            if len(following) < 2 or not any(self.stream[at:]):
                # All tile-parts are whole, and nothing but padding follows. Some writers count the
                # end marker to the last of them.
                return at, bytes(self.stream[at - 2 : at]) == _END
            if following != _TILE_PART.to_bytes(2):
                raise ValueError("something else where a tile-part must begin")

    def _count(self) -> None:
        self.segments += 1
        if self.segments > MOST_SEGMENTS:
            raise too_complex(f"{MOST_SEGMENTS} segments in a JPEG 2000")

    def _headers(self, at: int, last: int) -> int:
        """Walk through marker segments up to ``last``, and return where that stands."""
        while True:
            (marker,) = struct.unpack_from(">H", self.stream, at)
            if marker == last:
                return at
            self._count()
            (length,) = struct.unpack_from(">H", self.stream, at + 2)
            if length < 2 or not 0xFF30 < marker < 0xFFFF:
                raise ValueError("no marker where one must be")
            if marker == _CODING:
                style, _, layers = struct.unpack_from(">BBH", self.stream, at + 4)
                self._check_coding(at + 9, bool(style & 1), layers)
            elif marker == _CODING_OF:
                # A.6.2: of one component, its number in one or two bytes. It may be coded in the
                # layers of any other header.
                start = at + (6 if self.components > 256 else 5)
                self._check_coding(start + 1, bool(self.stream[start] & 1), 1)
            at += 2 + length

    def _check_coding(self, at: int, has_precincts: bool, layers: int) -> None:
        """Count the code-blocks and packets that coding parameters announce: A.6.1, B.6 to B.9."""
        levels = self.stream[at]
        if levels > MOST_LEVELS:
            raise ValueError("more levels than there can be")
        block = 1 << (self.stream[at + 1] & 15) + 2, 1 << (self.stream[at + 2] & 15) + 2
        blocks = precincts = 0
        for level in range(levels + 1):
            # Sizes of a resolution, of which the bands are half as large but for the lowest.
            width, height = (-(-side >> levels - level) for side in self.tile)
            exponents = self.stream[at + 5 + level] if has_precincts else 0xFF
            across, down = 1 << (exponents & 15), 1 << (exponents >> 4)
            precincts += -(-width // across) * -(-height // down)
            bands, half = (1, 0) if level == 0 else (3, 1)
            # A code-block is no larger than the part of a precinct that lies in its band.
            wide, high = min(block[0], max(1, across >> half)), min(block[1], max(1, down >> half))
            blocks += bands * -(-(width >> half or 1) // wide) * -(-(height >> half or 1) // high)
        self.layers, self.precincts = max(self.layers, layers), max(self.precincts, precincts)
        if self.parts * self.precincts > MOST_PRECINCTS:
            raise too_complex(f"{MOST_PRECINCTS} precincts in a JPEG 2000")
        if self.parts * self.precincts * self.layers > MOST_PACKETS:
            raise too_complex(f"{MOST_PACKETS} packets in a JPEG 2000")
        if self.parts * blocks > MOST_CODE_BLOCKS:
            raise too_complex(f"{MOST_CODE_BLOCKS} code-blocks in a JPEG 2000")


def _last_end(stream: memoryview) -> int | None:
    """Return where the end marker stands behind which nothing but padding follows."""
    plain = bytes(stream).rstrip(b"\0\xff")
    return len(plain) - 2 if plain.endswith(_END) else None
