"""NIH ChestX-ray14: Wang et al. 2017, doi 10.1109/CVPR.2017.369.

From nihcc.app.box.com/v/ChestXray-NIHCC:
``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``), the images in ``images/`` or in
``images_001/images/`` .. ``images_012/images/``, ``train_val_list.txt`` and ``test_list.txt``.
112,120 frontal images of 30,805 adults and children. Free to use; name the NIH Clinical Center as
the provider, link the download page and cite the paper.

Traps: findings are mined from reports by a program, and many are wrong (Oakden-Rayner 2020,
doi 10.1016/j.acra.2019.10.006). Follow-up images of one patient are many. Some ages are none
(411 years). The images of the RSNA challenge are among them, under other names.

An image with one finding has it for a label, with several all of them, joined in their alphabet
(``Cardiomegaly|Effusion``); ``No Finding`` is a label, too. A patient has the name that the same
patient has in ``adult``. No image is at hand here: the reader is tested on miniature trees made
from the published names of columns and files, with generated images.
"""

from __future__ import annotations

from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import sex_or_unknown, view_of
from cxr_transfer.datasets.csv_files import has_columns
from cxr_transfer.datasets.published import (
    ABSENT,
    Reading,
    files_by_name,
    one_label,
    published_rows,
)
from cxr_transfer.labels import JOINED, NO_FINDING

FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis"),
    *("Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia"),
    "Pneumothorax",
)
"""The fourteen findings, as the table spells them."""

_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_NEEDED = {"Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"}
_SEX = ("Patient Gender", "Patient Sex")  # the older table, the newer one
_PARTS = {"train_val_list": "train", "test_list": "test"}
_LICENCE = "free to use; name the NIH Clinical Center"


def is_nih(folder: Path) -> bool:
    """Tell whether ``folder`` has the collection's table, by its name and columns."""
    return _table(folder) is not None


def _table(folder: Path) -> Path | None:
    tables = (folder / name for name in _TABLES)
    return next((table for table in tables if has_columns(table, _NEEDED)), None)


def read_nih(root: Path) -> Collection:
    """Read every row whose image is there; the official parts are kept where their lists are.

    Raises:
        DataError: ``collection`` when the table lacks a needed column.
    """
    table = _table(root) or root / _TABLES[0]
    reading = Reading("nih", root)
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    images = files_by_name(path for path in folders if path.name.lower().startswith("images"))
    parts = _parts(root)
    for row in published_rows(table, _NEEDED):
        name = row["Image Index"]
        if name not in images:
            reading.skip(name, ABSENT)
        elif name in reading.cases:
            reading.skip(name, "stands in several rows, read once")
        else:
            findings = [part for part in row["Finding Labels"].split(JOINED) if part != NO_FINDING]
            reading.cases[name] = Case(
                path=images[name],
                label=one_label(filter(None, findings), NO_FINDING),
                patient=f"nih:{row['Patient ID'].zfill(8)}",
                source="nih",
                view=view_of(row["View Position"]),
                age=reading.age(row["Patient Age"]),
                sex=sex_or_unknown(next((row[column] for column in _SEX if column in row), "")),
                licence=_LICENCE,
                finding=row["Finding Labels"],
                split=parts.get(name, ""),
            )
    return reading.collection(ignored=len(images.keys() - reading.cases.keys()))


def _parts(root: Path) -> dict[str, str]:
    """Return the official part of every image, where both lists are there."""
    parts: dict[str, str] = {}
    for start, part in _PARTS.items():
        lists = sorted(root.glob(f"{start}*.txt"))
        if not lists:
            return {}  # Half of the split is none.
        text = lists[0].read_text(encoding="utf-8-sig", errors="replace")
        parts |= dict.fromkeys(text.split(), part)
    return parts
