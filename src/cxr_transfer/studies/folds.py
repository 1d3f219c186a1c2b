"""Rows of several folds: pooled for the table, and one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cxr_transfer.evaluation import report
from cxr_transfer.statistics.scores import Scores


def pooled(rows: Sequence[report.Row]) -> report.Row:
    """Return one row for all folds: every image scored by the model that has not seen it."""
    if len(rows) == 1:
        return rows[0]
    scores = [row.scores for row in rows]
    return dataclasses.replace(
        rows[0],
        scores=Scores(
            labels=scores[0].labels,
            targets=np.concatenate([each.targets for each in scores]),
            probabilities=np.concatenate([each.probabilities for each in scores]),
            patients=tuple(patient for each in scores for patient in each.patients),
            files=tuple(file for each in scores for file in each.files),
        ),
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
