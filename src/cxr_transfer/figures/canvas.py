"""What every figure is drawn on and with: style, colours, and the way to its files.

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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.figures.colours import GREY, INK, PALE
from cxr_transfer.files import SOFTWARE, write_bytes
from cxr_transfer.quiet import quiet
from cxr_transfer.statistics.intervals import Estimate

DPI, PRINT_DPI = 150, 300
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
    "pdf.fonttype": 42,  # TrueType, which journals ask for
}

_BY: dict[str, dict[str, Any]] = {
    "svg": {"Creator": SOFTWARE, "Date": None},
    "pdf": {"Creator": SOFTWARE, "CreationDate": None},
    "png": {"Software": SOFTWARE},
}
"""Who drew a figure, by its form, without a date: the same numbers are the same file."""

ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
WHISKER: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.5, "capsize": 5}


@contextmanager
def canvas(
    paths: Path | Sequence[Path], inches: tuple[float, float], title: str, *, dpi: int = DPI
) -> Iterator[Figure]:
    """Give a figure to draw on; then write its files, each whole or not at all.

    Files are for a report: they have the title and the intended use in them. A path without an
    ending of a figure is that of a publication, whose text has both: ``.svg``, ``.pdf`` and
    ``.png`` of `PRINT_DPI` are put behind it. The same drawing gives the same bytes.

    Args:
        paths: Path of a file, or of several forms of the figure, by their endings; or what the
            names of a publication's files begin with.
        inches: Width and height.
        title: Line above the figure; "" for a figure whose caption stands elsewhere.
        dpi: Dots per inch of a report's PNG.
    """
    files, is_printed = [paths] if isinstance(paths, Path) else list(paths), False
    if isinstance(paths, Path) and paths.suffix.removeprefix(".") not in _BY:
        files, is_printed = [paths.with_name(f"{paths.name}.{form}") for form in _BY], True
    with mpl.rc_context(STYLE):
        footer = 0.0 if is_printed else 0.3 / inches[1]
        layout = ConstrainedLayoutEngine(rect=(0, footer, 1, 1 - footer), w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=inches, layout=layout)
        if title and not is_printed:
            figure.suptitle(title, x=0.12 / inches[0], ha="left", size=13, weight="bold")
        if not is_printed:
            figure.text(0.12 / inches[0], footer / 3, INTENDED_USE, size=6.5, color=GREY)
        yield figure
        for path in files:
            form = path.suffix.removeprefix(".")
            write_bytes(path, _saved(figure, form, PRINT_DPI if is_printed else dpi))


def _saved(figure: Figure, form: str, dpi: int) -> bytes:
    content = io.BytesIO()
    # A sign that the font lacks is a box; the page beside the figure has the name as text.
    with quiet(expected=[r"Glyph \d+ "]):
        figure.savefig(content, format=form, dpi=dpi, metadata=_BY[form])
    return content.getvalue()


def table(estimates: Sequence[Estimate]) -> npt.NDArray[np.float64]:
    """Return (N, 3): value, low, high."""
    return np.array([(e.value, e.low, e.high) for e in estimates], dtype=np.float64)


def whiskers(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (2, N) lengths below and above; a bound on the wrong side of its value gets none."""
    return np.maximum([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]], 0)


def label_rows(axes: Axes, names: Sequence[str], values: Sequence[str]) -> None:
    """Name the rows of a plot on its left, and write their values on its right.

    Values stand in a column outside of the axes: beside its point each would hide others.

    Args:
        axes: Axes whose rows are at 0, 1, 2 and so on.
        names: Names of the rows.
        values: Values of the rows, as text.
    """
    for row, value in enumerate(values):
        axes.annotate(value, (1.02, row), xycoords=axes.get_yaxis_transform(), size=9, va="center")
    axes.set_yticks(np.arange(float(len(names))), names)
    axes.tick_params(axis="y", length=0)
