"""A user's own films: one folder per class, ``DIR/<label>/**/<film>``.

The folder names are the labels; every film counts as its own patient, because a folder tells
none. Who knows the patients writes a manifest (``path,label,patient,source``) instead.
"""

from __future__ import annotations

from pathlib import Path

from cxr_transfer.collections.case import IMAGE_SUFFIXES, JUNK, Case, Collection


def is_folder(folder: Path) -> bool:
    """Tell whether ``folder`` has at least two sub-folders that hold films."""
    return len(_classes(folder)) >= 2


def read_folder(root: Path) -> Collection:
    """Read ``root``; files that are no films are counted as ignored."""
    cases: list[Case] = []
    ignored = 0
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
