"""JPEG, PNG and TIFF bytes in, radiograph out, or an error that says what is wrong with the file.

Each format's structure is read first (``jpeg_structure.py`` and its neighbours): size and number of
parts are judged before a decoder sets memory or time aside, so that a small file that unfolds to
gigabytes costs nothing. Knows nothing of labels, models or where the file is from; never puts a
file's tags into a message. A changed bit in a JPEG's pixels mostly decodes to a slightly other
picture, and is then not found: the format has no checksum.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph.film import MAX_PIXELS, Grey, Radiograph, check_size, several_frames
from cxr_transfer.radiograph.grey_range import counted, range_in_use, spread
from cxr_transfer.radiograph.jpeg_pixels import is_cut_short
from cxr_transfer.radiograph.jpeg_structure import START, Jpeg, read_jpeg
from cxr_transfer.radiograph.png_structure import SIGNATURE, read_png
from cxr_transfer.radiograph.tiff_pixels import unpacked
from cxr_transfer.radiograph.tiff_structure import PLAIN, is_tiff, read_tiff

# Not GIF, whose grey values are often dithered, nor WebP, whose canvas Pillow sets aside before its
# size can be checked: both are refused with a remedy.
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"RIFF", "a WebP or other RIFF file"),
    (b"%PDF", "a PDF"),
    (b"PK", "a zip archive"),
    (b"BM", "a BMP"),
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
_ONLY_8_OF_16 = 128  # of 256 levels: with fewer, the high bytes of 16-bit colours are no picture

_BAND = 1 << 20  # pixels

NO_END_MARKER = "the end marker of its JPEG is missing; its pixels are whole"
_PREVIEW = "a smaller copy of the picture in the same file was passed over"


@dataclass(frozen=True)
class _Opened:
    """A file whose structure was read, for Pillow to decode.

    Attributes:
        format: "JPEG", "PNG" or "TIFF".
        width: Columns, as the structure says.
        height: Rows, as the structure says.
        pixels: The bytes that are decoded.
        orientation: How the picture lies, 1 to 8.
        is_deep_colour: Whether it has 16 bits and more than one channel.
        bits: Bits of a grey sample.
        is_white_zero: Whether the lowest of 16-bit values is white.
        warnings: What a reader should know.
        jpeg: What a JPEG is made of.
    """

    format: str
    width: int
    height: int
    pixels: bytes
    orientation: int = 1
    is_deep_colour: bool = False
    bits: int = 16
    is_white_zero: bool = False
    warnings: tuple[str, ...] = ()
    jpeg: Jpeg | None = None


def decode(content: bytes) -> Radiograph:
    """Decode the bytes of one picture.

    Returns:
        The radiograph; what was done to it (alpha, colour, orientation) is in its warnings.

    Raises:
        FilmError: ``empty_file``, ``unsupported_format``, ``too_many_pixels``, ``too_small``,
            ``bad_aspect``, ``too_complex``, ``insufficient_depth``, ``multi_frame``,
            ``truncated_image``, ``corrupt_image``, ``blank_image``.
    """
    if not content:
        raise FilmError("empty_file", "Expected an image, but the file has no bytes; copy it anew.")
    try:
        opened = _opened(content)
    except (FilmError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(error) from None
    if opened is None:
        raise _unsupported(content)
    check_size(opened.width, opened.height)
    image = _open(opened)
    with image:
        _check_header(image)
        warnings = list(opened.warnings)
        try:
            image.load()
            if opened.jpeg and is_cut_short(image, opened.jpeg):
                raise OSError("truncated")
            upright: Image.Image = image
            if opened.orientation in TURNS:
                upright = image.transpose(TURNS[opened.orientation])
                warnings.append("turned as its EXIF orientation says")
            plain = _without_transparency(upright, warnings)
            colour = _colour(plain)
            if plain.mode == "RGB" and colour == 0:
                plain = plain.getchannel("R")  # as a conversion would have it, but sooner
            if opened.is_deep_colour:
                _check_deep_colour(plain)
            pixels = _grey(plain, opened, warnings)
        except (FilmError, MemoryError):
            raise
        except Exception as error:
            raise _damaged(error) from None
        return Radiograph(pixels, opened.format, tuple(warnings), colour=colour)


def _opened(content: bytes) -> _Opened | None:
    """Read the structure of a file; None of one that is none of these formats."""
    if content.startswith(START):
        jpeg = read_jpeg(content)
        if any(w >= jpeg.width or h >= jpeg.height for w, h in jpeg.others):
            raise several_frames()
        warnings = ((NO_END_MARKER,) if not jpeg.is_ended else ()) + (
            (_PREVIEW,) if jpeg.others else ()
        )
        return _Opened(
            "JPEG",
            jpeg.width,
            jpeg.height,
            jpeg.pixels,
            jpeg.orientation,
            warnings=warnings,
            jpeg=jpeg,
        )
    if content.startswith(SIGNATURE):
        png = read_png(content)
        if png is None:
            return None
        return _Opened("PNG", png.width, png.height, content, png.orientation, png.is_deep_colour)
    if is_tiff(content):
        tiff = read_tiff(content)
        check_size(tiff.width, tiff.height)
        is_plain = tiff.compression == PLAIN
        return _Opened(
            "TIFF",
            tiff.width,
            tiff.height,
            tiff.plain if is_plain else unpacked(content, tiff),
            tiff.orientation,
            tiff.is_deep_colour,
            bits=tiff.bits[0],
            is_white_zero=tiff.is_white_zero,
            warnings=(_PREVIEW,) if tiff.has_preview else (),
        )
    return None


def _unsupported(content: bytes) -> FilmError:
    if _moves(content):
        return several_frames()
    kind = next((name for start, name in _OTHERS if content.startswith(start)), "something else")
    return FilmError(
        "unsupported_format",
        f"Expected a JPEG, PNG, TIFF or DICOM file, but the content is {kind}; save the film "
        "as PNG, or take the original.",
    )


def _damaged(error: Exception) -> FilmError:
    """Return the error for damaged bytes: they lead a decoder to every kind of exception."""
    code = "truncated_image" if "truncated" in str(error) else "corrupt_image"
    return FilmError(
        code,
        "Expected a whole image, but its pixel data ends early or is damaged; export it anew.",
    )


def _open(opened: _Opened) -> Image.Image:
    try:
        return Image.open(io.BytesIO(opened.pixels), formats=(opened.format,))
    except UnidentifiedImageError:
        raise FilmError(
            "unsupported_format",
            f"Expected a {opened.format} of 8 or 16 bits, but got one of another kind; save the "
            "image as PNG, or take the original.",
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FilmError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} pixels, but the header announces more; scale it down.",
        ) from None
    except MemoryError:
        raise
    except Exception:
        raise FilmError(
            "corrupt_image", "Expected a whole image, but its header is damaged; export it anew."
        ) from None


def _moves(content: bytes) -> bool:
    """Tell an animated GIF or WebP by its header: neither is read, but the remedy differs."""
    gif = content.startswith(b"GIF8") and content.count(b"\x21\xf9\x04") > 1
    webp = content.startswith(b"RIFF") and content[8:16] == b"WEBPVP8X"
    return gif or (webp and bool(content[20:21] and content[20] & 2))


def _check_header(image: Image.Image) -> None:
    if image.width * image.height <= MAX_PIXELS and getattr(image, "is_animated", False):
        raise several_frames()  # not n_frames: it walks through all of them
    check_size(image.width, image.height)
    if image.mode == "1":
        raise FilmError(
            "insufficient_depth",
            "Expected grey values, but got black and white only (1 bit); export the film in grey.",
        )


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
            raise FilmError(
                "blank_image",
                "Expected a film, but every pixel is transparent; export it without transparency.",
            )
        if least == 255:
            return image.convert("RGB")
        warnings.append("transparent parts were laid on black")
        black = Image.new("RGB", image.size)
        black.paste(image, mask=alpha)
        return black
    if image.mode == "CMYK":
        warnings.append("CMYK was converted to grey")
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


def _check_deep_colour(image: Image.Image) -> None:
    """Refuse 16-bit colours that do not fill their bits: Pillow gives their high bytes alone."""
    counts = counted(np.asarray(image.convert("L")), 256)
    found = range_in_use(np.arange(256, dtype=np.float64), counts)
    if found.high - found.low < _ONLY_8_OF_16 - 1:
        raise FilmError(
            "insufficient_depth",
            "Expected 16-bit colours that fill their bits, but these fill few of the 16 bits; save "
            "the image in grey.",
        )


def _grey(image: Image.Image, opened: _Opened, warnings: list[str]) -> Grey:
    """Return (height, width), bright = dense: uint8, or float32 in [0, 1] of more than 8 bits."""
    if image.mode == "F":
        raise FilmError(
            "unsupported_format",
            "Expected integer grey values, but got floating-point pixels; export the film with 16 "
            "bits.",
        )
    if not image.mode.startswith("I"):
        return np.asarray(image if image.mode == "L" else image.convert("L"))
    pixels, notice = spread(_from_zero(np.asarray(image)), opened.bits if opened.bits == 12 else 16)
    if notice:
        warnings.append(notice)
    # Pillow gives 8-bit negatives as they are seen, and deeper ones as they are stored.
    return np.float32(1) - pixels if opened.is_white_zero else pixels


def _from_zero(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return integer grey values from 0 to 65535, where they have no larger range."""
    low = min(0, int(values.min()))
    if int(values.max()) - low > 65535:
        raise FilmError(
            "unsupported_format",
            "Expected 16-bit grey values, but got larger ones; export the film with 16 bits.",
        )
    return values if low == 0 else values.astype(np.int64) - low
