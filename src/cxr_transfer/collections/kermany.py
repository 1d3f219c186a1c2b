"""Chest X-Ray Images (Pneumonia): Kermany et al. 2018, Mendeley Data, doi 10.17632/rscbjbr9sj.

Licence CC BY 4.0. Children of one to five years, Guangzhou. Official layout
``{train,test,val}/{NORMAL,PNEUMONIA}/``; the file name tells bacteria from virus. Any resolution.
The 16 films of ``val/`` are known by name, so that Dataset_0 can leave them out also where a copy
of the archive has no ``val/`` and holds them in ``train/``.
"""

from __future__ import annotations

import re
from pathlib import Path

from cxr_transfer.collections.case import IMAGE_SUFFIXES, Case, Collection

_PNEUMONIA = re.compile(r"(?P<patient>person\d+)_(?P<cause>bacteria|virus)_\d+", re.IGNORECASE)
_LABELS = {"bacteria": "bacterial", "virus": "viral"}
_VAL_NORMAL = ("1427", "1430", "1431", "1436", "1437", "1438", "1440", "1442")
_VAL_BACTERIAL = (
    "1946_bacteria_4874",
    "1946_bacteria_4875",
    "1947_bacteria_4876",
    "1949_bacteria_4880",
    "1950_bacteria_4881",
    "1951_bacteria_4882",
    "1952_bacteria_4883",
    "1954_bacteria_4886",
)
_VAL = {f"NORMAL2-IM-{name}-0001" for name in _VAL_NORMAL} | {f"person{n}" for n in _VAL_BACTERIAL}
_PARTS = ("train", "test", "val")


def is_kermany(folder: Path) -> bool:
    """Tell whether ``folder`` holds the official layout (at least ``train/`` with a class)."""
    return any((folder / "train" / name).is_dir() for name in ("NORMAL", "PNEUMONIA"))


def read_kermany(root: Path) -> Collection:
    """Read the archive at ``root``; a file whose name tells no cause is listed as missing."""
    cases: list[Case] = []
    missing: list[str] = []
    ignored = 0
    for part in _PARTS:
        for kind in ("NORMAL", "PNEUMONIA"):
            folder = root / part / kind
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                    ignored += 1
                    continue
                case = _case(path, kind, part)
                if case is None:
                    missing.append(f"{path.name}: the name tells neither bacteria nor virus")
                else:
                    cases.append(case)
    return Collection("kermany", root, tuple(cases), tuple(missing), ignored)


def _case(path: Path, kind: str, part: str) -> Case | None:
    if kind == "NORMAL":
        patient, label = path.stem.rpartition("-")[0] or path.stem, "normal"
    else:
        match = _PNEUMONIA.match(path.stem)
        if match is None:
            return None
        patient, label = match["patient"].lower(), _LABELS[match["cause"].lower()]
    # Numbers run through train and test: the same number is taken for the same child, whatever
    # the part or the cause, because a wrong union costs nothing and a missed one is a leak.
    return Case(
        path=path,
        label=label,
        patient=f"kermany:{patient}",
        source="kermany",
        licence="CC BY 4.0",
        finding=label,
        split="val" if path.stem in _VAL else part,
    )
