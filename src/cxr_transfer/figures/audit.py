"""Figures of what an audit looks at: where images come from, and what is left of them.

Numbers that others computed go in, PNG files come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer.figures.canvas import (
    ABOVE,
    CENTRED,
    WHISKER,
    canvas,
    label_rows,
    table,
    whiskers,
)
from cxr_transfer.figures.colours import BARS, GREY, INK, PALETTE
from cxr_transfer.statistics.intervals import Estimate

DARK = (PALETTE[0], PALETTE[3], PALETTE[4])
"""On which dark letters do not show."""


def source_mosaic(
    path: Path, association: Mapping[str, Any], labels: Sequence[str], title: str
) -> None:
    """Draw the images of each source as a bar as wide as their number, parted by class.

    Where source and class have nothing to do with each other, all bars are parted alike.

    Args:
        path: The PNG file.
        association: Result of `association.source_by_class`.
        labels: Classes of the result in the order of the network's, which gives their colours.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    sources, counts = association["sources"], association["counts"]
    images = np.array([[counts[source].get(label, 0) for label in labels] for source in sources])
    wide = 100 * images.sum(axis=1) / images.sum()
    with canvas(path, (8.5, 5.4), title) as figure:
        axes = figure.subplots()
        left = 0.0
        for row, source in enumerate(sources):
            base, place = 0.0, left + wide[row] / 2
            for label, colour, number in zip(labels, cycle(PALETTE), images[row], strict=False):
                high = 100 * number / images[row].sum()
                name = label if row == 0 else None
                box: dict[str, Any] = {
                    "color": colour,
                    "edgecolor": "white",
                    "lw": 2,
                    "label": name,
                }
                axes.bar(place, high, wide[row], bottom=base, **box)
                if high > 6 and wide[row] > 5:
                    ink = "white" if colour in DARK else INK
                    axes.text(place, base + high / 2, f"{number}", size=9, color=ink, **CENTRED)
                base += high
            # Narrow bars stand close: every other name one line lower.
            drop = -3 - 5 * (row % 2)
            axes.text(place, drop, f"{source} ({images[row].sum()})", size=9, ha="center", va="top")
            left += wide[row]
        axes.set(xlim=(0, 100), ylim=(0, 100), xticks=[], ylabel="percent of the source's images")
        axes.set_xlabel("sources, as wide as their images", labelpad=38)
        axes.legend(**ABOVE)


def masked_bars(path: Path, rows: Sequence[tuple[str, Estimate]], title: str) -> None:
    """Draw the AUROC of what is left of the images, with its interval, from chance to 1.

    Args:
        path: The PNG file.
        rows: Rows of a name and an area in [0, 1]; the first stands for whole images.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 1.8 + 0.5 * len(rows)), title) as figure:
        axes = figure.subplots()
        places, values = np.arange(float(len(rows))), table([area for _, area in rows])
        # From 0.5: what is no better than chance has no bar, and what is worse goes to the left.
        colours = [BARS[0], *[BARS[1]] * (len(rows) - 1)]
        axes.barh(places, values[:, 0] - 0.5, 0.6, left=0.5, color=colours)
        axes.errorbar(values[:, 0], places, xerr=whiskers(values), **WHISKER)
        label_rows(axes, [name for name, _ in rows], [area.written(2) for _, area in rows])
        axes.axvline(0.5, color=GREY, lw=1, ls=":")
        lowest = float(np.nanmin(values)) if np.isfinite(values).any() else 0.5
        axes.set(xlabel="AUROC (0.5 is chance) [95 % interval]", xlim=(min(0.4, lowest), 1))
        axes.set_ylim(len(rows) - 0.5, -0.5)  # the first on top
        axes.grid(axis="x")
