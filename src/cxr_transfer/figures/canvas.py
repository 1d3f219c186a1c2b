"""What every figure is drawn on and with: style, colours, and the way to a PNG or SVG file.

The file is whole or not there at all.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.figures.colours import GREY, INK, PALE
from cxr_transfer.files import SOFTWARE, write_bytes
from cxr_transfer.statistics.intervals import Estimate

DPI = 150
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: every machine draws the same
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "legend.edgecolor": "none",
    "lines.linewidth": 2,
    "text.parse_math": False,  # a class may have a dollar in its name
    "svg.hashsalt": SOFTWARE,  # else the same figure has other identifiers each time
}

ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
WHISKER: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.5, "capsize": 5}


@contextmanager
def canvas(
    paths: Path | Sequence[Path], inches: tuple[float, float], title: str, *, dpi: int = DPI
) -> Iterator[Figure]:
    """Give a figure to draw on; then write its files, each whole or not at all.

    Args:
        paths: Path of a file, or of several forms of the figure, by their endings PNG or SVG.
        inches: Width and height.
        title: One line above the figure; "" for a figure whose caption stands elsewhere.
        dpi: Dots per inch of a PNG.
    """
    with mpl.rc_context(STYLE):
        footer = 0.3 / inches[1]
        layout = ConstrainedLayoutEngine(rect=(0, footer, 1, 1 - footer), w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=inches, layout=layout)
        if title:
            figure.suptitle(title, x=0.12 / inches[0], ha="left", size=13, weight="bold")
        figure.text(0.12 / inches[0], footer / 3, INTENDED_USE, size=6.5, color=GREY)
        yield figure
        for path in [paths] if isinstance(paths, Path) else paths:
            write_bytes(path, _saved(figure, path.suffix.removeprefix("."), dpi))


def _saved(figure: Figure, form: str, dpi: int) -> bytes:
    # Without a date: the same numbers are the same file.
    by = {"Creator": SOFTWARE, "Date": None} if form == "svg" else {"Software": SOFTWARE}
    content = io.BytesIO()
    figure.savefig(content, format=form, dpi=dpi, metadata=by)
    return content.getvalue()


def table(estimates: Sequence[Estimate]) -> npt.NDArray[np.float64]:
    """Return (N, 3): value, low, high."""
    return np.array([(e.value, e.low, e.high) for e in estimates], dtype=np.float64)


def whiskers(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (2, N) lengths below and above; a bound on the wrong side of its value gets none."""
    return np.maximum([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]], 0)
