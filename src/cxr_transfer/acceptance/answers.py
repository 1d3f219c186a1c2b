"""Answers that were kept, and outcomes that came later: tables of other days, read row by row.

In come files of ``cxr predict`` (``--out``, ``--csv``, ``--json``), or lines of JSON as the server
gives or keeps them; out go scores with their days. No picture is opened. Knows nothing of drift.

A day is that of the row (a column ``time`` or ``date``), else that in the file's name
(``2026-11-28.csv``), else the day on which the file was written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.csv_files import decoded
from cxr_transfer.errors import DataError
from cxr_transfer.files import read_csv
from cxr_transfer.models.folder import read_bytes, strict_json
from cxr_transfer.text import for_terminal

ENDINGS = (".csv", ".jsonl", ".json")
LARGEST = 2**31
"""Bytes of one table of answers; a row has about 300."""

_DAY = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")
_KEPT = '{"time": "'
"""How a line of a server begins; without an end, it was being written when the server ended."""

_PREFIX = "score_"
_SUM = 0.01

OK, REFUSED, UNSURE, OUT, ERROR = "ok", "refused", "not_sure", "out_of_distribution", "error"


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        file: Name of the image.
        day: Day on which it was answered.
        status: `OK`, `REFUSED` by quality control, `UNSURE`, `OUT` or `ERROR`.
        score: Score of what is looked for; None where the answer has none.
        model: Name and first digits of the hash of the network's weights.
        sha256: SHA-256 of the image's bytes; "" where it is not known.
    """

    file: str
    day: date
    status: str
    score: float | None
    model: str
    sha256: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What two rows have in common that are to count once.

        A table that was kept twice must not count twice, nor an image that was asked for again.
        """
        if self.sha256:
            return self.sha256, self.model
        return self.file, self.status, str(self.score), self.model

    def stands_before(self, other: Answer) -> bool:
        """Tell whether this row counts, where ``other`` is of the same image and model."""
        if (self.status == ERROR) != (other.status == ERROR):
            return other.status == ERROR  # a process that was lost says nothing of the image
        return self.day < other.day


@dataclass(frozen=True)
class Answers:
    """Answers of all tables.

    Attributes:
        rows: Answers in the order of days, then of tables and rows.
        repeated: Number of rows that were left out, since the same stands in another row.
        days_from: How many rows have their day from where.
        of_others: Number of rows that were left out, since they are of other networks.
        cut_off: Number of lines that were left out, since their writer was stopped on the way.
    """

    rows: tuple[Answer, ...]
    repeated: int
    days_from: dict[str, int]
    of_others: int = 0
    cut_off: int = 0

    def scores(self) -> npt.NDArray[np.float64]:
        """Return the scores (N,) of those that have one."""
        return np.array([row.score for row in self.rows if row.score is not None])


def read_answers(
    paths: Sequence[Path], positive: tuple[str, ...], weights: tuple[str, ...] = ()
) -> Answers:
    """Read tables of answers, and all tables of folders.

    Args:
        paths: Tables or folders.
        positive: Classes that are looked for; their scores are added.
        weights: SHA-256 of the networks that are watched. A server keeps the answers of all its
            models, so rows with other ``weights`` are left out; none takes all.

    Raises:
        DataError: ``bad_answers`` for another file, ``no_answers`` without a row, ``other_model``
            where all rows are left out.
        ModelError: What `models.folder.opened` raises.
    """
    answers: dict[tuple[str, ...], Answer] = {}
    rows, of_others, cut_off, days_from = 0, 0, 0, Counter[str]()
    for path in _tables(paths):
        named = _day_of_name(path)
        read, cut = _rows(path)
        cut_off += cut
        for number, row in enumerate(read, start=1):
            if weights and row.get("weights", weights[0]) not in weights:
                of_others += 1
                continue
            answer, source = _answer(path, number, row, positive, named)
            rows += 1
            days_from[source] += 1
            if answer.key not in answers or answer.stands_before(answers[answer.key]):
                answers[answer.key] = answer
    if not rows and of_others:
        raise DataError(
            "other_model",
            f"Expected answers of the network {weights[0][:12]}, but all {of_others} are of "
            "others; give the folder of a server that serves it.",
        )
    if not rows:
        raise DataError(
            "no_answers",
            f"Expected answers of 'cxr predict' in {', '.join(map(str, paths))}, but there is no "
            f"row; give tables ({', '.join(ENDINGS)}) or folders that hold some.",
        )
    ordered = sorted(answers.values(), key=lambda answer: answer.day)
    return Answers(tuple(ordered), rows - len(ordered), dict(days_from), of_others, cut_off)


def _tables(paths: Sequence[Path]) -> list[Path]:
    tables: list[Path] = []
    for path in paths:
        if path.is_dir():
            tables += sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
        elif path.suffix.lower() in ENDINGS:
            tables.append(path)
        else:
            raise _bad(path, f"its name ends in none of {', '.join(ENDINGS)}")
    return tables


def _rows(path: Path) -> tuple[list[Mapping[str, Any]], int]:
    """Return the rows of a table as mappings, and how many lines were cut off."""
    content, cut_off = read_bytes(path, most=LARGEST), 0
    try:
        if path.suffix.lower() == ".csv":
            return list(read_csv(decoded(content)[0])), 0
        text = content.decode("utf-8", "surrogateescape")
        if path.suffix.lower() == ".json":
            value = strict_json(text)
            values = value if isinstance(value, list) else [value]
        else:
            values, cut_off = _values(text)
    except (ValueError, RecursionError) as error:
        raise _bad(path, for_terminal(str(error))) from None
    if not all(isinstance(value, dict) for value in values):
        raise _bad(path, "a line is no JSON object")
    # The server puts the answers of a request into an envelope.
    envelopes = [value.get("answers", [value]) for value in values]
    rows = [row for inner in envelopes if isinstance(inner, list) for row in inner]
    if not all(isinstance(item, list) for item in envelopes) or not all(
        isinstance(row, dict) for row in rows
    ):
        raise _bad(path, "an answer is no JSON object")
    return rows, cut_off


def _values(text: str) -> tuple[list[Any], int]:
    """Return the value of each line of JSON, and how many lines of a server are cut off.

    Raises:
        ValueError: Another line is no JSON.
    """
    values, cut_off = [], 0
    for line in text.splitlines():
        try:
            values += [strict_json(line)] if line.strip() else []
        except ValueError:
            if not line.startswith(_KEPT):
                raise
            cut_off += 1
    return values, cut_off


def _answer(
    path: Path, number: int, row: Mapping[str, Any], positive: tuple[str, ...], named: date | None
) -> tuple[Answer, str]:
    """Return a row as an answer, and where its day is from."""
    status = row.get("status")
    if status not in ("ok", "cannot_assess", "error"):
        raise _bad(path, f"row {number} has no column status of an answer")
    code = str(row.get("code") or "")
    if status == "cannot_assess":
        status = code if code in (UNSURE, OUT) else REFUSED
    score = _score(path, number, row, positive)
    if status == OK and score is None:
        raise _bad(path, f"row {number} is an answer without scores")
    stated = str(row.get("time") or row.get("date") or "")
    if stated:
        try:
            day, source = datetime.fromisoformat(stated).date(), "the row"
        except ValueError:
            raise _bad(
                path, f"row {number} has the time {for_terminal(stated)!r}, which is no ISO 8601"
            ) from None
    elif named:
        day, source = named, "the file's name"
    else:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        day, source = written.date(), "the day the file was written"
    file, model, sha256 = (str(row.get(name) or "") for name in ("file", "model", "sha256"))
    return Answer(file, day, str(status), score, model, sha256), source


def _score(
    path: Path, number: int, row: Mapping[str, Any], positive: tuple[str, ...]
) -> float | None:
    """Return the score of what is looked for; None where the row has no scores.

    Raises:
        DataError: ``bad_answers`` for other classes, and for scores that are none.
    """
    scores = row.get("probabilities")
    if not isinstance(scores, dict):
        scores = {
            name.removeprefix(_PREFIX): value
            for name, value in row.items()
            if name.startswith(_PREFIX) and value not in ("", None)
        }
    if not scores:
        return None
    absent = [name for name in positive if name not in scores]
    if absent:
        names = ", ".join(for_terminal(str(name)) for name in scores)
        raise _bad(path, f"row {number} has scores of {names}, and none of {absent[0]!r}")
    try:
        values = np.array([float(value) for value in scores.values()])
    except (TypeError, ValueError):
        raise _bad(path, f"row {number} has a score that is no number") from None
    if not np.isfinite(values).all() or values.min() < 0 or abs(values.sum() - 1) > _SUM:
        raise _bad(path, f"row {number} has scores that are no probabilities that sum to 1")
    return min(1.0, sum(float(scores[name]) for name in positive))


@dataclass(frozen=True)
class Outcome:
    """What is known of an image later.

    Attributes:
        answer: Answer for the image.
        is_positive: Whether it is of what is looked for.
        day: Day on which that was known, or the answer's.
    """

    answer: Answer
    is_positive: bool
    day: date


def read_outcomes(
    path: Path, answers: Answers, positive: tuple[str, ...], labels: Sequence[str]
) -> tuple[list[Outcome], dict[str, int]]:
    """Read what images turned out to be.

    Args:
        path: Table (.csv) with the columns ``file`` and ``label``, and ``date`` or ``time``.
        answers: Answers, which name the images.
        positive: Classes that are looked for.
        labels: All classes of the model.

    Returns:
        Outcomes in the order of their days; and how many rows name no answer (``unknown``) or
        several (``ambiguous``), or have a label that is no class (``other_labels``).

    Raises:
        DataError: ``bad_outcomes``, ``no_common_images``.
        ModelError: What `models.folder.opened` raises.
    """
    try:
        rows = read_csv(decoded(read_bytes(path, most=LARGEST))[0])
    except ValueError as error:
        raise _bad_outcomes(path, for_terminal(str(error))) from None
    if not rows or not {"file", "label"} <= rows[0].keys():
        raise _bad_outcomes(path, "it has no rows" if not rows else "a column is absent")
    whole: dict[str, list[Answer]] = {}
    short: dict[str, list[Answer]] = {}
    for answer in answers.rows:
        for name in {answer.file, answer.sha256 or answer.file}:
            whole.setdefault(name, []).append(answer)
        short.setdefault(PurePosixPath(answer.file).name, []).append(answer)
    outcomes: dict[Answer, Outcome] = {}
    left = Counter({"unknown": 0, "ambiguous": 0, "other_labels": 0})
    for row in rows:
        name, label = row["file"], row["label"]
        matching = whole.get(name) or short.get(PurePosixPath(name).name) or []
        if label not in labels:
            left["other_labels"] += 1
        elif len(matching) != 1:
            left["ambiguous" if matching else "unknown"] += 1
        else:
            answer = matching[0]
            day = _outcome_day(path, row.get("date") or row.get("time") or "", answer.day)
            outcomes[answer] = Outcome(answer, label in positive, day)
    if not outcomes:
        raise DataError(
            "no_common_images",
            f"Expected outcomes of some of {len(answers.rows)} answers in {path}, but no row names "
            f"one of them with a label among {', '.join(labels)}; name files as the answers do.",
        )
    return sorted(outcomes.values(), key=lambda outcome: outcome.day), dict(left)


def _outcome_day(path: Path, stated: str, otherwise: date) -> date:
    if not stated:
        return otherwise
    try:
        return datetime.fromisoformat(stated).date()
    except ValueError:
        raise _bad_outcomes(path, f"{for_terminal(stated)!r} is no date in ISO 8601") from None


def _day_of_name(path: Path) -> date | None:
    """Return the day that stands in a file's name; None without one."""
    for year, month, day in _DAY.findall(path.stem):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    return None


def _bad(path: Path, why: str) -> DataError:
    return DataError(
        "bad_answers",
        f"Expected answers of 'cxr predict' (--out TABLE.csv, --csv or --json) in {path}, but "
        f"{why}; give the table as it was written.",
    )


def _bad_outcomes(path: Path, why: str) -> DataError:
    return DataError(
        "bad_outcomes",
        f"Expected a table of outcomes (file,label[,date]) in {path}, but {why}; write a row for "
        "each image whose label is known now.",
    )
