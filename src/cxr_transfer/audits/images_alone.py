"""What the images of an audit tell before any model has looked at them: tables, and near copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.baselines import baseline, demographics_table, table_of
from cxr_transfer.audits.readings import Part
from cxr_transfer.datasets.near_duplicates import confirmed, hashes, near_duplicates
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.decoding import Decoded
from cxr_transfer.statistics.metrics import Evaluation, evaluate

PICTURE = ("bytes_per_pixel", "grey_", "black", "white")
"""Columns of `file_features` in which a finding may show: white lungs are brighter, too."""


def tables_alone(
    ours: Part, decoded: Decoded, bootstrap: dict[str, int], step: Callable[[], None]
) -> dict[str, Any]:
    """Return what tables of files, grey levels and people tell of the labels by themselves.

    Args:
        ours: Images of sources that training saw.
        decoded: All images of the audit, with features of their files.
        bootstrap: ``resamples`` and ``seed`` of the bootstrap.
        step: Function that is called after each table.

    Returns:
        Evaluations of ``metadata``, ``grey_levels`` and ``demographics``; None where there are too
        few patients of a class.
    """
    files, columns = table_of([decoded.files[row] for row in ours.rows])
    container = np.array([not name.startswith(PICTURE) for name in columns])
    tables = {
        "metadata": files[:, container],
        "grey_levels": files[:, ~container],
        "demographics": demographics_table(ours.cases)[0],
    }
    evaluations = {}
    for name, table in tables.items():
        evaluations[name] = _baseline(table, ours, bootstrap)
        step()
    return evaluations


def _baseline(
    table: npt.NDArray[np.float64], ours: Part, again: dict[str, int]
) -> Evaluation | None:
    patients, files = zip(*((case.patient, case.file) for case in ours.cases), strict=True)
    try:
        scores = baseline(table, ours.targets, ours.labels, patients, files, seed=again["seed"])
    except DataError:
        return None  # Too few patients of a class: the check says that it is not done.
    return evaluate(scores, **again)


def near_copies(
    decoded: Decoded, seen: npt.NDArray[np.int64], inside: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return near-duplicates between images that training saw and images that are scored.

    Args:
        decoded: All images of the audit.
        seen: Rows of them that training saw.
        inside: Rows that are scored.
    """
    cases, rows = decoded.cases, np.concatenate([seen, inside])
    tensors = decoded.tensors.images.numpy()[rows, 0]
    crossing = [
        pair
        for pair in near_duplicates(hashes(tensors))
        if min(pair[:2]) < len(seen) <= max(pair[:2])
    ]
    return [
        {
            "seen": cases[rows[min(pair[:2])]].file,
            "scored": cases[rows[max(pair[:2])]].file,
            "bits": int(pair[2]),
            "mirrored": bool(pair[3]),
            "likeness": round(likeness, 3),
        }
        for pair, likeness in confirmed(tensors, crossing)
    ]
