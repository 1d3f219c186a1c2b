"""A compressed TIFF in, the same picture as an uncompressed TIFF out.

Strips and tiles are unpacked by decoders that raise what they mind, and make no more bytes than the
directory announces: libtiff, which Pillow would use, writes to the terminal, and fills what is
missing. What the samples mean stays in the directory, for Pillow. Source: TIFF 6.0, sections 3, 9,
13, 14, 15 and 22; Technical Note 2 (JPEG).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import tiff_structure as tags
from cxr_transfer.radiograph.jpeg_pixels import samples_of
from cxr_transfer.radiograph.jpeg_structure import MOST_SCANNED, START, read_jpeg
from cxr_transfer.radiograph.radiograph import MAX_PIXELS, too_complex
from cxr_transfer.radiograph.tiff_structure import Tiff

MOST_UNPACKED = 6 * MAX_PIXELS
"""Bytes that strips or tiles may have together: as the largest picture in 16-bit colours."""
MOST_SHARED = 4
"""How many times the bytes of the file strips or tiles may have together, before they are unpacked:
empty tiles may share theirs."""
MOST_JPEGS = 20_000
"""Strips or tiles that are JPEGs: 60 million pixels in tiles of 64 x 64 take 14,648."""
MOST_SEGMENTS = 200_000
"""Segments that the JPEGs of all strips or tiles may have together."""

_LZW, _JPEG, _DEFLATE, _DEFLATE_BEFORE, _PACKBITS = 5, 7, 8, 32946, 32773
_RGB, _YCBCR, _REVERSED, _DIFFERENCES = 2, 6, 2, 2
_KEPT = (
    *(tags.WIDTH, tags.HEIGHT, tags.BITS, tags.PHOTOMETRIC, tags.SAMPLES, tags.PLANAR),
    *(tags.COLOUR_MAP, tags.INK_SET, tags.EXTRA_SAMPLES, tags.SAMPLE_FORMAT),
)
_PART = 1 << 16  # bytes that are inflated at a time
_SUMMED = 1 << 20  # samples that are summed at a time
_LONGEST_RUN = 128  # of PackBits
_OTHER_WAY_ROUND = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"  # and 1 for YCbCr, 0 for RGB: T.872, 6.5.3

Unpack = Callable[[bytes, int], bytes | bytearray]
"""Function from the bytes of a piece and the number of its rows to its samples."""


@dataclass(frozen=True)
class Layout:
    """Cut of a picture into strips or tiles.

    Attributes:
        width: Columns of a piece.
        heights: Rows of each piece.
        samples: Samples of a pixel in a piece.
        bits: Bits of a sample.
        is_tiled: Whether the pieces are tiles.
    """

    width: int
    heights: Sequence[int]
    samples: int
    bits: int
    is_tiled: bool

    @property
    def row(self) -> int:
        """Bytes of a row of a piece."""
        return -(-self.width * self.samples * self.bits // 8)


def unpacked(content: bytes, tiff: Tiff) -> bytes:
    """Return the picture of a compressed TIFF as a TIFF that is not.

    Args:
        content: Bytes of the file.
        tiff: Structure of the file.

    Raises:
        ImageError: ``unsupported_format``, ``insufficient_depth``, ``too_complex``.
        Exception: Any other kind, which damaged bytes lead to.
    """
    layout = layout_of(tiff)
    pieces = list(pieces_of(content, tiff, layout))
    numbers = {tag: tiff.numbers[tag] for tag in _KEPT if tag in tiff.numbers}
    if tiff.compression == _JPEG and tiff.first(tags.PHOTOMETRIC, 1) == _YCBCR:
        numbers[tags.PHOTOMETRIC] = (_RGB,)
    return _written(numbers, pieces, layout, tiff.order)


def pieces_of(content: bytes, tiff: Tiff, layout: Layout) -> Iterator[bytes | bytearray]:
    """Yield the samples of one strip or tile after the other.

    Args:
        content: Bytes of the file.
        tiff: Structure of the file.
        layout: Cut of the picture.

    Raises:
        ImageError: ``unsupported_format``, ``insufficient_depth``, ``too_complex``.
        Exception: Whatever damaged bytes lead to.
    """
    places = zip(tiff.pieces, layout.heights, strict=False)
    if tiff.compression == tags.PLAIN:
        for place, rows in places:
            yield _plain(content, place.start, rows * layout.row, tiff)
        return
    if sum(place.stop - place.start for place in tiff.pieces) > MOST_SHARED * len(content):
        raise too_complex(f"{MOST_SHARED} times its bytes in the strips or tiles of a TIFF")
    unpack = _Jpegs(tiff, layout) if tiff.compression == _JPEG else _unpacker(tiff, layout)
    for place, rows in places:
        yield unpack(content[place], rows)


def _plain(content: bytes, start: int, size: int, tiff: Tiff) -> bytes:
    """Return the samples of a piece that is not compressed, whatever length it is said to have."""
    piece = content[start : start + size]
    if len(piece) < size:
        raise ValueError("truncated")
    return piece.translate(_OTHER_WAY_ROUND) if _is_reversed(tiff) else piece


def _is_reversed(tiff: Tiff) -> bool:
    return tiff.first(tags.FILL_ORDER, 1) == _REVERSED


def layout_of(tiff: Tiff) -> Layout:
    """Return how the picture is cut, where there are as many pieces as that takes.

    Raises:
        ImageError: ``too_complex``.
        ValueError: The directory is damaged, or pieces are missing ("truncated").
    """
    if len(set(tiff.bits)) != 1:
        raise ValueError("channels of several depths")
    samples = planes = tiff.first(tags.SAMPLES, 1)
    if tiff.first(tags.PLANAR, 1) == tags.SEPARATE:
        samples = 1
    else:
        planes = 1
    is_tiled = tags.TILE_WIDTH in tiff.numbers
    if is_tiled:
        width, height = tiff.first(tags.TILE_WIDTH, 0), tiff.first(tags.TILE_HEIGHT, 0)
    else:
        width = tiff.width
        height = min(tiff.first(tags.ROWS_PER_STRIP, tiff.height), tiff.height)
    if min(width, height, samples, planes, tiff.bits[0]) < 1:
        raise ValueError("pieces without pixels")
    across, down = -(-tiff.width // width), -(-tiff.height // height)
    if across * down * planes > len(tiff.pieces):
        raise ValueError("truncated")
    last = height if is_tiled else tiff.height - (down - 1) * height
    heights = ([height] * (across * (down - 1)) + [last] * across) * planes
    layout = Layout(width, heights, samples, tiff.bits[0], is_tiled)
    if sum(heights) * layout.row > MOST_UNPACKED:
        raise too_complex(f"{MOST_UNPACKED} bytes in the strips or tiles of a TIFF")
    return layout


def _unpacker(tiff: Tiff, layout: Layout) -> Unpack:
    """Return what unpacks a strip or tile, other than a JPEG.

    Raises:
        ImageError: ``unsupported_format``, ``insufficient_depth``.
    """
    kinds: Mapping[int, Unpack] = {
        _LZW: _lzw,
        _DEFLATE: _deflate,
        _DEFLATE_BEFORE: _deflate,
        _PACKBITS: _packbits,
    }
    decode = kinds.get(tiff.compression)
    differs = tiff.first(tags.PREDICTOR, 1) if tiff.compression != _PACKBITS else 1
    is_known = differs == 1 or (differs == _DIFFERENCES and layout.bits in (8, 16, 32))
    if decode is None or not is_known:
        if layout.bits == 1:
            raise ImageError(
                "insufficient_depth",
                "Expected grey values, but got black and white only (1 bit); export the image in "
                "grey.",
            )
        raise ImageError(
            "unsupported_format",
            "Expected a TIFF that is not compressed, or by LZW, deflate, PackBits or JPEG, but got "
            "another; save the image as PNG.",
        )

    def unpack(piece: bytes, rows: int) -> bytes | bytearray:
        if _is_reversed(tiff):
            piece = piece.translate(_OTHER_WAY_ROUND)
        size = rows * layout.row
        plain = decode(piece, size)
        if len(plain) < size:
            raise ValueError("truncated")
        plain = plain if len(plain) == size else plain[:size]
        return _summed(plain, rows, layout, tiff.order) if differs != 1 else plain

    return unpack


def _deflate(piece: bytes, size: int) -> bytes | bytearray:
    """Inflate part by part into one place: zlib itself would hold all of it twice."""
    unpacker, plain, length = zlib.decompressobj(), bytearray(size), 0
    for start in range(0, len(piece), _PART):
        packed = piece[start : start + _PART]
        while packed and length <= size and not unpacker.eof:
            # One byte more than is wanted: only then the end, and the checksum in it, is read.
            part = unpacker.decompress(packed, size + 1 - length)
            plain[length : length + len(part)] = part
            length += len(part)
            packed = unpacker.unconsumed_tail
        if packed:
            break
    del plain[length:]
    return plain


def _lzw(piece: bytes, size: int) -> bytes:
    from imagecodecs import lzw_decode

    return bytes(lzw_decode(piece, out=size))


def _packbits(piece: bytes, size: int) -> bytes:
    from imagecodecs import packbits_decode

    return bytes(packbits_decode(piece, out=size + _LONGEST_RUN))


def _summed(plain: bytes | bytearray, rows: int, layout: Layout, order: str) -> bytearray:
    """Return samples of which each was stored as the difference from the one before."""
    kind = np.dtype(f"{order}u{layout.bits // 8}")
    summed = plain if isinstance(plain, bytearray) else bytearray(plain)
    samples = np.frombuffer(summed, kind).reshape(rows, layout.width, layout.samples)
    step = max(1, _SUMMED // (layout.width * layout.samples))
    for start in range(0, rows, step):
        part = samples[start : start + step]
        np.cumsum(part, axis=1, dtype=kind.newbyteorder("="), out=part)
    return summed


class _Jpegs:
    """Unpack strips or tiles that are JPEGs, and count what there is in all of them."""

    def __init__(self, tiff: Tiff, layout: Layout) -> None:
        self._layout = layout
        self._common = tiff.tables.removeprefix(START)
        self._common = self._common[: len(self._common) - 2 * self._common.endswith(b"\xff\xd9")]
        if layout.samples == 3:
            # Without a word of it, a decoder would guess.
            is_ycbcr = tiff.first(tags.PHOTOMETRIC, _RGB) == _YCBCR
            self._common = _ADOBE + bytes([is_ycbcr]) + self._common
        self._segments = self._scanned = 0
        if len(layout.heights) > MOST_JPEGS:
            raise too_complex(f"{MOST_JPEGS} JPEGs in a TIFF")
        if layout.bits != 8 or layout.samples not in (1, 3):
            raise ImageError(
                "unsupported_format",
                "Expected a TIFF of JPEGs that are grey or in colour, of 8 bits, but got others; "
                "save the image as PNG.",
            )

    def __call__(self, piece: bytes, rows: int) -> bytes:
        if not piece.startswith(START):
            raise ValueError("no JPEG where one must be")
        jpeg = read_jpeg(START + self._common + piece[len(START) :])
        self._segments += jpeg.segments
        self._scanned += jpeg.scanned
        if self._segments > MOST_SEGMENTS or self._scanned > MOST_SCANNED:
            raise too_complex(f"{MOST_SEGMENTS} segments in the JPEGs of a TIFF")
        # The last strip may be as high as the others, and its end no picture.
        if jpeg.width != self._layout.width or not rows <= jpeg.height <= self._layout.heights[0]:
            raise ValueError("a JPEG of another size")
        samples = samples_of(jpeg)
        if samples.size != jpeg.height * jpeg.width * self._layout.samples:
            raise ValueError("a JPEG of other channels")
        return samples[:rows].tobytes()


def _written(
    numbers: Mapping[int, tuple[int, ...]],
    pieces: Sequence[bytes | bytearray],
    layout: Layout,
    order: str,
) -> bytes:
    """Return a TIFF of plain pieces, with a directory of these fields and of where they are."""
    lengths = tuple(len(piece) for piece in pieces)
    places = tuple(accumulate(lengths, initial=8))
    if layout.is_tiled:
        own = {
            tags.TILE_WIDTH: (layout.width,),
            tags.TILE_HEIGHT: (layout.heights[0],),
            tags.TILES: places[:-1],
            tags.TILE_LENGTHS: lengths,
        }
    else:
        own = {
            tags.ROWS_PER_STRIP: (layout.heights[0],),
            tags.STRIPS: places[:-1],
            tags.STRIP_LENGTHS: lengths,
        }
    fields = {**numbers, **own, tags.COMPRESSION: (tags.PLAIN,)}
    start = places[-1]
    values_at = start + 2 + 12 * len(fields) + 4
    entries, values = [struct.pack(f"{order}H", len(fields))], b""
    for tag in sorted(fields):
        kind, letter = (3, "H") if max(fields[tag]) < 1 << 16 else (4, "L")
        value = struct.pack(f"{order}{len(fields[tag])}{letter}", *fields[tag])
        if len(value) > 4:
            place, values = values_at + len(values), values + value
            value = struct.pack(f"{order}L", place)
        entries.append(
            struct.pack(f"{order}HHL", tag, kind, len(fields[tag])) + value.ljust(4, b"\0")
        )
    signature = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", start)
    return b"".join((signature, *pieces, *entries, bytes(4), values))
