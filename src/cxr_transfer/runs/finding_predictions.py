"""Tables of predictions of findings: an image in each row, what is named, each probability.

Their columns are not those of class scores: what is computed of classes does not take them.
Written by an evaluation and a cross-validation; read back to compare models. Opens no image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError
from cxr_transfer.files import write_csv
from cxr_transfer.labels import JOINED, NO_FINDING, LabelSet, stated
from cxr_transfer.models.folder import read_text
from cxr_transfer.runs.predictions import (
    NAMING,
    identities,
    one_model,
    refuse_repeated,
    table_rows,
)
from cxr_transfer.statistics.finding_comparison import NamedFindings
from cxr_transfer.statistics.findings import FindingScores, named
from cxr_transfer.text import for_terminal

PREFIX = "probability_"
"""Begins the columns of probabilities."""


def finding_columns(names: Iterable[str]) -> list[str]:
    """Return the names of the columns of the probabilities."""
    return [f"{PREFIX}{name}" for name in names]


def finding_rows(
    scores: FindingScores, thresholds: npt.ArrayLike, cases: Sequence[Case]
) -> list[dict[str, object]]:
    """Return the rows of a table of predictions of findings.

    Args:
        scores: Probabilities of N images, as they are given.
        thresholds: Thresholds of the findings, (F,), or of each image's model, (N, F).
        cases: Cases of the images, in their order.
    """
    columns = finding_columns(scores.labels)
    names = np.array(scores.labels.names, dtype=object)
    # In float32, as an answer is compared with its threshold.
    reached = named(scores.probabilities.astype(np.float32), thresholds)
    return [
        {name: getattr(case, name) for name in NAMING}
        | {"predicted": JOINED.join(sorted(names[is_named])) or NO_FINDING}
        | {column: f"{value:.6f}" for column, value in zip(columns, row, strict=True)}
        for case, row, is_named in zip(cases, scores.probabilities, reached, strict=True)
    ]


def write_finding_predictions(
    path: Path,
    scores: FindingScores,
    thresholds: npt.ArrayLike,
    cases: Sequence[Case],
    *,
    temperature: float | None = None,
) -> None:
    """Write a row per image: what names it, its label, what is named, and each probability.

    Args:
        path: The CSV file.
        scores: Probabilities of N images, as they are given.
        thresholds: Thresholds of the findings.
        cases: Cases of the images, in their order.
        temperature: Temperature of that scale, written in the last column; None leaves it empty.
    """
    columns = [*NAMING, "predicted", *finding_columns(scores.labels), "temperature"]
    heat: dict[str, object] = {} if temperature is None else {"temperature": temperature}
    write_csv(path, columns, (row | heat for row in finding_rows(scores, thresholds, cases)))


@dataclass(frozen=True, eq=False)
class FindingTable:
    """Predictions of findings that were read from a table.

    Attributes:
        scores: Probabilities of the images.
        named: Whether each finding is named, (N, F).
        sha256: SHA-256 of each of their files; "" where the table does not say.
        has_patients: Whether the table names patients; else each image is one.
        other_labels: Number of images whose label names what is none of the findings: all their
            labels are missing.
    """

    scores: FindingScores
    named: npt.NDArray[np.bool_]
    sha256: tuple[str, ...]
    has_patients: bool
    other_labels: int

    def identities(self, *, by_content: bool) -> list[str]:
        """Return what tells each image from all others, as of a table of class scores."""
        return identities(self.scores.files, self.sha256 if by_content else ())

    def only(self, rows: Sequence[int], labels: LabelSet) -> NamedFindings:
        """Return these rows alone, the findings in the order of ``labels``."""
        columns = [self.scores.labels.target(name) for name in labels]
        grid = np.ix_(rows, columns)
        scores = FindingScores(
            labels,
            self.scores.targets[grid],
            self.scores.probabilities[grid],
            tuple(self.scores.patients[row] for row in rows),
            tuple(self.scores.files[row] for row in rows),
        )
        return NamedFindings(scores, self.named[grid])


def is_of_findings(path: Path) -> bool:
    """Tell whether a table has columns of probabilities of findings, whatever separates them.

    Raises:
        ModelError: What `models.folder.opened` raises.
    """
    header = read_text(path).partition("\n")[0].removeprefix("\ufeff")
    names = re.split(r"[,;\t]", header)
    return any(name.strip().strip('"').startswith(PREFIX) for name in names)


def read_findings(path: Path) -> FindingTable:
    """Read a table of predictions of findings; where it has several seeds, the rows of their mean.

    Raises:
        DataError: ``bad_predictions`` for another table; ``repeated_images``.
        ModelError: What `models.folder.opened` raises.
    """
    rows = table_rows(path, _bad)
    columns = list(rows[0])
    names = [name.removeprefix(PREFIX) for name in columns if name.startswith(PREFIX)]
    absent = [name for name in ("file", "label", "predicted") if name not in columns]
    if absent or len(names) < 2:
        missing = [*absent, *([f"{PREFIX}FINDING, at least twice"] if len(names) < 2 else [])]
        raise _bad(path, f"there is no column {', '.join(missing)}")
    labels = LabelSet(tuple(names), exclusive=False)
    rows = one_model(path, rows, _bad)
    files = tuple(row["file"] for row in rows)
    refuse_repeated(path, files)
    has_patients = all(row.get("patient") for row in rows)
    try:
        scored = np.array([[float(row[name]) for name in finding_columns(labels)] for row in rows])
        scores = FindingScores(
            labels,
            np.array([labels.row(row["label"]) for row in rows], dtype=np.int64),
            scored,
            tuple(row["patient"] for row in rows) if has_patients else files,
            files,
        )
    except (ValueError, DataError):
        raise _bad(path, "a cell is no probability") from None
    return FindingTable(
        scores,
        _named(path, labels, [row["predicted"] for row in rows]),
        tuple(row.get("sha256", "") for row in rows),
        has_patients,
        sum(not stated(row["label"]).names <= set(labels) for row in rows),
    )


def _named(path: Path, labels: LabelSet, cells: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which findings (N, F) are named; refuse a cell that is no list of them."""
    said = {cell: labels.row(cell) for cell in cells}
    odd = next((cell for cell, row in said.items() if -1 in row), None)
    if odd is not None:
        raise _bad(
            path,
            f"{for_terminal(odd)!r} in the column predicted is no list of its findings, joined by "
            f"'{JOINED}'",
        )
    is_named: npt.NDArray[np.bool_] = np.array([said[cell] for cell in cells]) == 1
    return is_named


def _bad(path: Path, why: str) -> DataError:
    return DataError(
        "bad_predictions",
        f"Expected a table of one model's predictions of findings (file, label, predicted, "
        f"{PREFIX}FINDING ...) in {path}, but {why}; give the predictions.csv of an evaluation or "
        "a cross-validation.",
    )
