"""Whole images of every kind that the decoder reads, for the fuzzers to damage.

All show one generated image of 148 x 132 pixels, but for real chest radiographs of pydicom-data,
where that is installed. Wherever a format can hold text, the patient's name of ``made_dicom``
stands in it, so that a message which quotes a file is found.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, PngImagePlugin
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import made_dicom
from made import encoded, grey
from made_dicom import PATIENT, dataset, dicom, table, written

REAL = ("RG1_UNCR", "RG1_UNCI", "RG1_J2KR", "RG1_J2KI")
NAMES = ("jane", "doe^", "müller", "jürgen")
"""What of names stands in seeds or comes in by damage; in small letters."""
REFUSED = (
    "JPEG of two pictures",
    "TIFF of two pages",
    "TIFF of 1 bit",
    "TIFF in floating point",
    "PNG of 1 bit",
)
"""Seeds that are no images; their neighbours may be."""
IMAGE = grey()
TWELVE = np.rint(IMAGE * (4095 / 255)).astype(np.uint16)
DEEP = IMAGE * np.uint16(257)


def jpegs() -> Iterator[tuple[str, bytes]]:
    """Yield the image in JPEGs."""
    image = Image.fromarray(IMAGE)
    exif = Image.Exif()
    exif[271], exif[274] = PATIENT, 6
    plain = encoded(IMAGE, "JPEG", quality=90, exif=exif, comment=PATIENT.encode())
    yield "JPEG grey", plain
    yield "JPEG without its end marker", plain[:-2]
    yield "JPEG colour", encoded(image.convert("RGB"), "JPEG", quality=90)
    yield "JPEG colour 4:4:4", encoded(image.convert("RGB"), "JPEG", quality=90, subsampling=0)
    yield "JPEG CMYK", encoded(image.convert("CMYK"), "JPEG", quality=90)
    yield "JPEG progressive", encoded(IMAGE, "JPEG", quality=90, progressive=True)
    yield (
        "JPEG colour progressive",
        encoded(image.convert("RGB"), "JPEG", quality=90, progressive=True),
    )
    yield "JPEG restarts", encoded(IMAGE, "JPEG", quality=90, restart_marker_rows=1)
    for name, second in (
        ("JPEG with a preview", image.resize((90, 80))),
        ("JPEG of two pictures", Image.fromarray(255 - IMAGE)),
    ):
        yield name, encoded(IMAGE, "MPO", save_all=True, quality=90, append_images=[second])


def pngs() -> Iterator[tuple[str, bytes]]:
    """Yield the image in PNGs."""
    image = Image.fromarray(IMAGE)
    text, exif = PngImagePlugin.PngInfo(), Image.Exif()
    exif[274] = 3
    text.add_text("Patient", PATIENT)
    text.add_itxt("XML:com.adobe.xmp", f'<x tiff:Orientation="6">{PATIENT}</x>')
    text.add_text("Comment", PATIENT, zip=True)
    alpha = image.convert("LA")
    alpha.putalpha(Image.fromarray(np.tile(np.arange(148, dtype=np.uint8), (132, 1))))
    yield "PNG 8", encoded(IMAGE)
    yield "PNG with texts", encoded(IMAGE, pnginfo=text, exif=exif, icc_profile=bytes(200))
    yield "PNG 16", encoded(DEEP)
    yield "PNG palette", encoded(image.convert("P"))
    yield "PNG of 1 bit", encoded(image.convert("1"))
    yield "PNG transparent key", encoded(IMAGE, transparency=int(IMAGE[70, 70]))
    yield "PNG alpha", encoded(image.convert("RGBA"))
    yield "PNG grey alpha", encoded(alpha)
    yield "PNG 16 colour", imagecodecs.png_encode(np.dstack([DEEP] * 3))
    yield "PNG 16 colour alpha", imagecodecs.png_encode(np.dstack([DEEP] * 4))


def tiffs() -> Iterator[tuple[str, bytes]]:
    """Yield the image in TIFFs."""
    image = Image.fromarray(IMAGE)
    told = {270: PATIENT, 65_000: PATIENT}
    yield "TIFF 8", encoded(IMAGE, "TIFF", tiffinfo=told)
    yield "TIFF 16", encoded(DEEP, "TIFF", tiffinfo=told)
    yield "TIFF 16 big-endian", encoded(Image.fromarray(DEEP.astype(">u2")), "TIFF")
    yield "TIFF signed", encoded(TWELVE, "TIFF", tiffinfo={339: 2})
    yield "TIFF 32", encoded(IMAGE.astype(np.int32), "TIFF")
    yield "TIFF in floating point", encoded(IMAGE.astype(np.float32), "TIFF")
    yield "TIFF of 1 bit", encoded(image.convert("1"), "TIFF", compression="group4")
    yield "TIFF palette", encoded(image.convert("P"), "TIFF")
    yield "TIFF CMYK", encoded(image.convert("CMYK"), "TIFF")
    yield "TIFF alpha", encoded(image.convert("RGBA"), "TIFF")
    yield "BigTIFF", encoded(IMAGE, "TIFF", big_tiff=True)
    for how in ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"TIFF {how}", encoded(IMAGE, "TIFF", compression=how)
    yield "TIFF jpeg colour", encoded(image.convert("RGB"), "TIFF", compression="jpeg")
    yield "TIFF lzw 16", encoded(DEEP, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "TIFF strips", encoded(IMAGE, "TIFF", compression="tiff_lzw", strip_size=148 * 8)
    yield "TIFF jpeg strips", encoded(IMAGE, "TIFF", compression="jpeg", strip_size=148 * 16)
    for name, compression in (("", None), (" deflate", "deflate"), (" jpeg", "jpeg")):
        yield (
            f"TIFF tiled{name}",
            imagecodecs.tiff_encode(IMAGE, tile=(64, 64), compression=compression),
        )
    for name, compression in (("", None), (" deflate", "deflate")):
        yield (
            f"TIFF 16 colour{name}",
            imagecodecs.tiff_encode(
                np.dstack([DEEP] * 3), photometric="rgb", compression=compression
            ),
        )
    yield "TIFF 12 packed", _twelve_bit_tiff()
    for name, size, kind in (
        ("TIFF of two pages", (148, 132), 0),
        ("TIFF with a preview", (74, 66), 1),
    ):
        pages = [image.copy(), image.resize(size)]
        for page, of in zip(pages, (0, kind), strict=True):
            page.encoderinfo = {"tiffinfo": {254: of}}
        yield name, encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])


def _twelve_bit_tiff() -> bytes:
    first, second = TWELVE.ravel()[::2].astype(int), TWELVE.ravel()[1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    pixels = packed.astype(np.uint8).tobytes()
    tags = {256: 148, 257: 132, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 132}
    tags[279] = len(pixels)
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory + bytes(4)


def dicoms() -> Iterator[tuple[str, bytes]]:
    """Yield the image in every transfer syntax that can be written, and with what decides grey."""
    for syntax in (*made_dicom.PLAIN, *made_dicom.LOSSLESS, JPEGBaseline8Bit):
        yield f"DICOM {UID(syntax).name} 8", dicom(IMAGE, syntax)
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4000}
    for syntax in (*made_dicom.PLAIN, *made_dicom.LOSSLESS, JPEGExtended12Bit):
        yield f"DICOM {UID(syntax).name} 12", dicom(TWELVE, syntax, **window)
    yield from _greys()
    yield from _frames()


def _greys() -> Iterator[tuple[str, bytes]]:
    tables = {
        "ModalityLUTSequence": [table(0, np.arange(4096)[::-1])],
        "VOILUTSequence": [table(0, np.arange(4096) * 16)],
        "PixelPaddingValue": 0,
        "PatientOrientation": ["R", "F"],
    }
    yield "DICOM tables", dicom(TWELVE, BitsStored=12, **tables)
    yield "DICOM colour", dicom(np.dstack([IMAGE] * 3))
    yield "DICOM without preamble", dicom(IMAGE, preamble=False)
    window, transformed, groups = Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 2048, 4096
    transformed.RescaleSlope, transformed.RescaleIntercept = 2, -1000
    groups.FrameVOILUTSequence = [window]
    groups.PixelValueTransformationSequence = [transformed]
    for name, syntax in (("", ImplicitVRLittleEndian), (" big-endian", ExplicitVRBigEndian)):
        yield (
            f"DICOM functional groups{name}",
            dicom(
                TWELVE,
                syntax,
                BitsStored=12,
                SharedFunctionalGroupsSequence=[groups],
                PerFrameFunctionalGroupsSequence=[groups],
            ),
        )
    yield (
        "DICOM shutters",
        dicom(
            TWELVE,
            BitsStored=12,
            ShutterShape=["RECTANGULAR", "CIRCULAR", "POLYGONAL"],
            ShutterLeftVerticalEdge=5,
            ShutterRightVerticalEdge=140,
            ShutterUpperHorizontalEdge=5,
            ShutterLowerHorizontalEdge=125,
            CenterOfCircularShutter=[66, 74],
            RadiusOfCircularShutter=70,
            VerticesOfThePolygonalShutter=[3, 3, 3, 140, 130, 140, 130, 3],
        ),
    )
    padded = (TWELVE.astype(np.int32) - 2048).astype(np.int16)
    padded[:, :9] = -32_768
    yield (
        "DICOM padding outside of the bits",
        dicom(padded, BitsStored=12, PixelPaddingValue=-32_768, PixelPaddingRangeLimit=-32_000),
    )
    counts = np.rint(16_383 * np.exp(-5 * (IMAGE / 255))).astype(np.uint16)
    yield (
        "DICOM FOR PROCESSING",
        dicom(
            counts,
            BitsStored=14,
            PresentationIntentType="FOR PROCESSING",
            PixelIntensityRelationship="LIN",
        ),
    )
    colours = np.full((132, 74, 2), 128, np.uint8)
    pairs = np.concatenate([IMAGE.reshape(132, -1, 2), colours], axis=2)
    many = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
    yield (
        "DICOM 4:2:2",
        dicom(IMAGE, PixelData=pairs.tobytes(), PhotometricInterpretation="YBR_FULL_422", **many),
    )
    entries = (np.arange(256, dtype="<u2") * 257).tobytes()
    names = ("Red", "Green", "Blue")
    palettes = {f"{name}PaletteColorLookupTableData": entries for name in names}
    palettes |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names}
    yield "DICOM palette", dicom(IMAGE, PhotometricInterpretation="PALETTE COLOR", **palettes)


def _frames() -> Iterator[tuple[str, bytes]]:
    def jpeg_2000(**options: object) -> bytes:
        out = io.BytesIO()
        Image.fromarray(IMAGE).save(out, "JPEG2000", irreversible=False, **options)
        return out.getvalue()

    yield "DICOM HTJ2K", holding([imagecodecs.htj2k_encode(IMAGE)], HTJ2K)
    tiles = jpeg_2000(no_jp2=True, tile_size=(64, 64))
    layers = jpeg_2000(no_jp2=True, quality_layers=[20, 10, 0])
    precincts = jpeg_2000(no_jp2=True, precinct_size=(64, 64), codeblock_size=(32, 32))
    yield "DICOM JPEG 2000 tiles", holding([tiles], JPEG2000Lossless)
    yield "DICOM JPEG 2000 layers", holding([layers], JPEG2000)
    yield "DICOM JPEG 2000 precincts", holding([precincts], JPEG2000)
    yield "DICOM JP2", holding([jpeg_2000()], JPEG2000Lossless)
    yield "DICOM JPEG 2000 of 16 bits", dicom(DEEP, JPEG2000Lossless)
    yield "DICOM JPEG 2000 colour", dicom(np.dstack([IMAGE] * 3), JPEG2000Lossless)
    for syntax in (JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless):
        yield f"DICOM {UID(syntax).name} colour", dicom(np.dstack([IMAGE] * 3), syntax)
    frame = encoded(IMAGE, "JPEG", quality=90)
    pieces = [frame[at : at + 1000] for at in range(0, len(frame), 1000)]
    yield "DICOM several fragments", holding(pieces, JPEGBaseline8Bit)
    whole = dicom(IMAGE, JPEGLosslessSV1)
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    yield "DICOM without delimiter", whole.removesuffix(end)
    at = whole.index(b"\xfe\xff\x00\xe0")
    length = int.from_bytes(whole[at + 4 : at + 8], "little")
    yield "DICOM without table of offsets", whole[:at] + whole[at + 8 + length :]
    plain = next(generate_frames(dcmread(io.BytesIO(whole)).PixelData, number_of_frames=1))
    yield (
        "DICOM frame without end marker",
        holding([plain.rstrip(b"\0").removesuffix(b"\xff\xd9")], JPEGLosslessSV1),
    )


def holding(
    fragments: list[bytes], syntax: str, *, size: int | None = None, **elements: object
) -> bytes:
    """Return a DICOM file whose frame consists of these fragments.

    Args:
        fragments: Pieces of one compressed picture.
        syntax: Transfer syntax.
        size: Rows and columns of a square picture of 16 bits; None is the image's own size.
        elements: By keyword.
    """
    if size:
        data = dataset(TWELVE, **elements, Rows=size, Columns=size)
    else:
        data = dataset(IMAGE, **elements)
    even = [piece + bytes(len(piece) % 2) for piece in fragments]
    items = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(piece)) + piece for piece in even)
    data.PixelData = struct.pack("<HHL", 0xFFFE, 0xE000, 0) + items
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return written(data, syntax)


def seeds() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the generated encodings and the real ones, by name."""
    real = {}
    for name in REAL:
        path = get_testdata_file(f"{name}.dcm", download=False)
        if path:
            real[f"DICOM real {name}"] = Path(path).read_bytes()
    return dict([*jpegs(), *pngs(), *tiffs(), *dicoms()]), real
