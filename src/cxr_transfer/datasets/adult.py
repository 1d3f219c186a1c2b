"""Adult images of three places: ``labels.csv`` (``filename,label,source``) beside the folders.

``rsna``: without findings (RSNA Pneumonia Challenge, as the COVID-19 Radiography Database has it);
it names no patient, so every image counts as one of its own, which makes intervals too narrow
rather than too wide. ``nih``: normal, and labelled pneumonia of unknown cause (NIH ChestX-ray14),
named ``<patient>_<visit>.png``. ``valencia``: typical of COVID-19, negative for pneumonia, and
``atypical``, as radiologists read them (SIIM-FISABIO-RSNA 2021; academic and non-commercial use),
named ``<study>_<image>.jpg``: a study is the nearest known thing to a patient.
"""

from __future__ import annotations

import csv
from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.csv_files import columns_of
from cxr_transfer.datasets.published import published_rows

_COLUMNS = ["filename", "label", "source"]
_SOURCES = frozenset({"rsna", "nih", "valencia"})
_NAMED_BY_PATIENT = ("nih", "valencia")  # what stands before "_"; of valencia the study
_LICENCES = {
    "rsna": "any use with attribution (RSNA)",
    "nih": "any use with attribution (NIH)",
    "valencia": "academic and non-commercial use (SIIM-FISABIO-RSNA)",
}
"""Licence of the images by source: weights that are trained on them carry it in their card."""


def is_adult(folder: Path) -> bool:
    """Tell whether ``folder`` has a ``labels.csv`` of exactly these columns and known sources.

    Somebody else's ``labels.csv`` may have the columns, and other sources.
    """
    table = folder / "labels.csv"
    if columns_of(table) != _COLUMNS:
        return False
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
        sources = {row["source"] for row in csv.DictReader(handle)}
    return bool(sources & _SOURCES) and sources <= _SOURCES


def read_adult(root: Path) -> Collection:
    """Read the images that ``labels.csv`` names; absent ones are told."""
    cases: list[Case] = []
    missing: list[str] = []
    for row in published_rows(root / "labels.csv", _COLUMNS):
        path = root / row["filename"]
        if not path.is_file():
            missing.append(f"{row['filename']}: the file is absent")
            continue
        is_named = row["source"] in _NAMED_BY_PATIENT
        name = path.stem.partition("_")[0] if is_named else path.stem
        cases.append(
            Case(
                path=path,
                label=row["label"],
                patient=f"{row['source']}:{name}",
                source=row["source"],
                finding=row["label"],
                licence=_LICENCES[row["source"]],
            )
        )
    return Collection("adult", root, tuple(cases), tuple(missing))
