"""How many images and patients were found, left out and why, and in which part the others are.

The numbers of a participant flow diagram, as STARD 2015 (item 19) and TRIPOD+AI ask for one. In
come data sets and their cases; out goes a table for JSON. Draws nothing and opens no image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import Damaged
from cxr_transfer.datasets.manifest import PARTS
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.text import for_terminal

Flow = dict[str, Any]

UNREADABLE = "file cannot be read"
OF_ANOTHER = "image or patient of the data set that is trained on later"


def dataset_flow(
    dataset: Dataset, read_cases: Sequence[Case], folds: Sequence[Dataset] = ()
) -> Flow:
    """Return the flow of a data set into its parts.

    Args:
        dataset: Cases that are used; with their parts, unless there are folds.
        read_cases: Cases as they were read, also those whose files cannot be decoded.
        folds: Data sets of a cross-validation, each with its parts.

    Returns:
        ``found`` and ``analysed``, each with ``images`` and ``patients``, the latter with
        ``classes``, images by label; ``left_out``, a list of ``why``, ``images``, ``patients``;
        ``parts``, for each fold (or the only split) a list of ``name``, ``images``, ``patients``,
        ``classes``.
    """
    by_label: dict[str, list[Case]] = {}
    for case in dataset.excluded:
        by_label.setdefault(case.label, []).append(case)
    reasons = {
        f"label {for_terminal(label)} is none of the classes": cases
        for label, cases in by_label.items()
    }
    reasons[UNREADABLE] = damaged_cases(read_cases, dataset.damaged)
    used = {case.path for case in (*dataset.cases, *reasons[UNREADABLE])}
    reasons[OF_ANOTHER] = [case for case in read_cases if case.path not in used]
    return flow(
        (*dataset.excluded, *read_cases),
        reasons,
        dataset.cases,
        [parts_of(fold) for fold in folds or (dataset,)],
    )


def flow(
    images: Iterable[Case],
    left_out: Mapping[str, Sequence[Case]],
    analysed: Sequence[Case],
    parts: Sequence[Sequence[Mapping[str, Any]]] = (),
) -> Flow:
    """Return a flow, as `dataset_flow` does, of any images.

    Args:
        images: Images that were found.
        left_out: Reason to the images that were left out for it; a reason without an image is not
            listed.
        analysed: Images that are left.
        parts: Parts of each fold, as `parts_of` makes them; none where there are no parts.
    """
    return {
        "found": counted(images, classes=False),
        "left_out": [
            {"why": why} | counted(cases, classes=False) for why, cases in left_out.items() if cases
        ],
        "analysed": counted(analysed),
        "parts": [list(fold_parts) for fold_parts in parts],
    }


def damaged_cases(cases: Sequence[Case], damaged: Sequence[Damaged]) -> list[Case]:
    """Return the cases of files that cannot be read."""
    names = {file.path for file in damaged}
    return [case for case in cases if case.file in names]


def counted(cases: Iterable[Case], *, classes: bool = True) -> dict[str, Any]:
    """Return the number of images and patients, and of the images of each class."""
    kept = list(cases)
    numbers: dict[str, Any] = {
        "images": len(kept),
        "patients": len({case.patient for case in kept}),
    }
    if classes:
        labels = Counter(case.label for case in kept)
        numbers["classes"] = {for_terminal(label): n for label, n in labels.most_common()}
    return numbers


def parts_of(dataset: Dataset) -> list[dict[str, Any]]:
    """Return name, images, patients and classes of each part of a data set."""
    named = {part: dataset.part(part) for part in PARTS}
    return [{"name": name} | counted(cases) for name, cases in named.items() if cases]
