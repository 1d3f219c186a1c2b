"""What readers of published collections share: tables as they are published, and files by name.

A table is taken as it is: a column that is lacking is an error, an odd value in a cell is no value.
What a table names and the folder lacks is told, never fatal. Knows no collection.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Collection as Names
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import age_or_none, is_missing
from cxr_transfer.datasets.image_files import is_clutter
from cxr_transfer.datasets.patients import patient_notices
from cxr_transfer.errors import DataError
from cxr_transfer.labels import JOINED

ABSENT = "the file is absent"
"""Why an image that a table names is not read."""


def published_rows(table: Path, needed: Names[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table by column; a cell that is not there is empty.

    Args:
        table: CSV file, UTF-8, with a comma between its cells.
        needed: Columns that must be there.

    Raises:
        DataError: ``collection`` when a needed column is lacking, or it is no CSV.
    """
    with table.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as handle:
        reader = csv.DictReader(handle)
        try:
            lacking = sorted(set(needed) - set(reader.fieldnames or ()))
            if lacking:
                raise DataError(
                    "collection",
                    f"Expected the columns {lacking} in {table}; take the file as published.",
                )
            for row in reader:
                yield {name: (cell or "").strip() for name, cell in row.items() if name}
        except csv.Error as error:
            raise DataError(
                "collection",
                f"Expected CSV in {table}, but got in line {reader.line_num}: {error}; take the "
                "file as published.",
            ) from None


def files_by_name(folders: Iterable[Path], *, depth: int = 2) -> dict[str, Path]:
    """Return the files of folders by their names; of two files of one name the first.

    Args:
        folders: Folders, in their order.
        depth: Levels of folders that are looked into: 1 is the folders themselves.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        with os.scandir(folder) as entries:
            listed = sorted((entry.name, entry.is_dir()) for entry in entries)
        for name, is_folder in listed:
            if not is_folder and not is_clutter(name):
                named.setdefault(name, folder / name)
        if depth > 1:
            below = [folder / name for name, is_dir in listed if is_dir and not is_clutter(name)]
            for name, path in files_by_name(below, depth=depth - 1).items():
                named.setdefault(name, path)
    return named


@dataclass
class Reading:
    """A collection while its table is read: its images, what is absent, and notices.

    Attributes:
        name: Name of the collection.
        root: Folder of the collection.
        cases: Cases by what names their image in the table.
        missing: Images that the table names and that cannot be read, with the reason.
        notices: Lines for a person on how it was read.
        odd_ages: Number of rows whose age is none, such as 411 years.
    """

    name: str
    root: Path
    cases: dict[str, Case] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    odd_ages: int = 0

    def age(self, written: str) -> float | None:
        """Return an age in years; what is none is counted, and told with the collection."""
        age = age_or_none(written)
        self.odd_ages += age is None and not is_missing(written)
        return age

    def skip(self, image: str, why: str) -> None:
        """Tell of an image that is not read."""
        self.missing.append(f"{image}: {why}")

    def collection(self, *, ignored: int = 0) -> Collection:
        """Return what was read.

        Args:
            ignored: Files that no row names.
        """
        cases = tuple(self.cases.values())
        joined = sum(JOINED in case.label for case in cases)
        if joined:
            self.notices.append(
                f"{joined} of {len(cases)} images have several findings, and a label that joins "
                f"them ({_joined_example(cases)}): --label names such a label as it is, or many "
                "at once ('*Edema*=edema'); '*=' leaves out all that is not named"
            )
        if self.odd_ages:
            self.notices.append(f"ages that are none, and so are not known: {self.odd_ages}")
        return Collection(
            self.name,
            self.root,
            cases,
            tuple(self.missing),
            ignored,
            notices=(*self.notices, *patient_notices(cases)),
        )


def _joined_example(cases: Iterable[Case]) -> str:
    return min(case.label for case in cases if JOINED in case.label)


def one_label(findings: Iterable[str], otherwise: str) -> str:
    """Return one label for the findings of an image: they alone, or joined, in their alphabet.

    Args:
        findings: Names of findings, in any order.
        otherwise: Label of an image without any.

    >>> one_label(["Effusion", "Cardiomegaly"], "No Finding"), one_label([], "No Finding")
    ('Cardiomegaly|Effusion', 'No Finding')
    """
    return JOINED.join(sorted(set(findings))) or otherwise
