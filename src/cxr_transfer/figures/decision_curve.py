"""Figure of decision curves: what acting on a score is worth, by the chance from which one acts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer.figures.canvas import ABOVE, canvas
from cxr_transfer.figures.colours import GREY, PALETTE


def decision_curves(path: Path, curves: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Draw the net benefit of each class beside acting on everybody (dashed) and on nobody (0).

    Args:
        path: The PNG file.
        curves: Results of `statistics.decision_curve.decision_curve` by class.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 4.6), title) as figure:
        axes = figure.subplots()
        highest = 0.0
        for (label, of_class), colour in zip(curves.items(), cycle(PALETTE), strict=False):
            points = of_class["curve"]
            thresholds = 100 * np.array([point["threshold"] for point in points])
            model, everybody = (np.array([p[name] for p in points]) for name in ("model", "all"))
            best = np.maximum(everybody, 0.0)
            low, high = (best + [point["gain"][end] for point in points] for end in ("low", "high"))
            axes.fill_between(thresholds, low, high, color=colour, alpha=0.2, lw=0)
            axes.plot(thresholds, model, color=colour, label=label)
            axes.plot(thresholds, everybody, color=colour, lw=1, ls="--")
            highest = max(highest, float(model.max()), float(everybody.max()))
        axes.axhline(0, color=GREY, lw=1, ls=":")
        axes.set(
            xlabel="percent of chance from which one acts (dashed: acting on everybody)",
            ylabel="net benefit",
            xlim=(0, 50),
            ylim=(-0.15 * highest - 0.01, 1.1 * highest + 0.01),
        )
        axes.legend(**ABOVE)
        axes.grid()
