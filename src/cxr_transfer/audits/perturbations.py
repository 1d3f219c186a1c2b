"""How much a model's score depends on what changes no finding: compression, contrast, position.

In come model inputs, or images short of their last steps; out go model inputs of the same images,
changed as scanners, viewers and e-mail change them.
Fixed changes with a name, not random ones: the drop of each is a figure.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from cxr_transfer.radiograph import Preprocessing

Plane = npt.NDArray[np.uint8]


def _same(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return picture


def _jpeg(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=30)
    return Image.open(content)


def _gamma(exponent: float) -> Callable[[Image.Image, np.random.Generator], Image.Image]:
    table = [round(255 * (grey / 255) ** exponent) for grey in range(256)]
    return lambda picture, _: picture.point(table)


def _blur(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(picture.width / 150))


def _noise(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    grey = np.asarray(picture) + rng.normal(0, 12, (picture.height, picture.width))
    return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))


def _turned(degrees: float) -> Callable[[Image.Image, np.random.Generator], Image.Image]:
    return lambda picture, _: picture.rotate(degrees, Image.Resampling.BILINEAR)


def _cropped(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    side, height = round(0.05 * picture.width), round(0.05 * picture.height)
    box = (side, height, picture.width - side, picture.height - height)
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=box)


def _resampled(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """Once smaller and back by another kernel: what a viewer's export does."""
    small = picture.resize(
        (picture.width * 2 // 3, picture.height * 2 // 3), Image.Resampling.LANCZOS
    )
    return small.resize(picture.size, Image.Resampling.BICUBIC)


CORRUPTIONS: Mapping[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "JPEG quality 30": _jpeg,
    "gamma 0.7": _gamma(0.7),
    "gamma 1.4": _gamma(1.4),
    "blur": _blur,
    "noise": _noise,
    "turned 10 degrees left": _turned(10),
    "turned 10 degrees right": _turned(-10),
    "5 % cut off each border": _cropped,
    "scaled down and up": _resampled,
}


UNCHANGED = "unchanged"
"""No change, but brought to the network in the same way: what the others are compared with."""


def corrupted(
    images: Plane, name: str, *, preprocessing: Preprocessing | None = None, seed: int = 0
) -> Plane:
    """Return ``images`` changed by one of `CORRUPTIONS`, or `UNCHANGED`.

    Args:
        images: (N, 1, H, W) uint8: model inputs, or with ``preprocessing`` what its `unfinished`
            makes of images.
        name: Name of the change.
        preprocessing: Preprocessing whose last steps finish the changed images.
        seed: Random seed of the noise.

    Returns:
        New inputs of the same shape.

    Raises:
        KeyError: For a name that is not among them.
    """
    change = _same if name == UNCHANGED else CORRUPTIONS[name]
    rng = np.random.default_rng(seed)
    pictures = [np.asarray(change(Image.fromarray(image[0]), rng)) for image in images]
    if preprocessing is not None:
        pictures = [preprocessing.finish(picture) for picture in pictures]
    return np.stack(pictures)[:, None] if pictures else images.copy()
