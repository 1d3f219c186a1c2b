"""Values with their intervals as dots, on scales on which differences can be seen.

In come estimates that others computed; out go files. Computes no statistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cxr_transfer.figures.canvas import WHISKER, canvas, table, whiskers
from cxr_transfer.figures.colours import GREY, INK, PALETTE
from cxr_transfer.statistics.intervals import Estimate

_MARGIN = 0.08
"""Share of the scale that stays free beyond the outermost interval."""


@dataclass(frozen=True)
class Panel:
    """One figure of merit of several models.

    Attributes:
        title: Words below the scale.
        estimates: Estimate of each row.
        scale: Number by which estimates are multiplied; 100 makes percent of proportions.
        line: Value at which a line stands, such as 0 of differences; None draws none.
        others: Values of somebody else's to be compared with, on the drawn scale, drawn as open
            diamonds; NaN draws none.
        bounds: Lowest and highest value that there can be, on the drawn scale.
    """

    title: str
    estimates: Sequence[Estimate]
    scale: float = 100.0
    line: float | None = None
    others: Sequence[float] = ()
    bounds: tuple[float, float] = (-np.inf, np.inf)


def dot_panels(
    path: Path, names: Sequence[str], panels: Sequence[Panel], title: str = "", others: str = ""
) -> None:
    """Draw dots with intervals: a row for each model, a panel with its own scale for each figure.

    Args:
        path: The PNG file, or the files of a publication; see `canvas.canvas`.
        names: Names of the rows, from the top.
        panels: Figures of merit, from the left; each with an estimate for each name.
        title: Title of the figure, one line.
        others: Name of the open diamonds, for the legend.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    inches = (2.2 + 2.9 * len(panels), 1.5 + 0.42 * len(names))
    with canvas(path, inches, title) as figure:
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw(axes, panel)
        all_axes[0].set_yticks(range(len(names)), list(names))
        all_axes[0].set_ylim(len(names) - 0.5, -0.5)  # the first on top
        if others and any(np.isfinite(panel.others).any() for panel in panels if panel.others):
            handles = [line for line in all_axes[0].lines if line.get_marker() == "D"]
            figure.legend(handles[:1], [others], loc="outside lower right", fontsize=9)


def _draw(axes: Axes, panel: Panel) -> None:
    places = np.arange(float(len(panel.estimates)))
    values = panel.scale * table(panel.estimates)
    if panel.line is not None:
        axes.axvline(panel.line, color=GREY, lw=1, ls=":")
    axes.errorbar(values[:, 0], places, xerr=whiskers(values), **WHISKER | {"capsize": 3})
    axes.plot(values[:, 0], places, "o", color=PALETTE[0], ms=6)
    if len(panel.others):
        # Below its row, so that neither hides the other.
        axes.plot(panel.others, places + 0.2, "D", mfc="white", mec=INK, ms=5)
    low, high = _limits(panel)
    axes.set_xlim(low, high)
    ticks = MaxNLocator(5).tick_values(low, high)
    least, most = panel.bounds
    axes.set_xticks([tick for tick in ticks if max(low, least) <= tick <= min(high, most)])
    axes.set_xlabel(panel.title)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _limits(panel: Panel) -> tuple[float, float]:
    """Return the ends of a scale: what is drawn fills it, with a margin on both sides."""
    drawn = [panel.scale * table(panel.estimates).ravel(), np.array(panel.others, dtype=float)]
    if panel.line is not None:
        drawn.append(np.array([panel.line]))
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    reach = _MARGIN * (high - low) or 0.5
    return low - reach, high + reach
