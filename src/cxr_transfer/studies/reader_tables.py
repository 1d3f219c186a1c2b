"""Readings that the page of `cxr serve` exported, and what the images truly are.

In come CSV and JSON files; out go `Reading`s, and the truth of each image. Opens an image only to
take its hash, where the truth names files and no hashes. Computes no statistic.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cxr_transfer.datasets.cells import clean, is_missing, patient_name
from cxr_transfer.datasets.csv_files import decoded, separator_of
from cxr_transfer.errors import DataError, listing
from cxr_transfer.models.folder import strict_json
from cxr_transfer.text import cell_text, for_terminal

CANNOT_SAY = "cannot_say"
"""Label of a reader who can name no class; the page's ``reading.js`` has the same."""

CONDITIONS = ("without", "with")
"""Readings without the model's answer in sight, and with it."""

HIGHEST = 100.0
"""Confidence of a reader who is certain; 0 is certain of the contrary."""

_REQUIRED = ("reader", "file", "reading", "label", "confidence", "target")
_SCORE = "score_"
_LARGEST = 64 << 20  # bytes


@dataclass(frozen=True)
class Reading:
    """One reading of one image.

    Attributes:
        reader: Name or code of the reader.
        file: Name of the image's file.
        sha256: SHA-256 of the image; "" where the table does not say.
        condition: One of `CONDITIONS`.
        label: Class that the reader chose, or `CANNOT_SAY`.
        confidence: How sure the reader is that the image is of the target, 0 to `HIGHEST`.
        target: Classes that were looked for.
        seconds: Time that the reader took; NaN where it is not known.
        seen_before: Whether the model's answer was on the screen before the study began.
        model: Name of the model and SHA-256 of its weights; "" where no model answered.
        model_label: Class that the model named; "" where it named none.
        model_scores: Model's score of each class; empty where it gave none.
        notes: What the reader wrote.
    """

    reader: str
    file: str
    sha256: str
    condition: str
    label: str
    confidence: float
    target: tuple[str, ...]
    seconds: float = math.nan
    seen_before: bool = False
    model: str = ""
    model_label: str = ""
    model_scores: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""


@dataclass(frozen=True)
class Truth:
    """What an image truly is.

    Attributes:
        label: Label of the image.
        patient: Patient of the image; the image itself where the table names none.
    """

    label: str
    patient: str


def read_readings(path: Path) -> list[Reading]:
    """Return the readings of a file that the page exported, CSV or JSON.

    Raises:
        DataError: ``bad_readings``, with the row that is wrong.
    """
    content = _content(path, "bad_readings")
    if content.lstrip()[:1] == b"{":
        try:
            rows = list(_rows_of_session(strict_json(content)))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DataError(
                "bad_readings",
                f"Expected a session of readings as the page saves it in {path}, but got other "
                "JSON; export the readings again.",
            ) from None
    else:
        rows = _table(path, content, "bad_readings", _REQUIRED)
    if not rows:
        raise DataError(
            "bad_readings",
            f"Expected readings in {path}, but there is none; commit one and export again.",
        )
    return [_reading(path, number, row) for number, row in enumerate(rows, start=1)]


def read_truth(path: Path, sha256_wanted: frozenset[str]) -> tuple[dict[str, Truth], str]:
    """Return the truth of images by their identity, and what the identity is.

    Args:
        path: Manifest, or another CSV with ``label`` and ``sha256``, ``path`` or ``file``.
        sha256_wanted: Hashes of the images that were read; empty where the readings have none.

    Returns:
        Truth by SHA-256 with "sha256", where all readings and the table have them, or its files
        are there to be hashed. Else truth by the last part of each file's name with "file".

    Raises:
        DataError: ``bad_truth``; ``two_labels`` for an image with two.
    """
    rows = _table(path, _content(path, "bad_truth"), "bad_truth", ("label",))
    if not rows or not {"sha256", "path", "file"} & set(rows[0]):
        raise DataError(
            "bad_truth",
            f"Expected a column sha256, path or file beside label in {path}, but got "
            f"{', '.join(map(for_terminal, rows[0])) if rows else 'no rows'}; add one.",
        )
    if sha256_wanted:
        digests = [_digest(path.parent, row) for row in rows]
        if sha256_wanted & set(digests):
            named = [(each, row) for each, row in zip(digests, rows, strict=True) if each]
            return _by_identity(path, named), "sha256"
    files = [_last(row.get("path") or row.get("file") or "") for row in rows]
    several = {name for name, times in Counter(files).items() if times > 1}
    named = [(name, row) for name, row in zip(files, rows, strict=True) if name not in several]
    return _by_identity(path, [(name, row) for name, row in named if name]), "file"


def identity(reading: Reading, by: str) -> str:
    """Return what tells an image from others: "sha256", or the last part of its "file"."""
    return reading.sha256 if by == "sha256" else _last(reading.file)


def _last(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _digest(folder: Path, row: Mapping[str, str]) -> str:
    """Return the SHA-256 that a row states, or that of its file; "" where there is neither."""
    if stated := clean(row.get("sha256", "")).lower():
        return stated
    file = folder / (row.get("path") or row.get("file") or "")
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def _by_identity(path: Path, named: Sequence[tuple[str, Mapping[str, str]]]) -> dict[str, Truth]:
    truths: dict[str, Truth] = {}
    has_patients = all(patient_name(row.get("patient", "")) for _, row in named)
    for name, row in named:
        label = clean(row["label"])
        if is_missing(label):
            continue
        patient = patient_name(row["patient"]) if has_patients else name
        if name in truths and truths[name].label != label:
            raise DataError(
                "two_labels",
                f"Expected one label for each image in {path}, but "
                f"{for_terminal(row.get('path') or row.get('file') or name)} has two; keep the "
                "right one.",
            )
        truths[name] = Truth(label, patient)
    return truths


def _content(path: Path, code: str) -> bytes:
    try:
        with path.open("rb") as handle:
            content = handle.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "a name that no file can have"
        raise DataError(
            code, f"Expected to read {path}, but got: {reason}; give another path."
        ) from None
    if len(content) > _LARGEST:
        raise DataError(
            code,
            f"Expected at most {_LARGEST >> 20} MiB in {path}, but it is larger; give the file "
            "that was exported.",
        )
    return content


def _table(path: Path, content: bytes, code: str, required: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV by column, columns in small letters."""
    try:
        text, _ = decoded(content)
        separator = separator_of(text.partition("\n")[0])
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except (ValueError, csv.Error):
        raise DataError(
            code, f"Expected a CSV file at {path}, but got other content; give a CSV."
        ) from None
    # The names of classes stand in columns of scores: only our own names know no large letters.
    heads = [clean(cell_text(name)) for name in lines[0]] if lines else []
    names = [name if name.startswith(_SCORE) else name.lower() for name in heads]
    lacking = [name for name in required if name not in names]
    if lacking or len(set(names)) != len(names):
        raise DataError(
            code,
            f"Expected the columns {', '.join(required)} once each in {path}, but got "
            f"{', '.join(map(for_terminal, names)) or 'nothing'}; name them so.",
        )
    cells = [[cell_text(cell) for cell in line] for line in lines[1:] if any(line)]
    padding = [""] * len(names)
    return [dict(zip(names, (*line, *padding), strict=False)) for line in cells]


def _rows_of_session(session: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the rows that the page would have written as CSV."""
    model = session["model"]
    for image in session["images"]:
        answer = image["answer"] or {}
        for reading in image["readings"]:
            yield {
                "reader": session["reader"],
                "file": image["file"],
                "sha256": image["sha256"],
                "reading": reading["condition"],
                "label": reading["label"],
                "confidence": str(reading["confidence"]),
                "target": "|".join(session["target"]),
                "seconds": str(reading["seconds"]),
                "notes": reading.get("notes") or "",
                "answer_seen_before": "yes" if image["answer_seen_before"] else "no",
                "model": model["name"] if answer else "",
                "weights_sha256": model["weights_sha256"] if answer else "",
                "model_label": answer.get("label") or "",
                **{
                    f"{_SCORE}{label}": str(value)
                    for label, value in (answer.get("probabilities") or {}).items()
                    if answer.get("status") == "ok"
                },
            }


def _reading(path: Path, number: int, row: Mapping[str, str]) -> Reading:
    try:
        condition, label = clean(row["reading"]).lower(), clean(row["label"])
        if condition not in CONDITIONS:
            raise ValueError(f"reading must be {' or '.join(CONDITIONS)}")
        if not label or not clean(row["reader"]) or not row["file"]:
            raise ValueError("reader, file and label must not be empty")
        target = tuple(filter(None, map(clean, row["target"].split("|"))))
        if not target:
            raise ValueError("target must name the class that was looked for")
        scores = {
            name.removeprefix(_SCORE): _number(value, name, 0.0, 1.0)
            for name, value in row.items()
            if name.startswith(_SCORE) and value
        }
        confidence = _number(row["confidence"], "confidence", 0.0, HIGHEST)
        seconds = row.get("seconds", "")
        names = (clean(row.get("model", "")), clean(row.get("weights_sha256", "")))
        return Reading(
            reader=clean(row["reader"]),
            file=row["file"],
            sha256=clean(row.get("sha256", "")).lower(),
            condition=condition,
            label=label,
            confidence=confidence,
            target=target,
            seconds=_number(seconds, "seconds", 0.0, math.inf) if seconds else math.nan,
            seen_before=clean(row.get("answer_seen_before", "")).lower() == "yes",
            model=" ".join(filter(None, names)),
            model_label=clean(row.get("model_label", "")),
            model_scores=scores,
            notes=row.get("notes", "").strip(),
        )
    except (ValueError, TypeError) as error:
        raise DataError(
            "bad_readings",
            f"Expected readings as the page exports them, but in row {number} of {path}: {error}; "
            "export them again.",
        ) from None


def _number(text: str, name: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high or math.isnan(value):
        most = "" if math.isinf(high) else f" to {high:g}"
        raise ValueError(f"{name} must be a number from {low:g}{most}, but is {text!r}")
    return value


def refuse_repeated(readings: Sequence[Reading], by: str) -> None:
    """Refuse readings of which one reader has two of an image: nobody knows which one counts.

    Raises:
        DataError: ``repeated_readings``.
    """
    times = Counter((each.reader, each.condition, identity(each, by)) for each in readings)
    twice = [
        f"{for_terminal(reader)} ({condition})"
        for (reader, condition, _), n in times.items()
        if n > 1
    ]
    if twice:
        raise DataError(
            "repeated_readings",
            f"Expected one reading of an image by a reader, but got more by "
            f"{listing(dict.fromkeys(twice))}; give each session once, and each image once.",
        )
