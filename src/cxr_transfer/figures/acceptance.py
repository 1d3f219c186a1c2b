"""Figures of an acceptance test and of the watch after it.

Numbers that others computed go in, PNG files come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.figures.canvas import ABOVE, canvas
from cxr_transfer.figures.colours import BARS, GREY, INK, PALETTE

Floats = npt.NDArray[np.float64]

_BINS = np.linspace(0, 1, 21)


def score_histograms(
    path: Path,
    score: Floats,
    positive: npt.NDArray[np.bool_],
    thresholds: Mapping[str, float],
    title: str,
) -> None:
    """Draw how often each score is given to what is looked for, and to the rest, with thresholds.

    Args:
        path: The PNG file.
        score: Scores, (N,).
        positive: Flags of what is looked for, (N,).
        thresholds: Thresholds by their names.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 3.6), title) as figure:
        axes = figure.subplots()
        parts = [score[positive], score[~positive]]
        names = [f"positives ({len(parts[0])})", f"others ({len(parts[1])})"]
        axes.hist(parts, bins=_BINS.tolist(), color=[PALETTE[1], BARS[0]], label=names)
        for (name, value), style in zip(thresholds.items(), ("-", ":"), strict=False):
            axes.axvline(value, color=INK, lw=1.5, ls=style, label=f"{name}: {value:.3f}")
        axes.set(xlabel="score", ylabel="images", xlim=(0, 1))
        axes.legend(**ABOVE | {"ncols": 4, "fontsize": 9})


def calibration_curves(
    path: Path,
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    title: str,
) -> None:
    """Draw the share of positives among images of about the same score.

    Args:
        path: The PNG file.
        curves: Points by name: ``mean_score``, ``share``, and the bounds ``low`` and ``high``.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 4.4), title) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        for (name, points), colour in zip(curves.items(), (PALETTE[1], PALETTE[0]), strict=False):
            score = [point["mean_score"] for point in points]
            share = np.array([point["share"] for point in points])
            ends = np.array([(point["low"], point["high"]) for point in points]).reshape(-1, 2).T
            reach = np.maximum([share - ends[0], ends[1] - share], 0)
            axes.errorbar(
                score, share, yerr=reach, fmt="o-", color=colour, capsize=4, lw=1.5, label=name
            )
        axes.set(xlabel="mean score", ylabel="share of positives", xlim=(0, 1), ylim=(0, 1))
        axes.grid(axis="y")
        axes.legend(**ABOVE)


def weekly_figure(
    path: Path, names: Sequence[str], rows: Mapping[str, Sequence[float]], title: str
) -> None:
    """Draw figures week by week, one below the other.

    Args:
        path: The PNG file.
        names: Names of the weeks.
        rows: Values by the name of the figure, NaN where there is none.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 0.9 + 1.5 * len(rows)), title) as figure:
        panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
        places = np.arange(float(len(names)))
        for axes, (name, values) in zip(panels, rows.items(), strict=True):
            axes.plot(places, values, "o-", color=PALETTE[0], lw=1.5)
            axes.set_title(name, size=10, loc="left")
            axes.grid(axis="y")
            axes.set_ylim(bottom=0)
        every = max(1, len(names) // 12)
        panels[-1].set_xticks(places[::every], list(names)[::every], rotation=45, size=8)
