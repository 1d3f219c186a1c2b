"""Cases as a CSV that a person can read, edit and hand on; also a user's own list of films.

Columns ``path,label,patient,source`` and optional ``view,age,sex,licence,finding,split,sha256,
pixels,width,height``. Paths are relative to the manifest's folder, or absolute. Reading is strict:
what cannot be understood is an error with its line number, before any film is opened.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath

from cxr_transfer.collections.case import Case
from cxr_transfer.errors import DataError, listing
from cxr_transfer.files import write_csv

REQUIRED = ("path", "label")
COLUMNS = (
    "path",
    "label",
    "patient",
    "source",
    "view",
    "age",
    "sex",
    "licence",
    "finding",
    "split",
    "sha256",
    "pixels",
    "width",
    "height",
)
PARTS = ("train", "validation", "test")
PARTS_FILE = "split.csv"
"""Of a run folder: its films, each with its part."""
_SPLITS = {"": "", "val": "validation", "valid": "validation"} | {part: part for part in PARTS}


def write_manifest(path: Path, cases: Iterable[Case]) -> None:
    """Write ``cases`` to ``path``; film paths relative to its folder where that is possible."""
    folder = path.resolve().parent
    write_csv(
        path,
        COLUMNS,
        (
            {
                **{name: getattr(case, name) for name in COLUMNS},
                "path": Path(os.path.relpath(case.path.resolve(), folder)).as_posix(),
                "age": "" if case.age is None else f"{case.age:g}",
            }
            for case in cases
        ),
    )


def read_manifest(path: Path) -> tuple[Case, ...]:
    """Read a manifest written by us or by a user.

    Accepts a byte-order mark, UTF-8 or Latin-1, ``,`` ``;`` or tab, CRLF, quoted commas, blank
    lines, Windows separators. Without a patient column every film counts as its own patient;
    without a source column the manifest's name is the source.

    Raises:
        DataError: ``manifest`` (unreadable, columns, values), ``missing_films``,
            or one film in two rows that differ.
    """
    table = _table(path)
    cases: list[Case] = []
    problems: list[str] = []
    seen: dict[Path, tuple[int, Case]] = {}
    absent: list[str] = []
    for line, row in table:
        try:
            case = _case(path, row)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        if case.path in seen:
            first, earlier = seen[case.path]
            if earlier != case:
                problems.append(f"lines {first} and {line} name one film and contradict each other")
            continue  # The same row twice says nothing new.
        seen[case.path] = (line, case)
        if os.path.isfile(case.path):  # Path.is_file raises for a name that is too long
            cases.append(case)
        else:
            absent.append(f"line {line}: {row['path']}")
    if problems:
        raise DataError(
            "manifest",
            f"Expected rows that can be understood in {path}, but got {len(problems)} that cannot: "
            f"{listing(problems)}",
        )
    if absent:
        raise DataError(
            "missing_films",
            f"Expected every film that {path} names (relative to its folder, or absolute), but "
            f"{len(absent)} are absent: {listing(absent)}",
        )
    if not cases:
        raise DataError(
            "empty", f"Expected at least one film in {path}, but got none; add a row per film."
        )
    return tuple(cases)


def _table(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            "manifest", f"Expected to read {path}, but got: {error.strerror}."
        ) from None
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise DataError("manifest", f"Expected a CSV file at {path}, but got binary content.")
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        lines = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise DataError(
            "manifest", f"Expected CSV in {path}, but got in line {reader.line_num}: {error}."
        ) from None
    names = [name.strip().lower() for name in lines[0][1]] if lines else []
    lacking = [name for name in REQUIRED if name not in names]
    if lacking or len(set(names)) != len(names):
        raise DataError(
            "manifest",
            f"Expected the columns path,label[,patient,source,view,age,sex,split] once each in "
            f"line 1 of {path}, but got {','.join(names) or 'nothing'}.",
        )
    rows: list[tuple[int, dict[str, str]]] = []
    for line, cells in lines[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            raise DataError(
                "manifest",
                f"Expected {len(names)} cells in line {line} of {path}, but got {len(cells)}; put "
                'quotes around a cell that holds a separator ("a,b").',
            )
        rows.append((line, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}))
    return rows


def _case(manifest: Path, row: dict[str, str]) -> Case:
    if not row["path"] or not row["label"]:
        raise ValueError("path and label must not be empty")
    split = row.get("split", "").lower()
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {', '.join(PARTS)} or empty, but is {split!r}")
    age = row.get("age", "")
    try:
        years = float(age) if age else None
        width, height = (int(row.get(name) or 0) for name in ("width", "height"))
    except ValueError:
        raise ValueError("age, width and height must be numbers or empty") from None
    path = _film_path(manifest, row["path"])
    source = row.get("source") or manifest.stem
    return Case(
        path=path,
        label=row["label"],
        patient=row.get("patient") or f"{source}:{row['path']}",
        source=source,
        view=row.get("view", ""),
        age=years,
        sex=row.get("sex", ""),
        licence=row.get("licence", ""),
        finding=row.get("finding", ""),
        split=_SPLITS[split],
        sha256=row.get("sha256", ""),
        pixels=row.get("pixels", ""),
        width=width,
        height=height,
    )


def _film_path(manifest: Path, written: str) -> Path:
    path = manifest.parent / written
    if not os.path.isfile(path) and "\\" in written:
        # Written on Windows: the same relative path with this system's separators.
        path = manifest.parent / PureWindowsPath(written).as_posix()
    return Path(os.path.abspath(path))


def check_consistent(cases: Sequence[Case]) -> None:
    """Refuse a given split that leaks or is not whole; no film is opened.

    Raises:
        DataError: ``split_incomplete`` when only some rows name a part, ``patient_overlap`` when
            a patient stands in two parts.
    """
    given = Counter(case.split for case in cases)
    if given.get("") and len(given) > 1:
        raise DataError(
            "split_incomplete",
            f"Expected a part (train, validation, test) in every row or in none, but {given['']} "
            f"of {len(cases)} rows have none.",
        )
    parts: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        parts[case.patient].add(case.split)
    twice = sorted(patient for patient, where in parts.items() if len(where) > 1)
    if twice:
        raise DataError(
            "patient_overlap",
            f"Expected every patient in one part, but {len(twice)} stand in several: "
            f"{listing(twice)}",
        )
