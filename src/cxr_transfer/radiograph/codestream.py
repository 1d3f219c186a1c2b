"""One compressed frame in, its samples out: what DICOM files hold beside plain pixels.

Checks the size that the frame itself announces before a decoder sets memory aside. The decoders
are libraries: Pillow (JPEG of 8 bits, runs), and through imagecodecs libjpeg-turbo (other JPEG),
CharLS (JPEG-LS) and OpenJPEG (JPEG 2000), imported when they are first needed. Knows nothing of
DICOM's elements, nor of what the samples mean.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.jpeg_2000_structure import STARTS as JPEG_2000_STARTS
from cxr_transfer.radiograph.jpeg_2000_structure import Jpeg2000, read_jpeg_2000
from cxr_transfer.radiograph.jpeg_pixels import decode_jpeg
from cxr_transfer.radiograph.jpeg_structure import END, START, Frame, read_frame, read_jpeg

Samples = npt.NDArray[Any]
Decoded = tuple[Samples, bool]
"""Samples, and whether their frame has an end marker, which is all that may be missing."""

_ALIKE = 8  # pixels


@dataclass(frozen=True)
class Shape:
    """Size and kind of the samples that a frame must hold.

    Attributes:
        rows: Rows.
        columns: Columns.
        samples: Samples per pixel: 1, or 3 of a colour picture.
        bits_allocated: 8 or 16 bits that a sample has in plain pixels.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int


@dataclass(frozen=True)
class Codec:
    """Decoder of one family of transfer syntaxes, and the package that must be installed."""

    name: str
    package: str
    decode: Callable[[bytes, Shape], Decoded]


def decode_frame(codec: Codec, frame: bytes, shape: Shape) -> Decoded:
    """Decode one compressed frame.

    Args:
        codec: Decoder of its transfer syntax.
        frame: Bytes of the frame, its fragments joined.
        shape: Size and kind that the samples must have.

    Returns:
        (rows, columns) or (rows, columns, 3), integers as stored; not yet masked to their bits.
        And whether the frame has an end marker.

    Raises:
        ImageError: ``missing_decoder`` where its package is not installed,
            ``pixel_length_mismatch`` for a frame of another size or kind, ``truncated_image`` and
            ``corrupt_image``.
    """
    try:
        samples, is_ended = codec.decode(frame, shape)
    except (ImageError, MemoryError):
        raise
    except ImportError:
        raise ImageError(
            "missing_decoder",
            f"Expected a decoder for {codec.name}, but {codec.package} is not installed; run "
            f"'pip install {codec.package}'.",
        ) from None
    except Exception as error:
        # Damaged bytes lead a decoder to every kind of exception; they all say the same.
        code = "truncated_image" if "truncated" in str(error) else "corrupt_image"
        raise ImageError(
            code,
            f"Expected whole pixel data, but its {codec.name} ends early or is damaged; export the "
            "image anew.",
        ) from None
    expected = (shape.rows, shape.columns) + ((3,) if shape.samples == 3 else ())
    if samples.shape != expected:
        raise wrong_length(f"{codec.name} of another size")
    return samples, is_ended


def wrong_length(description: str) -> ImageError:
    """Return the error for pixel data that is not what the header announces."""
    return ImageError(
        "pixel_length_mismatch",
        f"Expected pixel data as the header announces it, but got {description}; export the image "
        "anew.",
    )


def _check_announced(shape: Shape, header: Frame | Jpeg2000) -> None:
    if (header.rows, header.columns) != (shape.rows, shape.columns):
        raise wrong_length("a compressed picture of another size")
    if header.components != shape.samples:
        raise wrong_length(
            f"a compressed picture of another Samples per Pixel (0028,0002): {header.components} "
            f"instead of {shape.samples}"
        )
    if header.bits > shape.bits_allocated:
        raise wrong_length(
            f"a compressed picture whose samples have {header.bits} bits instead of the "
            f"{shape.bits_allocated} of Bits Allocated (0028,0100)"
        )


def _other_syntax(frame: bytes) -> ImageError:
    """Return the error for a frame of another transfer syntax, which it names where it can."""
    header = read_frame(frame)
    name = f" ({header.process})" if header else ""
    if frame.startswith(JPEG_2000_STARTS):
        name = " (JPEG 2000)"
    return wrong_length(f"data of another transfer syntax{name}")


def _check_jpeg(frame: bytes, shape: Shape, *, is_ls: bool = False, lossy: bool = False) -> int:
    """Return the bits of a sample, where the frame is a JPEG of the right size and kind.

    Args:
        frame: Bytes of the frame.
        shape: Size and kind that it must have.
        is_ls: Whether it must be a JPEG-LS.
        lossy: Whether it must not be lossless.
    """
    header = read_frame(frame)
    if header is None or header.is_ls != is_ls or (lossy and header.is_lossless):
        raise _other_syntax(frame)
    _check_announced(shape, header)
    return header.bits


def _baseline(frame: bytes, shape: Shape) -> Decoded:
    _check_jpeg(frame, shape, lossy=True)
    return decode_jpeg(frame)


def _extended(frame: bytes, shape: Shape) -> Decoded:
    bits = _check_jpeg(frame, shape)
    if bits not in (8, 12):  # T.81, table B.2
        raise ImageError(
            "unsupported_format",
            f"Expected a JPEG extended of 8 or 12 bits, but got one of {bits}; export the image "
            "uncompressed.",
        )
    return (_baseline if bits == 8 else _lossless)(frame, shape)


def _lossless(frame: bytes, shape: Shape) -> Decoded:
    """Decode with libjpeg-turbo, which makes up pixels that are missing and says nothing.

    They are alike; where the last ones are, or no end marker is there, the frame is decoded again
    with more bytes before its end: in whole data they change nothing.
    """
    _check_jpeg(frame, shape)
    jpeg = read_jpeg(frame)
    from imagecodecs import jpeg8_decode

    samples: Samples = jpeg8_decode(jpeg.pixels)
    if not jpeg.is_ended or not np.ptp(samples[-1, -_ALIKE:], axis=0).any():
        longer = jpeg.pixels[: -len(END)] + b"\x55" * 64 + END
        if not np.array_equal(samples, jpeg8_decode(longer)):
            raise ValueError("truncated")
    return samples, jpeg.is_ended


def _jpeg_ls(frame: bytes, shape: Shape) -> Decoded:
    _check_jpeg(frame, shape, is_ls=True)
    whole = frame.rstrip(b"\0")
    is_ended = whole.endswith(END)
    from imagecodecs import jpegls_decode

    return jpegls_decode(whole if is_ended else whole + END), is_ended


def _openjpeg(frame: bytes, shape: Shape) -> Decoded:
    codestream = read_jpeg_2000(frame)
    if codestream is None:
        raise _other_syntax(frame)
    _check_announced(shape, codestream)
    from imagecodecs import jpeg2k_decode

    # The codestream alone: what else a file of several boxes says is nothing of ours.
    return jpeg2k_decode(codestream.pixels), codestream.is_ended


def _run_lengths(frame: bytes, shape: Shape) -> Decoded:
    """Decode RLE: DICOM PS3.5, annex G; a segment is PackBits, as Pillow reads it in TIFF."""
    sample_bytes = shape.bits_allocated // 8
    count, *starts = struct.unpack("<16L", frame[:64])
    if frame.startswith((START, *JPEG_2000_STARTS)):
        raise _other_syntax(frame)
    if count != sample_bytes * shape.samples:
        raise wrong_length(f"{count} segments")
    ends = (*starts[1:count], len(frame))
    size = (shape.rows * shape.columns, 1)
    segments = [
        Image.frombytes("L", size, frame[start:end], "packbits", "L")
        for start, end in zip(starts, ends, strict=False)
    ]
    planes = [np.asarray(segment).reshape(shape.rows, shape.columns) for segment in segments]
    if sample_bytes == 2:  # the high bytes of a plane, then its low bytes
        planes = [
            high.astype(np.uint16) << 8 | low
            for high, low in zip(planes[::2], planes[1::2], strict=True)
        ]
    return planes[0] if shape.samples == 1 else np.dstack(planes), True


JPEG_BASELINE = Codec("JPEG baseline", "pillow", _baseline)
JPEG_EXTENDED = Codec("JPEG extended", "imagecodecs", _extended)
JPEG_LOSSLESS = Codec("JPEG lossless", "imagecodecs", _lossless)
JPEG_LS = Codec("JPEG-LS", "imagecodecs", _jpeg_ls)
JPEG_2000 = Codec("JPEG 2000", "imagecodecs", _openjpeg)
RLE = Codec("RLE", "pillow", _run_lengths)
