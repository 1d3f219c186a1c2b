"""What a split by image lets through: patients on both sides of the test.

In come the run's images as its ``split.csv`` has them, or cases; out go counts. The images are not
opened and nothing is trained: what the leak does to a score only retraining shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import split
from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet
from cxr_transfer.runs.run_folder import PartRow, patients_in_several_parts


def parts_evidence(
    rows: Sequence[PartRow], cases: Sequence[Case], labels: LabelSet, *, seed: int = 0
) -> dict[str, Any]:
    """Return how the run's images were parted, and what parting them by image would leak.

    Args:
        rows: Rows of the run; none when they are not known.
        cases: Indexed images of the same kind, looked at when there are no rows.
        labels: The network's.
        seed: Random seed of the split by image.

    Returns:
        ``patients_in_several``: patients of the run in more than one part; null without rows;
        ``image_split``: of a split of the same images by image ``test_images``, ``known``, those
        whose patient stands in its training or validation part too, and ``share``; null where no
        such split can be drawn.
    """
    return {
        "patients_in_several": patients_in_several_parts(rows) if rows else None,
        "image_split": _by_image([_case(row) for row in rows] or list(cases), labels, seed),
    }


def _case(row: PartRow) -> Case:
    return Case(Path(), row.label, row.patient, row.source, pixels=row.pixels, sha256=row.sha256)


def _by_image(cases: Sequence[Case], labels: LabelSet, seed: int) -> dict[str, Any] | None:
    try:
        # Of a finding some labels are missing.
        cases = [case for case in cases if case.label in labels]
        drawn = split(unparted("the run", labels, cases), by="image", seed=seed)
    except DataError:
        return None  # Too few images, or not of every class.
    met = {case.patient for case in drawn.cases if case.split != "test"}
    tested = [case for case in drawn.cases if case.split == "test"]
    leaked = sum(case.patient in met for case in tested)
    return {"test_images": len(tested), "known": leaked, "share": leaked / len(tested)}


def unparted(name: str, labels: LabelSet, cases: Sequence[Case]) -> Dataset:
    """Return the cases as a data set whose parts are still to be drawn.

    Raises:
        DataError: ``classes`` unless there are images of every class, and of no other.
    """
    return Dataset(name, labels, tuple(replace(case, split="") for case in cases))
