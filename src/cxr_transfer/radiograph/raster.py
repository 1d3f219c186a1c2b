"""JPEG, PNG and TIFF bytes in, radiograph out, or an error that says what is wrong with the file.

Reads by content, never by name. Checks the header before any pixel is decoded, so that a small
file that unfolds to gigabytes costs nothing. Knows nothing of labels, models or where the file is
from; never puts a file's name or tags into a message.
"""

from __future__ import annotations

import dataclasses
import io
import os
import stat
import warnings as python_warnings
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph.film import Radiograph

MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 60_000_000
MIN_SIDE = 128
MAX_ASPECT = 4.0
_FORMATS = ("JPEG", "PNG", "TIFF")
_NAMED = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF"}
_PNG = b"\x89PNG\r\n\x1a\n"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # TIFF 6.0, section 8
_WHITE_IS_ZERO = 0

# Pillow warns from a larger number of pixels on, where ours is an error, and of damaged tags, which
# take nothing from the film.
python_warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
python_warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Grey = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


def read_film(path: Path) -> Radiograph:
    """Read one film from a file.

    Raises:
        FilmError: ``not_a_file`` for what is no regular file (a folder, a pipe, a device),
            ``unreadable``, ``too_many_bytes``, and all that `decode` raises.
    """
    try:
        # A pipe would block at open: ask the file system what it is first.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise FilmError("not_a_file", "Expected an image file, but got a folder or device.")
        if status.st_size > MAX_BYTES:
            raise FilmError(
                "too_many_bytes",
                f"Expected at most {MAX_BYTES} bytes, but got {status.st_size}; export a smaller "
                "copy of the film.",
            )
        with path.open("rb") as handle:
            content = handle.read(status.st_size + 1)
        if len(content) > status.st_size:
            raise FilmError("unreadable", "Expected a whole file, but it grows; wait for its end.")
    except FileNotFoundError:
        raise FilmError("missing_file", "Expected an image file, but there is none.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FilmError("unreadable", f"Expected a readable file, but got: {reason}.") from None
    film = decode(content)
    if _NAMED.get(path.suffix.lower(), film.format) == film.format:
        return film
    warning = f"the content is {film.format}, whatever the file's name says"
    return dataclasses.replace(film, warnings=(*film.warnings, warning))


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
            raise _several_frames() from None
        raise FilmError(
            "unsupported_format",
            "Expected a JPEG, PNG or TIFF image, but the content is something else; convert it.",
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
        try:
            # Loading turns a TIFF, and takes the tag away.
            turned = getattr(image, "tag_v2", {}).get(_ORIENTATION) in range(2, 9)
            image.load()
            if _is_cut_short(image, content):
                raise OSError("truncated")
            upright: Image.Image = image
            if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
                upright, turned = ImageOps.exif_transpose(image), True
            if turned:
                warnings.append("turned as its EXIF orientation says")
            pixels = _tiff_scale(image, _grey(upright, warnings))
        except (FilmError, MemoryError):
            raise
        except Exception as error:
            code = "truncated_image" if "truncated" in str(error) else "corrupt_image"
            raise FilmError(
                code, "Expected a whole image, but its pixel data ends early or is damaged."
            ) from None
        return Radiograph(stored=pixels, format=image.format or "", warnings=tuple(warnings))


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


def _several_frames() -> FilmError:
    return FilmError(
        "multi_frame", "Expected one film in a file, but got several frames; save one of them."
    )


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise FilmError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} pixels, but got {width} x {height}; scale it down.",
        )
    if getattr(image, "is_animated", False):  # not n_frames: it walks through all of them
        raise _several_frames()
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise FilmError(
            "bad_aspect", f"Expected a film's proportions, but got {width} x {height} pixels."
        )
    if min(width, height) < MIN_SIDE:
        raise FilmError(
            "too_small",
            f"Expected at least {MIN_SIDE} pixels a side, but got {width} x {height}; use the "
            "original film.",
        )
    if image.mode == "1":
        raise FilmError(
            "insufficient_depth", "Expected grey values, but got black and white only (1 bit)."
        )


def _grey(image: Image.Image, warnings: list[str]) -> Grey:
    """Return (height, width) uint8, or float32 in [0, 1]; each mode over its own full range."""
    if "transparency" in image.info and image.mode in ("P", "L", "RGB"):
        image = image.convert("RGBA")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGB")
    if image.mode in ("RGBA", "LA", "RGBa", "La"):
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        if not alpha.any():
            raise FilmError("blank_image", "Expected a film, but every pixel is transparent.")
        if alpha.min() < 255:
            warnings.append("transparent parts were laid on black")
            black = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(black, image)
        image = image.convert("RGB")
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        values = np.asarray(image).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise FilmError("corrupt_image", "Expected 16-bit grey values, but got larger ones.")
        return (values / 65535).astype(np.float32)
    if image.mode == "F":
        raise FilmError(
            "unsupported_format", "Expected integer grey values, but got floating-point pixels."
        )
    if image.mode == "CMYK":
        warnings.append("CMYK was converted to grey")
        image = image.convert("RGB")
    if image.mode != "L":
        image = image.convert("L")
    return np.asarray(image)


def _tiff_scale(image: Image.Image, pixels: Grey) -> Grey:
    """Return ``pixels`` bright = dense: Pillow gives 12 bits unscaled, 16-bit negatives as such."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        pixels = np.minimum(pixels * np.float32(65535 / 4095), np.float32(1))
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode.startswith("I;16"):
        pixels = np.float32(1) - pixels
    return pixels
