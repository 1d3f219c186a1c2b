"""What the validation part of a fold says of a recipe, and which recipe it chooses.

In come run folders with the scores of their validation images; out go figures. Trains nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cxr_transfer.labels import LabelSet
from cxr_transfer.models.reference import temperature_of
from cxr_transfer.runs.run_folder import validation_findings, validation_scores
from cxr_transfer.statistics.calibration import apply_temperature
from cxr_transfer.statistics.ensembles import mean_scores
from cxr_transfer.statistics.findings import mean_area
from cxr_transfer.statistics.metrics import aurocs
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import SMALLEST, each_at_temperature, log_scores


def validation_figures(folders: Sequence[Path], labels: LabelSet) -> dict[str, float]:
    """Return what the validation part says of one recipe in one fold.

    Args:
        folders: Run folders of the recipe, one for each seed.
        labels: Classes or findings.

    Returns:
        ``auroc_macro``, ``log_loss`` in nats and ``accuracy`` of the mean of their calibrated
        scores, and ``images``; of findings there is no accuracy.
    """
    if not labels.exclusive:
        return _finding_figures(folders, labels)
    members = [(validation_scores(folder, labels), temperature_of(folder)) for folder in folders]
    mean = mean_scores(
        [apply_temperature(scores, heat) if heat else scores for scores, heat in members if scores]
    )
    return {
        "images": len(mean.files),
        "auroc_macro": aurocs(mean)[1].value,
        "log_loss": _log_loss(mean),
        "accuracy": float((mean.predicted == mean.targets).mean()),
    }


def _log_loss(scores: Scores) -> float:
    of_target = log_scores(scores.probabilities)[np.arange(len(scores.targets)), scores.targets]
    return float(-of_target.mean())


def _finding_figures(folders: Sequence[Path], labels: LabelSet) -> dict[str, float]:
    kept = [(validation_findings(folder, labels), temperature_of(folder)) for folder in folders]
    mean = mean_scores(
        [
            dataclasses.replace(
                scores, probabilities=each_at_temperature(scores.probabilities, heat)
            )
            for scores, heat in kept
            if scores
        ]
    )
    known = mean.targets >= 0
    of_target = np.where(mean.targets == 1, mean.probabilities, 1 - mean.probabilities)[known]
    losses = -np.log(np.clip(of_target, SMALLEST, 1))
    return {
        "images": len(mean.files),
        "auroc_macro": mean_area(mean),
        "log_loss": float(losses.mean()) if losses.size else math.nan,
    }


def best_recipe(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Return the recipe with the highest AUROC; of equals that with the lowest log loss.

    Of equals in both it is the first one. An AUROC is not defined where the validation part lacks a
    class, and then of no recipe: the log loss decides.

    >>> best_recipe({"a": {"auroc_macro": 0.9, "log_loss": 0.3},
    ...              "b": {"auroc_macro": 0.9, "log_loss": 0.2}})
    'b'
    """

    def rank(name: str) -> tuple[float, float]:
        area = figures[name]["auroc_macro"]
        return (area if math.isfinite(area) else 0.0, -figures[name]["log_loss"])

    return max(figures, key=rank)
