"""A collection that lies beside an ``example_index.csv`` with ``file,diagnosis,subject``."""

from __future__ import annotations

import csv
from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.registry import CollectionReader

INDEX = "example_index.csv"
CLASSES = {"healthy": "normal", "pneumonia": "other_pneumonia"}


def is_here(folder: Path) -> bool:
    """Tell whether ``folder`` holds the collection."""
    return (folder / INDEX).is_file()


def read(root: Path) -> Collection:
    """Read the collection: the images that are there, and the names of those that are not."""
    cases, missing = [], []
    with (root / INDEX).open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            path = root / row["file"]
            if not path.is_file():
                missing.append(f"{row['file']}: stands in {INDEX}, but not in the folder")
                continue
            case = Case(
                path=path,
                label=row["diagnosis"],
                patient=f"example:{row['subject']}",
                source="example",
                finding=row["diagnosis"],
            )
            cases.append(case)
    return Collection("example", root, tuple(cases), tuple(missing))


EXAMPLE = CollectionReader(
    "An example collection",
    is_here,
    read,
    classes=tuple(CLASSES),
    labels=CLASSES,
    licence="CC0",
    citation="nobody: the images are drawn",
)
