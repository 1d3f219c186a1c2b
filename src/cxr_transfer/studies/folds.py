"""Rows of several folds: pooled for the table, and one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from cxr_transfer.evaluation import report
from cxr_transfer.statistics.ensembles import pooled_scores


def pooled(rows: Sequence[report.Row]) -> report.Row:
    """Return one row for all folds: every image scored by the model that has not seen it."""
    if len(rows) == 1:
        return rows[0]
    return dataclasses.replace(
        rows[0],
        scores=pooled_scores([row.scores for row in rows]),
        checkpoint="",
        weights_sha256="",
        history=None,
        score_scale=", ".join(dict.fromkeys(row.score_scale for row in rows)),
    )


def by_fold(rows: Sequence[report.Row]) -> list[dict[str, Any]]:
    """Return accuracy and checkpoint of each fold."""
    return [
        {
            "accuracy": float((row.scores.predicted == row.scores.targets).mean()),
            "test_images": len(row.scores.files),
            "checkpoint": row.checkpoint,
            "weights_sha256": row.weights_sha256,
        }
        for row in rows
    ]
