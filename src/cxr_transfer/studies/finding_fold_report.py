"""Probabilities of findings of all folds and seeds become the report of a cross-validation.

In come the folds with the probabilities of their test parts; out go ``report.json``,
``report.md``, ``predictions.csv`` and a figure. What is named is named at the thresholds of the
fold's own models. Trains nothing and opens no image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.evaluation import forest_plot
from cxr_transfer.files import write_csv, write_json, write_text
from cxr_transfer.models.metadata import checkpoint_files, read_card
from cxr_transfer.models.reference import reference_beside
from cxr_transfer.provenance import short
from cxr_transfer.runs.finding_predictions import (
    finding_columns,
    finding_rows,
    write_finding_predictions,
)
from cxr_transfer.runs.predictions import ENSEMBLE, NAMING, PREDICTIONS
from cxr_transfer.runs.run_folder import record_test_set_access
from cxr_transfer.statistics.ensembles import mean_scores, pooled_scores
from cxr_transfer.statistics.findings import FindingScores, evaluate_findings
from cxr_transfer.statistics.intervals import INTERVALS, Estimate
from cxr_transfer.statistics.temperature import EVEN
from cxr_transfer.studies.fold_report import TrainedFold, choice_of
from cxr_transfer.subjects.own_models import open_own
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.tensors import ImageTensors, select

MEANS = ("auroc_macro", "sensitivity_macro", "specificity_macro")


@dataclass(frozen=True, eq=False)
class FindingRun:
    """A run of findings on its test part.

    Attributes:
        folder: Run folder.
        scores: Probabilities of these images at the run's temperature.
        thresholds: Threshold of each finding, (F,).
        temperature: Temperature of the run; None where its probabilities are the network's own.
    """

    folder: Path
    scores: FindingScores
    thresholds: tuple[float, ...]
    temperature: float | None


@dataclass(frozen=True, eq=False)
class FindingFold(TrainedFold):
    """A fold of findings that was tested.

    Attributes:
        cases: Cases of the test part.
        runs: Runs of the chosen recipe on the test part, one for each seed.
        scores: Mean of their probabilities.
    """

    cases: tuple[Case, ...]
    runs: tuple[FindingRun, ...]
    scores: FindingScores

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """Mean of the runs' thresholds, (F,)."""
        return np.asarray(np.mean([run.thresholds for run in self.runs], axis=0))


def scored_finding_fold(
    number: int,
    part: Dataset,
    chosen: Recipe,
    validation: Mapping[str, Mapping[str, float]],
    folders: Sequence[Path],
    images: ImageTensors,
    device: str,
) -> FindingFold:
    """Score the test part of a fold of findings, as `scored_fold` does that of classes."""
    cases, test = select(part, images, "test")
    runs = []
    for folder in folders:
        card, weights = checkpoint_files(folder)
        sha256 = read_card(card).weights_sha256
        beside = reference_beside(weights, sha256)
        reference = beside[1] if beside else None
        answer = open_own(folder, device).scored(
            test.images.numpy(), with_features=False, on_image=lambda images: None
        )
        scores = FindingScores.of(part.labels, test.targets.numpy(), answer.given, cases)
        thresholds = reference.thresholds if reference else None
        heat = reference.temperature if reference else None
        run = FindingRun(folder, scores, thresholds or (EVEN,) * len(part.labels), heat)
        table = folder / PREDICTIONS
        write_finding_predictions(table, scores, run.thresholds, cases, temperature=heat)
        record_test_set_access(folder, "cross-validation", cases, sha256)
        runs.append(run)
    mean = mean_scores([run.scores for run in runs])
    return FindingFold(number, part, chosen, validation, cases, tuple(runs), mean)


def write_finding_folds(
    out: Path,
    content: Mapping[str, Any],
    folds: Sequence[FindingFold],
    *,
    listed: Dataset,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Write the report of a cross-validation of findings into ``out``.

    Args:
        out: Folder of the cross-validation.
        content: Entries that are not of a fold: protocol, data, versions.
        folds: Folds, all of them, in their order.
        listed: Data set as it was before files that cannot be read were left out.
        resamples: Number of resamples of the bootstrap.
        seed: Random seed of the bootstrap.

    Returns:
        The content of ``report.json``: ``evaluation`` of the mean of all seeds, as
        `evaluate_findings` has it; ``seeds_alone``; ``fold_by_fold``; ``choice`` and ``members`` as
        of classes.
    """
    again: dict[str, Any] = {"resamples": resamples, "seed": seed}
    seeds = content["seeds"]
    cases = [case for fold in folds for case in fold.cases]

    def evaluated(
        scores: Sequence[FindingScores], limits: Sequence[npt.ArrayLike]
    ) -> dict[str, Any]:
        rows = [
            np.broadcast_to(np.asarray(limit), part.targets.shape)
            for part, limit in zip(scores, limits, strict=True)
        ]
        return evaluate_findings(pooled_scores(scores), np.concatenate(rows), cases, **again)

    evaluation = evaluated([fold.scores for fold in folds], [fold.thresholds for fold in folds])
    alone = {
        str(seed_of_run): evaluated(
            [fold.runs[place].scores for fold in folds],
            [fold.runs[place].thresholds for fold in folds],
        )
        for place, seed_of_run in enumerate(seeds if len(seeds) > 1 else ())
    }
    full = {
        "intended_use": INTENDED_USE,
        "task": "multi_label",
        "intervals": INTERVALS,
        **content,
        "evaluation": evaluation,
        "seeds_alone": alone,
        "fold_by_fold": [_of_fold(out, fold, seeds, again) for fold in folds],
        "choice": choice_of(folds),
        "members": [run.folder.relative_to(out).as_posix() for fold in folds for run in fold.runs],
        "images_listed": len(listed.cases),
    }
    _write_predictions(out / PREDICTIONS, folds, seeds)
    write_json(out / "report.json", full)
    _draw(out / "figures" / "findings.png", full)
    page = render(
        "finding_folds.md.j2",
        content=full,
        evaluation=evaluation,
        best=Counter(fold.chosen.name for fold in folds).most_common(),
        damaged=damaged_sentence(content["damaged_files"]),
        commit=short(content["commit"]),
    )
    write_text(out / "report.md", page)
    return full


def _of_fold(
    out: Path, fold: FindingFold, seeds: Sequence[int], again: Mapping[str, Any]
) -> dict[str, Any]:
    found = evaluate_findings(fold.scores, fold.thresholds, fold.cases, **again)
    return {
        "fold": fold.number,
        "recipe": fold.chosen.name,
        **{name: found[name] for name in ("images", "patients", *MEANS)},
        "findings": {
            name: {key: of[key] for key in ("images", "present", "threshold", "auroc")}
            for name, of in found["per_class"].items()
        },
        "runs": [
            {
                "seed": seed,
                "run": run.folder.relative_to(out).as_posix(),
                "temperature": run.temperature,
                "thresholds": list(run.thresholds),
            }
            for seed, run in zip(seeds, fold.runs, strict=True)
        ],
    }


def _write_predictions(path: Path, folds: Sequence[FindingFold], seeds: Sequence[int]) -> None:
    """Write a row for each image and seed; with several seeds also one for their mean."""
    naming = [name for name in NAMING if name != "split"]
    labels = folds[0].scores.labels
    columns = [*naming, "fold", "seed", "recipe", "predicted", *finding_columns(labels)]
    rows: list[dict[str, object]] = []
    for fold in folds:
        members: list[tuple[str, FindingScores, npt.ArrayLike]] = [
            (str(seed), run.scores, run.thresholds)
            for seed, run in zip(seeds, fold.runs, strict=True)
        ]
        if len(members) > 1:
            members.insert(0, (ENSEMBLE, fold.scores, fold.thresholds))
        for seed, scores, thresholds in members:
            keys = {"fold": fold.number, "seed": seed, "recipe": fold.chosen.name}
            rows += [row | keys for row in finding_rows(scores, thresholds, fold.cases)]
    write_csv(path, columns, rows)


def _draw(path: Path, content: Mapping[str, Any]) -> None:
    rows = [("mean over findings", Estimate.from_dict(content["evaluation"]["auroc_macro"]))]
    rows += [
        (f"{name} ({of['present']} of {of['images']})", Estimate.from_dict(of["auroc"]))
        for name, of in content["evaluation"]["per_class"].items()
    ]
    rows += [
        (f"fold {fold['fold']}, mean", Estimate.from_dict(fold["auroc_macro"]))
        for fold in content["fold_by_fold"]
    ]
    forest_plot(path, rows, f"{content['folds']} folds: AUROC by finding")
