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
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.figures.colours import GREY, INK, PALE
from cxr_transfer.files import SOFTWARE, write_bytes
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
}

_PRINT: dict[Any, Any] = {
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.hashsalt": SOFTWARE,  # names inside the file are then the same every time
}
_PNG = {"Software": SOFTWARE}
_FORMATS: dict[str, dict[str, Any]] = {
    "svg": {"Creator": SOFTWARE, "Date": None},
    "pdf": {"Creator": SOFTWARE, "CreationDate": None},
    "png": _PNG,
}

ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
WHISKER: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.5, "capsize": 5}


@contextmanager
def canvas(path: Path, inches: tuple[float, float], title: str) -> Iterator[Figure]:
    """Give a figure to draw on; then write it, whole or not at all.

    A PNG file is for a report: it has its title and the intended use in it. Any other path is that
    of a publication, whose text has both: ``.svg``, ``.pdf`` and ``.png`` of `PRINT_DPI` are put
    behind it. The same drawing gives the same bytes.

    Args:
        path: The PNG file, or what the names of a publication's files begin with.
        inches: Width and height.
        title: One line; not drawn for a publication.
    """
    is_report = path.suffix == ".png"
    with mpl.rc_context(STYLE if is_report else STYLE | _PRINT):
        footer = 0.3 / inches[1] if is_report else 0.0
        layout = ConstrainedLayoutEngine(rect=(0, footer, 1, 1 - footer), w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=inches, layout=layout)
        if is_report:
            figure.suptitle(title, x=0.12 / inches[0], ha="left", size=13, weight="bold")
            figure.text(0.12 / inches[0], footer / 3, INTENDED_USE, size=6.5, color=GREY)
        yield figure
        files = {}
        for ending, metadata in _FORMATS.items() if not is_report else (("png", _PNG),):
            content = io.BytesIO()
            dots = DPI if is_report else PRINT_DPI
            figure.savefig(content, format=ending, dpi=dots, metadata=metadata)
            files[path if is_report else path.with_name(f"{path.name}.{ending}")] = content
    for file, content in files.items():
        write_bytes(file, content.getvalue())


def table(estimates: Sequence[Estimate]) -> npt.NDArray[np.float64]:
    """Return (N, 3): value, low, high."""
    return np.array([(e.value, e.low, e.high) for e in estimates], dtype=np.float64)


def whiskers(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (2, N) lengths below and above; a bound on the wrong side of its value gets none."""
    return np.maximum([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]], 0)
