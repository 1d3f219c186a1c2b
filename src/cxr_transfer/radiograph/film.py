"""The decoded film: what every later room works on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A decoded film.

    Attributes:
        pixels: (height, width) float32 in [0, 1], bright = dense.
        format: What the bytes were, by content: "JPEG", "PNG", "TIFF".
        warnings: What was done to the film on the way that a reader should know.
    """

    pixels: npt.NDArray[np.float32]
    format: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    def digest(self) -> str:
        """Return a SHA-256 of what is seen: equal for equal pixels, however they were stored."""
        content = hashlib.sha256(f"{self.height}x{self.width}".encode())
        content.update(np.ascontiguousarray(self.pixels).tobytes())
        return content.hexdigest()
