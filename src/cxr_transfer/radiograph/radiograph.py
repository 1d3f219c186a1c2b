"""The decoded image that every later package works on, and limits of files and images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import ImageError

if TYPE_CHECKING:
    from cxr_transfer.radiograph.full_depth import FullDepth

MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 60_000_000
MIN_SIDE = 128
MAX_ASPECT = 4.0

Grey = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""(height, width), bright = dense: uint8 over 0..255, or float32 in [0, 1]."""


@dataclass(frozen=True)
class Header:
    """Facts that a file states of its picture, never of whom it shows; "" where one is missing.

    Attributes:
        modality: DICOM Modality, such as "CR" or "DX".
        view: "PA", "AP" or "lateral".
        body_part: DICOM Body Part Examined, such as "CHEST".
    """

    modality: str = ""
    view: str = ""
    body_part: str = ""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A decoded image.

    Attributes:
        stored: (height, width), bright = dense: uint8 over 0..255 where the file holds no more,
            else float32 in [0, 1]. Eight bits are a quarter of the memory to walk through.
        format: Format of the bytes, by content: "JPEG", "PNG", "TIFF", "DICOM".
        warnings: Lines on what was done to the image on the way that a reader should know.
        header: Facts that the file itself states of the picture.
        colour: Amount of colour that was taken away: the mean over all pixels of the largest less
            the smallest of red, green and blue, in [0, 1]; 0 for a grey file.
        full_depth: All that the file holds of the picture, where it was asked for.
    """

    stored: Grey
    format: str
    warnings: tuple[str, ...] = ()
    header: Header = Header()
    colour: float = 0.0
    full_depth: FullDepth | None = None

    @cached_property
    def pixels(self) -> npt.NDArray[np.float32]:
        """(height, width) float32 in [0, 1]."""
        if self.stored.dtype == np.uint8:
            return self.stored.astype(np.float32) / np.float32(255)
        return self.stored.astype(np.float32, copy=False)

    @property
    def levels(self) -> int:
        """Number of different grey values, at most 65,536: how finely the file holds them."""
        if self.stored.dtype == np.uint8:
            return int(np.count_nonzero(np.bincount(self.stored.ravel(), minlength=256)))
        return len(np.unique(self.stored))

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.stored.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.stored.shape[1])

    def digest(self) -> str:
        """Return a SHA-256 of what is seen: equal for equal pixels, however they were stored."""
        content = hashlib.sha256(f"{self.height}x{self.width}".encode())
        content.update(np.ascontiguousarray(self.pixels).tobytes())
        return content.hexdigest()


def check_size(width: int, height: int) -> None:
    """Refuse a picture by the size that its header announces, before a pixel is decoded.

    Raises:
        ImageError: ``too_many_pixels``, ``bad_aspect``, ``too_small``.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} pixels, but got {width} x {height}; scale it down.",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            "bad_aspect",
            f"Expected an image's proportions, but got {width} x {height} pixels; use the whole "
            "image.",
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            "too_small",
            f"Expected at least {MIN_SIDE} pixels a side, but got {width} x {height}; use the "
            "original image.",
        )


def too_complex(limit: str) -> ImageError:
    """Return the error for a file whose structure would keep a decoder busy without an end.

    Args:
        limit: Limit that the file exceeds, such as "100 scans in a JPEG".
    """
    return ImageError(
        "too_complex", f"Expected at most {limit}, but got more; save the image anew."
    )


def several_frames() -> ImageError:
    """Return the error for a file of more than one picture."""
    return ImageError(
        "multi_frame", "Expected one image in a file, but got several frames; save one of them."
    )
