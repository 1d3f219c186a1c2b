"""Scores in, report out: ``report.json`` for programs, ``report.md`` and figures for people.

One form for a study and for a single evaluation. Knows nothing of networks or images. The words of
a study's page: ``study.md.j2``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.comparisons import compared_pairs
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures import evaluation as figures
from cxr_transfer.files import read_csv, write_json, write_text
from cxr_transfer.models.folder import read_text
from cxr_transfer.statistics.curves import roc_band
from cxr_transfer.statistics.intervals import DIFFERENCES, INTERVALS, Estimate
from cxr_transfer.statistics.metrics import TITLES as METRIC_TITLES
from cxr_transfer.statistics.metrics import Evaluation, evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import NOT_CALIBRATED

PAPER = {
    "model_1": {
        "precision_macro": 93.03,
        "recall_macro": 92.17,
        "accuracy": 92.32,
        "f1_macro": 92.46,
    },
    "model_2": {
        "precision_macro": 95.69,
        "recall_macro": 95.62,
        "accuracy": 95.65,
        "f1_macro": 95.49,
    },
    "model_3": {
        "precision_macro": 97.73,
        "recall_macro": 97.67,
        "accuracy": 97.66,
        "f1_macro": 97.61,
    },
}
"""The paper's section 4.2, in percent; one split, about 300 test images."""

TITLES = {
    "model_0": "Model_0: CNN on Dataset_0",
    "model_1": "Model_1: CNN from scratch",
    "model_2": "Model_2: CNN by transfer",
    "model_3": "Model_3: ResNet-50 from ImageNet",
}
_TABLE = ("precision_macro", "recall_macro", "accuracy", "f1_macro")


@dataclass(frozen=True)
class Row:
    """Results of one model, as a report needs them.

    Attributes:
        scores: Scores of the test part.
        ms_per_image: Milliseconds per image of the network alone.
        checkpoint: Path of the checkpoint, relative to the report; "" when there is one for each
            fold.
        weights_sha256: SHA-256 of its weights; "" likewise.
        history: ``history.csv`` of the run; None likewise.
        resamples: Number of resamples of the bootstrap.
        seed: Random seed of the bootstrap.
        score_scale: Scale of ``scores``, as `statistics.temperature.score_scale` names it; of
            several folds all scales.
    """

    scores: Scores
    ms_per_image: Estimate
    checkpoint: str
    weights_sha256: str
    history: Path | None
    resamples: int
    seed: int
    score_scale: str = NOT_CALIBRATED


def evaluations(rows: Mapping[str, Row]) -> dict[str, Evaluation]:
    """Return the figures of merit of each model of a study."""
    return {
        name: evaluate(row.scores, resamples=row.resamples, seed=row.seed)
        for name, row in rows.items()
    }


def write_study(
    out: Path,
    content: Mapping[str, Any],
    rows: Mapping[str, Row],
    evaluated: Mapping[str, Evaluation] | None = None,
) -> dict[str, Any]:
    """Write a study's report and figures into ``out``.

    Args:
        out: Study folder.
        content: Entries that are not a model's: split, seed, hashes, versions.
        rows: Results by model name.
        evaluated: Evaluations of the rows; None computes them here.

    Returns:
        Content of ``report.json``.
    """
    evaluated = evaluations(rows) if evaluated is None else evaluated
    models = {
        name: evaluated[name].as_dict()
        | {
            "ms_per_image": row.ms_per_image.as_dict(),
            "checkpoint": row.checkpoint,
            "weights_sha256": row.weights_sha256,
            "score_scale": row.score_scale,
        }
        for name, row in rows.items()
    }
    compared = [name for name in rows if name != "model_0"]
    full = {
        "intended_use": INTENDED_USE,
        "intervals": INTERVALS,
        "models": models,
        "comparisons": _comparisons({name: rows[name] for name in compared}),
        "paper_percent": PAPER,
    } | dict(content)
    write_json(out / "report.json", full)
    _draw_study(out / "figures", rows, evaluated, compared)
    write_text(out / "report.md", _study_text(full, rows, evaluated, compared))
    return full


def _comparisons(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    """Compare the models under the bootstrap of the first one's row: all have the same."""
    if not rows:
        return []
    first = next(iter(rows.values()))
    scores = {name: row.scores for name, row in rows.items()}
    return compared_pairs(scores, resamples=first.resamples, seed=first.seed)


def _draw_study(
    folder: Path,
    rows: Mapping[str, Row],
    evaluated: Mapping[str, Evaluation],
    compared: Sequence[str],
) -> None:
    def of(metrics: Sequence[str]) -> dict[str, dict[str, Estimate]]:
        return {name: {m: getattr(evaluated[name], m) for m in metrics} for name in compared}

    if compared:
        pairs = {4: ("precision_macro", "recall_macro"), 5: ("accuracy", "f1_macro")}
        for number, pair in pairs.items():
            figures.paper_bars(
                folder / f"figure_{number}.png",
                of(pair),
                pair,
                PAPER,
                f"Figure {number}: {' and '.join(METRIC_TITLES[m] for m in pair)}",
            )
        figures.time_bars(
            folder / "figure_6.png",
            {name: rows[name].ms_per_image for name in compared},
            "Figure 6: time per image",
        )
    for name, row in rows.items():
        draw_evaluation(folder, name, row.scores, evaluated[name], title=TITLES[name])
        if row.history:
            figures.training_history(folder / f"{name}_history.png", read_history(row.history))


def draw_evaluation(
    folder: Path,
    name: str,
    scores: Scores,
    evaluation: Evaluation,
    *,
    title: str = "",
    ending: str = ".png",
) -> None:
    """Draw what stands in every report: confusion matrix, ROC and PR curves.

    Args:
        folder: Folder of the figures.
        name: Beginning of the names of their files.
        scores: Scores of N images.
        evaluation: Evaluation of ``scores``.
        title: Title of the figures, one line.
        ending: Ending of the files; "" draws those of a publication.
    """
    confusion, roc, pr = (folder / f"{name}_{kind}{ending}" for kind in ("confusion", "roc", "pr"))
    figures.confusion_matrix(confusion, evaluation.confusion, scores.labels, title)
    bands = {}
    for label in scores.labels:
        with contextlib.suppress(DataError):  # A class without images has no curve.
            bands[label] = roc_band(scores, label)
    figures.roc_curves(roc, scores, evaluation, title, bands)
    figures.pr_curves(pr, scores, evaluation, title)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read a run's ``history.csv``; figures as numbers."""
    return [
        {
            key: value if key == "stage" else int(value) if key == "epoch" else float(value)
            for key, value in row.items()
            if value  # what is not told of an epoch is an empty cell
        }
        for row in read_csv(read_text(path))
    ]


def _study_text(
    content: Mapping[str, Any],
    rows: Mapping[str, Row],
    evaluated: Mapping[str, Evaluation],
    compared: Sequence[str],
) -> str:
    test_set_accesses = content["test_set_accesses"]
    return render(
        "study.md.j2",
        content=content,
        rows=rows,
        evaluations=evaluated,
        compared=compared,
        titles=TITLES,
        papers=PAPER,
        metrics=_TABLE,
        intervals=INTERVALS,
        differences=DIFFERENCES,
        commit=provenance.short(content["commit"]),
        opened=[
            (name, accesses["times"]) for name, accesses in test_set_accesses.items() if accesses
        ],
    )
