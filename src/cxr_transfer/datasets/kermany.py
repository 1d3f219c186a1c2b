"""Chest X-Ray Images (Pneumonia): Kermany et al. 2018, Mendeley Data, doi 10.17632/rscbjbr9sj.

Licence CC BY 4.0. Children of one to five years, Guangzhou. Official layout
``{train,test,val}/{NORMAL,PNEUMONIA}/``; the file name tells bacteria from virus. Any resolution.
The 16 images of ``val/`` are known by name. So Dataset_0 can leave them out also where a copy of
the archive has no ``val/`` and holds them in ``train/``.
"""

from __future__ import annotations

import re
from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.image_files import LeftOut, image_files, is_clutter

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
_NORMAL = re.compile(r"(NORMAL2-)?IM-\d+-\d+", re.IGNORECASE)
_PARTS = ("train", "test", "val")
_CLASSES = {"NORMAL": _NORMAL, "PNEUMONIA": _PNEUMONIA}


def is_kermany(folder: Path) -> bool:
    """Tell whether ``folder`` holds the official layout: its classes, and names as it gives them.

    Other collections have a ``train/NORMAL``, too: those with a third class, or with images of
    other names, are not this one.
    """
    train = folder / "train"
    try:
        classes = {path.name for path in train.iterdir() if _is_class(path)}
        if not classes or not classes <= _CLASSES.keys():
            return False
        return any(_is_named(train / name, _CLASSES[name]) for name in classes)
    except OSError:
        return False


def _is_class(path: Path) -> bool:
    return path.is_dir() and not is_clutter(path.name)


def _is_named(folder: Path, pattern: re.Pattern[str]) -> bool:
    """Tell whether most files in a folder have such names."""
    names = [path.name for path in folder.iterdir() if not is_clutter(path.name)]
    return 2 * sum(bool(pattern.match(name)) for name in names) > len(names)


def read_kermany(root: Path) -> Collection:
    """Read the archive at ``root``; a file whose name tells no cause is listed as missing."""
    cases: list[Case] = []
    missing: list[str] = []
    left_out = LeftOut(root)
    for part in _PARTS:
        for kind in _CLASSES:
            folder = root / part / kind
            if not folder.is_dir():
                continue
            for path in image_files(folder, left_out, recursive=False):
                case = _case(path, kind, part)
                if case is None:
                    name = path.relative_to(root).as_posix()
                    missing.append(f"{name}: the name tells neither bacteria nor virus")
                else:
                    cases.append(case)
    return Collection(
        "kermany",
        root,
        tuple(cases),
        tuple(missing),
        left_out.total,
        notices=left_out.notices(),
    )


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
