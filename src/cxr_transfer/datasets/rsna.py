"""RSNA Pneumonia Detection Challenge 2018: Shih et al. 2019, doi 10.1148/ryai.2019180041.

``stage_2_train_labels.csv`` (a row per box), ``stage_2_detailed_class_info.csv`` and
``stage_2_train_images/<patientId>.dcm``: 26,684 images. Their classes are ``Normal``,
``Lung Opacity`` (what radiologists took for a pneumonia) and ``No Lung Opacity / Not Normal``. May
be used for research, education and other purposes with attribution. The images of
``stage_2_test_images/`` have no published labels here and are counted as other files.

Traps: the images are NIH ChestX-ray14's under other names, and every image counts as a patient of
its own, since the table names none. Age, sex and view are those of the DICOM headers. No image is
at hand here: the reader is tested on miniature trees made from the published names of columns and
files, with generated images.
"""

from __future__ import annotations

import os
from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.csv_files import has_columns
from cxr_transfer.datasets.patients import described_by_headers
from cxr_transfer.datasets.published import ABSENT, Reading, published_rows

LUNG_OPACITY = "Lung Opacity"
CLASSES = ("Normal", LUNG_OPACITY, "No Lung Opacity / Not Normal")

_BOXES, _CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
_IMAGES = "stage_2_train_images"
_OF_BOXES, _OF_CLASSES = {"patientId", "Target"}, {"patientId", "class"}
_LICENCE = "any use with attribution (RSNA's terms)"
_OVERLAP = (
    "these images are NIH ChestX-ray14's under other names: a model that trained on one of the two "
    "collections must not be tested on the other"
)


def is_rsna(folder: Path) -> bool:
    """Tell whether ``folder`` has both tables of the challenge, by their columns."""
    tables = {_BOXES: _OF_BOXES, _CLASSES: _OF_CLASSES}
    return all(has_columns(folder / name, needed) for name, needed in tables.items())


def read_rsna(root: Path) -> Collection:
    """Read every image of the training stage that is there, with the class of its table.

    Raises:
        DataError: ``collection`` when a table lacks a needed column.
    """
    reading = Reading("rsna", root)
    with_boxes = {
        row["patientId"] for row in published_rows(root / _BOXES, _OF_BOXES) if row["Target"] == "1"
    }
    for row in published_rows(root / _CLASSES, _OF_CLASSES):
        name = row["patientId"]
        path = root / _IMAGES / f"{Path(name).name}.dcm"
        if name in reading.cases:
            continue  # A row for each box.
        if not path.is_file():
            reading.skip(name, ABSENT)
        elif (row["class"] == LUNG_OPACITY) != (name in with_boxes):
            reading.skip(name, "its two tables contradict each other")
        else:
            reading.cases[name] = Case(
                path=path,
                label=row["class"],
                patient=f"rsna:{name}",
                source="rsna",
                licence=_LICENCE,
                finding=row["class"],
            )
    cases, _ = described_by_headers(reading.cases.values())
    reading.cases = dict(zip(reading.cases, cases, strict=True))
    reading.notices.append(_OVERLAP)
    folder = root / _IMAGES
    files = len(os.listdir(folder)) if folder.is_dir() else 0
    return reading.collection(ignored=files - len(reading.cases))
