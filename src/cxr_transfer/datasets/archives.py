"""A folder in, the archives found at or below it out.

Which archives there are, and how each is recognised, says the table `COLLECTIONS`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cxr_transfer.datasets import folder, unlabelled
from cxr_transfer.datasets.case import Collection
from cxr_transfer.datasets.csv_files import columns_of
from cxr_transfer.datasets.image_files import (
    around,
    holds_images,
    identity,
    is_clutter,
    is_own_folder,
    relative_name,
)
from cxr_transfer.datasets.manifest import REQUIRED
from cxr_transfer.datasets.phantom import NOTICE_FILE
from cxr_transfer.datasets.registry import COLLECTIONS, where_from
from cxr_transfer.errors import DataError

_DEPTH = 4


def read_archives(root: Path, *, unlabelled_too: bool = False) -> tuple[Collection, ...]:
    """Read every archive at or below ``root`` (four levels), else its one folder per class.

    Links to folders are followed, and a folder is read once, whatever links lead to it.

    Args:
        root: Folder to look at and below.
        unlabelled_too: Whether images are read, too, that lie in no folder of a class.

    Raises:
        DataError: ``no_folder`` when there is no such folder, ``empty`` when it holds no images,
            and what reading a folder per class raises.
    """
    if not root.is_dir():
        is_special = root.exists() and not root.is_file()
        what = "a pipe, socket or device; save what it gives as a file" if is_special else "none"
        raise DataError(
            "no_folder", f"Expected a folder with images at {root}, but there is {what}."
        )
    # What a link that leads up would bring in is not what was given.
    above = dict.fromkeys(around(root) - {identity(root)}, _DEPTH)
    collections = [collection for collection in _walk(root, _DEPTH, above) if collection.cases]
    if (
        not collections
        and folder.is_folder(root)
        and not (unlabelled_too and unlabelled.is_export(root))
    ):
        collections = [folder.read_folder(root)]
    if not collections and unlabelled_too and holds_images(root):
        collections = [unlabelled.read_unlabelled(root)]
    if not collections:
        raise DataError(
            "empty",
            f"Expected images at {root} (an archive as published, or one folder per class, two at "
            f"least), but found none{_instead(root)}. Where the archives are from: {where_from()}.",
        )
    return tuple(
        dataclasses.replace(
            collection,
            generated=_is_generated(collection.root),
            cases=tuple(
                dataclasses.replace(case, written=relative_name(case.path, root))
                for case in collection.cases
            ),
        )
        for collection in collections
    )


def _instead(root: Path) -> str:
    """Say what is there instead of archives or classes: a table, or images without classes."""
    for table in sorted(root.glob("*.csv")):
        columns = [name.lower() for name in columns_of(table)]
        if set(REQUIRED) <= set(columns):
            return f" (but a manifest: give {table} itself)"
        if columns:
            return (
                f" ({table.name} is of no archive that is known: to use it as a manifest, name its "
                f"columns {','.join(REQUIRED)}[,patient,...])"
            )
    if holds_images(root):
        return (
            " (but images that do not lie in two folders, each named after a class: 'cxr data "
            "prepare' writes a manifest of them, to put the classes in)"
        )
    return ""


def _is_generated(root: Path) -> bool:
    return any((folder / NOTICE_FILE).is_file() for folder in (root, *root.parents[:_DEPTH]))


def _walk(root: Path, depth: int, entered: dict[tuple[int, int], int]) -> list[Collection]:
    """Read the archives at or below ``root``.

    Args:
        root: Folder to look in.
        depth: Levels below it that are looked at.
        entered: Depth with which each folder was looked at before; the greatest for archives.
    """
    folder_id = identity(root)
    if folder_id is None or entered.get(folder_id, -1) >= depth:
        return []
    entered[folder_id] = depth
    for row in COLLECTIONS.values():
        if row.is_here(root):
            entered[folder_id] = _DEPTH
            return [row.read(root)]
    if depth == 0:
        return []
    try:
        below = sorted(
            path for path in root.iterdir() if not is_clutter(path.name) and path.is_dir()
        )
    except PermissionError:
        return []  # Somebody else's folder beside the archives: not ours to read.
    return [
        collection
        for path in below
        if not is_own_folder(path)
        for collection in _walk(path, depth - 1, entered)
    ]
