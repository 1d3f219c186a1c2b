"""The participant flow diagram: what was found, what was left out and why, and the parts.

In come the numbers of `datasets.flow`; out go files. Counts nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from cxr_transfer.figures.canvas import CENTRED, canvas
from cxr_transfer.figures.colours import GREY, INK

_LETTERS = 38
"""Letters on a line of a box."""
_LINE, _PADDING, _GAP = 0.2, 0.12, 0.35
"""Height of a line, space in a box, and space between boxes, in inches."""
_WIDTH = 3.2
"""Width of a box in inches."""


def flow_diagram(path: Path, flow: Mapping[str, Any], title: str = "") -> None:
    """Draw a participant flow diagram.

    Args:
        path: The PNG file, or the files of a publication; see `canvas.canvas`.
        flow: Numbers of `datasets.flow`.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    first = _lines("Found", flow["found"])
    left_out = [_one(f"{group['why']}:", group) for group in flow["left_out"]]
    aside = _wrapped(["Left out:", *left_out]) if left_out else []
    analysed = _lines("Analysed", flow["analysed"])
    parts = [_lines(name, *of_part) for name, of_part in _by_part(flow["parts"]).items()]
    heights = [_height(first), _height(aside), _height(analysed)]
    lowest = max(map(_height, parts), default=0.0)
    columns = max(2 if aside else 1, len(parts))
    gaps = _GAP * (1 + bool(aside) + bool(parts))
    high, wide = sum(heights) + lowest + gaps, columns * (_WIDTH + _GAP)
    with canvas(path, (wide + 0.3, high + 0.9), title) as figure:
        axes = figure.subplots()
        axes.axis("off")
        axes.set(xlim=(0, wide), ylim=(-high, 0))
        # The trunk stands over the middle part, and what is left out beside it.
        trunk = (wide if len(parts) > 2 or not aside else _WIDTH + _GAP) / 2
        below = -heights[0]
        _box(axes, trunk, 0, first)
        if aside:
            beside = trunk + _WIDTH + _GAP
            _box(axes, beside, below - _GAP, aside)
            middle = below - _GAP - heights[1] / 2
            _arrow(axes, (trunk, middle), (beside - _WIDTH / 2, middle))
        top = below - _GAP - (heights[1] + _GAP if aside else 0)
        _arrow(axes, (trunk, below), (trunk, top))
        _box(axes, trunk, top, analysed)
        foot = top - heights[2]
        for number, lines in enumerate(parts):
            centre = (number + 0.5) * wide / len(parts)
            _arrow(axes, (trunk, foot), (centre, foot - _GAP))
            _box(axes, centre, foot - _GAP, lines)


_PARTS = {"train": "Training", "validation": "Validation", "test": "Test"}


def _by_part(folds: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the numbers of each part in each fold, by the part's name."""
    of_folds = f" (in each of {len(folds)} folds)" if len(folds) > 1 else ""
    named: dict[str, list[Mapping[str, Any]]] = {}
    for parts in folds:
        for part in parts:
            named.setdefault(f"{_PARTS[part['name']]}{of_folds}", []).append(part)
    return named


def _lines(name: str, *numbers: Mapping[str, Any]) -> list[str]:
    """Return the lines of a box; where there are several folds, the lowest and highest numbers."""
    classes = dict.fromkeys(label for counts in numbers for label in counts.get("classes", ()))
    by_class = [
        f"{label}: {_span([counts['classes'].get(label, 0) for counts in numbers])}"
        for label in classes
    ]
    images, patients = (
        _span([counts[key] for counts in numbers]) for key in ("images", "patients")
    )
    return _wrapped([name, f"{images} images of {patients} patients", *by_class])


def _one(why: str, numbers: Mapping[str, Any]) -> str:
    return f"{why} {numbers['images']} images of {numbers['patients']} patients"


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, _LETTERS) or [""]]


def _height(lines: Sequence[str]) -> float:
    return len(lines) * _LINE + 2 * _PADDING if lines else 0.0


def _box(axes: Axes, centre: float, top: float, lines: Sequence[str]) -> None:
    height = _height(lines)
    edges = ([-1, 1, 1, -1, -1], [0, 0, -1, -1, 0])
    axes.plot(
        [centre + side * _WIDTH / 2 for side in edges[0]],
        [top + down * height for down in edges[1]],
        color=GREY,
        lw=1,
        clip_on=False,
    )
    for number, line in enumerate(lines):
        place = top - _PADDING - (number + 0.5) * _LINE
        weight = "bold" if number == 0 else "normal"
        axes.text(centre, place, line, size=9, weight=weight, **CENTRED)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1})
