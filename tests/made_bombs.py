"""Small files that would keep a decoder busy, or fill its memory, by structure alone."""

import struct
import zlib

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from made import encoded, full
from made_dicom import dataset, dicom, written

MANY = 1_000_000
IMAGE = full()


def chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def jpeg(segment, number):
    """A JPEG with many a segment behind its start."""
    plain = encoded(IMAGE, "JPEG", quality=90)
    return plain[:2] + segment * number + plain[2:]


def jpeg_in_dicom(before, syntax):
    """A DICOM whose frame is a JPEG with bytes behind its start."""
    plain = encoded(IMAGE, "JPEG", quality=90)
    return in_dicom(plain[:2] + before + plain[2:], *IMAGE.shape, syntax)


def restarts(number):
    """A JPEG whose scan has restart markers and hardly a pixel."""
    plain = encoded(IMAGE, "JPEG", quality=90)
    scan = plain.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(plain[scan + 2 : scan + 4])
    interval = b"\xff\xdd\0\4\0\1"
    turns = b"".join(bytes([0xFF, 0xD0 + index]) for index in range(8))
    return plain[:scan] + interval + plain[scan:start] + turns * (number // 8) + b"\xff\xd9"


def scans(number):
    """A progressive JPEG whose last scan comes again and again."""
    plain = encoded(np.zeros((4000, 4000), np.uint8), "JPEG", quality=90, progressive=True)
    last = plain.rindex(b"\xff\xda")
    return plain[:-2] + plain[last:-2] * number + plain[-2:]


def png(name, number):
    """A PNG with many an empty chunk of one name."""
    plain = encoded(IMAGE)
    place = plain.index(b"IDAT") - 4
    return plain[:place] + chunk(name, b"") * number + plain[place:]


def tiff(fields, *, data=b"", big=False):
    """A TIFF with a directory of any fields (tag, type, number, value), then any bytes."""
    head = b"II*\0" + struct.pack("<I", 8)
    directory = struct.pack("<H", len(fields) & 0xFFFF)
    directory += b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    return head + directory + data


def strips(number):
    """A TIFF whose picture is cut into many strips."""
    height, width = IMAGE.shape
    start = 8 + 2 + 12 * 8 + 4
    fields = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    fields += [(262, 3, 1, 1), (273, 4, number, start), (278, 4, 1, 1), (279, 4, number, start)]
    return tiff(fields, data=struct.pack("<I", start) * number)


def shared_strips(number, content):
    """A TIFF whose strips are JPEGs, all of them the same bytes."""
    directory = 8 + len(content)
    places = directory + 2 + 9 * 12 + 4
    fields = [(256, 4, 1, number), (257, 4, 1, number), (258, 3, 1, 8), (259, 3, 1, 7)]
    fields += [(262, 3, 1, 1), (273, 4, number, places), (277, 3, 1, 1), (278, 4, 1, 1)]
    fields += [(279, 4, number, places + 4 * number)]
    entries = struct.pack("<H", len(fields))
    entries += b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    values = struct.pack("<I", 8) * number + struct.pack("<I", len(content)) * number
    return b"II*\0" + struct.pack("<I", directory) + content + entries + values


def small_jpegs(side):
    """A TIFF of many a tile that is a JPEG, all of them the same bytes."""
    one = encoded(np.full((16, 16), 128, np.uint8), "JPEG", quality=50)
    number = (side // 16) ** 2
    content = one + bytes(number * len(one) // 4)
    directory = 8 + len(content)
    places = directory + 2 + 10 * 12 + 4
    fields = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 7)]
    fields += [(262, 3, 1, 1), (277, 3, 1, 1), (322, 4, 1, 16), (323, 4, 1, 16)]
    fields += [(324, 4, number, places), (325, 4, number, places + 4 * number)]
    entries = struct.pack("<H", len(fields))
    entries += b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    values = struct.pack("<I", 8) * number + struct.pack("<I", len(one)) * number
    return b"II*\0" + struct.pack("<I", directory) + content + entries + values


def many_vertices():
    """A DICOM whose shutter has edges without an end, on a large picture."""
    vertices, turn = [], 0
    while len(vertices) < 16_000:
        vertices += [0, turn % 10, 7000, turn * 37 % 7000]
        turn += 1
    return dicom(
        np.tile(IMAGE, (15, 14)),
        ShutterShape="POLYGONAL",
        VerticesOfThePolygonalShutter=vertices[:16_000],
    )


def signed(side, bits, predictor=1):
    """A small TIFF of one strip that unfolds to a large picture, its values below 0."""
    row = np.repeat(np.arange(side // 100, dtype=f"<i{bits // 8}") * 500 - 15_000, 100)
    row = np.diff(row, prepend=row.dtype.type(0)) if predictor == 2 else row
    packed = zlib.compress(row.tobytes() * side)
    fields = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, bits), (259, 3, 1, 8)]
    fields += [(262, 3, 1, 1), (273, 4, 1, 8 + 2 + 12 * 11 + 4), (277, 3, 1, 1)]
    fields += [(278, 4, 1, side), (279, 4, 1, len(packed)), (317, 3, 1, predictor)]
    fields += [(339, 3, 1, 2)]
    return tiff(fields, data=packed)


def same_values(number):
    """A TIFF whose fields all point to the same megabytes."""
    fields = [(256, 4, 1, 148), (257, 4, 1, 132)]
    fields += [(60_000 + index, 1, 10 * MANY, 8) for index in range(number)]
    return tiff(fields, data=bytes(10 * MANY))


def box(kind, body):
    return struct.pack(">I4s", 8 + len(body), kind) + body


def size_marker(width, height, tile=None):
    tile = tile or (width, height)
    body = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, *tile, 0, 0, 1) + b"\7\1\1"
    return b"\xff\x51" + struct.pack(">H", 2 + len(body)) + body


def codestream(width, height, *, tile=None, levels=5, block=(4, 4), layers=1, precincts=b""):
    """A JPEG 2000 codestream of one empty tile-part."""
    coding = struct.pack(">BBHB", int(bool(precincts)), 0, layers, 0)
    coding += bytes([levels, *block, 0, 1]) + precincts
    coding = b"\xff\x52" + struct.pack(">H", 2 + len(coding)) + coding
    steps = bytes([0x40] + [0x40] * (3 * levels))
    quantisation = b"\xff\x5c" + struct.pack(">H", 2 + len(steps)) + steps
    part = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 14, 0, 1) + b"\xff\x93"
    return (
        b"\xff\x4f" + size_marker(width, height, tile) + coding + quantisation + part + b"\xff\xd9"
    )


def with_markers(number):
    """A JPEG 2000 codestream with many a comment in its main header."""
    plain = codestream(148, 132)
    place = plain.index(b"\xff\x52")
    return plain[:place] + b"\xff\x64\0\2" * number + plain[place:]


def with_parts(number):
    """A JPEG 2000 codestream whose tile comes in many parts."""
    plain = codestream(148, 132)
    place = plain.index(b"\xff\x90")
    return plain[:place] + plain[place:-2] * number + plain[-2:]


def with_layers(number):
    """A JPEG 2000 codestream whose layers and precincts stand in different headers."""
    plain = codestream(7000, 7000, layers=number)
    place = plain.index(b"\xff\x5c")
    own = b"\xff\x53\0\x0f\0\1" + bytes([5, 4, 4, 0, 1]) + b"\x77" * 6
    return plain[:place] + own + plain[place:]


def in_dicom(frame, height, width, syntax=JPEG2000Lossless, **elements):
    data = dataset(IMAGE, Rows=height, Columns=width, **elements)
    data.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return written(data, syntax)


def decoy():
    """A JP2 whose real codestream is larger than what stands in a box before it."""
    start = b"\0\0\0\x0cjP  \r\n\x87\n"
    frame = start + box(b"free", b"\xff\x4f" + size_marker(148, 132))
    return in_dicom(frame + box(b"jp2c", codestream(30_000, 30_000)), 132, 148)


def fragments(number):
    data = dataset(IMAGE)
    data.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])[: -0 or None]
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    plain = written(data, JPEGLosslessSV1)
    end = plain.rindex(b"\xfe\xff\xdd\xe0")
    return plain[:end] + b"\xfe\xff\x00\xe0\0\0\0\0" * number + plain[end:]


def deep_samples(bits):
    """A JPEG 2000 of so many bits in a picture of 16: a decoder would take 32 for each sample."""
    frame = bytearray(codestream(7000, 7000))
    at = 2 + len(size_marker(7000, 7000)) - 3
    assert frame[at] == 7
    frame[at] = bits - 1
    return in_dicom(bytes(frame), 7000, 7000, BitsAllocated=16, BitsStored=16, HighBit=15)


def deflated(**elements):
    """A picture of 30 million samples of 16 bits, with a surplus, in some 100 kilobytes."""
    row = np.linspace(0, 65_535, 5480).astype(np.uint16)
    picture = np.tile(row, (5480, 1))
    pixels = picture.tobytes() + row[::-1].tobytes()
    return dicom(picture, DeflatedExplicitVRLittleEndian, PixelData=pixels, **elements)


BOMBS = {
    "comments": (lambda: jpeg(b"\xff\xfe\0\2", 4 * MANY), "too_complex"),
    "empty Exif": (lambda: jpeg(b"\xff\xe1\0\x08Exif\0\0", MANY), "too_complex"),
    "tables": (lambda: jpeg(b"\xff\xc4\0\2", 4 * MANY), "too_complex"),
    "scans": (lambda: scans(2000), "too_complex"),
    "comments in a DICOM": (
        lambda: jpeg_in_dicom(b"\xff\xfe\0\2" * 4 * MANY, JPEGBaseline8Bit),
        "too_complex",
    ),
    "comments of JPEG-LS": (
        lambda: jpeg_in_dicom(b"\xff\xfe\0\2" * 4 * MANY, JPEGLSLossless),
        "too_complex",
    ),
    "fill bytes": (lambda: jpeg_in_dicom(b"\xff" * 40 * MANY, JPEGBaseline8Bit), "read"),
    "restarts": (lambda: restarts(4 * MANY), "too_complex"),
    "colour profiles": (lambda: png(b"iCCP", 10_000), "too_complex"),
    "tIME": (lambda: png(b"tIME", MANY), "too_complex"),
    "tEXt": (lambda: png(b"tEXt", MANY), "too_complex"),
    "empty IDAT": (lambda: png(b"IDAT", MANY), "too_complex"),
    "strips": (lambda: strips(4 * MANY), "too_complex"),
    "shared strips": (lambda: shared_strips(500, bytes(20 * MANY)), "too_complex"),
    "small JPEGs": (lambda: small_jpegs(4800), "too_complex"),
    "signed, 16 bits": (lambda: signed(6000, 16), "read"),
    "signed, 32 bits": (lambda: signed(6000, 32), "read"),
    "signed, 32 bits, differences": (lambda: signed(6000, 32, 2), "read"),
    "fields": (lambda: tiff([(60_000, 4, 1, 0)] * 65_535), "too_complex"),
    "the same values": (lambda: same_values(900), "corrupt_image"),
    "decoy": (decoy, "pixel_length_mismatch"),
    "tiles": (
        lambda: in_dicom(codestream(7000, 7000, tile=(16, 16)), 7000, 7000),
        "too_complex",
    ),
    "code-blocks": (
        lambda: in_dicom(codestream(7000, 7000, block=(0, 0)), 7000, 7000),
        "too_complex",
    ),
    "precincts": (
        lambda: in_dicom(codestream(7000, 7000, precincts=b"\x11" * 6), 7000, 7000),
        "too_complex",
    ),
    "layers": (
        lambda: in_dicom(codestream(7000, 7000, layers=65_535, precincts=b"\x77" * 6), 7000, 7000),
        "too_complex",
    ),
    "layers elsewhere": (lambda: in_dicom(with_layers(65_535), 7000, 7000), "too_complex"),
    "comments in JPEG 2000": (lambda: in_dicom(with_markers(4 * MANY), 132, 148), "too_complex"),
    "tile-parts": (lambda: in_dicom(with_parts(4 * MANY), 132, 148), "too_complex"),
    "shutters": (
        lambda: dicom(
            np.tile(IMAGE, (15, 14)),
            ShutterShape=["CIRCULAR"] * 7000,
            CenterOfCircularShutter=[990, 1036],
            RadiusOfCircularShutter=900,
        ),
        "read",
    ),
    "vertices": (many_vertices, "read"),
    "fragments": (lambda: fragments(MANY), "too_complex"),
    "31 bits of 16": (lambda: deep_samples(31), "pixel_length_mismatch"),
    "surplus": (deflated, "read"),
    "all that hides and turns": (
        lambda: deflated(
            ShutterShape=["RECTANGULAR", "CIRCULAR"],
            ShutterLeftVerticalEdge=10,
            ShutterRightVerticalEdge=5400,
            ShutterUpperHorizontalEdge=10,
            ShutterLowerHorizontalEdge=5400,
            CenterOfCircularShutter=[2700, 2700],
            RadiusOfCircularShutter=3000,
            PatientOrientation=["H", "R"],
            BitsStored=12,
        ),
        "read",
    ),
}
