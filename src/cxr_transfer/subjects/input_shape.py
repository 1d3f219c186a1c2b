"""Layout, channels and size of what a network takes: as its file says, else by trying."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import ModelError
from cxr_transfer.subjects.description import LARGEST, SMALLEST

Numbers = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]
"""Function of a network: images as it wants them to numbers (N, ...)."""

USUAL_SIDE = 224
"""Pixels a side where neither the file nor the user says."""


def input_shape(
    answer: Numbers, facts: Mapping[str, Any], size: int | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Find out layout, channels and size: from the file, else by trying.

    Args:
        answer: Function of the network.
        facts: What its file says.
        size: Pixels a side; None takes what the file says, or `USUAL_SIDE`.

    Returns:
        Values by key ("input.height"), and how sure each is, in words.

    Raises:
        ModelError: ``bad_model`` where it takes none of the usual shapes.
    """
    sides = list(facts.get("input") or ())
    side = size or USUAL_SIDE
    of_size = "as asked for" if size else f"GUESS: {USUAL_SIDE} is usual"
    if len(sides) == 4:
        layout = "NHWC" if sides[3] in (1, 3) else "NCHW"
        # 3 x 3 x 3 may be either; a side of three pixels is none.
        rows, columns, channels = sides[1:] if layout == "NHWC" else (*sides[2:], sides[1])
        _refuse_odd(sides, channels, rows, columns)
        if rows and columns and size in (None, rows):
            of_size = "declared by the file"
        values = {"height": rows or side, "width": columns or side, "channels": channels or 1}
        word = "declared by the file"
        sure = dict.fromkeys(("input.channels", "input.layout"), word)
        if channels not in (1, 3):
            sure["input.channels"] = "GUESS: the file leaves it open"
    elif sides:
        raise _not_images(sides)
    else:
        layout, channels = _tried(answer, side)
        values = {"height": side, "width": side, "channels": channels}
        sure = dict.fromkeys(("input.channels", "input.layout"), "tried: it takes this shape")
    sure |= {"input.height": of_size, "input.width": of_size}
    return {f"input.{name}": value for name, value in values.items()} | {
        "input.layout": layout
    }, sure


def _refuse_odd(
    sides: list[int | None], channels: int | None, rows: int | None, columns: int | None
) -> None:
    """Refuse a declared shape that no description can have.

    Raises:
        ModelError: ``bad_model``.
    """
    odd = [side for side in (rows, columns) if side and not SMALLEST <= side <= LARGEST]
    if odd or channels not in (None, 1, 3):
        raise _not_images(sides)


def _not_images(sides: list[int | None]) -> ModelError:
    shown = " x ".join("any" if side is None else str(side) for side in sides)
    return ModelError(
        "bad_model",
        f"Expected a network that takes images of {SMALLEST} to {LARGEST} pixels a side with 1 or "
        f"3 channels, but its file declares {shown}; wrap it in a function that brings images to "
        "that shape: python:package.module:function.",
    )


def _tried(answer: Numbers, side: int) -> tuple[str, int]:
    why = ""
    for layout, channels in (("NCHW", 1), ("NCHW", 3), ("NHWC", 1), ("NHWC", 3)):
        shape = (2, channels, side, side) if layout == "NCHW" else (2, side, side, channels)
        try:
            numbers = np.asarray(answer(np.full(shape, 0.5, np.float32)))
        except ModelError as error:
            why = error.message
            continue
        if numbers.ndim and len(numbers) == 2:
            return layout, channels
        why = f"for 2 images it gave numbers of the shape {numbers.shape}"
    raise ModelError(
        "bad_model",
        f"Expected a network that takes images of {side} x {side} pixels with 1 or 3 channels, but "
        f"it took none ({why}); give --size, or write the description by hand (--new).",
    )
