"""The pixels of a JPEG of 8 bits, through Pillow; where they end early, an error says so.

libjpeg fills what is missing with grey and says nothing. Knows nothing of what the samples mean.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.radiograph.jpeg_structure import END, Jpeg, read_jpeg
from cxr_transfer.radiograph.radiograph import check_size

_BAND = 1 << 20  # pixels


def decode_jpeg(content: bytes) -> tuple[npt.NDArray[np.uint8], bool]:
    """Decode a JPEG of 8 bits that stands in another file.

    Args:
        content: The JPEG.

    Returns:
        (height, width) or (height, width, channels), and whether it has an end marker.

    Raises:
        ImageError: ``too_complex``, and those of its size.
        Exception: Whatever damaged bytes lead to.
    """
    jpeg = read_jpeg(content)
    check_size(jpeg.width, jpeg.height)
    return samples_of(jpeg), jpeg.is_ended


def samples_of(jpeg: Jpeg) -> npt.NDArray[np.uint8]:
    """Return the samples (height, width) or (height, width, channels) of a JPEG of 8 bits.

    Raises:
        Exception: Whatever damaged bytes lead to.
    """
    with Image.open(io.BytesIO(jpeg.pixels), formats=("JPEG",)) as image:
        if image.size != (jpeg.width, jpeg.height):
            raise OSError("a second frame header")
        image.load()
        if is_cut_short(image, jpeg):
            raise OSError("truncated")
        return np.asarray(image)


def is_cut_short(image: Image.Image, jpeg: Jpeg) -> bool:
    """Tell whether the pixels of a JPEG end before its end marker.

    libjpeg fills the rest with mid-grey (of a progressive image: leaves it blurred) and says
    nothing. Where that may be, the image is decoded again with more bytes before the marker: in
    whole data they change nothing.
    """
    if image.mode not in ("L", "RGB") and jpeg.is_ended:
        return False
    last = image.getpixel((image.width - 1, image.height - 1))
    may_be = last in (128, (128, 128, 128)) or "progressive" in image.info or not jpeg.is_ended
    if not may_be:
        return False
    # Without an end marker, bits of both kinds: one that is missing may be what was made up.
    for filling in (b"\x55",) if jpeg.is_ended else (b"\x55", b"\xaa"):
        longer = jpeg.pixels[: -len(END)] + filling * 64 + END
        with Image.open(io.BytesIO(longer), formats=("JPEG",)) as other:
            if not _is_same(image, other):
                return True
    return False


def _is_same(image: Image.Image, other: Image.Image) -> bool:
    """Tell whether two images of one size have the same pixels."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        # In bands: the bytes of both would take as much memory again.
        band = (0, top, image.width, min(image.height, top + rows))
        if image.crop(band).tobytes() != other.crop(band).tobytes():
            return False
    return True
