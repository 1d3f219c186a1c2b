"""What a person wrote is taken as it stands, and may have been meant otherwise: said, not changed.

Comes in: labels, patients and views after reading. Goes out: a line for each kind of doubt, for
the notices that training and `cxr data check` tell.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from cxr_transfer.datasets.case import FRONTAL_VIEWS
from cxr_transfer.datasets.cells import spelling_key
from cxr_transfer.errors import listing
from cxr_transfer.labels import JOINED, MISSING

_NO_CLASS = frozenset({"missing", "unknown", "unk", "empty", "undefined", "not available", "tbd"})
_VIEWS = (*FRONTAL_VIEWS, "L", "")


def label_notices(labels: Sequence[str]) -> tuple[str, ...]:
    """Say which labels may be no classes, or one class twice.

    >>> label_notices(["Other Pneumonia", "other_pneumonia", "normal"])[0].partition(": ")[2]
    "'Other Pneumonia' (1) and 'other_pneumonia' (1); spell them alike where they are one"
    """
    counts = Counter(labels)
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        # What joins findings, and what says that one is uncertain, is more than spelling.
        key = (x for x in spelling_key(label) if x.isalnum() or x in (JOINED, MISSING))
        alike["".join(key)].append(label)
    near = [" and ".join(_counted(counts, group)) for group in alike.values() if len(group) > 1]
    doubts = (
        (
            "labels that differ in spaces and signs alone are classes of their own",
            near,
            "spell them alike where they are one",
        ),
        (
            "labels that are numbers",
            _counted(counts, filter(_is_number, sorted(counts))),
            "name the classes, so that nobody has to guess what a code means",
        ),
        (
            "labels that may stand for no class",
            _counted(
                counts, (label for label in sorted(counts) if spelling_key(label) in _NO_CLASS)
            ),
            "leave these images out where they do (--label LABEL=)",
        ),
        (
            "labels with Latin and Cyrillic letters, which look alike",
            _counted(counts, filter(_is_mixed, sorted(counts))),
            "write them in one alphabet",
        ),
    )
    return tuple(f"{what}: {listing(names)}; {remedy}" for what, names, remedy in doubts if names)


def number_notices(patients: Iterable[str]) -> tuple[str, ...]:
    """Say of how many patients the numbers differ in leading zeros alone; not of which.

    >>> number_notices(["1", "001", "2"])[0].partition(" (")[0]
    'patients whose numbers differ in leading zeros alone are kept apart: 2'
    """
    alike: dict[str, set[str]] = defaultdict(set)
    for patient in patients:
        if patient.isdecimal():
            alike[patient.lstrip("0")].add(patient)
    number = sum(len(group) for group in alike.values() if len(group) > 1)
    if not number:
        return ()
    return (
        f"patients whose numbers differ in leading zeros alone are kept apart: {number} (a "
        "spreadsheet takes zeros away); write them alike where they are one, or the split may leak",
    )


def view_notices(views: Iterable[str]) -> tuple[str, ...]:
    """Say which views are none that is known.

    >>> view_notices(["PA", "banana", ""])
    ("views that are not known: 'banana' (1); known are PA, AP, AP Supine, L",)
    """
    counts = Counter(view for view in views if view not in _VIEWS)
    known_views = ", ".join(filter(None, _VIEWS))
    unknown_views = listing(_counted(counts, sorted(counts)))
    return (
        (f"views that are not known: {unknown_views}; known are {known_views}",) if counts else ()
    )


def _counted(counts: Counter[str], names: Iterable[str]) -> list[str]:
    """Return names with their numbers; letters that look like others are written out."""
    return [f"{ascii(name) if _is_mixed(name) else repr(name)} ({counts[name]})" for name in names]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_mixed(text: str) -> bool:
    letters = {unicodedata.name(sign, "").partition(" ")[0] for sign in text if sign.isalpha()}
    return {"LATIN", "CYRILLIC"} <= letters
