"""The decoded film: what every later room works on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A decoded film.

    Attributes:
        stored: (height, width), bright = dense: uint8 over 0..255 where the file holds no more,
            else float32 in [0, 1]. Eight bits are a quarter of the memory to walk through.
        format: What the bytes were, by content: "JPEG", "PNG", "TIFF".
        warnings: What was done to the film on the way that a reader should know.
    """

    stored: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    format: str
    warnings: tuple[str, ...] = field(default=())

    @cached_property
    def pixels(self) -> npt.NDArray[np.float32]:
        """(height, width) float32 in [0, 1]."""
        if self.stored.dtype == np.uint8:
            return self.stored.astype(np.float32) / np.float32(255)
        return self.stored.astype(np.float32, copy=False)

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
