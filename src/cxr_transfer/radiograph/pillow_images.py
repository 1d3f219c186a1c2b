"""An image of Pillow's in, the bytes of a file or its numbers out: without loss.

An image that says itself how it is to be seen (palette, colours, what is transparent) becomes a
file again, for the one decoder. Where a program states what the numbers of a grey one mean, they
are an array's. Knows nothing of what is done with either.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.radiograph import check_size, several_frames
from cxr_transfer.radiograph.raster import TURNS

GREY_MODES = ("L", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Modes of images that are nothing but numbers."""

_AS_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B")
_AS_TIFF = ("CMYK", "I")
_CONVERTED = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_ORIENTATION = 274  # of Exif


def encoded(image: Image.Image) -> bytes:
    """Return the bytes of a file of a PIL image, without loss.

    Raises:
        ImageError: ``multi_frame``, ``unsupported_format``, ``truncated_image``, ``corrupt_image``,
            ``unreadable`` for a closed one, those of `check_size`.
    """
    with _loaded(image) as lies:
        if image.mode in _CONVERTED:
            image = image.convert(_CONVERTED[image.mode])
        content = io.BytesIO()
        if image.mode in _AS_PNG:
            exif = Image.Exif()
            exif[_ORIENTATION] = lies
            # Not compressed: it is decoded at once.
            image.save(content, "PNG", compress_level=0, exif=exif, icc_profile=None)
        elif image.mode in _AS_TIFF:
            image.save(content, "TIFF", compression=None)
        else:
            raise ImageError(
                "unsupported_format",
                f"Expected a grey or an RGB image, but got one of PIL's mode {image.mode!r}; "
                "convert it to 'L' first.",
            )
        return content.getvalue()


def grey_values(image: Image.Image) -> npt.NDArray[Any]:
    """Return the numbers of a grey PIL image, upright: uint8, uint16 or float32.

    Args:
        image: Image of one of `GREY_MODES`.

    Raises:
        ImageError: What `encoded` raises.
    """
    with _loaded(image) as lies:
        values = np.asarray(image.transpose(TURNS[lies]) if lies in TURNS else image)
        if values.dtype.itemsize < 4 or values.dtype.kind == "f":
            return values
        # 32 bits are how Pillow holds whatever is more than 8: they are rarely all in use.
        fits = values.min() >= 0 and values.max() < 1 << 16
        return values.astype(np.uint16 if fits else np.float32)


@contextmanager
def _loaded(image: Image.Image) -> Iterator[int]:
    """Have the pixels of an image ready, and give its orientation: 1 where it lies upright.

    Raises:
        ImageError: What `encoded` raises; whatever fails meanwhile is the image's fault.
    """
    check_size(image.width, image.height)
    # A JPEG of a camera may hold a smaller copy of itself, and then is a file of several pictures.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise several_frames()
    try:
        image.load()  # of one that was only opened, now; a TIFF is turned by it
        stated = image.getexif().get(_ORIENTATION)
        yield next((orientation for orientation in range(1, 9) if orientation == stated), 1)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        if _is_closed(image, error):
            raise ImageError(
                "unreadable",
                "Expected an image whose pixels can be loaded, but it, or its file, was closed "
                "before; open it anew.",
            ) from None
        raise ImageError(
            "truncated_image" if "truncated" in str(error) else "corrupt_image",
            "Expected a whole image, but its pixel data ends early or is damaged; export it anew.",
        ) from None


def _is_closed(image: Image.Image, error: Exception) -> bool:
    """Tell whether an image could not be loaded since it, or its file, is closed."""
    if isinstance(error, ValueError) and "closed" in str(error):
        return True
    # What Pillow says of an image that left its "with" unloaded.
    return isinstance(error, AssertionError) and getattr(image, "fp", image) is None
