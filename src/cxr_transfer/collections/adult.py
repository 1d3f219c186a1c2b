"""Adult films of three places: ``labels.csv`` (``filename,label,source``) beside the folders.

``rsna``: without findings (RSNA Pneumonia Challenge); ``bimcv``: COVID-19 (BIMCV-COVID19+ and
others); both as the COVID-19 Radiography Database has them. ``nih``: labelled pneumonia, cause
unknown (NIH ChestX-ray14), named ``<patient>_<visit>.png``. The first two name no patient: every
film counts as one of its own, which makes their intervals too narrow rather than too wide.
"""

from __future__ import annotations

import csv
from pathlib import Path

from cxr_transfer.collections.case import Case, Collection

_COLUMNS = ["filename", "label", "source"]


def is_adult(folder: Path) -> bool:
    """Tell whether ``folder`` has a ``labels.csv`` with exactly these columns."""
    table = folder / "labels.csv"
    if not table.is_file():
        return False
    # Somebody else's labels.csv may be anything.
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
        return next(csv.reader(handle), []) == _COLUMNS


def read_adult(root: Path) -> Collection:
    """Read the films that ``labels.csv`` names; absent ones are told."""
    cases: list[Case] = []
    missing: list[str] = []
    with (root / "labels.csv").open(
        newline="", encoding="utf-8-sig", errors="surrogateescape"
    ) as handle:
        for row in csv.DictReader(handle):
            path = root / row["filename"]
            if not path.is_file():
                missing.append(f"{row['filename']}: the file is absent")
                continue
            name = path.stem.partition("_")[0] if row["source"] == "nih" else path.stem
            cases.append(
                Case(
                    path=path,
                    label=row["label"],
                    patient=f"{row['source']}:{name}",
                    source=row["source"],
                    finding=row["label"],
                )
            )
    return Collection("adult", root, tuple(cases), tuple(missing))
