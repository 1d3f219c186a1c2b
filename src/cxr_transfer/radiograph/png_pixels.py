"""The pixels of a PNG of 16 bits, all of them: Pillow gives colours their high bytes alone."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from cxr_transfer.radiograph.deep_raster import DeepRaster, flattened
from cxr_transfer.radiograph.png_structure import SIGNATURE, Png

_STEP = 1 << 20  # bytes that are unpacked at once
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
"""First row, first column, and the steps to the next ones, of each pass of an interlaced PNG."""
_SHORT = ("too small", "Not enough image data")  # what libpng says of pixels that end early


def deep_pixels(png: Png) -> DeepRaster:
    """Decode a PNG of 16 bits.

    Raises:
        ImageError: ``blank_image``.
        Exception: Whatever damaged bytes lead to.
    """
    if png.colours == 1 and not png.has_alpha:
        with Image.open(io.BytesIO(png.pixels), formats=("PNG",)) as image:
            if image.size != (png.width, png.height) or image.mode != "I;16":
                raise ValueError("a second header")
            return flattened(np.asarray(image)[..., None], key=png.key)
    from imagecodecs import png_decode

    _check_stream(png)
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


def _check_stream(png: Png) -> None:
    """Refuse compressed rows that libpng would complain of on the terminal.

    Raises:
        OSError: They end early.
        ValueError, zlib.error: They are damaged, or more than the header announces.
    """
    expected = sum(
        rows * (1 + columns * (png.colours + png.has_alpha) * png.bits // 8)
        for rows, columns in _passes(png)
    )
    unpacker, size = zlib.decompressobj(), 0
    for compressed in _pieces(png.pixels):
        piece = compressed
        while piece and not unpacker.eof:
            size += len(unpacker.decompress(piece, _STEP))
            if size > expected:
                raise ValueError("more rows than the header announces")
            piece = unpacker.unconsumed_tail
        if unpacker.eof and (piece or unpacker.unused_data):
            raise ValueError("bytes behind the compressed rows")
    if not unpacker.eof or size < expected:
        raise OSError("truncated")


def _passes(png: Png) -> Iterator[tuple[int, int]]:
    """Yield rows and columns of each pass: PNG 1.2, clause 8."""
    if not png.is_interlaced:
        yield png.height, png.width
        return
    for top, left, down, across in _ADAM7:
        rows = -(-(png.height - top) // down) if png.height > top else 0
        columns = -(-(png.width - left) // across) if png.width > left else 0
        if rows and columns:
            yield rows, columns


def _pieces(content: bytes) -> Iterator[bytes]:
    """Yield the bodies of the chunks that hold compressed rows."""
    start = len(SIGNATURE)
    while start + 8 <= len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4])
        if content[start + 4 : start + 8] == b"IDAT":
            yield content[start + 8 : end]
        start = end + 4
