"""A user's own images: one folder per class, ``DIR/<label>/**/<image>``.

The folder names are the labels. A folder tells no patients, but DICOM headers do; every other image
counts as a patient of its own. Who knows the patients writes a manifest
(``path,label,patient,source``) instead.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import label_of, one_spelling
from cxr_transfer.datasets.doubts import label_notices
from cxr_transfer.datasets.image_files import (
    LeftOut,
    Why,
    around,
    holds_images,
    identity,
    image_files,
    is_clutter,
    is_own_folder,
    reason,
    relative_name,
)
from cxr_transfer.datasets.patients import from_headers, patient_notices, unknown_patient
from cxr_transfer.errors import DataError, listing
from cxr_transfer.radiograph.signatures import Kind, kind_of


def is_folder(folder: Path) -> bool:
    """Tell whether ``folder`` has at least two sub-folders that hold images."""
    return folder.is_dir() and sum(map(holds_images, _folders(folder, LeftOut()))) >= 2


def read_folder(root: Path) -> Collection:
    """Read ``root``; files that are no images are counted as ignored, and told.

    Raises:
        DataError: ``parts_not_classes`` when the folders are train, test and the like;
            ``missing_label`` when a folder's name stands for no class.
    """
    left_out = LeftOut(root)
    above = around(root)
    images_of: dict[Path, list[Path]] = {}
    for folder in _folders(root, left_out):
        images = image_files(folder, left_out, entered=above)
        if images:
            images_of[folder] = images
        else:
            left_out.add(Why.NO_IMAGES_IN, folder)
    _check_names([folder.name for folder in images_of], root)
    source = os.path.basename(os.path.abspath(root))  # `root` may be "."
    cases = [
        Case(
            path=path,
            label=label_of(folder.name),
            patient=unknown_patient(path),
            source=source,
            finding=folder.name,
            written=relative_name(path, root),
        )
        for folder, images in images_of.items()
        for path in images
    ]
    described, without_picture, notices = from_headers(cases)
    for path in without_picture:
        left_out.add(Why.NO_PICTURE, path)
    labels, merged = one_spelling([case.label for case in described], "labels")
    read = tuple(
        dataclasses.replace(case, label=label)
        for case, label in zip(described, labels, strict=True)
    )
    return Collection(
        "folder",
        root,
        read,
        ignored=left_out.total,
        notices=(
            *left_out.notices(),
            *merged,
            *label_notices(labels),
            *notices,
            *patient_notices(read),
        ),
    )


def _check_names(names: list[str], root: Path) -> None:
    parts = {name.lower() for name in names}
    if parts and parts <= {"train", "test", "val", "valid", "validation"}:
        raise DataError(
            "parts_not_classes",
            f"Expected a folder per class in {root}, but got the parts {', '.join(sorted(parts))}; "
            "write a manifest (path,label,patient,split) to keep these parts, or name one of them.",
        )
    nameless = []
    for name in names:
        try:
            label_of(name)
        except ValueError:
            nameless.append(ascii(name))
    if nameless:
        raise DataError(
            "missing_label",
            f"Expected folders in {root} that are named after a class, but got {listing(nameless)}"
            "; name the class, or move the folder elsewhere.",
        )


def _folders(root: Path, left_out: LeftOut) -> list[Path]:
    """Return the folders in ``root`` that may hold a class, and count all else beside them."""
    folders, above = [], around(root)
    for path in sorted(root.iterdir()):
        if is_clutter(path.name):
            left_out.add(Why.HIDDEN, path)
        elif not path.is_dir():
            kind = kind_of(path)
            is_image = kind in (Kind.IMAGE, Kind.OTHER_FORMAT)
            left_out.add(Why.NO_CLASS if is_image else reason(kind), path)
        elif identity(path) in above:
            left_out.add(Why.ENTERED_BEFORE, path)
        elif is_own_folder(path):
            left_out.add(Why.OURS, path)
        else:
            folders.append(path)
    return folders
