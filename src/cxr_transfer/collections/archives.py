"""A folder in, the archives found at or below it out.

Knows each archive's sign (an explicit table) and nothing of what is inside.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from cxr_transfer.collections import adult, cohen, folder, kermany
from cxr_transfer.collections.case import JUNK, Collection
from cxr_transfer.collections.phantom import NOTICE_FILE
from cxr_transfer.errors import DataError

_DEPTH = 4
_ARCHIVES: tuple[tuple[Callable[[Path], bool], Callable[[Path], Collection]], ...] = (
    (kermany.is_kermany, kermany.read_kermany),
    (cohen.is_cohen, cohen.read_cohen),
    (adult.is_adult, adult.read_adult),
)

WHERE_FROM = (
    "Kermany: Mendeley Data doi 10.17632/rscbjbr9sj or Kaggle "
    "paultimothymooney/chest-xray-pneumonia; Cohen: GitHub ieee8023/covid-chestxray-dataset"
)


def read_archives(root: Path) -> tuple[Collection, ...]:
    """Read every archive at or below ``root`` (four levels), else its one folder per class.

    Raises:
        DataError: ``no_folder`` when there is no such folder, ``empty`` when it holds no films.
    """
    if not root.is_dir():
        raise DataError("no_folder", f"Expected a folder with films at {root}, but there is none.")
    found = [collection for collection in _walk(root, _DEPTH) if collection.cases]
    if not found and folder.is_folder(root):
        found = [folder.read_folder(root)]
    if not found:
        raise DataError(
            "empty",
            f"Expected films at {root} (an archive as published, or one folder per class, two at "
            f"least), but found none. Where the archives are from: {WHERE_FROM}.",
        )
    return tuple(
        dataclasses.replace(collection, generated=_is_generated(collection.root))
        for collection in found
    )


def _is_generated(root: Path) -> bool:
    return any((folder / NOTICE_FILE).is_file() for folder in (root, *root.parents[:_DEPTH]))


def _walk(root: Path, depth: int) -> list[Collection]:
    for is_archive, read in _ARCHIVES:
        if is_archive(root):
            return [read(root)]
    if depth == 0:
        return []
    try:
        with os.scandir(root) as entries:
            below = sorted(
                entry.name
                for entry in entries
                if entry.is_dir() and entry.name not in JUNK and not entry.name.startswith(".")
            )
    except PermissionError:
        return []  # Somebody else's folder beside the archives: not ours to read.
    return [collection for name in below for collection in _walk(root / name, depth - 1)]
