"""An audit as one page for a browser: the verdict, three reasons with their pictures, the evidence.

One file that fetches nothing: its style, its pictures and its words are all in it. It computes
nothing. The words: ``audit.html.j2``.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.audits.inputs import Check
from cxr_transfer.audits.reasons import Figure, counts_of, figures_of, reasons
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.runs.run_folder import access_sentence
from cxr_transfer.text import for_terminal

DRAWN_FOR: Mapping[str, tuple[str, str]] = {
    "occlusion": ("without_the_lungs.png", "AUROC of what is left of the images"),
    "source_by_class": ("sources.png", "Images of each source, parted by class"),
    "outside": ("sources.png", "Images of each source that training saw, parted by class"),
    "decision_curve": ("decision_curve.png", "Net benefit by the threshold"),
}
"""Figure of a check, and what it shows, by the check's name. Others have a chart of their figures.

None of them shows an image of a patient: the page may be passed on."""

MOST_ROWS = 8
"""Rows of a chart."""

MOST_FIGURES = 80
"""Rows of the table of a check's figures."""

_LEFT, _RIGHT, _ROW = 250, 560, 24
"""Where the axis of a chart begins and ends, and the height of a row, in its own units."""


def html_page(name: str, content: Mapping[str, Any], checks: Sequence[Check], folder: Path) -> str:
    """Return the page.

    Args:
        name: Name of the model that was audited.
        content: Content of ``audit.json``.
        checks: Checks in the order in which the page has them.
        folder: Folder of the figures, which become part of the page.
    """
    chosen = reasons(checks)
    page = render(
        "audit.html.j2",
        name=name,
        content=content,
        # A picture that stands above already is not put in again: it makes the file twice as large.
        checks=[_shown(check, None if check in chosen else folder) for check in checks],
        reasons=[_shown(check, folder) for check in chosen],
        damaged=damaged_sentence(content["images"].get("damaged", 0)),
        opened=access_sentence(content["test_set_accesses"]),
        commit=provenance.short(content["commit"]),
    )
    # Names that others chose may hold what turns the direction of writing round.
    return for_terminal(page, lines=True)


def _shown(check: Check, folder: Path | None) -> dict[str, Any]:
    figures = figures_of(check.measured)
    return {
        "check": check,
        "picture": None if folder is None else _picture(check.name, folder),
        "chart": _chart(figures[:MOST_ROWS]),
        "figures": [*figures, *counts_of(check.measured)][:MOST_FIGURES],
        "more": max(0, len(figures) - MOST_FIGURES),
    }


def _picture(name: str, folder: Path) -> dict[str, str] | None:
    drawn = DRAWN_FOR.get(name)
    if drawn is None or not (folder / drawn[0]).is_file():
        return None
    encoded = base64.b64encode((folder / drawn[0]).read_bytes()).decode()
    return {"uri": f"data:image/png;base64,{encoded}", "shows": drawn[1]}


def _chart(figures: Sequence[Figure]) -> dict[str, Any] | None:
    """Return figures with their places on an axis; None without a figure."""
    if not figures:
        return None
    ends = [
        end
        for figure in figures
        for end in (figure.value, figure.low, figure.high)
        if end is not None
    ]
    low, high = min(0.0, *ends), max(1.0, *ends)

    def place(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low), 1)

    shared = _shared([figure.name for figure in figures])
    rows = [
        {
            "figure": figure,
            "name": figure.name[shared:],
            "y": _ROW * number + _ROW / 2 + 2,
            "at": place(figure.value),
            "from": place(figure.value if figure.low is None else figure.low),
            "to": place(figure.value if figure.high is None else figure.high),
        }
        for number, figure in enumerate(figures)
    ]
    ticks = [(place(tick), tick) for tick in sorted({low, 0.0, 0.5, 1.0, high}) if low <= tick]
    return {"rows": rows, "ticks": ticks, "height": _ROW * len(rows) + 30, "left": _LEFT}


def _shared(names: Sequence[str]) -> int:
    """Return how many letters of the first parts of all names are the same.

    >>> _shared(["swaps: border: follows", "swaps: border: control"])
    15
    """
    parts = [name.split(": ")[:-1] for name in names]
    same = itertools.takewhile(lambda part: len(set(part)) == 1, zip(*parts, strict=False))
    return sum(len(part[0]) + 2 for part in same) if len(names) > 1 else 0
