"""Radiograph in, model input out: the choice that travels with the weights.

The model input is one grey channel of 8 bits. What a network then does to grey values (scale,
subtract means, three channels) is its first layer, not ours: it stays with the network.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from cxr_transfer.radiograph.lung_segmentation import lung_box
from cxr_transfer.radiograph.radiograph import Radiograph

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in shares of the image's width and height."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Preprocessing(BaseModel):
    """Steps by which a radiograph becomes a model input.

    The paper (section 4.1) resizes to 224 x 224 and says neither how nor whether the aspect ratio
    was kept; the defaults are our reading. The other choices take marks of an image's source away:
    what lies around the lungs, how sharp it was stored, how it was exposed.

    Attributes:
        height: Height of the model input in pixels.
        width: Width of the model input in pixels.
        interpolation: Pillow's filter; it widens with the reduction (no aliasing).
        keep_aspect: Whether the image keeps its proportions.
        crop: ``lungs`` keeps the box around both lungs (`lung_box`), ``none`` the whole image.
        detail: Pixels a side to which the image is reduced before it is brought to its size. An
            image that was stored small is then as sharp as all others; None reduces nothing.
        equalise: Whether grey values are spread so that each is about as frequent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int = Field(224, ge=48, le=2048)
    width: int = Field(224, ge=48, le=2048)
    interpolation: Literal["bilinear"] = "bilinear"
    keep_aspect: Literal[False] = False
    crop: Literal["none", "lungs"] = "none"
    detail: int | None = Field(None, ge=16, le=2048)
    equalise: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def box(self, radiograph: Radiograph) -> Box:
        """Return which part of the image becomes the model input."""
        if self.crop == "none":
            return WHOLE
        return lung_box(_grey(_resized(radiograph, WHOLE, self.height, self.width)))

    def apply(self, radiograph: Radiograph, box: Box | None = None) -> npt.NDArray[np.uint8]:
        """Return the image as (height, width) uint8.

        An 8-bit image that already has the size, and of which nothing is to be taken away, comes
        back unchanged, value for value.

        Args:
            radiograph: The image.
            box: Box that `box` returned for it; None looks for it.
        """
        box = box or self.box(radiograph)
        height, width = (self.detail, self.detail) if self.detail else self.size
        return self._finished(_grey(_resized(radiograph, box, height, width)))

    @property
    def unfinished(self) -> Preprocessing:
        """The same without the steps of `finish`: the image as it comes, in its place and size."""
        return self.model_copy(update={"detail": None, "equalise": False})

    def finish(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return what `unfinished` made as a model input.

        A little softer than what `apply` gives, which resizes once. For whoever changes an image in
        between, as noise would: what of that these steps take away does not reach a network.

        Args:
            image: (height, width) uint8.
        """
        if self.detail is not None:
            coarse = Image.fromarray(image).resize((self.detail,) * 2, Image.Resampling.BILINEAR)
            image = np.array(coarse)
        return self._finished(image)

    def _finished(self, grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self.detail is not None:
            # Bicubic: bilinear would leave creases at the coarse pixels.
            fine = Image.fromarray(grey).resize((self.width, self.height), Image.Resampling.BICUBIC)
            grey = np.array(fine)
        return np.array(ImageOps.equalize(Image.fromarray(grey))) if self.equalise else grey


def _resized(radiograph: Radiograph, box: Box, height: int, width: int) -> npt.NDArray[np.float32]:
    """Return a part of the image as (height, width) float32, 0..255."""
    stored = radiograph.stored
    whole = np.float32(1 if stored.dtype == np.uint8 else 255)
    if box == WHOLE and stored.shape == (height, width):
        return stored * whole
    left, top, right, bottom = box
    # As mode F: nothing is rounded before the end.
    image = Image.fromarray(stored).convert("F")
    image = image.resize(
        (width, height),
        Image.Resampling.BILINEAR,
        box=(
            left * radiograph.width,
            top * radiograph.height,
            right * radiograph.width,
            bottom * radiograph.height,
        ),
    )
    resized: npt.NDArray[np.float32] = np.asarray(image) * whole
    return resized


def _grey(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    rounded: npt.NDArray[np.uint8] = np.rint(values).clip(0, 255).astype(np.uint8)
    return rounded
