"""JPEG, PNG and TIFF bytes in, radiograph out, or an error that says what is wrong with the file.

Reads by content, never by name. Checks the header before any pixel is decoded, so that a small
file that unfolds to gigabytes costs nothing. Knows nothing of labels, models or where the file is
from; never puts a file's name or tags into a message.
"""

from __future__ import annotations

import io
import os
import stat
import struct
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

# Pillow warns from a larger number of pixels on; ours is lower, and an error.
python_warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

Grey = npt.NDArray[np.float32]


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
        content = path.read_bytes()
    except FileNotFoundError:
        raise FilmError("missing_file", "Expected an image file, but there is none.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FilmError("unreadable", f"Expected a readable file, but got: {reason}.") from None
    return decode(content)


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
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        raise FilmError(
            "unsupported_format",
            "Expected a JPEG, PNG or TIFF image, but the content is something else; convert it.",
        ) from None
    except Image.DecompressionBombError:
        raise FilmError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} pixels, but the header announces more; scale it down.",
        ) from None
    except (OSError, ValueError, SyntaxError, struct.error, zlib.error):
        raise FilmError(
            "corrupt_image", "Expected a whole image, but its header is damaged; export it anew."
        ) from None
    with image:
        _check_header(image)
        warnings: list[str] = []
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.size != image.size or upright.tobytes() != image.tobytes():
                warnings.append("turned as its EXIF orientation says")
            pixels = _grey(upright, warnings)
        except (OSError, ValueError, SyntaxError, struct.error, zlib.error) as error:
            code = "truncated_image" if "truncated" in str(error) else "corrupt_image"
            raise FilmError(
                code, "Expected a whole image, but its pixel data ends early or is damaged."
            ) from None
        return Radiograph(pixels=pixels, format=image.format or "", warnings=tuple(warnings))


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise FilmError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} pixels, but got {width} x {height}; scale it down.",
        )
    if getattr(image, "n_frames", 1) > 1:
        raise FilmError(
            "multi_frame", "Expected one film in a file, but got several frames; save one of them."
        )
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
    """Return (height, width) float32 in [0, 1]; each mode over its own full range."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
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
    return np.asarray(image).astype(np.float32) / np.float32(255)
