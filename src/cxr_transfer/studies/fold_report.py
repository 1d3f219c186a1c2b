"""Scores of all folds and seeds become the report of a cross-validation.

In come the folds with the scores of their test parts; out go ``report.json``, ``report.md``,
``predictions.csv``, figures, and what a publication needs. Trains nothing and opens no image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.datasets.flow import dataset_flow
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.evaluation import publication_tables as tables
from cxr_transfer.evaluation.publication import CAPTION, draw_models, write_publication
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.evaluation.report import draw_evaluation
from cxr_transfer.files import write_csv, write_json, write_text
from cxr_transfer.models.metadata import WEIGHTS
from cxr_transfer.provenance import short
from cxr_transfer.runs.predictions import (
    ENSEMBLE,
    NAMING,
    PREDICTIONS,
    score_columns,
    score_row,
)
from cxr_transfer.statistics.ensembles import mean_scores, pooled_scores
from cxr_transfer.statistics.intervals import INTERVALS
from cxr_transfer.statistics.metrics import AVERAGES, TITLES, Evaluation, evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import score_scale
from cxr_transfer.studies.scored_run import ScoredRun, scored_run
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.tensors import ImageTensors

_OF_FOLD = ("accuracy", "f1_macro", "auroc_macro")


@dataclass(frozen=True, eq=False)
class TrainedFold:
    """A fold that was trained.

    Attributes:
        number: Number of the fold, from 1.
        dataset: Cases with the parts of the fold.
        chosen: Recipe that its validation part chose; the only one where there is one.
        validation: Figures of the validation part by the name of the recipe.
    """

    number: int
    dataset: Dataset
    chosen: Recipe
    validation: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Fold(TrainedFold):
    """A fold of classes that was tested.

    Attributes:
        runs: Runs of the chosen recipe on the test part, one for each seed.
        scores: Mean of their scores.
    """

    runs: tuple[ScoredRun, ...]
    scores: Scores


def scored_fold(
    number: int,
    part: Dataset,
    chosen: Recipe,
    validation: Mapping[str, Mapping[str, float]],
    folders: Sequence[Path],
    images: ImageTensors,
    device: str,
) -> Fold:
    """Score the test part of a fold with the runs of the recipe that was chosen.

    Args:
        number: Number of the fold.
        part: Cases with the parts of the fold.
        chosen: Recipe that was chosen.
        validation: Figures of the validation part.
        folders: Run folders of the recipe, one for each seed.
        images: Images of ``part.cases``, in their order.
        device: Device as torch names it.
    """
    runs = tuple(
        scored_run(folder, part, images, command="cross-validation", device=device)
        for folder in folders
    )
    return Fold(number, part, chosen, validation, runs, mean_scores([run.scores for run in runs]))


def write_cross_validation(
    out: Path,
    content: Mapping[str, Any],
    folds: Sequence[Fold],
    *,
    listed: Dataset,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Write the report of a cross-validation into ``out``.

    Args:
        out: Folder of the cross-validation.
        content: Entries that are not of a fold: protocol, data, versions.
        folds: Folds, all of them, in their order.
        listed: Data set as it was before files that cannot be read were left out.
        resamples: Number of resamples of the bootstrap.
        seed: Random seed of the bootstrap.

    Returns:
        The content of ``report.json``: ``evaluation`` of the mean of all seeds; ``seeds_alone``,
        the evaluation of each seed by itself; ``fold_by_fold``; ``choice``, what each fold's
        validation part said of each recipe (null with one recipe); ``members``, the run folders
        whose scores were taken.
    """
    again = {"resamples": resamples, "seed": seed}
    seeds = content["seeds"]
    models = {_name(seeds): evaluate(pooled_scores([fold.scores for fold in folds]), **again)}
    if len(seeds) > 1:
        for place, seed_of_run in enumerate(seeds):
            scores = pooled_scores([fold.runs[place].scores for fold in folds])
            models[f"seed {seed_of_run}"] = evaluate(scores, **again)
    ensemble = next(iter(models.values()))
    of_folds = {fold.number: evaluate(fold.scores, **again) for fold in folds}
    flow = dataset_flow(folds[0].dataset, listed.cases, [fold.dataset for fold in folds])
    checkpoints = {
        run.folder.relative_to(out).as_posix(): run.checkpoint
        for fold in folds
        for run in fold.runs
    }
    full = {
        "intended_use": INTENDED_USE,
        "intervals": INTERVALS,
        **content,
        "evaluation": ensemble.as_dict(),
        "seeds_alone": {
            name.removeprefix("seed "): model.as_dict() for name, model in list(models.items())[1:]
        },
        "fold_by_fold": [_of_fold(out, fold, of_folds[fold.number], seeds) for fold in folds],
        "choice": choice_of(folds),
        "members": list(checkpoints),
        "flow": flow,
    }
    write_predictions(out / PREDICTIONS, folds, seeds)
    write_json(out / "report.json", full)
    _draw(out / "figures", folds, models, of_folds)
    text = render(
        "cross_validation.md.j2",
        content=full,
        models=models,
        folds=folds,
        of_folds=of_folds,
        best=Counter(fold.chosen.name for fold in folds).most_common(),
        scales=_scales(folds),
        damaged=damaged_sentence(content["damaged_files"]),
        commit=short(content["commit"]),
    )
    write_text(out / "report.md", text)
    folder = write_publication(
        out,
        "cross-validation",
        full,
        numbers=flow,
        checkpoints=checkpoints,
        tables={
            "models": tables.models_table(models, f"Cross-validated figures; {CAPTION}"),
            "classes": tables.classes_table(models, f"Each class against the rest; {CAPTION}"),
            "confusion": tables.confusion_table(models, "Images of each class, and their call"),
            "folds": _fold_table(folds, of_folds),
        },
    )
    pooled = pooled_scores([fold.scores for fold in folds])
    draw_models(folder / "figure_models", _rows(models, of_folds))
    draw_evaluation(folder, "figure", pooled, ensemble, ending="")
    return full


def write_predictions(path: Path, folds: Sequence[Fold], seeds: Sequence[int]) -> None:
    """Write a row for each image and seed; with several seeds also one for their mean."""
    labels = folds[0].scores.labels
    naming = [name for name in NAMING if name != "split"]
    columns = [*naming, "fold", "seed", "recipe", "predicted", *score_columns(labels)]

    def rows() -> Iterator[dict[str, object]]:
        for fold in folds:
            members = [(str(seed), run.scores) for seed, run in zip(seeds, fold.runs, strict=True)]
            if len(members) > 1:
                members.insert(0, (ENSEMBLE, fold.scores))
            for seed, scores in members:
                keys = {"fold": fold.number, "seed": seed, "recipe": fold.chosen.name}
                for case, row in zip(fold.runs[0].cases, scores.probabilities, strict=True):
                    yield score_row(labels, case, row) | keys

    write_csv(path, columns, rows())


def _name(seeds: Sequence[int]) -> str:
    return f"mean of {len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"


def _of_fold(out: Path, fold: Fold, evaluation: Evaluation, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "fold": fold.number,
        "recipe": fold.chosen.name,
        "images": evaluation.images,
        "patients": evaluation.patients,
        **{metric: getattr(evaluation, metric).as_dict() for metric in _OF_FOLD},
        "runs": [
            {
                "seed": seed,
                "checkpoint": (run.folder.relative_to(out) / WEIGHTS).as_posix(),
                "weights_sha256": run.checkpoint.weights_sha256,
                "split_hash": run.checkpoint.data.get("split_hash"),
                "score_scale": score_scale(run.temperature),
                "accuracy": float((run.scores.predicted == run.scores.targets).mean()),
                "stages": run.checkpoint.provenance.get("stages"),
            }
            for seed, run in zip(seeds, fold.runs, strict=True)
        ],
    }


def choice_of(folds: Sequence[TrainedFold]) -> list[dict[str, Any]] | None:
    """Return what the validation parts said of the recipes; None where there was no choice."""
    if len(folds[0].validation) < 2:
        return None
    return [
        {
            "fold": fold.number,
            "chosen": fold.chosen.name,
            "validation": {
                recipe: {name: None if math.isnan(x) else x for name, x in figures.items()}
                for recipe, figures in fold.validation.items()
            },
        }
        for fold in folds
    ]


def _scales(folds: Sequence[Fold]) -> str:
    """Say how many of the runs have calibrated scores."""
    runs = [run for fold in folds for run in fold.runs]
    calibrated = sum(run.temperature is not None for run in runs)
    return f"{calibrated} of {len(runs)}"


def _rows(
    models: Mapping[str, Evaluation], of_folds: Mapping[int, Evaluation]
) -> dict[str, Evaluation]:
    """Return the rows of the figure: all folds together, seed by seed, then fold by fold."""
    return dict(models) | {f"fold {number}": evaluation for number, evaluation in of_folds.items()}


def _draw(
    folder: Path,
    folds: Sequence[Fold],
    models: Mapping[str, Evaluation],
    of_folds: Mapping[int, Evaluation],
) -> None:
    name, ensemble = next(iter(models.items()))
    pooled = pooled_scores([fold.scores for fold in folds])
    title = f"{len(folds)} folds, {name}"
    draw_evaluation(folder, "pooled", pooled, ensemble, title=title)
    draw_models(folder / "models.png", _rows(models, of_folds), title=title)


def _fold_table(folds: Sequence[Fold], of_folds: Mapping[int, Evaluation]) -> tables.Table:
    rows: list[Mapping[str, tables.Cell]] = [
        {
            "fold": fold.number,
            "recipe": fold.chosen.name,
            "images": of_folds[fold.number].images,
            "patients": of_folds[fold.number].patients,
            **{metric: getattr(of_folds[fold.number], metric) for metric in _OF_FOLD},
        }
        for fold in folds
    ]
    columns = [
        tables.Column("fold", "fold", "count"),
        tables.Column("recipe", "recipe"),
        tables.Column("images", "images", "count"),
        tables.Column("patients", "patients", "count"),
        *(
            tables.Column(metric, f"{TITLES[metric]}, %", "percent")
            for metric in AVERAGES
            if metric in _OF_FOLD
        ),
    ]
    return tables.Table(f"Fold by fold; {CAPTION}", columns, rows)
