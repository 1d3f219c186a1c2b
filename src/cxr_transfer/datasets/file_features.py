"""What a file tells of where an image comes from, without looking at the lungs.

Size, format, compression and grey levels at the edges: an audit asks how well these alone tell the
class (`audit.baselines`). Nothing here knows classes.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from cxr_transfer.radiograph import Radiograph

FORMATS = ("JPEG", "PNG", "TIFF", "DICOM")
MODES = ("L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I")
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

_CORNER = 0.05  # of the height and of the width
_EXIF = 34665  # where a TIFF keeps its EXIF; TIFF 6.0 tags alone say nothing of the camera


def file_features(content: bytes, radiograph: Radiograph) -> dict[str, float]:
    """Return what an image's file tells of where it comes from.

    Args:
        content: Content of the file.
        radiograph: Radiograph that was decoded from it.

    Returns:
        Always the same names in the same order: ``bytes_per_pixel``, ``width`` and ``height``
        in pixels as stored, ``aspect`` (width by height), ``format ...`` and ``mode ...`` (0 or
        1), ``quantisation_luma`` and ``quantisation_chroma`` (mean of the JPEG tables, 0 without
        one), ``has_exif`` (0 or 1), ``grey_...`` (percentiles, in [0, 1]), ``black`` and
        ``white`` (share of pixels at either end), ``corner_...`` (mean grey of the outer 5 %).
    """
    width, height, mode = radiograph.width, radiograph.height, ""
    tables: Mapping[int, Sequence[int]] = {}
    has_exif = False
    if radiograph.format != "DICOM":
        with Image.open(
            io.BytesIO(content), formats=FORMATS[:-1]
        ) as image:  # the header alone, no pixel
            (width, height), mode = image.size, image.mode
            tables = getattr(image, "quantization", None) or {}
            has_exif = "exif" in image.info or _EXIF in getattr(image, "tag_v2", ())
    pixels = radiograph.pixels
    down, across = (math.ceil(_CORNER * side) for side in pixels.shape)
    rows = {"top": slice(None, down), "bottom": slice(-down, None)}
    columns = {"left": slice(None, across), "right": slice(-across, None)}
    return {
        "bytes_per_pixel": len(content) / (width * height),
        "width": float(width),
        "height": float(height),
        "aspect": width / height,
        **{f"format {name}": float(radiograph.format == name) for name in FORMATS},
        **{f"mode {name}": float(mode == name) for name in MODES},
        "mode other": float(mode not in MODES),
        "quantisation_luma": float(np.mean(tables.get(0, 0))),
        "quantisation_chroma": float(np.mean(tables.get(1, 0))),
        "has_exif": float(has_exif),
        **{
            f"grey_{percent}": float(grey)
            for percent, grey in zip(PERCENTILES, np.percentile(pixels, PERCENTILES), strict=True)
        },
        "black": float((pixels == 0).mean()),
        "white": float((pixels == 1).mean()),
        **{
            f"corner_{vertical}_{horizontal}": float(
                pixels[rows[vertical], columns[horizontal]].mean(dtype=np.float64)
            )
            for vertical, horizontal in itertools.product(rows, columns)
        },
    }
