"""Damage to images: of bytes anywhere, and of what each format is made of.

`mutated` changes bytes in half of the cases, and in the other half the parts that a format has: a
JPEG's segments, a PNG's chunks (their checksums are mended), a TIFF's fields, a JPEG 2000's marker
segments and boxes, a DICOM's elements and fragments, a compressed frame inside a DICOM. Parts are
doubled, swapped, dropped, taken from another image, invented and changed inside.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from fuzz_seeds import PATIENT

WORDS = (0, 1, 2, 3, 7, 8, 16, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000)
WORDS += (0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
TEXTS = (
    *(b"", b" ", b"0", b"1", b"-1", b"1,5", b"2.5", b"1e999", b"nan", b"-inf", b"1_000", b"1e-320"),
    *(b"0\\0", b"1\\2\\3\\4\\5\\6", b"\\\\\\", b"999999999999999999999", b"\0\0\0\0", b"2047\0"),
    *(PATIENT.encode(), b"MONOCHROME1", b"MONOCHROME2", b"PALETTE COLOR", b"RGB", b"YBR_FULL_422"),
    *(b"YBR_RCT", b"FOR PROCESSING", b"CHEST", b"HAND", b"CT", b"INVERSE", b"SIGMOID", b"CIRCULAR"),
    *(b"POLYGONAL\\RECTANGULAR", b"LIN", b"A\\F", b"F\\L", b"L\\H", b"\xff\xfe\x80", b"9" * 400),
    *(b"1\\" * 3000, "Müller^Jürgen".encode(), b"\x1b[31m", b"a\nb\r\nc", b"=cmd()"),
)
TAGS = (
    *(0x00020010, 0x00080005, 0x00080016, 0x00080060, 0x00080068, 0x00100010, 0x00180015),
    *(0x00185101, 0x00200020, 0x00181600, 0x00181602, 0x00181604, 0x00181606, 0x00181608),
    *(0x00181610, 0x00181612, 0x00181620, 0x00280002, 0x00280004, 0x00280006, 0x00280008),
    *(0x00280010, 0x00280011, 0x00280034, 0x00280100, 0x00280101, 0x00280102, 0x00280103),
    *(0x00280120, 0x00280121, 0x00281040, 0x00281041, 0x00281050, 0x00281051, 0x00281052),
    *(0x00281053, 0x00281056, 0x00281101, 0x00281102, 0x00281103, 0x00281201, 0x00281202),
    *(0x00281203, 0x00283000, 0x00283010, 0x00283002, 0x00283006, 0x20500020, 0x52009229),
    *(0x52009230, 0x7FE00001, 0x7FE00008, 0x7FE00009, 0x7FE00010, 0xFFFCFFFC, 0x00091001),
)
FIELDS = (
    *(254, 255, 256, 257, 258, 259, 262, 266, 269, 270, 273, 274, 277, 278, 279, 280, 282, 284),
    *(285, 292, 293, 296, 301, 317, 318, 320, 322, 323, 324, 325, 330, 332, 333, 338, 339, 340),
    *(347, 512, 513, 514, 519, 520, 521, 529, 530, 531, 532, 559, 700, 32995, 32996, 33421, 33550),
    *(34016, 34665, 34675, 34853, 50838, 65000),
)
COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34661, 34676, 34677, 34887)
COMPRESSIONS += (34892, 34925, 50000, 50001, 50002, 65535)
CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"eXIf")
CHUNKS += (b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"sPLT", b"CgBI")
PLAIN_VRS = (b"OB", b"OW", b"UN", b"US", b"SS", b"CS", b"DS", b"IS", b"SQ", b"UI", b"LT", b"UT")
LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT")
LONG_VRS += (b"UV",)
J2K_MARKERS = (0x51, 0x52, 0x53, 0x55, 0x57, 0x58, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x63, 0x64)
J2K_MARKERS += (0x50, 0x74, 0x78, 0x90, 0x91, 0x92, 0x93, 0xD9)

MOST_ADDED = 1_000_000  # bytes, by doubling one part

Rng = np.random.Generator
Parts = list[bytes]


def mutated(content: bytes, other: bytes, rng: Rng) -> bytes:
    """Return ``content`` with some changes.

    Args:
        content: A whole image.
        other: Another one, from which bytes and parts are taken.
        rng: Decides.
    """
    if rng.random() < 0.5:
        return by_bytes(content, other, rng)
    changed = content
    with suppress(ValueError, IndexError, struct.error, zlib.error):
        changed = by_structure(content, other, rng)
    if changed == content or rng.random() < 0.15:
        changed = by_bytes(changed, other, rng)
    return changed


def by_bytes(content: bytes, other: bytes, rng: Rng) -> bytes:
    """Return ``content`` with one to eight changes anywhere."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        if not changed:
            break
        # Headers are short beside pixels, and hold more to get wrong.
        reach = min(len(changed), 1500) if rng.random() < 0.6 else len(changed)
        at, length = int(rng.integers(reach)), int(2 ** rng.uniform(0, 10))
        match rng.integers(8):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at] = int(rng.integers(256))
            case 2:
                kind = str(rng.choice(["<H", ">H", "<L", ">L"]))
                word = int(rng.choice(WORDS)) & (0xFFFF if "H" in kind else 0xFFFFFFFF)
                changed[at : at + struct.calcsize(kind)] = struct.pack(kind, word)
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length]
            case 5:
                start = int(rng.integers(len(other)))
                changed[at : at + length] = other[start : start + length]
            case 6:
                changed[at : at + length] = rng.bytes(length)
            case 7 if rng.random() < 0.3:
                del changed[at:]
    if changed[:4] == b"\x89PNG" and rng.random() < 0.8:
        return _png_of(_png_parts(bytes(changed)))
    return bytes(changed)


def by_structure(content: bytes, other: bytes, rng: Rng) -> bytes:
    """Return ``content`` with other parts than it had; as it is where it is of no known format."""
    if content[:2] == b"\xff\xd8":
        others = jpeg_parts(other) if other[:2] == b"\xff\xd8" else []
        return b"".join(rearranged(jpeg_parts(content), others, rng, _in_segment))
    if content[:4] == b"\x89PNG":
        others = _png_parts(other) if other[:4] == b"\x89PNG" else []
        return _png_of(rearranged(_png_parts(content), others, rng, _in_chunk))
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(content, rng)
    if content[:2] == b"\xff\x4f":
        return b"".join(rearranged(_j2k_parts(content), [], rng, _in_marker))
    if content[4:8] == b"jP  ":
        return _boxes(content, rng)
    return _dicom(content, other, rng)


def rearranged(
    parts: Parts, others: Parts, rng: Rng, change: Callable[[bytes, Rng], bytes]
) -> Parts:
    """Return parts in another order, some of them changed.

    Args:
        parts: What an image consists of.
        others: What another image of this format consists of.
        rng: Decides.
        change: Returns one part changed inside, or a part that was invented.
    """
    parts = list(parts)
    for _ in range(int(rng.integers(1, 4))):
        if not parts:
            break
        at, second = int(rng.integers(len(parts))), int(rng.integers(len(parts)))
        match rng.integers(8):
            case 0:
                parts.insert(second, parts[at])
            case 1:
                parts[at], parts[second] = parts[second], parts[at]
            case 2:
                del parts[at]
            case 3 if others:
                parts.insert(at, others[int(rng.integers(len(others)))])
            case 4 if others:
                parts[at] = others[int(rng.integers(len(others)))]
            case 5:
                often = min(int(2 ** rng.uniform(0, 9)), MOST_ADDED // (1 + len(parts[second])))
                parts[at:at] = [parts[second]] * often
            case _:
                parts[at] = change(parts[at], rng)
    return parts


def _changed(body: bytes, rng: Rng) -> bytes:
    """Return bytes with one change of a few of them."""
    changed = bytearray(body) or bytearray(2)
    at = int(rng.integers(min(len(changed), 64) if rng.random() < 0.7 else len(changed)))
    match rng.integers(6):
        case 0:
            changed[at] ^= 1 << int(rng.integers(8))
        case 1:
            changed[at] = int(rng.integers(256))
        case 2:
            size = int(rng.choice([1, 2, 4]))
            word = int(rng.choice(WORDS)) & (1 << 8 * size) - 1
            changed[at : at + size] = word.to_bytes(size, "big" if rng.random() < 0.5 else "little")
        case 3:
            del changed[at : at + int(rng.integers(1, 9))]
        case 4:
            changed[at:at] = rng.bytes(int(rng.integers(1, 9)))
        case _:
            changed[at : at + 8] = rng.bytes(8)
    return bytes(changed)


# JPEG


def jpeg_parts(content: bytes) -> Parts:
    """Return start, segments (with their scan, where one follows), and end."""
    parts, start = [content[:2]], 2
    marker = re.compile(rb"\xff[\x01-\xfe]")
    while start + 4 <= len(content) and content[start] == 0xFF:
        if content[start + 1] == 0xD9:
            break
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4])
        if content[start + 1] == 0xDA:
            found = marker.search(content, end)
            while found and 0xD0 <= found[0][1] <= 0xD7:
                found = marker.search(content, found.end())
            end = found.start() if found else len(content)
        parts.append(content[start:end])
        start = end
    parts.append(content[start:])
    return parts


def _in_segment(part: bytes, rng: Rng) -> bytes:
    if len(part) < 4:
        return bytes([0xFF, int(rng.integers(1, 255))])
    match rng.integers(5):
        case 0:
            return part[:1] + bytes([int(rng.integers(0xC0, 0xFF))]) + part[2:]
        case 1:  # whatever length it says
            return part[:2] + _changed(part[2:], rng)
        case 2:
            body = rng.bytes(int(rng.integers(0, 40)))
            length = struct.pack(">H", 2 + len(body))
            return bytes([0xFF, int(rng.integers(0xC0, 0xFF))]) + length + body
        case _:
            own = int.from_bytes(part[2:4])
            body = _changed(part[4 : 2 + own], rng)
            return part[:2] + struct.pack(">H", 2 + len(body)) + body + part[2 + own :]


# PNG


def _png_parts(content: bytes) -> Parts:
    """Return names and contents of chunks; what is cut off at the end as a part of its own."""
    parts, start = [content[:8]], 8
    while start + 12 <= len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4])
        if end + 4 > len(content):
            break
        parts.append(content[start + 4 : end])
        start = end + 4
    parts.append(content[start:])
    return parts


def _png_of(parts: Parts) -> bytes:
    """Return a PNG of which every chunk has the checksum of its content."""
    whole = [parts[0]] if parts else []
    whole += [
        struct.pack(">L", len(part) - 4) + part + struct.pack(">L", zlib.crc32(part))
        for part in parts[1:-1]
        if len(part) >= 4
    ]
    return b"".join(whole + parts[-1:] if len(parts) > 1 else whole)


def _in_chunk(part: bytes, rng: Rng) -> bytes:
    name, body = part[:4], part[4:]
    match rng.integers(4):
        case 0:
            return CHUNKS[int(rng.integers(len(CHUNKS)))] + body
        case 1:
            return CHUNKS[int(rng.integers(len(CHUNKS)))] + rng.bytes(int(rng.integers(0, 40)))
        case 2 if name in (b"IDAT", b"zTXt", b"iCCP"):
            head = b"" if name == b"IDAT" else body[: body.find(b"\0") + 2]
            plain = zlib.decompress(body[len(head) :])
            return name + head + zlib.compress(_changed(plain, rng), 1)
        case _:
            return name + _changed(body, rng)


# TIFF


def _tiff(content: bytes, rng: Rng) -> bytes:
    """Return a TIFF with another first directory, behind all that it had."""
    order, is_big = "<" if content[:2] == b"II" else ">", content[2:4] in (b"+\0", b"\0+")
    size, head, place = (20, 8, f"{order}Q") if is_big else (12, 2, f"{order}L")
    (start,) = struct.unpack_from(place, content, 8 if is_big else 4)
    number = int.from_bytes(content[start : start + head], "little" if order == "<" else "big")
    entries = [
        content[at : at + size]
        for at in range(start + head, start + head + size * min(number, 100), size)
    ]
    (following,) = struct.unpack_from(place, content, start + head + size * number)

    def change(entry: bytes, rng: Rng) -> bytes:
        form = f"{order}HHQQ" if is_big else f"{order}HHLL"
        tag, kind, count, value = struct.unpack(form, entry)
        most = (1 << 64) - 1 if is_big else (1 << 32) - 1
        match rng.integers(6):
            case 0:
                tag = int(rng.choice(FIELDS))
            case 1:
                kind = int(rng.integers(0, 20))
            case 2:
                count = int(rng.choice([*WORDS, count + 1, max(0, count - 1)])) & most
            case 3:
                near = [value + 1, max(0, value - 1), len(content), start, 8]
                value = int(rng.choice([*WORDS, *near])) & most
            case 4:
                tag, value = 259, int(rng.choice(COMPRESSIONS))
                value <<= 0 if order == "<" else 16 * (3 if is_big else 1)
                kind, count = 3, 1
            case _:
                tag = int(rng.choice(FIELDS))
                kind, count, value = int(rng.integers(1, 19)), 1, int(rng.choice(WORDS))
        return struct.pack(form, tag, kind, count, value)

    entries = rearranged(entries, [], rng, change)
    if rng.random() < 0.1:
        following = int(rng.choice([0, start, len(content), 8, 1 << 31]))
    number_of = struct.pack(f"{order}Q" if is_big else f"{order}H", len(entries) & 0xFFFF)
    directory = number_of + b"".join(entries) + struct.pack(place, following)
    head_size = 8 if is_big else 4
    at = len(content) + len(content) % 2
    body = content[head_size + struct.calcsize(place) :] + bytes(len(content) % 2)
    return content[:head_size] + struct.pack(place, at) + body + directory


# JPEG 2000


def _j2k_parts(content: bytes) -> Parts:
    """Return start, marker segments of the main header, and tile-parts."""
    parts, at = [content[:2]], 2
    while content[at : at + 2] != b"\xff\x90" and at + 4 <= len(content):
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        parts.append(content[at:end])
        at = end
    while content[at : at + 2] == b"\xff\x90":
        length = int.from_bytes(content[at + 6 : at + 10]) or len(content) - at
        parts.append(content[at : at + length])
        at += max(14, length)
    parts.append(content[at:])
    return parts


def _in_marker(part: bytes, rng: Rng) -> bytes:
    match rng.integers(5):
        case 0:
            return part[:1] + bytes([J2K_MARKERS[int(rng.integers(len(J2K_MARKERS)))]]) + part[2:]
        case 1:
            body = rng.bytes(int(rng.integers(0, 30)))
            marker = J2K_MARKERS[int(rng.integers(len(J2K_MARKERS)))]
            return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body
        case 2 if part[:2] == b"\xff\x90":  # of a tile-part the data, whose length stays right
            body = _changed(part[14:], rng)
            return part[:6] + struct.pack(">L", 14 + len(body)) + part[10:14] + body
        case 3:
            return part[:2] + _changed(part[2:], rng)
        case _:
            body = _changed(part[4:], rng)
            return part[:2] + struct.pack(">H", (2 + len(body)) & 0xFFFF) + body


def _boxes(content: bytes, rng: Rng) -> bytes:
    """Return a JP2 file with other boxes, or another codestream."""
    parts, at = [], 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4]) or len(content) - at
        parts.append(content[at : at + max(8, length)])
        at += max(8, length)

    def change(part: bytes, rng: Rng) -> bytes:
        if part[4:8] == b"jp2c" and rng.random() < 0.7:
            stream = b"".join(rearranged(_j2k_parts(part[8:]), [], rng, _in_marker))
            return struct.pack(">L", 8 + len(stream)) + b"jp2c" + stream
        return _changed(part, rng)

    return b"".join(rearranged(parts, [], rng, change))


# DICOM


def _dicom(content: bytes, other: bytes, rng: Rng) -> bytes:
    """Return a DICOM file with other elements, or another frame."""
    start = 132 if content[128:132] == b"DICM" else 0
    meta, start = _meta(content, start)
    syntax = re.search(rb"\x02\0\x10\0UI..([0-9.]*)", meta, re.DOTALL)
    uid = UID(syntax[1].decode()) if syntax else UID(ImplicitVRLittleEndian)
    body = content[start:]
    is_deflated = uid == DeflatedExplicitVRLittleEndian
    if is_deflated:
        body = zlib.decompress(body, -zlib.MAX_WBITS)
    order = ">" if uid == ExplicitVRBigEndian else "<"
    # Of a file without meta information only the first letters tell.
    is_explicit = body[4:6].isalpha() and body[4:6].isupper()
    elements, rest = _elements(body, order, is_explicit)
    others: Parts = []
    if other[128:132] == b"DICM":
        with suppress(ValueError, struct.error, IndexError):
            theirs = other[_meta(other, 132)[1] :]
            others = _elements(theirs, order, is_explicit)[0]

    def change(part: bytes, rng: Rng) -> bytes:
        return _in_element(part, rng, order, is_explicit)

    if rest and rng.random() < 0.5:
        rest = _pixels(rest, rng, order, is_explicit)
    if not rest or rng.random() < 0.6:
        elements = rearranged(elements, others, rng, change)
    body = b"".join(elements) + rest
    if is_deflated:
        deflater = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
        body = deflater.compress(body) + deflater.flush()
    return content[: start - len(meta)] + meta + body


def _meta(content: bytes, start: int) -> tuple[bytes, int]:
    """Return the file meta information, and where it ends."""
    at = start
    while content[at : at + 2] == b"\2\0":
        long = content[at + 4 : at + 6] in LONG_VRS
        length = struct.unpack_from("<L" if long else "<H", content, at + (8 if long else 6))[0]
        at += (12 if long else 8) + length
    return content[start:at], at


def _elements(body: bytes, order: str, is_explicit: bool) -> tuple[Parts, bytes]:
    """Return the elements before Pixel Data, and all from there on."""
    parts, at = [], 0
    pixels = struct.pack(f"{order}HH", 0x7FE0, 0x0010)
    while at + 8 <= len(body):
        if body[at : at + 4] == pixels:
            return parts, body[at:]
        long = is_explicit and body[at + 4 : at + 6] in LONG_VRS
        head = 12 if long else 8
        form = f"{order}H" if is_explicit and not long else f"{order}L"
        (length,) = struct.unpack_from(form, body, at + head - struct.calcsize(form))
        if length == 0xFFFFFFFF:
            end = body.find(struct.pack(f"{order}HHL", 0xFFFE, 0xE0DD, 0), at) + 8
            end = end if end > at + head else len(body)
        else:
            end = at + head + length
        parts.append(body[at:end])
        at = end
    return parts, b""


def _element(tag: int, vr: bytes, value: bytes, order: str, is_explicit: bool) -> bytes:
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if not is_explicit:
        return head + struct.pack(f"{order}L", len(value)) + value
    if vr in LONG_VRS:
        return head + vr + b"\0\0" + struct.pack(f"{order}L", len(value)) + value
    return head + vr + struct.pack(f"{order}H", len(value) & 0xFFFF) + value


def _in_element(part: bytes, rng: Rng, order: str, is_explicit: bool) -> bytes:
    group, number = struct.unpack_from(f"{order}HH", part)
    tag, vr = group << 16 | number, part[4:6]
    head = 12 if is_explicit and vr in LONG_VRS else 8
    value = part[head:]
    match rng.integers(7):
        case 0:
            tag = int(rng.choice(TAGS))
        case 1:
            vr = PLAIN_VRS[int(rng.integers(len(PLAIN_VRS)))]
        case 2 | 3:
            value = TEXTS[int(rng.integers(len(TEXTS)))]
            value += bytes(len(value) % 2)
            tag = int(rng.choice(TAGS)) if rng.random() < 0.5 else tag
        case 4:
            words = rng.choice(WORDS, int(rng.integers(1, 5)))
            value = b"".join(struct.pack(f"{order}H", int(word) & 0xFFFF) for word in words)
            tag, vr = (int(rng.choice(TAGS)), b"US") if rng.random() < 0.5 else (tag, vr)
        case 5:  # whatever length it says
            return part[:4] + _changed(part[4:], rng)
        case _:
            value = _changed(value, rng)
    return _element(tag, vr, value, order, is_explicit)


def _pixels(rest: bytes, rng: Rng, order: str, is_explicit: bool) -> bytes:
    """Return Pixel Data with other fragments, or another frame; of plain pixels another length."""
    head = 12 if is_explicit and rest[4:6] in LONG_VRS else 8
    if rest[head - 4 : head] != b"\xff\xff\xff\xff":
        if rng.random() < 0.5:
            return rest[:head] + _changed(rest[head:], rng)
        at = int(rng.integers(head, len(rest)))
        kept = rest[head:at] if rng.random() < 0.5 else rest[head:] + rest[head:at]
        length = struct.pack(f"{order}L", len(kept))
        return rest[: head - 4] + length + kept
    fragments, at = [], head
    while rest[at : at + 4] == struct.pack(f"{order}HH", 0xFFFE, 0xE000):
        (length,) = struct.unpack_from(f"{order}L", rest, at + 4)
        fragments.append(rest[at + 8 : at + 8 + length])
        at += 8 + length
    end = rest[at:]
    if len(fragments) > 1 and rng.random() < 0.6:
        frame = by_structure(b"".join(fragments[1:]), b"", rng)
        fragments[1:] = [frame + bytes(len(frame) % 2)]
    else:
        fragments = rearranged(fragments, [], rng, _changed)
    if rng.random() < 0.05:
        end = b"" if rng.random() < 0.5 else rng.bytes(12)
    items = b"".join(
        struct.pack(f"{order}HHL", 0xFFFE, 0xE000, len(piece)) + piece for piece in fragments
    )
    return rest[:head] + items + end
