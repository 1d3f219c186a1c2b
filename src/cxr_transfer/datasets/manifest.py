"""Cases as a CSV that a person can read, edit and hand on; also a user's own list of images.

Columns ``path,label,patient,source`` and optional ``view,age,sex,licence,finding,split,sha256,
pixels,width,height``; any other column is kept with the image. Paths are relative to the manifest's
folder, or absolute. Reading is strict: what cannot be understood is an error with its line number,
before any image is opened. What can be understood in one way only is taken so, and told: a missing
value that a program wrote as a word (``NaN``), one class in two spellings.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import (
    age_in_years,
    clean,
    is_missing,
    label_of,
    one_spelling,
    patient_name,
    sex_of,
    sha256_of,
    spelling_key,
    view_of,
    whole_number,
)
from cxr_transfer.datasets.csv_files import decoded, separator_of
from cxr_transfer.datasets.doubts import label_notices, number_notices, view_notices
from cxr_transfer.datasets.patients import from_headers, patient_notices, unknown_patient
from cxr_transfer.datasets.several_findings import NOT_STATED
from cxr_transfer.errors import DataError, listing
from cxr_transfer.files import write_csv
from cxr_transfer.text import cell_text, for_terminal

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
"""File of a run folder: its images, each with its part."""
_END = "\ue000"  # of private use: no cell of a table holds it alone
_SPLITS = {"": "", "val": "validation", "valid": "validation"} | {part: part for part in PARTS}


def write_manifest(path: Path, cases: Iterable[Case]) -> None:
    """Write ``cases`` to ``path``; image paths relative to its folder where that is possible."""
    folder = path.resolve().parent
    cases = list(cases)
    further = dict.fromkeys(name for case in cases for name, _ in case.extra)
    write_csv(
        path,
        (*COLUMNS, *further),
        (
            {
                **dict(case.extra),
                **{name: getattr(case, name) for name in COLUMNS},
                # An image that is a link keeps its own name; the folders that lead to it do not.
                "path": Path(
                    os.path.relpath(case.path.parent.resolve() / case.path.name, folder)
                ).as_posix(),
                "age": "" if case.age is None else f"{case.age:g}",
            }
            for case in cases
        ),
    )


def read_manifest(path: Path) -> tuple[Case, ...]:
    """Return the cases of a manifest; see `read_listed`."""
    return read_listed(path).cases


def read_listed(path: Path) -> Collection:
    """Read a manifest written by us or by a user.

    Accepts UTF-8, UTF-16 or Windows' encoding, with or without a byte-order mark, ``,`` ``;`` or
    tab, CRLF, quoted commas, blank lines, Windows separators. Where a row names no patient, the
    image's DICOM header may; else the image counts as a patient of its own. Without a source column
    the manifest's name is the source. The apostrophe that `write_manifest` puts before what a
    spreadsheet would run is taken off again.

    Raises:
        DataError: ``manifest`` (unreadable, columns, values), ``missing_images``,
            or one image in two rows that differ.
        MachineError: ``bad_salt``, as `patients.from_headers`.
    """
    table = _table(path)
    cases, doubts = _present(path, table)
    described, without_picture, notices = from_headers(cases)
    if without_picture:
        names = (case.file for case in cases if case.path in set(without_picture))
        raise DataError(
            "manifest",
            f"Expected images in {path}, but {len(without_picture)} are DICOM files without a "
            f"picture: {listing(names)}; remove their rows.",
        )
    labels, merged = one_spelling([case.label for case in described], "labels")
    sources, merged_sources = one_spelling([case.source for case in described], "sources")
    patients, merged_patients = _one_patient(described)
    read = tuple(
        dataclasses.replace(case, label=label, source=source, patient=patient)
        for case, label, source, patient in zip(described, labels, sources, patients, strict=True)
    )
    return Collection(
        "manifest",
        path,
        read,
        notices=(
            *table.notices,
            *doubts,
            *merged,
            *merged_sources,
            *merged_patients,
            *label_notices(labels),
            *number_notices(patients),
            *view_notices(case.view for case in read),
            *notices,
            *patient_notices(read),
        ),
    )


def _present(path: Path, table: _Table) -> tuple[list[Case], tuple[str, ...]]:
    """Return a case for each image that the rows name, once, and notices of them.

    Raises:
        DataError: ``manifest``, ``missing_images``, ``empty``.
    """
    cases: list[Case] = []
    problems: list[str] = []
    seen: dict[Path, tuple[int, Case]] = {}
    absent: list[str] = []
    differing = 0
    # Real, because ".." behind a link leads elsewhere than the text of the path says.
    folder = os.path.realpath(path.parent)
    for line, row in table.rows:
        try:
            case = _case(path, folder, row, table)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        if case.path in seen:
            first, earlier = seen[case.path]
            differing += case.extra != earlier.extra
            if not _agree(earlier, case):
                problems.append(
                    f"lines {first} and {line} name one image and contradict each other"
                )
            continue  # The same row twice says nothing new.
        seen[case.path] = (line, case)
        if os.path.isfile(case.path):  # Path.is_file raises for a name that is too long
            cases.append(case)
        else:
            absent.append(f"line {line}: {for_terminal(row['path'])}")
    if problems:
        raise DataError(
            "manifest",
            f"Expected rows that can be understood in {path}, but got {len(problems)} that cannot: "
            f"{listing(problems)}",
        )
    if absent:
        raise DataError(
            "missing_images",
            f"Expected every image that {path} names (relative to its folder, or absolute), but "
            f"{len(absent)} are absent: {listing(absent)}",
        )
    if not cases:
        raise DataError(
            "empty", f"Expected at least one image in {path}, but got none; add a row per image."
        )
    if not differing:
        return cases, ()
    return cases, (
        f"rows of an image that differ in further columns alone: {differing}; the first row counts",
    )


@dataclasses.dataclass(frozen=True)
class _Table:
    """A CSV file's rows, each with its line number.

    Attributes:
        rows: Line number and cells of each row, by column name in lower case.
        further: Columns that are not ours, by lower-case name, as the table spells them.
        encoding: Encoding of the file's text.
        notices: Lines on what is kept beside our columns, and what is not used.
    """

    rows: list[tuple[int, dict[str, str]]]
    further: dict[str, str]
    encoding: str
    notices: tuple[str, ...]


def _table(path: Path) -> _Table:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            "manifest", f"Expected to read {path}, but got: {error.strerror}."
        ) from None
    try:
        text, encoding = decoded(content)
    except ValueError:
        raise DataError(
            "manifest", f"Expected a CSV file at {path}, but got binary content."
        ) from None
    separator = separator_of(text.partition("\n")[0])
    lines = _records(path, text, separator)
    spelled = [clean(cell_text(name)) for name in lines[0][1]] if lines else []
    names = [name.lower() for name in spelled]
    lacking = [name for name in REQUIRED if name not in names]
    if lacking or len(set(names)) != len(names):
        raise DataError(
            "manifest",
            f"Expected the columns path,label[,patient,source,view,age,sex,split] once each in "
            f"line 1 of {path}, but got {','.join(map(for_terminal, names)) or 'nothing'}.",
        )
    rows: list[tuple[int, dict[str, str]]] = []
    for line, cells in lines[1:]:
        if not any(clean(cell) for cell in cells):
            continue
        if len(cells) != len(names):
            raise DataError(
                "manifest",
                f"Expected {len(names)} cells in line {line} of {path}, but got {len(cells)}; put "
                'quotes around a cell that holds a separator ("a,b").',
            )
        texts = [cell_text(cell.strip()) for cell in cells]
        rows.append((line, dict(zip(names, texts, strict=True))))
    further = {name.lower(): name for name in spelled if name and name.lower() not in COLUMNS}
    notices = []
    if NOT_STATED in further:
        notices.append(f"column {NOT_STATED}: read where several findings are told at once")
    if kept_names := [name for lower, name in further.items() if lower != NOT_STATED]:
        kept = listing(map(for_terminal, kept_names))
        notices.append(f"columns that are kept, and used for --subgroup alone: {kept}")
    if "" in names:
        notices.append("columns that are not used: without a name")
    if not encoding.startswith("utf"):
        notices.append(
            f"the table is no UTF-8: read as {encoding}, Windows' encoding of western Europe; save "
            "it as UTF-8 where names come out wrong"
        )
    return _Table(rows, further, encoding, tuple(notices))


def _records(path: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Return the rows of a CSV, each with the line in which it begins.

    Raises:
        DataError: ``manifest``, with the line in which what is wrong begins.
    """
    # What comes last is a row of its own, unless a quote before it was never closed.
    reader = csv.reader(io.StringIO(f"{text}\n{_END}", newline=""), delimiter=separator)
    lines: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for cells in reader:
            lines.append((begins, cells))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            "manifest", f"Expected CSV in {path}, but got in line {begins}: {error}."
        ) from None
    begins, last = lines.pop()
    if last != [_END]:
        raise DataError(
            "manifest",
            f"Expected CSV in {path}, but a quote that opens in the row of line {begins} is never "
            "closed; close it, or take it away.",
        )
    return lines


def _case(manifest: Path, folder: str, row: dict[str, str], table: _Table) -> Case:
    if not row["path"]:
        raise ValueError("path must not be empty")
    split = "" if is_missing(row.get("split", "")) else clean(row["split"]).lower()
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {', '.join(PARTS)} or empty, but is {split!r}")
    path = _image_path(folder, row["path"], table.encoding)
    source = row.get("source", "")
    return Case(
        path=path,
        label=label_of(row["label"]),
        patient=patient_name(row.get("patient", "")) or unknown_patient(path),
        source=manifest.stem if is_missing(source) else source,
        view=view_of(row.get("view", "")),
        age=age_in_years(row.get("age", "")),
        sex=sex_of(row.get("sex", "")),
        licence=_words(row.get("licence", "")),
        finding=_words(row.get("finding", "")),
        split=_SPLITS[split],
        sha256=sha256_of(row.get("sha256", ""), "sha256"),
        pixels=sha256_of(row.get("pixels", ""), "pixels"),
        width=whole_number(row.get("width", ""), "width"),
        height=whole_number(row.get("height", ""), "height"),
        written=row["path"],
        extra=tuple((name, _words(row[key])) for key, name in table.further.items()),
    )


def _words(cell: str) -> str:
    return "" if is_missing(cell) else cell


def _agree(case: Case, other: Case) -> bool:
    """Tell whether two rows of one image say the same, however they spell it."""
    return case == dataclasses.replace(
        other,
        extra=case.extra,
        label=case.label if spelling_key(case.label) == spelling_key(other.label) else other.label,
    )


def _one_patient(cases: Sequence[Case]) -> tuple[list[str], tuple[str, ...]]:
    """Give a patient one name, however it is spelled: a union too many is no leak."""
    names, merged = one_spelling([case.patient for case in cases], "patients")
    if not merged:
        return names, ()
    spelled: dict[str, set[str]] = defaultdict(set)
    for case, name in zip(cases, names, strict=True):
        spelled[name].add(case.patient)
    # Their number alone: whose they are is nobody's business.
    several = sum(len(spellings) > 1 for spellings in spelled.values())
    return names, (f"patients whose names differ in spelling alone are one: {several}",)


def _image_path(folder: str, written: str, encoding: str) -> Path:
    for spelling in _spellings(written, encoding):
        path = os.path.join(folder, spelling)
        if os.path.isfile(path):
            plain = os.path.abspath(path)
            is_same = plain == path or (os.path.isfile(plain) and os.path.samefile(plain, path))
            return Path(plain if is_same else os.path.realpath(path))
    return Path(os.path.abspath(os.path.join(folder, written)))


def _spellings(written: str, encoding: str) -> Iterator[str]:
    """Yield a path as it is written, then as other systems and programs write the same path."""
    yield written
    if "\\" in written:
        # Written on Windows: the same relative path with this system's separators.
        yield PureWindowsPath(written).as_posix()
    # Composed or not: a name may have been written on another system than the file.
    yield from (unicodedata.normalize(form, written) for form in ("NFC", "NFD"))
    yield clean(written)
    if not encoding.startswith("utf"):
        try:
            yield os.fsdecode(written.encode(encoding))  # a name that is no UTF-8
        except UnicodeEncodeError:
            return
