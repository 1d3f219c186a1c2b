"""Small images side by side, each with lines under it: errors of a model, or what a folder holds.

Images and words that others chose go in, a PNG file comes out. It shows images of patients, and is
for the eyes of who owns them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.figures.canvas import canvas
from cxr_transfer.figures.colours import GREY, PALETTE

ACROSS = 6
"""Images side by side."""

LETTERS = 28
"""What a line under an image has room for."""

Pen = Mapping[str, Any]

BOLD: Pen = MappingProxyType({"weight": "bold"})
PLAIN: Pen = MappingProxyType({})
FAINT: Pen = MappingProxyType({"color": GREY})
WARNING: Pen = MappingProxyType({"color": PALETTE[4]})


@dataclass(frozen=True, eq=False)
class Tile:
    """One image and what stands under it.

    Attributes:
        image: (H, W) uint8; None leaves its place empty.
        lines: Lines of text, each with its pen.
    """

    image: npt.NDArray[np.uint8] | None
    lines: Sequence[tuple[str, Pen]]


def contact_sheet(path: Path, tiles: Sequence[Tile], title: str) -> None:
    """Draw images in rows of `ACROSS`, in their order.

    Args:
        path: The PNG file.
        tiles: Images, one at least.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    down = -(-len(tiles) // ACROSS)
    with canvas(path, (2.2 * ACROSS, 0.8 + 2.65 * down), title) as figure:
        # As many places in a row for one image as for many: images are of one size on every sheet.
        panels = figure.subplots(down, ACROSS, squeeze=False).ravel()
        for axes in panels:
            axes.axis("off")
        for axes, tile in zip(panels, tiles, strict=False):
            if tile.image is not None:
                axes.imshow(tile.image, cmap="gray", vmin=0, vmax=255)
            for line, (text, pen) in enumerate(tile.lines):
                axes.annotate(
                    text,
                    (0, 0),
                    (0, -4 - 11 * line),
                    xycoords="axes fraction",
                    textcoords="offset points",
                    size=8,
                    va="top",
                    **pen,
                )


def one_line(name: str, letters: int = LETTERS) -> str:
    """Return a name on one line of so many letters, without bytes that no font can draw."""
    line = " ".join(name.encode(errors="replace").decode().split())
    return line if len(line) <= letters else f"{line[: letters - 1]}…"
