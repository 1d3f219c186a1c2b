"""What a PNG is made of, before a decoder sees it: PNG 1.2 (ISO/IEC 15948), clauses 5 and 11.

Walks through the chunks, checks their sums and counts them, and hands on only those that pixels are
made of: texts, colour profiles and the like are never parsed by a library, and where one is damaged
the pixels are whole. Knows nothing of pixels.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import exif
from cxr_transfer.radiograph.radiograph import several_frames, too_complex

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 20_000
"""Chunks that a picture may have: 60 million pixels in pieces of 8 kB take 15,000."""
MOST_TEXT = 64_000_000
"""Bytes that its compressed texts and its colour profile may unfold to together."""

_GREY, _COLOUR, _PALETTE, _GREY_ALPHA, _COLOUR_ALPHA = 0, 2, 3, 4, 6  # colour types, 11.2.2
_NAME = re.compile(rb"[A-Za-z]{4}")
_TRANSPARENT = b"tRNS"
_END = b"IEND"
_PIXELS = frozenset({b"IHDR", b"IDAT", _END, _TRANSPARENT})  # and PLTE of a palette
_PROFILE = b"iCCP"  # may be there once, 11.3.3.3
_ANIMATION, _NEXT_FRAME = b"acTL", b"fdAT"  # PNG, third edition, 11.3.6
_LENGTHS = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, _ANIMATION: 8}  # 11.3
_PACKED = {
    b"zTXt": re.compile(rb"[^\x00]{1,79}\x00\x00"),
    _PROFILE: re.compile(rb"[^\x00]{1,79}\x00\x00"),
    b"iTXt": re.compile(rb"[^\x00]{1,79}\x00\x01\x00[^\x00]*\x00[^\x00]*\x00"),
}  # what stands before the compressed part: name, method, languages
_LONG = 1 << 20  # bytes of a text
_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"


@dataclass(frozen=True)
class Png:
    """Facts of a PNG.

    Attributes:
        width: Columns of the picture.
        height: Rows of the picture.
        bits: Bits of a sample.
        colours: Channels without alpha, 1 or 3; 1 of a palette.
        has_alpha: Whether a channel says how opaque a pixel is.
        key: Transparent colour of 16 bits, which `pixels` then does not hold.
        pixels: The file with nothing but what its pixels are made of.
        orientation: Orientation, 1 to 8, as Exif or XMP says.
        warnings: Lines on chunks that were passed over for a fault.
        is_interlaced: Whether its rows come in seven passes.
    """

    width: int
    height: int
    bits: int
    colours: int
    has_alpha: bool
    key: tuple[int, ...]
    pixels: bytes
    orientation: int
    warnings: tuple[str, ...]
    is_interlaced: bool


def read_png(content: bytes) -> Png | None:
    """Walk through the chunks of a PNG.

    Args:
        content: Bytes of the file, from its signature; what follows its end is passed over.

    Returns:
        Facts of the file; None for a signature without anything behind it.

    Raises:
        ImageError: ``too_complex``, ``multi_frame``. ``corrupt_image`` for a damaged header, for
            texts that unfold without an end, or for a wrong checksum of a chunk of pixels, which
            Pillow does not look for.
    """
    if len(content) <= len(SIGNATURE):
        return None
    walk, name = _Walk(), b""
    view, start, chunks = memoryview(content), len(SIGNATURE), 0
    kept = [view[:start]]
    while start + 12 <= len(content) and name != _END:
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise too_complex(f"{MOST_CHUNKS} chunks in a PNG")
        end = start + 8 + int.from_bytes(view[start : start + 4])
        if end + 4 > len(content):
            break  # Cut off: decoding it says so.
        name = bytes(view[start + 4 : start + 8])
        is_whole = zlib.crc32(view[start + 4 : end]) == int.from_bytes(view[end : end + 4])
        if walk.is_of_pixels(name, view[start + 8 : end], is_whole):
            kept.append(view[start : end + 4])
        start = end + 4
    if name != _END:
        kept.append(view[start:])
    return walk.png(b"".join(kept))


@dataclass
class _Walk:
    """A walk through the chunks of a PNG, and what they have said so far."""

    header: bytes = b""
    key: tuple[int, ...] = ()
    profiles: int = 0
    unpacked: int = 0
    by_exif: int = 0
    by_xmp: int = 0
    warnings: dict[str, None] = field(default_factory=dict)

    def is_of_pixels(self, name: bytes, body: memoryview, is_whole: bool) -> bool:
        """Take in a chunk; tell whether pixels are made of it."""
        if not _NAME.fullmatch(name):
            raise _corrupt("its PNG chunks are damaged")
        if not is_whole and (name[:1].isupper() or name in (_TRANSPARENT, _NEXT_FRAME)):
            raise _corrupt("the checksum of a PNG chunk is wrong")
        if name == b"IHDR":
            self.header = self.header or bytes(body)
        if name == _NEXT_FRAME:
            raise several_frames()
        if name == _TRANSPARENT:
            return self._is_transparency(body)
        if name == b"PLTE":
            return self._colour_type == _PALETTE  # of colours, it is a proposal
        if name in _PIXELS:
            return True
        self.profiles += name == _PROFILE
        if self.profiles > 1:
            raise too_complex("1 colour profile in a PNG")
        if not is_whole:
            self._warn(name, "its checksum is wrong")
        else:
            self._take_in(name, body)
        return False

    def png(self, pixels: bytes) -> Png:
        """Return what the chunks say together."""
        # Method of compression, method of filtering, interlace: 11.2.2.
        if len(self.header) < 13 or any(self.header[10:12]) or self.header[12] > 1:
            raise _corrupt("its PNG header is damaged")
        width, height = struct.unpack(">LL", self.header[:8])
        kind = self._colour_type
        return Png(
            width,
            height,
            self._bits,
            3 if kind in (_COLOUR, _COLOUR_ALPHA) else 1,
            kind in (_GREY_ALPHA, _COLOUR_ALPHA),
            self.key,
            pixels,
            self.by_exif or self.by_xmp or 1,
            tuple(self.warnings),
            bool(self.header[12]),
        )

    @property
    def _bits(self) -> int:
        return self.header[8] if len(self.header) > 8 else 0

    @property
    def _colour_type(self) -> int:
        return self.header[9] if len(self.header) > 9 else -1

    def _warn(self, name: bytes, why: str) -> None:
        text = name.decode("ascii")
        self.warnings[f"the {text} chunk of its PNG was passed over: {why}"] = None

    def _is_transparency(self, body: memoryview) -> bool:
        """Tell whether a tRNS chunk (11.3.2.1) is for Pillow; it knows no key of 16 bits."""
        expected = {_GREY: 2, _COLOUR: 6}.get(self._colour_type, 0)
        is_possible = len(body) == expected
        if self._colour_type == _PALETTE:
            is_possible = 0 < len(body) <= 256
        if not is_possible or not len(body):
            self._warn(_TRANSPARENT, "it is too short or too long")
            return False
        if self._bits == 16:
            self.key = struct.unpack(f">{expected // 2}H", body)
            return False
        return True

    def _take_in(self, name: bytes, body: memoryview) -> None:
        """Take in a chunk that pixels are not made of."""
        if len(body) < _LENGTHS.get(name, 0):
            self._warn(name, "it is too short")
        elif name == _ANIMATION:
            if 1 < int.from_bytes(body[:4]) < 1 << 31:
                raise several_frames()
        elif name == b"eXIf":
            self.by_exif = self.by_exif or exif.orientation(bytes(body))
        elif name == b"iTXt" and bytes(body[: len(_XMP)]) == _XMP:
            self.by_xmp = self.by_xmp or exif.orientation_in_xmp(bytes(body))
        elif name in _PACKED:
            self._unpack(name, body)

    def _unpack(self, name: bytes, body: memoryview) -> None:
        """See how much a compressed text is; nobody reads it."""
        start = _PACKED[name].match(body)
        if start is None:
            if name != b"iTXt":  # one that is not compressed is as good
                self._warn(name, "it is damaged")
            return
        before, unpacker, packed = self.unpacked, zlib.decompressobj(), bytes(body[start.end() :])
        try:
            while packed and not unpacker.eof:
                self.unpacked += len(unpacker.decompress(packed, _LONG))
                packed = unpacker.unconsumed_tail
                if self.unpacked > MOST_TEXT:
                    raise _corrupt("its texts or its colour profile unfold without an end")
        except zlib.error:
            self._warn(name, "it is damaged")
            return
        if not unpacker.eof:
            self._warn(name, "it is damaged")
        elif self.unpacked - before > _LONG:
            self._warn(name, "it is longer than a text of a picture is")


def _corrupt(reason: str) -> ImageError:
    return ImageError("corrupt_image", f"Expected a whole image, but {reason}; export it anew.")
