"""Answers as text: lines for a terminal, JSON lines and CSV for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from cxr_transfer.files import csv_line
from cxr_transfer.inference.prediction import Prediction, cells, columns
from cxr_transfer.statistics.temperature import written_score
from cxr_transfer.text import cell, for_terminal


def as_json(answers: Iterable[Prediction], _labels: Sequence[str]) -> Iterator[str]:
    """Yield a line of JSON for each answer."""
    for answer in answers:
        yield json.dumps(answer.as_dict())


def as_csv(
    answers: Iterable[Prediction], labels: Sequence[str], *, seen: bool = False
) -> Iterator[str]:
    """Yield a header, then a row of CSV for each answer, with a column for each class's score.

    Args:
        answers: Answers in the order of the rows.
        labels: Classes of the network.
        seen: Whether the rows go to a terminal, where a person reads them: what is not printable
            is then shown as an escape. For a program a row holds the very names, no formula among
            them (`text.cell`).
    """
    names = columns(labels)
    for row in chain[Sequence[object]]([names], _rows(answers, labels, names)):
        line = csv_line(row, quoted=True)
        yield for_terminal(line) if seen else line


def _rows(
    answers: Iterable[Prediction], labels: Sequence[str], names: Sequence[str]
) -> Iterator[list[object]]:
    for answer in answers:
        values = cells(answer.as_dict(), labels)
        yield [cell(values[name]) for name in names]


def as_lines(answers: Iterable[Prediction], _labels: Sequence[str]) -> Iterator[str]:
    """Yield a line for a person for each answer."""
    for answer in answers:
        scores = ", ".join(
            f"{label} {written_score(score)}" for label, score in answer.probabilities.items()
        )
        if answer.status != "ok":
            status = answer.status.replace("_", " ")
            close = f" ({scores})" if scores else ""
            line = f"{answer.file}: {status}: {answer.message} [{answer.code}]{close}"
        else:
            warned = "".join(f"; {warning}" for warning in answer.warnings)
            meaning = "" if answer.calibrated else "; not calibrated"
            line = f"{answer.file}: {answer.label} ({scores}{meaning}{warned})"
        # A name may hold anything, line ends and what moves a terminal's cursor among it.
        yield for_terminal(line)
