"""A user's own films: one folder per class, ``DIR/<label>/**/<film>``.

The folder names are the labels; every film counts as its own patient, because a folder tells
none. Who knows the patients writes a manifest (``path,label,patient,source``) instead.
"""

from __future__ import annotations

from pathlib import Path

from cxr_transfer.collections.case import IMAGE_SUFFIXES, JUNK, Case, Collection
from cxr_transfer.errors import DataError


def is_folder(folder: Path) -> bool:
    """Tell whether ``folder`` has at least two sub-folders that hold films."""
    return len(_classes(folder)) >= 2


def read_folder(root: Path) -> Collection:
    """Read ``root``; files that are no films are counted as ignored.

    Raises:
        DataError: ``parts_not_classes`` when the folders are train, test and the like.
    """
    cases: list[Case] = []
    ignored = 0
    names = {folder.name.lower() for folder in _classes(root)}
    if names <= {"train", "test", "val", "valid", "validation"}:
        raise DataError(
            "parts_not_classes",
            f"Expected a folder per class in {root}, but got the parts {', '.join(sorted(names))}; "
            "write a manifest (path,label,patient,split) to keep these parts, or name one of them.",
        )
    for folder in _classes(root):
        for path in sorted(folder.rglob("*")):
            if path.is_dir() or JUNK & set(path.parts):
                ignored += path.name in JUNK
            elif path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
                cases.append(
                    Case(
                        path=path,
                        label=folder.name,
                        patient=f"{root.name}:{path.relative_to(root).as_posix()}",
                        source=root.name,
                        finding=folder.name,
                    )
                )
            else:
                ignored += 1
    return Collection("folder", root, tuple(cases), (), ignored)


def _classes(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [
        folder
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        and folder.name not in JUNK
        and not folder.name.startswith(".")
        and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.rglob("*"))
    ]
