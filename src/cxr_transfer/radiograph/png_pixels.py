"""The pixels of a PNG of 16 bits, all of them: Pillow gives colours their high bytes alone."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from cxr_transfer.radiograph.deep_raster import DeepRaster, flattened
from cxr_transfer.radiograph.png_structure import Png

_SHORT = ("too small", "Not enough image data")  # what libpng says of pixels that end early


def deep_pixels(png: Png) -> DeepRaster:
    """Decode a PNG of 16 bits.

    Raises:
        FilmError: ``blank_image``.
        Exception: Whatever damaged bytes lead to.
    """
    if png.colours == 1 and not png.has_alpha:
        with Image.open(io.BytesIO(png.pixels), formats=("PNG",)) as image:
            if image.size != (png.width, png.height) or image.mode != "I;16":
                raise ValueError("a second header")
            return flattened(np.asarray(image)[..., None], key=png.key)
    from imagecodecs import png_decode

    try:
        samples = png_decode(png.pixels)
    except Exception as error:
        if any(words in str(error) for words in _SHORT):
            raise OSError("truncated") from None
        raise
    channels = png.colours + png.has_alpha
    if samples.shape != (png.height, png.width, channels) or samples.dtype != np.uint16:
        raise ValueError("a second header")
    return flattened(
        samples, png.colours, alpha=png.colours if png.has_alpha else None, key=png.key
    )
