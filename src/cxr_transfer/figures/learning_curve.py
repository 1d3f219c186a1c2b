"""A learning curve: the share wrong against the number of training images, both on log scales.

On a linear scale from 0 to 100 % all points of good models lie on one line. Here equal distances
are equal factors, and a power law without a floor is straight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cxr_transfer.figures.canvas import canvas, table, whiskers
from cxr_transfer.figures.colours import PALETTE
from cxr_transfer.statistics.intervals import Estimate

_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_APART = 1.05
"""Factor by which the dots of two models at one size lie apart, so that none hides another."""
_MARKS = "osD^vP"


@dataclass(frozen=True)
class CurveDrawing:
    """Curve of one model, as it is drawn.

    Attributes:
        name: Name in the legend.
        images: Images per class of each dot, rising.
        errors: Share wrong at each of them.
        law: Function of the images that returns the share wrong; None draws no line.
        more: More images per class than any dot's, and what the law gives for them; None is not
            drawn.
    """

    name: str
    images: Sequence[float]
    errors: Sequence[Estimate]
    law: Callable[[float], float] | None = None
    more: tuple[float, Estimate] | None = None


def learning_curve(path: Path, curves: Sequence[CurveDrawing], *, test_images: int) -> None:
    """Draw dots with intervals, fitted lines, and open dots for what lines give for more images.

    Args:
        path: The files without their ending; ``.png`` (300 dots per inch) and ``.svg`` are written.
        curves: Models, in the order of the legend.
        test_images: Number of test images: half an image is the least that is drawn.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    least = 50 / test_images
    files = [path.with_suffix(ending) for ending in (".png", ".svg")]
    with canvas(files, (7.5, 6.2), "", dpi=300) as figure:
        axes = figure.subplots()
        for place, curve in enumerate(curves):
            _draw(axes, curve, place, _APART ** (place - (len(curves) - 1) / 2), least)
        axes.set(xscale="log", yscale="log")
        axes.set_ylim(bottom=max(axes.get_ylim()[0], least / 1.15))
        sizes = sorted({round(images) for curve in curves for images in curve.images})
        more = sorted({round(curve.more[0]) for curve in curves if curve.more})
        axes.xaxis.set_major_locator(FixedLocator([*sizes, *more[-1:]]))
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set(
            xlabel="training and validation images per class",
            ylabel="test images called wrong, percent [95 % interval]",
        )
        axes.grid()
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1, fontsize=9)


def _draw(axes: Axes, curve: CurveDrawing, place: int, shift: float, least: float) -> None:
    """Draw one model, in percent; what lies below ``least`` stands on it."""
    colour, mark = PALETTE[place % len(PALETTE)], _MARKS[place % len(_MARKS)]
    bars: dict[str, Any] = {"elinewidth": 1.5, "capsize": 3, "ecolor": colour}
    images, errors = np.array(curve.images), 100 * table(curve.errors)
    errors = np.fmax(errors, least)
    axes.errorbar(
        images * shift, errors[:, 0], yerr=whiskers(errors), fmt=mark, color=colour, ms=6, **bars,
        label=curve.name,
    )  # fmt: skip
    if curve.law is None or curve.more is None:
        return
    at, estimate = curve.more
    for first, last, style in ((images[0], images[-1], "-"), (images[-1], at, ":")):
        line = np.geomspace(first, last, 100)
        shares = [max(100 * curve.law(float(size)), least) for size in line]
        axes.plot(line, shares, style, color=colour, lw=1.5)
    value = np.fmax(100 * table([estimate]), least)
    axes.errorbar(
        [at * shift], value[:, 0], yerr=whiskers(value), fmt=mark, color=colour, mfc="white",
        ms=6, **bars,
    )  # fmt: skip
