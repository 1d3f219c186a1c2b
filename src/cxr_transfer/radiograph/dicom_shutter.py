"""Which pixels of a DICOM image are no picture: outside its shutter, or padding.

Clauses are those of the DICOM standard, edition 2024.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.codestream import Samples
from cxr_transfer.radiograph.dicom_elements import (
    Elements,
    name_of,
)
from cxr_transfer.radiograph.grey_range import row_blocks
from cxr_transfer.radiograph.grey_scale import GreyScale

Mask = npt.NDArray[np.bool_]

_LEAST_VISIBLE = 0.1  # of a picture: a shutter that leaves less is none

_MOST_VERTICES = 1000  # of a shutter: a row of pixels is compared with each edge

_FAR = 1e5  # pixels: a shutter's numbers may be anything


def hidden_pixels(elements: Elements, samples: Samples, scale: GreyScale) -> Mask | None:
    """Return which pixels (rows, columns) are no picture; None where all are.

    Those outside of the shutter, and those that have a padding value that the stored bits cannot
    hold: then all bits of a sample are compared.
    """
    hidden = _outside_shutter(elements, samples.shape[0], samples.shape[1])
    values = scale.bits.values()
    if scale.padding and not (
        values.min() <= scale.padding[0] and scale.padding[1] <= values.max()
    ):
        kind = samples.dtype.str.replace("u", "i") if scale.bits.signed else samples.dtype
        whole = samples.view(kind)
        is_padding = (whole >= scale.padding[0]) & (whole <= scale.padding[1])
        if is_padding.any():
            hidden = is_padding if hidden is None else hidden | is_padding
    return hidden


def _outside_shutter(elements: Elements, rows: int, columns: int) -> Mask | None:
    """Return which pixels a shutter hides: PS3.3, C.7.6.11; None without one that has a meaning.

    Several shapes hide what any of them hides.
    """
    # Each once: thousands of names of one shape would be drawn one after the other.
    shapes = dict.fromkeys(shape for shape in elements.texts(tags.SHUTTER_SHAPE) if shape)
    if not shapes:
        return None
    hidden = np.zeros((rows, columns), np.bool_)
    for shape in shapes:
        if shape == "BITMAP":
            elements.warn(
                f"{name_of(tags.SHUTTER_SHAPE)} is a bitmap in an overlay, which is not read, and "
                "was left out"
            )
            continue
        opening = _opening(elements, shape, rows, columns)
        if opening is None:
            elements.warn(f"{name_of(tags.SHUTTER_SHAPE)} is not described, and was left out")
            continue
        for block in row_blocks(rows, columns):
            hidden[block] |= ~opening(block)
    if not hidden.any():
        return None
    if hidden.mean() > 1 - _LEAST_VISIBLE:
        elements.warn(f"{name_of(tags.SHUTTER_SHAPE)} hides nearly all, and was left out")
        return None
    elements.warn("what lies outside of its shutter is black")
    return hidden


def _opening(
    elements: Elements, shape: str, rows: int, columns: int
) -> Callable[[slice], Mask] | None:
    """Return what of some rows one shape leaves visible; None where its numbers are missing.

    Rows and columns count from 1, and the edges are visible.
    """

    def numbers(*wanted: int) -> list[float]:
        values = [number for tag in wanted for number in elements.numbers(tag)]
        return [min(max(number, -_FAR), _FAR) for number in values]

    row, column = np.ogrid[1 : rows + 1, 1 : columns + 1]
    if shape == "RECTANGULAR":
        edges = numbers(
            tags.SHUTTER_LEFT, tags.SHUTTER_UPPER, tags.SHUTTER_RIGHT, tags.SHUTTER_LOWER
        )
        if len(edges) != 4:
            return None
        left, upper, right, lower = edges
        across = (column >= left) & (column <= right)
        down = (row >= upper) & (row <= lower)
        return lambda block: down[block] & across
    if shape == "CIRCULAR":
        circle = numbers(tags.SHUTTER_CENTRE, tags.SHUTTER_RADIUS)
        if len(circle) != 3:
            return None
        squares = (row - circle[0]) ** 2, (column - circle[1]) ** 2
        return lambda block: squares[0][block] + squares[1] <= circle[2] ** 2
    vertices = numbers(tags.SHUTTER_VERTICES) if shape == "POLYGONAL" else []
    if not 6 <= len(vertices) <= 2 * _MOST_VERTICES or len(vertices) % 2:
        return None
    drawn = Image.new("L", (columns, rows))
    points = zip(vertices[1::2], vertices[::2], strict=True)
    ImageDraw.Draw(drawn).polygon([(x - 1, y - 1) for x, y in points], fill=1)
    inside = np.asarray(drawn)
    return lambda block: inside[block] > 0
