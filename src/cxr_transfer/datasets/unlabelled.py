"""Images of which no class is known yet: DICOM files as a PACS exports them, or any other folder.

``DIR/**/<image>``, at any depth, whatever the folders are called. DICOM headers tell patient (as
a salted hash), view, age and sex. The label is empty: nobody can train on it, and the manifest that
`cxr data prepare` makes of it has an empty column to fill in.
"""

from __future__ import annotations

import os
from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.image_files import LeftOut, Why, image_files, relative_name
from cxr_transfer.datasets.patients import from_headers, patient_notices, unknown_patient

NO_LABEL = ""
"""Label of an image of which no class is known."""


def is_export(folder: Path) -> bool:
    """Tell whether ``folder`` is an export of DICOM files: its folders are patients, no classes."""
    return (folder / "DICOMDIR").is_file()


def read_unlabelled(root: Path) -> Collection:
    """Read every image at or below ``root``; files that are no images are counted, and told.

    Raises:
        MachineError: ``bad_salt``.
    """
    left_out = LeftOut(root)
    source = os.path.basename(os.path.abspath(root))  # `root` may be "."
    cases = [
        Case(
            path=path,
            label=NO_LABEL,
            patient=unknown_patient(path),
            source=source,
            written=relative_name(path, root),
        )
        for path in image_files(root, left_out)
    ]
    described, without_picture, notices = from_headers(cases)
    for path in without_picture:
        left_out.add(Why.NO_PICTURE, path)
    return Collection(
        "unlabelled",
        root,
        described,
        ignored=left_out.total,
        notices=(
            *left_out.notices(),
            f"no class is known of {len(described)} images: fill in the column label of the "
            "manifest that 'cxr data prepare' writes",
            *notices,
            *patient_notices(described),
        ),
    )
