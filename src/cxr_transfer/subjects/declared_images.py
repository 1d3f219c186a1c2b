"""Images that somebody declares a model was trained on: a table of paths, hashes and patients.

In comes the table; out goes which of some images stand in it. The images need not be there.
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
