"""Radiograph in, model input out: the choice that travels with the weights.

The model input is one grey channel of 8 bits. What a network then does to grey values (scale,
subtract means, three channels) is its first layer, not ours: it stays with the network.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from cxr_transfer.radiograph.film import Radiograph


class Preprocessing(BaseModel):
    """How a radiograph becomes a model input.

    The paper (section 4.1) resizes to 224 x 224 and says neither how nor whether the aspect ratio
    was kept; the defaults are our reading.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int = Field(224, ge=48, le=2048)
    width: int = Field(224, ge=48, le=2048)
    interpolation: Literal["bilinear"] = "bilinear"
    keep_aspect: Literal[False] = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def apply(self, radiograph: Radiograph) -> npt.NDArray[np.uint8]:
        """Return the film as (height, width) uint8.

        Pillow's bilinear filter widens with the reduction (no aliasing). An 8-bit film that
        already has the size comes back unchanged, value for value.
        """
        stored = radiograph.stored
        whole = 1 if stored.dtype == np.uint8 else 255
        if stored.shape == (self.height, self.width):
            resized = stored * np.float32(whole)
        else:
            # As mode F: nothing is rounded before the end.
            film = Image.fromarray(stored).convert("F")
            film = film.resize((self.width, self.height), Image.Resampling.BILINEAR)
            resized = np.asarray(film) * np.float32(whole)
        grey: npt.NDArray[np.uint8] = np.rint(resized).clip(0, 255).astype(np.uint8)
        return grey
