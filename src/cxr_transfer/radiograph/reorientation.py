"""Changes that a reader asks for where an image lies wrongly: mirrored, turned, inverted.

Comes in: a radiograph. Goes out: the radiograph as it should lie, with a line that says so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import cast

import numpy as np

from cxr_transfer.errors import UsageError
from cxr_transfer.radiograph.radiograph import Grey, Radiograph

ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True)
class Reorientation:
    """How an image is changed once it is decoded.

    Attributes:
        rotate: Degrees by which it is turned clockwise, one of `ROTATIONS`; last.
        flip: Whether it is mirrored left to right; first.
        invert: Whether bright becomes dark.

    Raises:
        UsageError: ``bad_rotation``.
    """

    rotate: int = 0
    flip: bool = False
    invert: bool = False

    def __post_init__(self) -> None:
        if self.rotate not in ROTATIONS:
            raise UsageError(
                "bad_rotation",
                f"Expected a rotation of 0, 90, 180 or 270 degrees, but got {self.rotate!r}; give "
                "one of these.",
            )

    def __bool__(self) -> bool:
        return self != AS_STORED

    @property
    def words(self) -> str:
        """What is done, for people."""
        steps = (
            "mirrored" if self.flip else "",
            f"turned clockwise by {self.rotate} degrees" if self.rotate else "",
            "inverted" if self.invert else "",
        )
        return ", ".join(filter(None, steps))

    def apply(self, radiograph: Radiograph) -> Radiograph:
        """Return the radiograph as it should lie; the same one where nothing changes."""
        if not self:
            return radiograph
        stored: Grey = radiograph.stored[:, ::-1] if self.flip else radiograph.stored
        stored = np.rot90(stored, -self.rotate // 90)
        if self.invert:
            whole = stored.dtype.type(255 if stored.dtype == np.uint8 else 1)
            stored = np.subtract(whole, stored, dtype=stored.dtype)
        notice = f"{self.words}, as was asked: not as the file has it"
        return dataclasses.replace(
            radiograph,
            stored=cast("Grey", np.ascontiguousarray(stored)),
            warnings=(*radiograph.warnings, notice),
            full_depth=None,
        )


AS_STORED = Reorientation()
