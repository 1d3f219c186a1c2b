"""The errors of an evaluation, to be looked at: a table of all, and a picture of the surest.

In come scores, cases and the images as the network saw them, which an evaluation has in memory
already: no image is decoded again. The picture shows images and is for the eyes of who owns them;
the table holds no more of an image than ``predictions.csv``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.figures.contact_sheet import (
    BOLD,
    FAINT,
    LETTERS,
    PLAIN,
    Tile,
    contact_sheet,
    one_line,
)
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.scores import Floats

SHOWN = 24
"""Errors on the sheet: more are no longer looked at one by one."""


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

    Under an image stand its number, its class, the class that it is called, the score of that, and
    its source. A number it is because file names are long, and may tell a patient: an evaluation's
    ``errors.csv`` has the same numbers.

    Args:
        path: The PNG file. Without errors there is none, and one of an earlier evaluation goes.
        labels: The network's.
        scored: (N, C) class scores.
        cases: N cases.
        images: Model inputs of the cases, (N, 1, H, W).
        errors: Rows, as of `most_confident_errors`.
        name: Name of the checkpoint.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    if not len(errors):
        path.unlink(missing_ok=True)
        return
    shown = errors[:SHOWN]
    counted = f"{len(shown)} of {len(errors)} errors, the surest first"
    tiles = []
    for number, row in enumerate(shown, start=1):
        label, score = labels.names[scored[row].argmax()], scored[row].max()
        lines = (
            # A score must not be what falls off the end of a line.
            (f"{number}. {one_line(cases[row].label, LETTERS - 6)}", BOLD),
            (f"called {one_line(label, LETTERS - 13)} {score:.3f}", PLAIN),
            (one_line(cases[row].source), FAINT),
        )
        tiles.append(Tile(images[row, 0], lines))
    contact_sheet(path, tiles, f"{name}: {counted} (for your own eyes)")
