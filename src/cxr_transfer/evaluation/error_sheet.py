"""The errors of an evaluation, to be looked at: a table of all, and a picture of the surest.

In come scores, cases and the images as the network saw them, which an evaluation has in memory
already: no image is decoded again. The picture shows images and is for the eyes of who owns them;
the table holds no more of an image than ``predictions.csv``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.figures.canvas import GREY, canvas
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.scores import Floats

SHOWN = 24
"""Errors on the sheet: more are no longer looked at one by one."""

ACROSS = 6
"""Images side by side."""

LETTERS = 28
"""What a line under an image has room for; a score must not be what falls off its end."""


def most_confident_errors(targets: npt.NDArray[np.int64], scored: Floats) -> npt.NDArray[np.int64]:
    """Return the rows of the images that are called wrong, the highest score first.

    Images of one score keep their order, so that the same images give the same sheet.

    Args:
        targets: (N,), the index of the true class; -1 where the network does not know it. Such an
            image cannot be called right, which makes no error of it.
        scored: (N, C) class scores.
    """
    wrong = np.flatnonzero((targets >= 0) & (scored.argmax(axis=1) != targets))
    return wrong[np.argsort(-scored[wrong].max(axis=1), kind="stable")]


def error_sheet(
    path: Path,
    labels: LabelSet,
    scored: Floats,
    cases: Sequence[Case],
    images: npt.NDArray[np.uint8],
    errors: npt.NDArray[np.int64],
    name: str,
) -> None:
    """Draw the first `SHOWN` of ``errors`` as the network saw them, each with what it was called.

    Under an image stand its number (file names are long, and may tell a patient; an evaluation's
    ``errors.csv`` has the same numbers), its class, what it is called and with
    which score, and its source.

    Args:
        path: The PNG file. Without errors there is none, and one of an earlier evaluation goes.
        labels: The network's.
        scored: (N, C) class scores.
        cases: N cases.
        images: Their model inputs, (N, 1, H, W).
        errors: Rows, as of `most_confident_errors`.
        name: Name of the checkpoint.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    if not len(errors):
        path.unlink(missing_ok=True)
        return
    shown = errors[:SHOWN]
    down = -(-len(shown) // ACROSS)
    counted = f"{len(shown)} of {len(errors)} errors, the surest first"
    title = f"{name}: {counted} (for your own eyes)"
    with canvas(path, (2.2 * ACROSS, 0.8 + 2.65 * down), title) as figure:
        # As many places in a row for one error as for many: images are of one size on every sheet.
        panels = figure.subplots(down, ACROSS, squeeze=False).ravel()
        for axes in panels:
            axes.axis("off")
        for number, (axes, row) in enumerate(zip(panels, shown, strict=False), start=1):
            axes.imshow(images[row, 0], cmap="gray", vmin=0, vmax=255)
            target, sure = scored[row].argmax(), scored[row].max()
            lines: tuple[tuple[str, dict[str, Any]], ...] = (
                (f"{number}. {_short(cases[row].label, LETTERS - 6)}", {"weight": "bold"}),
                (f"called {_short(labels.names[target], LETTERS - 13)} {sure:.3f}", {}),
                (_short(cases[row].source, LETTERS), {"color": GREY}),
            )
            for line, (text, pen) in enumerate(lines):
                axes.annotate(
                    text,
                    (0, 0),
                    (0, -4 - 11 * line),
                    xycoords="axes fraction",
                    textcoords="offset points",
                    size=8,
                    va="top",
                    **pen,
                )


def _short(name: str, letters: int) -> str:
    """Return a name on one line of so many letters, without bytes that no font can draw."""
    line = " ".join(name.encode(errors="replace").decode().split())
    return line if len(line) <= letters else f"{line[: letters - 1]}…"
