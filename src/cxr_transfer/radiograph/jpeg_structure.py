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

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph import exif
from cxr_transfer.radiograph.film import too_complex

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
_SEQUENTIAL = (0xC0, 0xC1, 0xC3)  # one scan for each component, or for all: also lossless
_RESERVED = range(0xF0, 0xFE)
_BEHIND = (*range(0xE0, 0xF0), _COM, 0xDC)  # DNL: what may follow when all is there
_NOT_PIXELS = frozenset({_COM, *range(0xE1, 0xEE), 0xEF})  # APP0 and APP14 tell of colours
_EXIF, _XMP, _PREVIEWS = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0"
_ENTRY_COUNT, _ENTRIES, _ENTRY = 0xB001, 0xB002, 16  # CIPA DC-007, 5.2.3


@dataclass(frozen=True)
class Jpeg:
    """What a JPEG is made of.

    Attributes:
        width: Columns of the picture.
        height: Rows of the picture.
        pixels: The file with nothing but what its pixels are made of, and an end marker.
        is_ended: Whether the file has an end marker of its own.
        orientation: How it lies, 1 to 8, as Exif or XMP says.
        others: Sizes (width, height) of further pictures in the file (CIPA DC-007).
        segments: Number of its segments.
        scanned: Number of its scans times that of its pixels.
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
    """What the frame header of a JPEG or JPEG-LS announces: B.2.2.

    Attributes:
        bits: Bits of a sample.
        rows: Rows.
        columns: Columns.
        components: Samples of a pixel.
        marker: Second byte of the header's marker, which names the process: table B.1.
    """

    bits: int
    rows: int
    columns: int
    components: int
    marker: int

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
        """What it is called."""
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
        FilmError: ``too_complex``.
        ValueError, struct.error: Something else stands where a segment must begin.
    """
    if content[start : start + 2] != START:
        return None
    start += 2
    for _ in range(most):
        found = _FILLED_MARKER.match(content, start)
        if not found:
            raise ValueError("no marker where one must be")
        marker, start = found[0][-1], found.end()
        if marker == _SOS:
            return None
        if marker in _FRAMES or marker == _JPEG_LS_FRAME:
            bits, rows, columns, components = struct.unpack_from(">BHHB", content, start + 2)
            return Frame(bits, rows, columns, components, marker)
        length = int.from_bytes(content[start : start + 2])
        if length < 2:
            raise ValueError("a segment of no length")
        start += length
    raise too_complex(f"{most} segments in a JPEG")


def read_jpeg(content: bytes) -> Jpeg:
    """Walk through the segments and scans of a JPEG.

    Args:
        content: The file, beginning with its start marker; what follows its end is passed over.

    Raises:
        FilmError: ``too_complex``.
        OSError: A marker stands where none may, a restart marker is missing or out of turn, or
            the pixels end early ("truncated").
    """
    start, restarts, is_ended = 2, False, False
    kept = [START]
    segments = scans = marked = orientation = kind = 0
    size = (0, 0)
    components = scanned = 0
    others: tuple[tuple[int, int], ...] = ()
    while found := _MARKER.search(content, start):
        marker, begin, start = found[0][-1], found.start(), found.end()
        if marker == _EOI:
            is_ended = True
            break
        is_complete = kind in _SEQUENTIAL and scanned >= components > 0
        if (
            marker < _FIRST_NAMED
            or marker in _STANDALONE
            or marker in _RESERVED
            or (is_complete and marker not in _BEHIND)
        ):
            raise OSError("a marker out of place")
        segments += 1
        if segments > MOST_SEGMENTS:
            raise too_complex(f"{MOST_SEGMENTS} segments in a JPEG")
        end = start + int.from_bytes(content[start : start + 2])
        body = content[start + 2 : end]
        if marker == _DRI:
            restarts = body[:2] != b"\0\0"
        elif marker in _FRAMES and len(body) >= 6:
            height, width, components = struct.unpack(">xHHB", body[:6])
            size, kind = (width, height), marker
        elif marker == _APP1 and body.startswith(_EXIF):
            orientation = orientation or exif.orientation(body[len(_EXIF) :])
        elif marker == _APP1 and body.startswith(_XMP):
            orientation = orientation or exif.orientation_in_xmp(body)
        elif marker == _APP2 and body.startswith(_PREVIEWS):
            others = others or _other_pictures(content, start + 2 + len(_PREVIEWS))
        if marker == _SOS:
            scans += 1
            scanned += body[0] if body else 0
            if scans > MOST_SCANS or scans * size[0] * size[1] > MOST_SCANNED:
                raise too_complex(f"{MOST_SCANS} scans of {MOST_SCANNED} pixels together in a JPEG")
            expected = cycle(_RESTARTS)
            while (found := _MARKER.search(content, end)) and found[0][-1] in _RESTARTS:
                if not restarts or found[0][-1] != next(expected):
                    raise OSError("a restart marker out of turn")
                marked += 1
                if marked > MOST_RESTARTS:
                    raise too_complex(f"{MOST_RESTARTS} restart markers in a JPEG")
                end = found.end()
            end = found.start() if found else len(content)
        if marker not in _NOT_PIXELS:
            kept.append(content[begin:end])
        start = end
    if not is_ended and not (kind in _SEQUENTIAL and scanned >= components > 0):
        # Of a progressive picture nobody knows which scan would have been the last.
        raise OSError("truncated")
    if not is_ended:
        kept[-1] = kept[-1].rstrip(END[:1])  # the first half of the marker
    kept.append(END)
    return Jpeg(
        *size,
        b"".join(kept),
        is_ended,
        orientation or 1,
        others,
        segments,
        scans * size[0] * size[1],
    )


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
    except (FilmError, ValueError, struct.error):
        return None
    return (frame.columns, frame.rows) if frame else None
