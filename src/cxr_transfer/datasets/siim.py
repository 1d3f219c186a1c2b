"""SIIM-FISABIO-RSNA COVID-19 Detection Challenge: Lakhani et al., doi 10.1007/s10278-022-00706-8.

``train_study_level.csv`` (a row per study, four columns of 0 and 1), ``train_image_level.csv`` (a
row per image, with its study) and ``train/<study>/<series>/<image>.dcm``: 6,334 images of 6,054
studies, of Valencia (BIMCV: de la Iglesia Vaya et al. 2020, arXiv:2006.01174). Academic and
non-commercial use. ``test/`` has no published labels and is not read.

The label is the reading of the study, in the words of its column. The patient is the one that the
DICOM headers name: studies of one Patient ID are one patient, named after the first study; where
headers name nobody, a study is one. ``adult`` holds some of these studies, under the same names of
patients. Age, sex and view are those of the headers. No image is at hand here: the reader is
tested on miniature trees made from the published names of columns and files, with generated images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from scipy.cluster.hierarchy import DisjointSet

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.csv_files import has_columns
from cxr_transfer.datasets.patients import described_by_headers
from cxr_transfer.datasets.published import ABSENT, Reading, files_by_name, published_rows

CLASSES = (
    "Negative for Pneumonia",
    "Typical Appearance",
    "Indeterminate Appearance",
    "Atypical Appearance",
)

_STUDIES, _IMAGES = "train_study_level.csv", "train_image_level.csv"
_OF_STUDIES, _OF_IMAGES = {"id", *CLASSES}, {"id", "StudyInstanceUID"}
_LICENCE = "academic and non-commercial use"


def is_siim(folder: Path) -> bool:
    """Tell whether ``folder`` has both tables of the challenge, by their columns."""
    tables = {_STUDIES: _OF_STUDIES, _IMAGES: _OF_IMAGES}
    return all(has_columns(folder / name, needed) for name, needed in tables.items())


def read_siim(root: Path) -> Collection:
    """Read every image of ``train/`` with the reading of its study.

    Raises:
        DataError: ``collection`` when a table lacks a needed column.
    """
    readings = {
        row["id"].removesuffix("_study"): [name for name in CLASSES if row[name] in ("1", "1.0")]
        for row in published_rows(root / _STUDIES, _OF_STUDIES)
    }
    train = root / "train"
    images = files_by_name([train] if train.is_dir() else [], depth=3)
    reading = Reading("siim", root)
    study_of: dict[str, str] = {}
    for row in published_rows(root / _IMAGES, _OF_IMAGES):
        name, study = row["id"].removesuffix("_image"), row["StudyInstanceUID"]
        labels = readings.get(study, [])
        if f"{name}.dcm" not in images:
            reading.skip(name, ABSENT)
        elif len(labels) != 1:
            reading.skip(name, f"its study has {len(labels)} readings instead of one")
        else:
            study_of[name] = study
            reading.cases[name] = Case(
                path=images[f"{name}.dcm"],
                label=labels[0],
                patient=f"valencia:{study}",
                source="valencia",
                licence=_LICENCE,
                finding=labels[0],
            )
    cases, patients = described_by_headers(reading.cases.values())
    first = _first_studies(list(study_of.values()), patients)
    reading.cases = {
        name: dataclasses.replace(case, patient=f"valencia:{study}")
        for name, case, study in zip(reading.cases, cases, first, strict=True)
    }
    return reading.collection(ignored=len(images) - len(reading.cases))


def _first_studies(studies: Sequence[str], patients: Sequence[str]) -> list[str]:
    """Return for each image the first study, in the alphabet, of the patient that it shows.

    Args:
        studies: Study of each image.
        patients: Patient of each image by its header; "" where it names none.
    """
    together = DisjointSet(range(len(studies)))
    seen: dict[tuple[str, str], int] = {}
    for place, (study, patient) in enumerate(zip(studies, patients, strict=True)):
        for key in [("study", study), *([("patient", patient)] if patient else [])]:
            together.merge(seen.setdefault(key, place), place)
    first: dict[int, str] = {}
    for place, study in enumerate(studies):
        root = together[place]
        first[root] = min(first.get(root, study), study)
    return [first[together[place]] for place in range(len(studies))]
