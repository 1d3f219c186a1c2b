"""Images that a model met in training: by its own hashes, and by a table that somebody gives.

In come a model, images and a table of paths, hashes and patients; out goes which of the images it
met. What the table names need not be there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError
from cxr_transfer.files import read_csv
from cxr_transfer.models.folder import read_text
from cxr_transfer.subjects.subject import Subject

_COLUMNS = ("path", "sha256", "pixels", "patient")


def declared_images(table: Path, cases: Sequence[Case]) -> tuple[int, npt.NDArray[np.bool_]]:
    """Return the number of rows of a table, and which cases stand in it.

    Args:
        table: Table (.csv) with at least one of the columns ``path`` (as seen from the table),
            ``sha256`` of the file, ``pixels`` (SHA-256 of the decoded image) and ``patient``, such
            as the ``split.csv`` of a run.
        cases: Indexed cases, N of them.

    Returns:
        The number of rows, and (N,) whether the case's file, its content, its decoded image or its
        patient stands in one of them.

    Raises:
        DataError: ``bad_declaration`` for another table.
        ModelError: What `models.folder.opened` raises.
    """
    try:
        rows = read_csv(read_text(table))
    except ValueError as error:
        raise _bad(table, str(error)) from None
    if not rows:
        raise _bad(table, "it has no rows")
    present = [name for name in _COLUMNS if name in rows[0]]
    if not present:
        raise _bad(table, f"it has the columns {', '.join(rows[0])}")
    values_of = {name: {row[name] for row in rows if row[name]} for name in present}
    if "path" in values_of:
        home = table.resolve().parent
        values_of["path"] = {os.path.normpath(home / path) for path in values_of["path"]}
    return len(rows), np.array([_stands_in(case, values_of) for case in cases], dtype=np.bool_)


def met_images(
    subject: Subject, cases: Sequence[Case], table: Path | None
) -> tuple[npt.NDArray[np.bool_], str]:
    """Return which images a model met, and what is declared of that in words.

    Args:
        subject: Model or table of scores.
        cases: Indexed cases, N of them.
        table: Table as `declared_images` reads it; None for none.

    Returns:
        (N,) whether training met the image or its patient, and a sentence.

    Raises:
        DataError: ``seen_images`` where it met all of them; ``bad_declaration``.
        ModelError: What `declared_images` raises.
    """
    met, declared = subject.seen(cases), subject.declared
    if table is not None:
        rows, named = declared_images(table, cases)
        met = met | named
        declared = f"{declared} {table.name} declares {rows} images that it was trained on."
    if met.any() and met.all():
        raise DataError(
            "seen_images",
            f"Expected images that the model has not met, but it met all {len(met)} of them or "
            "their patients; give images of other patients.",
        )
    return met, f"{declared} Of these {len(met)} images it met {met.sum()}, which are left out."


def _stands_in(case: Case, values_of: dict[str, set[str]]) -> bool:
    names = {
        "path": os.path.normpath(case.path.absolute()),
        "sha256": case.sha256,
        "pixels": case.pixels,
        "patient": case.patient,
    }
    return any(names[column] in values for column, values in values_of.items())


def _bad(table: Path, why: str) -> DataError:
    return DataError(
        "bad_declaration",
        "Expected a table of the images that the model was trained on, with a column path, sha256, "
        f"pixels or patient, in {table}, but {why}; give the split.csv of its run, or a manifest.",
    )
