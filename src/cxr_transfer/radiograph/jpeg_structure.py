"""What a JPEG is made of, before a decoder sees it: ITU-T T.81, annex B.

Walks through segments and scans without decoding one. Refuses what would keep a decoder busy
without an end, and hands on only the segments that pixels are made of: comments, Exif, colour
profiles and previews are never parsed by a library. Knows nothing of pixels.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import cycle

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import exif
from cxr_transfer.radiograph.radiograph import too_complex

MOST_SEGMENTS = 4096
"""Segments that a picture may have: each costs a decoder some microseconds, and four millions fit
into a file."""
MOST_SCANS = 100
"""Scans that a picture may have: each goes through all of its pixels. Encoders write up to 20."""
MOST_SCANNED = 1_500_000_000
"""Scans times pixels that a picture may have, some seconds of a processor: 60 million pixels in 20
scans take 1.2 billions."""
MOST_RESTARTS = 1_000_000
"""Restart markers that a picture may have: 60 million pixels with one behind each block of 8 x 8
take 937,500."""

START, END = b"\xff\xd8", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[\x01-\xfe]")  # B.1.1.2; in a scan FF 00 is the value FF
_FILLED_MARKER = re.compile(rb"\xff+[\x01-\xfe]")  # any number of fill bytes may precede one
_DRI, _SOS, _EOI, _COM, _APP0, _APP1, _APP2, _APP14 = 0xDD, 0xDA, 0xD9, 0xFE, 0xE0, 0xE1, 0xE2, 0xEE
_RESTARTS = range(0xD0, 0xD8)
_STANDALONE, _FIRST_NAMED = (*_RESTARTS, 0xD8), 0xC0
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # without DHT, JPG, DAC
_JPEG_LS_FRAME = 0xF7  # T.87, annex C
_PROCESSES = {0xC0: "JPEG baseline", 0xC1: "JPEG extended", 0xC2: "progressive JPEG"}
_FIRST_ARITHMETIC, _HIERARCHICAL = 0xC9, (0xC5, 0xC6, 0xC7)
_PROGRESSIVE, _COEFFICIENTS = 0xC2, 64
_SEQUENTIAL = (0xC0, 0xC1, 0xC3)  # one scan for each component, or for all: also lossless
_RESERVED = range(0xF0, 0xFE)
_BEHIND = (*range(0xE0, 0xF0), _COM, 0xDC)  # DNL: what may follow when all is there
_NOT_PIXELS = frozenset({_COM, *range(0xE1, 0xEE), 0xEF})  # APP0 and APP14 tell of colours
_EXIF, _XMP, _PREVIEWS = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0"
_ENTRY_COUNT, _ENTRIES, _ENTRY = 0xB001, 0xB002, 16  # CIPA DC-007, 5.2.3


@dataclass(frozen=True)
class Jpeg:
    """Facts of a JPEG.

    Attributes:
        width: Columns of the picture.
        height: Rows of the picture.
        pixels: File with nothing but what its pixels are made of, and an end marker.
        is_ended: Whether the file has an end marker of its own.
        orientation: Orientation, 1 to 8, as Exif or XMP says.
        others: Sizes (width, height) of further pictures in the file (CIPA DC-007).
        segments: Number of segments.
        scanned: Number of scans times number of pixels.
    """

    width: int
    height: int
    pixels: bytes
    is_ended: bool
    orientation: int
    others: tuple[tuple[int, int], ...]
    segments: int
    scanned: int


@dataclass(frozen=True)
class Frame:
    """Facts of the frame header of a JPEG or JPEG-LS: B.2.2.

    Attributes:
        marker: Marker, which tells the kind of JPEG: table B.1.
        bits: Bits of a sample.
        rows: Rows; 0 where they follow the first scan.
        columns: Columns.
        components: Samples of a pixel.
    """

    marker: int
    bits: int
    rows: int
    columns: int
    components: int

    @property
    def is_ls(self) -> bool:
        """Whether it is a JPEG-LS."""
        return self.marker == _JPEG_LS_FRAME

    @property
    def is_lossless(self) -> bool:
        """Whether it is a lossless JPEG, or a JPEG-LS."""
        return self.is_ls or self.marker & 3 == 3

    @property
    def process(self) -> str:
        """Name of the coding process."""
        if self.is_ls:
            return "JPEG-LS"
        if self.is_lossless:
            return "JPEG lossless"
        return _PROCESSES.get(self.marker, "JPEG")


def read_frame(content: bytes, start: int = 0, *, most: int = MOST_SEGMENTS) -> Frame | None:
    """Read the frame header of a JPEG or JPEG-LS.

    Args:
        content: Bytes that hold it.
        start: Place where it begins.
        most: Segments that may stand before the header.

    Returns:
        None where something else begins, or where a scan comes before any header.

    Raises:
        ImageError: ``too_complex``.
        ValueError, struct.error: Something else stands where a segment must begin.
    """
    if content[start : start + 2] != START:
        return None
    start += 2
    for _ in range(most):
        match = _FILLED_MARKER.match(content, start)
        if not match:
            raise ValueError("no marker where one must be")
        marker, start = match[0][-1], match.end()
        if marker == _SOS:
            return None
        if marker in _FRAMES or marker == _JPEG_LS_FRAME:
            return Frame(marker, *struct.unpack_from(">BHHB", content, start + 2))
        length = int.from_bytes(content[start : start + 2])
        if length < 2:
            raise ValueError("a segment of no length")
        start += length
    raise too_complex(f"{most} segments in a JPEG")


def check_coding(content: bytes) -> None:
    """Refuse by its name a JPEG of a kind that Pillow does not decode.

    Args:
        content: Bytes of the file, beginning with its start marker.

    Raises:
        ImageError: ``unsupported_format``.
    """
    try:
        frame = read_frame(content)
    except (ImageError, ValueError, struct.error):
        return  # damaged; `read_jpeg` says how
    if frame is None:
        return
    kind = ""
    if frame.marker == _JPEG_LS_FRAME:
        kind = "a JPEG-LS"
    elif frame.marker >= _FIRST_ARITHMETIC:
        kind = "one in arithmetic coding"
    elif frame.marker in _HIERARCHICAL:
        kind = "a hierarchical one"
    elif frame.bits != 8:
        kind = f"one of {frame.bits} bits"
    elif not frame.rows:
        kind = "one whose height stands behind its pixels (DNL)"
    if kind:
        raise ImageError(
            "unsupported_format",
            f"Expected a JPEG of 8 bits in Huffman coding, baseline or progressive, but got {kind}"
            "; save the image as PNG, or take the original.",
        )


def read_jpeg(content: bytes) -> Jpeg:
    """Walk through the segments and scans of a JPEG.

    Args:
        content: Bytes of the file, beginning with its start marker; what follows its end is passed
            over.

    Raises:
        ImageError: ``too_complex``.
        OSError: A marker stands where none may, a restart marker is missing or out of turn, or
            the pixels end early ("truncated").
    """
    walk, start, is_ended = _Walk(content), 2, False
    kept = [START]
    while match := _MARKER.search(content, start):
        marker, begin, start = match[0][-1], match.start(), match.end()
        if marker == _EOI:
            is_ended = True
            break
        start = walk.segment(marker, start)
        if marker not in _NOT_PIXELS:
            kept.append(content[begin:start])
    if not is_ended:
        if not (walk.is_sequence_complete or walk.is_progression_complete):
            raise OSError("truncated")
        kept[-1] = kept[-1].rstrip(END[:1])  # the first half of the marker
    kept.append(END)
    return Jpeg(
        *walk.size,
        b"".join(kept),
        is_ended,
        walk.by_exif or walk.by_xmp or 1,
        walk.others,
        walk.segments,
        walk.scans * walk.size[0] * walk.size[1],
    )


class _Walk:
    """A walk through the segments of a JPEG, and what they have said so far."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = (0, 0)
        self.others: tuple[tuple[int, int], ...] = ()
        self.segments = self.scans = self.by_exif = self.by_xmp = 0
        self._kind = self._components = self._scanned = self._marked = 0
        self._has_restarts = False
        # Of each component, how many bits of each coefficient are still to come: G.1.1.1.
        self._missing: dict[int, list[int]] = {}

    @property
    def is_sequence_complete(self) -> bool:
        """Whether there was a scan of each component, where one is all that it has."""
        return self._kind in _SEQUENTIAL and self._scanned >= self._components > 0

    @property
    def is_progression_complete(self) -> bool:
        """Whether there were scans of the last bit of each coefficient."""
        missing = self._missing.values()
        return self._kind == _PROGRESSIVE and bool(missing) and not any(map(any, missing))

    def segment(self, marker: int, start: int) -> int:
        """Take in a segment, and the scan behind it; return where it ends.

        Args:
            marker: Marker of the segment.
            start: Place of its length.
        """
        if (
            marker < _FIRST_NAMED
            or marker in _STANDALONE
            or marker in _RESERVED
            or (self.is_sequence_complete and marker not in _BEHIND)
        ):
            raise OSError("a marker out of place")
        self.segments += 1
        if self.segments > MOST_SEGMENTS:
            raise too_complex(f"{MOST_SEGMENTS} segments in a JPEG")
        end = start + int.from_bytes(self.content[start : start + 2])
        body = self.content[start + 2 : end]
        if marker == _DRI:
            self._has_restarts = body[:2] != b"\0\0"
        elif marker in _FRAMES and len(body) >= 6:
            self._frame(marker, body)
        elif marker == _APP1 and body.startswith(_EXIF):
            self.by_exif = self.by_exif or exif.orientation(body[len(_EXIF) :])
        elif marker == _APP1 and body.startswith(_XMP):
            self.by_xmp = self.by_xmp or exif.orientation_in_xmp(body)
        elif marker == _APP2 and body.startswith(_PREVIEWS):
            place = start + 2 + len(_PREVIEWS)
            self.others = self.others or _other_pictures(self.content, place)
        if marker != _SOS:
            return end
        self._scan(body)
        return self._end_of_scan(end)

    def _frame(self, marker: int, body: bytes) -> None:
        height, width, self._components = struct.unpack(">xHHB", body[:6])
        self.size, self._kind = (width, height), marker
        self._missing = {name: [1] * _COEFFICIENTS for name in body[6::3][: self._components]}

    def _scan(self, body: bytes) -> None:
        """Take in a scan header: B.2.3."""
        self.scans += 1
        number = body[0] if body else 0
        self._scanned += number
        if self.scans > MOST_SCANS or self.scans * self.size[0] * self.size[1] > MOST_SCANNED:
            raise too_complex(f"{MOST_SCANS} scans of {MOST_SCANNED} pixels together in a JPEG")
        if len(body) < 4 + 2 * number:
            return
        first, last, bits = body[1 + 2 * number : 4 + 2 * number]
        for name in body[1 : 1 + 2 * number : 2]:
            missing = self._missing.get(name, [])
            for coefficient in range(first, min(last + 1, len(missing))):
                missing[coefficient] = bits & 15

    def _end_of_scan(self, end: int) -> int:
        """Return where the pixels end that begin at ``end``, and their restart markers."""
        expected = cycle(_RESTARTS)
        while (match := _MARKER.search(self.content, end)) and match[0][-1] in _RESTARTS:
            if not self._has_restarts or match[0][-1] != next(expected):
                raise OSError("a restart marker out of turn")
            self._marked += 1
            if self._marked > MOST_RESTARTS:
                raise too_complex(f"{MOST_RESTARTS} restart markers in a JPEG")
            end = match.end()
        return match.start() if match else len(self.content)


def _other_pictures(content: bytes, base: int) -> tuple[tuple[int, int], ...]:
    """Return the sizes of the pictures that an index of several names beside the first.

    Args:
        content: The file.
        base: Place of the index, which its offsets count from (CIPA DC-007, 5.2.2).
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[base : base + 4])
    if order is None:
        return ()
    try:
        (directory,) = struct.unpack_from(f"{order}L", content, base + 4)
        (entries,) = struct.unpack_from(f"{order}H", content, base + directory)
        fields = {}
        for at in range(base + directory + 2, base + directory + 2 + 12 * min(entries, 16), 12):
            tag, _, number, value = struct.unpack_from(f"{order}HHLL", content, at)
            fields[tag] = (number, value)
        number, place = fields[_ENTRY_COUNT][1], base + fields[_ENTRIES][1]
        places = [
            struct.unpack_from(f"{order}8xL", content, place + _ENTRY * index)[0]
            for index in range(1, min(number, 16))
        ]
    except (struct.error, KeyError):
        return ()
    return tuple(size for place in places if (size := _size_at(content, base + place)))


def _size_at(content: bytes, start: int) -> tuple[int, int] | None:
    """Return width and height of the JPEG that begins at ``start``; None where none does."""
    try:
        frame = read_frame(content, start, most=64)
    except (ImageError, ValueError, struct.error):
        return None
    return (frame.columns, frame.rows) if frame else None
