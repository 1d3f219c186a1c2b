"""JPEG, PNG and TIFF bytes in, radiograph out, or an error that says what is wrong with the file.

Checks the header before any pixel is decoded, so that a small file that unfolds to gigabytes costs
nothing. Knows nothing of labels, models or where the file is from; never puts a file's tags into a
message. A changed bit in a JPEG's pixels mostly decodes to a slightly other film, and is then not
found: the format has no checksum.
"""

from __future__ import annotations

import io
import re
import warnings as python_warnings
import zlib
from itertools import cycle

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph.film import (
    MAX_PIXELS,
    Grey,
    Radiograph,
    check_size,
    several_frames,
)

# Not GIF, whose grey values are often dithered, nor WebP, whose canvas Pillow sets aside before its
# size can be checked: both are refused with a remedy.
_FORMATS = ("JPEG", "PNG", "TIFF")
_PNG = b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff[\x01-\xfe]")  # T.81, B.1.1.2; in a scan FF 00 is the value FF
_DRI, _SOS, _EOI = 0xDD, 0xDA, 0xD9
_RESTARTS = range(0xD0, 0xD8)
_STANDALONE, _FIRST_NAMED = (*_RESTARTS, 0xD8), 0xC0
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # TIFF 6.0, section 8
_WHITE_IS_ZERO = 0
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"RIFF", "a WebP or other RIFF file"),
    (b"%PDF", "a PDF"),
    (b"PK", "a zip archive"),
    (b"BM", "a BMP"),
)

# Pillow warns from a larger number of pixels on, where ours is an error, and of damaged tags, which
# take nothing from the film.
python_warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
python_warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def decode(content: bytes) -> Radiograph:
    """Decode the bytes of one film.

    Returns:
        The radiograph; what was done to it (alpha, colour, orientation) is in its warnings.

    Raises:
        FilmError: ``empty_file``, ``unsupported_format``, ``too_many_pixels``, ``too_small``,
            ``bad_aspect``, ``insufficient_depth``, ``multi_frame``, ``truncated_image``,
            ``corrupt_image``, ``blank_image``.
    """
    if not content:
        raise FilmError("empty_file", "Expected an image, but the file has no bytes; copy it anew.")
    if content.startswith(_PNG):
        _check_png(content)
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        if _moves(content):
            raise several_frames() from None
        kind = next(
            (name for start, name in _OTHERS if content.startswith(start)), "something else"
        )
        raise FilmError(
            "unsupported_format",
            f"Expected a JPEG, PNG, TIFF or DICOM file, but the content is {kind}; save the film "
            "as PNG, or take the original.",
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FilmError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} pixels, but the header announces more; scale it down.",
        ) from None
    except MemoryError:
        raise
    except Exception:
        # Damaged bytes lead a decoder to every kind of exception; they all say the same.
        raise FilmError(
            "corrupt_image", "Expected a whole image, but its header is damaged; export it anew."
        ) from None
    with image:
        _check_header(image)
        warnings: list[str] = []
        colour = 0.0
        try:
            # Loading turns a TIFF, and takes the tag away.
            turned = getattr(image, "tag_v2", {}).get(_ORIENTATION) in range(2, 9)
            if image.format == "JPEG":
                load_jpeg(image, content)
            image.load()
            upright: Image.Image = image
            if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
                upright, turned = ImageOps.exif_transpose(image), True
            if turned:
                warnings.append("turned as its EXIF orientation says")
            plain = _without_transparency(upright, warnings)
            colour = _colour(plain)
            if plain.mode == "RGB" and colour == 0:
                plain = plain.getchannel("R")  # as a conversion would have it, but sooner
            pixels = _tiff_scale(image, _grey(plain))
        except (FilmError, MemoryError):
            raise
        except Exception as error:
            code = "truncated_image" if "truncated" in str(error) else "corrupt_image"
            raise FilmError(
                code,
                "Expected a whole image, but its pixel data ends early or is damaged; export it "
                "anew.",
            ) from None
        return Radiograph(pixels, image.format or "", tuple(warnings), colour=colour)


def _check_png(content: bytes) -> None:
    """Refuse a PNG with a wrong checksum: Pillow does not look at those of the pixels."""
    view, start = memoryview(content), len(_PNG)
    while start + 12 <= len(content):
        end = start + 8 + int.from_bytes(view[start : start + 4])
        if end + 4 > len(content):
            return  # Cut off: decoding it says so.
        if zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise FilmError(
                "corrupt_image",
                "Expected a whole image, but the checksum of a PNG chunk is wrong; export it anew.",
            )
        start = end + 4


def load_jpeg(image: Image.Image, content: bytes) -> None:
    """Decode an opened JPEG; libjpeg mends damaged ones and says nothing, so look for it.

    Raises:
        OSError: The pixels end early or are damaged.
    """
    _check_markers(content)
    image.load()
    if _is_cut_short(image, content):
        raise OSError("truncated")


def _check_markers(content: bytes) -> None:
    """Walk the segments and scans of a JPEG: ITU-T T.81, annex B.

    Raises:
        OSError: A marker stands where none may, or a restart marker is missing or out of turn.
    """
    start, restarts = 2, False
    while found := _MARKER.search(content, start):
        marker, start = found[0][-1], found.end()
        if marker == _EOI:
            return
        if marker < _FIRST_NAMED or marker in _STANDALONE:
            raise OSError("a marker out of place")
        if marker == _DRI:
            restarts = content[start + 2 : start + 4] != b"\0\0"
        start += int.from_bytes(content[start : start + 2])
        if marker == _SOS:
            expected = cycle(_RESTARTS)
            while (found := _MARKER.search(content, start)) and found[0][-1] in _RESTARTS:
                if not restarts or found[0][-1] != next(expected):
                    raise OSError("a restart marker out of turn")
                start = found.end()
    raise OSError("truncated")


def _is_cut_short(image: Image.Image, content: bytes) -> bool:
    """Tell whether the pixels of a JPEG end before its end marker.

    libjpeg fills the rest with mid-grey (of a progressive film: leaves it blurred) and says
    nothing. Where that may be, the film is decoded again with more bytes before the marker: in
    whole data they change nothing.
    """
    end = content.rfind(b"\xff\xd9")
    if image.format != "JPEG" or image.mode not in ("L", "RGB") or end < 0:
        return False
    last = image.getpixel((image.width - 1, image.height - 1))
    if last not in (128, (128, 128, 128)) and "progressive" not in image.info:
        return False
    longer = content[:end] + b"\x55" * 64 + content[end:]
    with Image.open(io.BytesIO(longer), formats=("JPEG",)) as other:
        return other.tobytes() != image.tobytes()


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
    if image.mode in ("RGBA", "LA", "RGBa", "La"):
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        if not alpha.any():
            raise FilmError(
                "blank_image",
                "Expected a film, but every pixel is transparent; export it without transparency.",
            )
        if alpha.min() < 255:
            warnings.append("transparent parts were laid on black")
            black = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(black, image)
        image = image.convert("RGB")
    if image.mode == "CMYK":
        warnings.append("CMYK was converted to grey")
        image = image.convert("RGB")
    return image


def _colour(image: Image.Image) -> float:
    """Return the mean of the largest less the smallest of red, green and blue, in [0, 1]."""
    if image.mode != "RGB":
        return 0.0
    red, green, blue = (np.asarray(channel) for channel in image.split())
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return 0.0
    most = np.maximum(np.maximum(red, green), blue)
    return float((most - np.minimum(np.minimum(red, green), blue)).mean()) / 255


def _grey(image: Image.Image) -> Grey:
    """Return (height, width) uint8, or float32 in [0, 1]; each mode over its own full range."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise FilmError(
                "corrupt_image",
                "Expected 16-bit grey values, but got larger ones; export the film with 16 bits.",
            )
        return values.astype(np.float32) / np.float32(65535)
    if image.mode == "F":
        raise FilmError(
            "unsupported_format",
            "Expected integer grey values, but got floating-point pixels; export the film with 16 "
            "bits.",
        )
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _tiff_scale(image: Image.Image, pixels: Grey) -> Grey:
    """Return ``pixels`` bright = dense: Pillow gives 12 bits unscaled, 16-bit negatives as such."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        pixels = np.minimum(pixels * np.float32(65535 / 4095), np.float32(1))
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode.startswith("I;16"):
        pixels = np.float32(1) - pixels
    return pixels
