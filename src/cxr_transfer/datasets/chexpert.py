"""CheXpert: Irvin et al. 2019, arXiv:1901.07031; stanfordmlgroup.github.io/competitions/chexpert.

``train.csv`` and ``valid.csv`` beside ``train/`` and ``valid/``, as they lie in ``CheXpert-v1.0``
and in ``CheXpert-v1.0-small``: 224,316 images of 65,240 patients, frontal and lateral. Stanford's
Research Use Agreement: research, not commercial. ``valid.csv`` was read by radiologists, and is
the validation part; ``train.csv`` was labelled by a program from reports.

A finding is 1 (positive), 0 (negative), -1 (uncertain) or empty (not mentioned). The label of an
image is its positive finding; an uncertain one is written with "?" (``Pneumonia?``); several are
joined in their alphabet (``Edema|Pneumonia?``). ``Support Devices`` are no finding: whether there
are any stands in the extra column ``support_devices``, to form groups by, since a network may take
a tube for a disease. An image with nothing positive or uncertain has the label ``No Finding``
where the table says so, else ``none stated``. Findings that are not mentioned stand in the extra
column ``not_stated``, joined: for several findings at once their labels are missing.

No image is at hand here: the reader is tested on miniature trees made from the published names of
columns and files, with generated images. The layout in numbered batches, in which Stanford gives
the full images today, was not to be had and is not read.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import sex_or_unknown, view_of
from cxr_transfer.datasets.csv_files import has_columns
from cxr_transfer.datasets.published import ABSENT, Reading, one_label, published_rows
from cxr_transfer.datasets.several_findings import NOT_STATED
from cxr_transfer.labels import JOINED, NO_FINDING, NONE_STATED

FINDINGS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture"),
)
"""Findings that make a label, as the tables spell them."""

_DEVICES = "Support Devices"
_TABLES = {"train.csv": "train", "valid.csv": "validation"}
_NEEDED = {"Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", NO_FINDING, _DEVICES, *FINDINGS}
_PATIENT = re.compile(r"patient\d+")
_LICENCE = "Stanford Research Use Agreement: not commercial"
_POSITIVE, _UNCERTAIN = ("1", "1.0"), ("-1", "-1.0")


def is_chexpert(folder: Path) -> bool:
    """Tell whether ``folder`` has a table of the collection, by its columns."""
    return any(has_columns(folder / name, _NEEDED) for name in _TABLES)


def read_chexpert(root: Path) -> Collection:
    """Read every row of both tables whose image is there.

    Raises:
        DataError: ``collection`` when a table lacks a needed column.
    """
    reading = Reading("chexpert", root)
    for name, part in _TABLES.items():
        if not (root / name).is_file():
            continue
        for row in published_rows(root / name, _NEEDED):
            written = row["Path"]
            path, patient = _image(root, written), _PATIENT.search(written)
            if path is None:
                reading.skip(written, ABSENT)
            elif patient is None:
                reading.skip(written, "its path names no patient")
            else:
                case = _case(path, row, f"chexpert:{patient[0]}", part, reading)
                reading.cases.setdefault(written, case)
    return reading.collection()


def _image(root: Path, written: str) -> Path | None:
    """Return where an image lies: tables name the folder of the collection first, or not."""
    parts = PurePosixPath(written).parts
    if ".." in parts or written.startswith("/"):
        return None
    below = (root.joinpath(*parts[1:]), root / written, root.parent / written)
    return next((path for path in below if path.is_file()), None)


def _case(path: Path, row: dict[str, str], patient: str, part: str, reading: Reading) -> Case:
    positive = [name for name in FINDINGS if row[name] in _POSITIVE]
    uncertain = [f"{name}?" for name in FINDINGS if row[name] in _UNCERTAIN]
    otherwise = NO_FINDING if row[NO_FINDING] in _POSITIVE else NONE_STATED
    label = one_label([*positive, *uncertain], otherwise)
    devices = row[_DEVICES]
    # "No Finding" says of every finding that it is not there.
    blank = [] if otherwise == NO_FINDING else [name for name in FINDINGS if not row[name]]
    extra = [("support_devices", _stated(devices))]
    extra += [(NOT_STATED, JOINED.join(blank))] if blank else []
    return Case(
        path=path,
        label=label,
        patient=patient,
        source="chexpert",
        view="L" if row["Frontal/Lateral"] == "Lateral" else view_of(row["AP/PA"]),
        age=reading.age(row["Age"]),
        sex=sex_or_unknown(row["Sex"]),
        licence=_LICENCE,
        finding=label,
        split=part,
        extra=tuple(extra),
    )


def _stated(cell: str) -> str:
    """Return a finding in a word; "" where it is not mentioned."""
    return (
        "yes" if cell in _POSITIVE else "uncertain" if cell in _UNCERTAIN else "no" if cell else ""
    )
