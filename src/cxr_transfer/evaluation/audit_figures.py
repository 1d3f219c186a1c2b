"""Figures of what an audit looks at: where films come from, what is left of them, what went wrong.

As `figures`, whose paper and pens these are: numbers that others computed in, PNG files out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.collections.case import Case
from cxr_transfer.evaluation.figures import (
    ABOVE,
    BARS,
    CENTRED,
    GREY,
    INK,
    PALETTE,
    WHISKER,
    canvas,
    table,
    whiskers,
)
from cxr_transfer.evaluation.intervals import Estimate
from cxr_transfer.evaluation.metrics import Scores

DARK = (PALETTE[0], PALETTE[3], PALETTE[4])
"""On which dark letters do not show."""

WORST = 12
"""Errors on a sheet."""


def source_mosaic(path: Path, found: Mapping[str, Any], labels: Sequence[str], title: str) -> None:
    """Draw the films of each source as a bar as wide as their number, parted by class.

    Where source and class have nothing to do with each other, all bars are parted alike.

    Args:
        path: The PNG file.
        found: What `association.source_by_class` returned.
        labels: Its classes in the order of the network's, which gives them their colours.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    sources, counts = found["sources"], found["counts"]
    films = np.array([[counts[each].get(label, 0) for label in labels] for each in sources])
    wide = 100 * films.sum(axis=1) / films.sum()
    with canvas(path, (8.5, 5.4), title) as figure:
        axes = figure.subplots()
        left = 0.0
        for row, source in enumerate(sources):
            base, place = 0.0, left + wide[row] / 2
            for label, colour, number in zip(labels, cycle(PALETTE), films[row], strict=False):
                high = 100 * number / films[row].sum()
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
            axes.text(place, drop, f"{source} ({films[row].sum()})", size=9, ha="center", va="top")
            left += wide[row]
        axes.set(xlim=(0, 100), ylim=(0, 100), xticks=[], ylabel="percent of the source's films")
        axes.set_xlabel("sources, as wide as their films", labelpad=38)
        axes.legend(**ABOVE)


def masked_bars(path: Path, rows: Sequence[tuple[str, Estimate]], title: str) -> None:
    """Draw the AUROC of what is left of the films, with its interval, from chance to 1.

    Args:
        path: The PNG file.
        rows: Names and areas in [0, 1]; the first stands for whole films.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 1.8 + 0.5 * len(rows)), title) as figure:
        axes = figure.subplots()
        places, values = np.arange(float(len(rows))), table([each for _, each in rows])
        # From 0.5: what is no better than chance has no bar, and what is worse goes to the left.
        colours = [BARS[0], *[BARS[1]] * (len(rows) - 1)]
        axes.barh(places, values[:, 0] - 0.5, 0.6, left=0.5, color=colours)
        axes.errorbar(values[:, 0], places, xerr=whiskers(values), **WHISKER)
        for place, (_, estimate) in zip(places, rows, strict=True):
            axes.annotate(
                estimate.written(2),
                (1.02, place),
                xycoords=axes.get_yaxis_transform(),
                size=9,
                va="center",
            )
        axes.axvline(0.5, color=GREY, lw=1, ls=":")
        axes.set_yticks(places, [name for name, _ in rows])
        axes.tick_params(axis="y", length=0)
        lowest = float(np.nanmin(values)) if np.isfinite(values).any() else 0.5
        axes.set(xlabel="AUROC (0.5 is chance) [95 % interval]", xlim=(min(0.4, lowest), 1))
        axes.set_ylim(len(rows) - 0.5, -0.5)  # the first on top
        axes.grid(axis="x")


def worst_errors(
    path: Path,
    scores: Scores,
    cases: Sequence[Case],
    images: npt.NDArray[np.uint8],
    title: str,
) -> None:
    """Draw the errors of which the network was surest; for the eyes of who owns the films.

    Args:
        path: The PNG file.
        scores: Of N films.
        cases: The same N films in the same order.
        images: Theirs, (N, 1, H, W) grey.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    sure = scores.probabilities.max(axis=1)
    wrong = np.flatnonzero(scores.predicted != scores.targets)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:WORST]
    names = scores.labels.names
    captions = [
        f"{cases[row].label}, called {names[scores.predicted[row]]} {sure[row]:.2f}"
        for row in worst
    ]
    film_sheet(path, images[worst, 0], captions, title)


def film_sheet(
    path: Path, images: npt.NDArray[np.uint8], captions: Sequence[str], title: str
) -> None:
    """Draw films side by side with a line under each; for the eyes of who owns the films.

    Args:
        path: The PNG file.
        images: (N, H, W) grey.
        captions: N lines.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    across = 4
    down = max(1, -(-len(images) // across))
    with canvas(path, (2.4 * across, 0.8 + 2.8 * down), title) as figure:
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels:
            axes.axis("off")
        for axes, image, caption in zip(panels, images, captions, strict=False):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set_title(caption, size=8, y=-0.12)
        if not len(images):
            panels[0].text(0, 0.5, "no errors")
