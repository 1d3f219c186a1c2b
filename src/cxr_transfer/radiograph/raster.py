"""JPEG, PNG and TIFF bytes in, radiograph out, or an error that says what is wrong with the file.

Each format's structure is read first (``jpeg_structure.py`` and its neighbours). Size and number of
parts are judged before a decoder sets memory or time aside. So a small file that unfolds to
gigabytes costs nothing. Knows nothing of labels, models or where the file is from; never puts a
file's tags into a message. A changed bit in a JPEG's pixels mostly decodes to a slightly other
picture, and is then not found: the format has no checksum.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.deep_raster import (
    ALL_TRANSPARENT,
    CMYK,
    LAID_ON_BLACK,
    DeepRaster,
    grey_of,
)
from cxr_transfer.radiograph.full_depth import of_8_bits
from cxr_transfer.radiograph.jpeg_pixels import is_cut_short
from cxr_transfer.radiograph.jpeg_structure import START, Jpeg, check_coding, read_jpeg
from cxr_transfer.radiograph.png_pixels import deep_pixels
from cxr_transfer.radiograph.png_structure import SIGNATURE, read_png
from cxr_transfer.radiograph.radiograph import MAX_PIXELS, Radiograph, check_size, several_frames
from cxr_transfer.radiograph.tiff_pixels import unpacked
from cxr_transfer.radiograph.tiff_samples import check_kind, is_read_here, read_samples
from cxr_transfer.radiograph.tiff_structure import PLAIN, is_tiff, read_tiff

# Not GIF, whose grey values are often dithered, nor WebP, whose canvas Pillow sets aside before its
# size can be checked: both are refused with a remedy.
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"RIFF", "a WebP or other RIFF file"),
    (b"%PDF", "a PDF"),
    (b"PK", "a zip archive"),
    (b"BM", "a BMP"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"8BPS", "a Photoshop file"),
)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # TIFF 6.0, section 8: what brings each orientation upright

_Pixels: TypeAlias = bytes | Image.Image | DeepRaster
_BAND = 1 << 20  # pixels

NO_END_MARKER = "the end marker of its JPEG is missing; its pixels are whole"
_PREVIEW = "a smaller copy of the picture in the same file was passed over"


@dataclass(frozen=True)
class _Opened:
    """A file whose structure was read.

    Attributes:
        format: Format: "JPEG", "PNG" or "TIFF".
        pixels: Bytes that Pillow decodes; or the picture that was decoded without it.
        orientation: Orientation of the picture, 1 to 8.
        warnings: Lines that a reader should know.
        jpeg: Structure of a JPEG; None of the other formats.
    """

    format: str
    pixels: _Pixels
    orientation: int = 1
    warnings: tuple[str, ...] = ()
    jpeg: Jpeg | None = None


def decode(content: bytes, *, full_depth: bool = False) -> Radiograph:
    """Decode the bytes of one picture.

    Args:
        content: Bytes of the file.
        full_depth: Whether all that the file holds of the picture is kept beside it.

    Returns:
        The radiograph; what was done to it (alpha, colour, orientation) is in its warnings.

    Raises:
        ImageError: ``empty_file``, ``unsupported_format``, ``too_many_pixels``, ``too_small``,
            ``bad_aspect``, ``too_complex``, ``insufficient_depth``, ``multi_frame``,
            ``truncated_image``, ``corrupt_image``, ``blank_image``.
    """
    if not content:
        raise ImageError(
            "empty_file", "Expected an image, but the file has no bytes; copy it anew."
        )
    try:
        opened = _opened(content)
        if opened is None:
            raise _unsupported(content)
        warnings = list(opened.warnings)
        if opened.orientation in TURNS:
            warnings.append("turned as its EXIF orientation says")
        if isinstance(opened.pixels, DeepRaster):
            grey = grey_of(opened.pixels, opened.orientation, full_depth=full_depth)
            warnings += grey.warnings
            return Radiograph(
                *(grey.pixels, opened.format, tuple(warnings)),
                colour=grey.colour,
                full_depth=grey.full_depth,
            )
        with _open(opened.format, opened.pixels) as image:
            shallow, colour = _shallow(image, opened, warnings)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(error) from None
    deep = of_8_bits(shallow) if full_depth else None
    return Radiograph(shallow, opened.format, tuple(warnings), colour=colour, full_depth=deep)


def _opened(content: bytes) -> _Opened | None:
    """Read the structure of a file; None of one that is none of these formats."""
    if content.startswith(START):
        return _opened_jpeg(content)
    if content.startswith(SIGNATURE):
        return _opened_png(content)
    return _opened_tiff(content) if is_tiff(content) else None


def _opened_jpeg(content: bytes) -> _Opened:
    check_coding(content)
    jpeg = read_jpeg(content)
    if any(w >= jpeg.width or h >= jpeg.height for w, h in jpeg.others):
        raise several_frames()
    check_size(jpeg.width, jpeg.height)
    warnings = ((NO_END_MARKER,) if not jpeg.is_ended else ()) + (
        (_PREVIEW,) if jpeg.others else ()
    )
    return _Opened("JPEG", jpeg.pixels, jpeg.orientation, warnings, jpeg)


def _opened_png(content: bytes) -> _Opened | None:
    png = read_png(content)
    if png is None:
        return None
    check_size(png.width, png.height)
    pixels = deep_pixels(png) if png.bits == 16 else png.pixels
    return _Opened("PNG", pixels, png.orientation, png.warnings)


def _opened_tiff(content: bytes) -> _Opened:
    tiff = read_tiff(content)
    check_size(tiff.width, tiff.height)
    check_kind(tiff)
    pixels: _Pixels = tiff.plain
    if is_read_here(tiff):
        pixels = read_samples(content, tiff)
    elif tiff.compression != PLAIN:
        pixels = unpacked(content, tiff)
    return _Opened("TIFF", pixels, tiff.orientation, (_PREVIEW,) if tiff.has_preview else ())


def _shallow(
    image: Image.Image, opened: _Opened, warnings: list[str]
) -> tuple[npt.NDArray[np.uint8], float]:
    """Return the grey of a picture of up to 8 bits, and how much colour was taken away."""
    check_size(image.width, image.height)
    if image.mode == "1":
        raise ImageError(
            "insufficient_depth",
            "Expected grey values, but got black and white only (1 bit); export the image in grey.",
        )
    image.load()
    if opened.jpeg and is_cut_short(image, opened.jpeg):
        raise OSError("truncated")
    if opened.orientation in TURNS:
        image = image.transpose(TURNS[opened.orientation])
    image = _without_transparency(image, warnings)
    colour = _colour(image)
    if image.mode == "RGB" and colour == 0:
        image = image.getchannel("R")  # as a conversion would have it, but sooner
    return np.asarray(image if image.mode == "L" else image.convert("L")), colour


def _unsupported(content: bytes) -> ImageError:
    if _moves(content):
        return several_frames()
    kind = next((name for start, name in _OTHERS if content.startswith(start)), "something else")
    return ImageError(
        "unsupported_format",
        f"Expected a JPEG, PNG, TIFF or DICOM file, but the content is {kind}; save the image "
        "as PNG, or take the original.",
    )


def _damaged(error: Exception) -> ImageError:
    """Return the error for damaged bytes: they lead a decoder to every kind of exception."""
    code = "truncated_image" if "truncated" in str(error) else "corrupt_image"
    return ImageError(
        code,
        "Expected a whole image, but its pixel data ends early or is damaged; export it anew.",
    )


def _open(kind: str, pixels: bytes | Image.Image) -> Image.Image:
    if isinstance(pixels, Image.Image):
        return pixels
    try:
        return Image.open(io.BytesIO(pixels), formats=(kind,))
    except UnidentifiedImageError:
        raise ImageError(
            "unsupported_format",
            f"Expected a {kind} in grey or RGB, but got another kind of {kind}; save the image as "
            "PNG, or take the original.",
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} pixels, but the header announces more; scale it down.",
        ) from None
    except MemoryError:
        raise
    except Exception:
        raise ImageError(
            "corrupt_image", "Expected a whole image, but its header is damaged; export it anew."
        ) from None


def _moves(content: bytes) -> bool:
    """Tell an animated GIF or WebP by its header: neither is read, but the remedy differs."""
    gif = content.startswith(b"GIF8") and content.count(b"\x21\xf9\x04") > 1
    webp = content.startswith(b"RIFF") and content[8:16] == b"WEBPVP8X"
    return gif or (webp and bool(content[20:21] and content[20] & 2))


def _without_transparency(image: Image.Image, warnings: list[str]) -> Image.Image:
    """Return ``image`` with its palette applied and what is transparent laid on black."""
    if "transparency" in image.info and image.mode in ("P", "L", "RGB"):
        image = image.convert("RGBA")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGB")
    if image.mode in ("RGBa", "La"):
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA"):
        alpha = image.getchannel("A")
        least, most = alpha.getextrema()
        if not most:
            raise ImageError("blank_image", ALL_TRANSPARENT)
        if least == 255:
            return image.convert("RGB")
        warnings.append(LAID_ON_BLACK)
        black = Image.new("RGB", image.size)
        black.paste(image, mask=alpha)
        return black
    if image.mode == "CMYK":
        warnings.append(CMYK)
        image = image.convert("RGB")
    return image


def _colour(image: Image.Image) -> float:
    """Return the mean of the largest less the smallest of red, green and blue, in [0, 1]."""
    if image.mode != "RGB":
        return 0.0
    rows, total = max(1, _BAND // image.width), 0
    for top in range(0, image.height, rows):
        # The whole picture's channels would take as much memory again.
        band = image.crop((0, top, image.width, min(image.height, top + rows)))
        red, green, blue = (np.asarray(channel) for channel in band.split())
        if np.array_equal(red, green) and np.array_equal(red, blue):
            continue  # sooner than what follows: mostly grey comes as colour
        most = np.maximum(np.maximum(red, green), blue)
        least = np.minimum(np.minimum(red, green), blue)
        total += int((most - least).sum(dtype=np.int64))
    return total / (image.width * image.height) / 255
