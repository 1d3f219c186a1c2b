"""Answers as text: lines for a terminal, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cxr_transfer.inference.predictor import Prediction

COLUMNS = (
    *("file", "status", "code", "message", "label"),
    *("calibrated", "temperature", "model", "warnings", "ms"),
)


def as_json(answers: Iterable[Prediction], _labels: Sequence[str]) -> Iterator[str]:
    """Yield a line of JSON for each answer."""
    for answer in answers:
        yield json.dumps(answer.as_dict())


def columns(labels: Sequence[str]) -> list[str]:
    """Return the columns of a table of answers, with one for each class's score."""
    before = COLUMNS.index("label") + 1
    return [*COLUMNS[:before], *(f"score_{label}" for label in labels), *COLUMNS[before:]]


def cells(answer: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return an answer, as it stands in JSON, by column; what it does not have is None."""
    scores = {f"score_{label}": answer["probabilities"].get(label) for label in labels}
    return {**answer, "warnings": "; ".join(answer["warnings"]), **scores}


def as_csv(answers: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Yield a header, then a row of CSV for each answer, with a column for each class's score."""
    names = columns(labels)
    yield _row(names)
    for answer in answers:
        found = cells(answer.as_dict(), labels)
        yield _row([inert(found[name]) for name in names])


def as_lines(answers: Iterable[Prediction], _labels: Sequence[str]) -> Iterator[str]:
    """Yield a line for a person for each answer."""
    for answer in answers:
        # A name may hold anything, line ends and what moves a terminal's cursor among it.
        name = answer.file if answer.file.isprintable() else ascii(answer.file)[1:-1]
        scores = ", ".join(f"{label} {100 * p:.1f}" for label, p in answer.probabilities.items())
        if answer.status != "ok":
            status = answer.status.replace("_", " ")
            close = f" ({scores})" if scores else ""
            yield f"{name}: {status}: {answer.message} [{answer.code}]{close}"
            continue
        warned = "".join(f"; {warning}" for warning in answer.warnings)
        meaning = "" if answer.calibrated else "; not calibrated"
        yield f"{name}: {answer.label} ({scores}{meaning}{warned})"


def _row(row: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerow(row)
    return text.getvalue().removesuffix("\n")


def inert(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    # A spreadsheet runs a cell that begins like a formula.
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return "" if cell is None else cell
