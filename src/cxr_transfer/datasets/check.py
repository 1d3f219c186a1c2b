"""What is in archives, a folder or a manifest: counts, what is missing, what stands there twice.

Comes in: collections. Goes out: a plain table per collection and a row per image, ready for a
terminal, JSON or CSV. Opens every image once; a damaged one is listed, not fatal.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.contact_sheet import THUMBNAIL, Sheet
from cxr_transfer.datasets.decode import Record, Wanted, record_of, sha256_of_file
from cxr_transfer.datasets.index import changed_images
from cxr_transfer.datasets.loading import own_dataset
from cxr_transfer.datasets.patients import is_unknown
from cxr_transfer.datasets.registry import stands_alone
from cxr_transfer.datasets.several_findings import as_findings, finding_counts
from cxr_transfer.datasets.splits import refusals
from cxr_transfer.errors import DataError, ImageError
from cxr_transfer.labels import Task
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph import read_content
from cxr_transfer.text import for_terminal

COLUMNS = (
    *("file", "status", "label", "patient", "source", "split", "view", "age", "sex"),
    *("width", "height", "format", "grey_levels", "warnings", "sha256"),
)
"""Columns of the row of each image."""

Row = dict[str, Any]


def check(
    archives: Sequence[Collection],
    *,
    task: Task = "multi_class",
    mapping: Mapping[str, str] | None = None,
    on_image: Callable[[], None] = lambda: None,
    sheet: Sheet | None = None,
) -> dict[str, Any]:
    """Return what `cxr data check` prints.

    Args:
        archives: Collections to describe.
        task: Whether labels are classes, or join findings.
        mapping: Finding to the one that it counts as, or to "" where it is not asked for; classes
            are renamed before.
        on_image: Function that is called after every image.
        sheet: Contact sheet, which takes its images from the same decoding; None makes none.

    Returns:
        ``archives``: a table for each collection; ``refused`` is what training would refuse images
        of a user's own for, damaged ones left out; ``findings``, where labels join them, how many
        images are known to have each or not, or have a missing label. ``images``: a row for each
        image by `COLUMNS`; ``status`` is "ok" or the code of the error, ``grey_levels`` how many
        grey values are in use (None of damaged images). ``identical``: groups of rows whose images
        are equal pixel for pixel, over all collections. ``damaged``: rows of images that cannot be
        read. ``sheet``: for each picture its number, file, and what quality control has against it.
    """
    whole = Wanted(grey_levels=True)
    of_sheet = dataclasses.replace(whole, preprocessings=(THUMBNAIL,), quality=True)

    def look(case: Case) -> tuple[Case | ImageError, Row]:
        is_shown = sheet is not None and case.path in sheet.places
        decoded, facts = _look(case, of_sheet if is_shown else whole)
        if sheet is not None and is_shown:
            sheet.take(case, decoded)
        return (decoded if isinstance(decoded, ImageError) else decoded.described(case)), facts

    if task == "multi_label":  # What cannot be meant is refused before an image is opened.
        for archive in archives:
            as_findings(archive.cases, mapping or {})
    alone = stands_alone(archives)
    tables: list[Row] = []
    rows: list[Row] = []
    rows_by_pixels: dict[str, list[Row]] = defaultdict(list)
    for archive in archives:
        readable: list[Case] = []
        changed: list[str] = []
        archive_rows: list[Row] = []
        for case, outcome in zip(archive.cases, in_order(look, archive.cases), strict=True):
            on_image()
            described, facts = outcome
            if isinstance(described, ImageError):
                archive_rows.append(_damaged(case, described, facts["sha256"]))
                continue
            if case.sha256 not in ("", described.sha256):
                changed.append(for_terminal(case.file))
            readable.append(described)
            archive_rows.append(_row(described, facts))
            rows_by_pixels[described.pixels].append(archive_rows[-1])
        read = dataclasses.replace(archive, cases=tuple(readable))
        refused = _refused(read, changed, task, mapping or {}) if alone else []
        tables.append(_table(read, archive_rows) | {"refused": refused})
        if task == "multi_label" and all(case.label for case in read.cases):
            tables[-1]["findings"] = finding_counts(as_findings(read.cases, mapping or {}))
        rows += archive_rows
    return {
        "archives": tables,
        "images": rows,
        "identical": sorted(
            (group for group in rows_by_pixels.values() if len(group) > 1),
            key=lambda group: [row["file"] for row in group],
        ),
        "damaged": [row for row in rows if row["status"] != "ok"],
        "sheet": sheet.rows() if sheet else [],
    }


def _look(case: Case, wanted: Wanted) -> tuple[Record | ImageError, Row]:
    """Return the record and the facts of an image, or the error and the file's hash."""
    digest = ""
    try:
        content = read_content(case.path)
        digest = hashlib.sha256(content).hexdigest()
        record = record_of(case.path, content, wanted)
    except ImageError as error:
        return error, {"sha256": digest}
    facts = {
        "format": record.format,
        "grey_levels": record.grey_levels,
        "warnings": "; ".join(record.warnings),
    }
    return record, facts


def _row(case: Case, radiograph: Row) -> Row:
    return (
        {name: getattr(case, name) for name in COLUMNS if hasattr(case, name)}
        | radiograph
        | {"status": "ok"}
    )


def _damaged(case: Case, error: ImageError, digest: str) -> Row:
    if not digest:  # It was not read: it is too large, or no file.
        with suppress(OSError):
            digest = sha256_of_file(case.path)
    nothing = dict.fromkeys(("format", "grey_levels", "warnings"))
    return _row(case, nothing) | {"status": error.code, "sha256": digest}


def _refused(
    read: Collection, changed: Sequence[str], task: Task, mapping: Mapping[str, str]
) -> list[dict[str, str]]:
    """Return what training would refuse a user's own images for, by training's own checks."""
    errors = [changed_images(changed, len(read.cases))] if changed else []
    without = sum(not case.label for case in read.cases)
    if without:
        error = DataError(
            "missing_label",
            f"Expected a class for every image, but {without} of {len(read.cases)} have none; "
            "write a manifest with 'cxr data prepare' and fill in its column label.",
        )
        return [{"code": error.code, "message": error.message}]
    try:
        errors += refusals(own_dataset(read.root, read, mapping=mapping, task=task))
    except DataError as error:
        errors.append(error)
    return [{"code": error.code, "message": error.message} for error in errors]


def _table(archive: Collection, rows: Sequence[Row]) -> Row:
    cases = archive.cases
    images_of = Counter(case.patient for case in cases if not is_unknown(case.patient))
    return {
        "collection": archive.name,
        "folder": _last_parts(archive.root),
        "generated": archive.generated,
        "images": len(cases),
        "patients": len(images_of),
        "patients_with_several_images": sum(number > 1 for number in images_of.values()),
        "images_of_unknown_patients": len(cases) - images_of.total(),
        "classes": dict(Counter(case.label or "not stated" for case in cases).most_common()),
        "sources": dict(Counter(case.source for case in cases).most_common()),
        "views": dict(Counter(case.view or "not stated" for case in cases).most_common()),
        "parts": dict(Counter(case.split for case in cases if case.split).most_common()),
        "columns": _further_columns(cases),
        "sizes": _sizes(cases),
        "grey_levels": _grey_levels(rows),
        "missing": list(archive.missing),
        "ignored": archive.ignored,
        "notices": list(archive.notices),
    }


def _further_columns(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    """Count the values of each further column, the most frequent first."""
    columns: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        for name, value in case.extra:
            columns[name][value or "not stated"] += 1
    return {name: dict(values.most_common()) for name, values in columns.items()}


def _sizes(cases: Sequence[Case]) -> str:
    if not cases:
        return "none"
    small = min(cases, key=lambda case: case.width * case.height)
    large = max(cases, key=lambda case: case.width * case.height)
    return f"{small.width} x {small.height} to {large.width} x {large.height} pixels"


def _grey_levels(rows: Sequence[Row]) -> str | None:
    """Say how many grey values are in use, and which image uses fewest; None without images."""
    readable = [row for row in rows if row["grey_levels"] is not None]
    if not readable:
        return None
    fewest = min(readable, key=lambda row: row["grey_levels"])
    most = max(row["grey_levels"] for row in readable)
    return f"{fewest['grey_levels']} ({for_terminal(fewest['file'])}) to {most} values in use"


def _last_parts(path: Path) -> str:
    return "/".join(Path(os.path.abspath(path)).parts[-2:])  # `path` may be "."
