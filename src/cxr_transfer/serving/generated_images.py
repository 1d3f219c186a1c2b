"""Generated images for whoever has none at hand: drawn when they are asked for, of nobody."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxr_transfer.datasets.phantom import MARK, draw_radiograph

_DRAWN = {"generated-1.png": "normal", "generated-2.png": "bacterial", "generated-3.png": "viral"}
"""How each image is drawn. Its name does not tell."""

_PIXELS = 512


@functools.cache
def generated_image(name: str) -> bytes | None:
    """Return a generated image as PNG, marked as one; None for another name.

    Args:
        name: Name of its file, such as ``generated-1.png``.
    """
    if name not in _DRAWN:
        return None
    rng = np.random.default_rng(sorted(_DRAWN).index(name))
    drawn = draw_radiograph(_DRAWN[name], rng=rng, pixels=_PIXELS)
    mark, content = PngInfo(), io.BytesIO()
    mark.add_text("Comment", MARK)
    Image.fromarray(drawn).save(content, "PNG", pnginfo=mark)
    return content.getvalue()
