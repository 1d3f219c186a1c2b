"""Files that cannot be read, left out on a person's word and listed.

Comes in: what the index or a decoder found. Goes out: ``damaged.csv``. Decides nothing: whether
damaged files are left out or refused is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import ImageError, Notice
from cxr_transfer.files import write_csv

DAMAGED_FILE = "damaged.csv"
"""Stands in a run or report folder whose data had files that could not be read."""


@dataclass(frozen=True)
class Damaged:
    """One file that cannot be read.

    Attributes:
        path: Name of the file for a person (`Case.file`): its path as the manifest has it, or as
            seen from the data folder.
        code: Code of the decoder's error.
        message: Message of that error, one line.
    """

    path: str
    code: str
    message: str

    @classmethod
    def of(cls, case: Case, error: ImageError) -> Damaged:
        """Take the name from the case, and the rest from the decoder's error."""
        return cls(case.file, error.code, error.message)


def write_damaged(folder: Path, damaged: Sequence[Damaged]) -> None:
    """Write ``damaged.csv`` into ``folder``; without a damaged file, remove an earlier one.

    Raises:
        MachineError: ``disk_full``, ``not_writable``.
    """
    if not damaged:
        (folder / DAMAGED_FILE).unlink(missing_ok=True)
        return
    rows = (asdict(file) for file in damaged)
    write_csv(folder / DAMAGED_FILE, ("path", "code", "message"), rows)


def damaged_line(damaged: Sequence[Damaged], where: str) -> str:
    """Return the line that tells how many files were left out, and where they are listed.

    >>> damaged_line([Damaged("a.png", "empty_file", "Expected ...")], "damaged.csv")
    'left out, since it cannot be read: 1 file, listed in damaged.csv'
    """
    number = len(damaged)
    reason = "it cannot be read: 1 file" if number == 1 else f"they cannot be read: {number} files"
    return Notice(f"left out, since {reason}, listed in {where}")


def damaged_sentence(number: int) -> str:
    """Return what a report says of files that were left out; "" without any.

    >>> damaged_sentence(2)
    '2 files that cannot be read were left out: damaged.csv.'
    """
    if not number:
        return ""
    files = "1 file" if number == 1 else f"{number} files"
    return (
        f"{files} that cannot be read {'was' if number == 1 else 'were'} left out: {DAMAGED_FILE}."
    )
