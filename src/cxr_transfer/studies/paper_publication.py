"""What a publication of the study needs, beside its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.datasets.case import FRONTAL_VIEWS, Case, Collection
from cxr_transfer.datasets.flow import UNREADABLE, damaged_cases, flow, parts_of
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.evaluation import publication_tables as tables
from cxr_transfer.evaluation import report
from cxr_transfer.evaluation.publication import CAPTION, draw_models, write_publication
from cxr_transfer.files import write_csv
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files, read_card
from cxr_transfer.runs.predictions import PREDICTIONS, score_columns
from cxr_transfer.statistics.scores import Scores

_OTHER_FINDING, _OTHER_VIEW = "another finding than those of Dataset_1", "no frontal view"
_NOT_CHOSEN = "not among the images of Dataset_1"


def study_flow(
    archives: Sequence[Collection], target: Dataset, parts: Sequence[Dataset]
) -> dict[str, Any]:
    """Return the flow from the archives to the parts of Dataset_1.

    Archives that give it no image, such as a second copy of one, do not count.

    Args:
        archives: Collections of the data folder.
        target: Dataset_1, without files that cannot be read.
        parts: Dataset_1 with its parts: once, or for each fold.
    """
    chosen = {case.path for case in target.cases}
    giving = [archive for archive in archives if any(case.path in chosen for case in archive.cases)]
    cases = [case for archive in giving for case in archive.cases]
    damaged = damaged_cases(cases, target.damaged)
    left_out: dict[str, list[Case]] = {_OTHER_FINDING: [], _OTHER_VIEW: [], _NOT_CHOSEN: []}
    chosen |= {case.path for case in damaged}
    for case in cases:
        if case.path not in chosen:
            left_out[_reason(case, target)].append(case)
    left_out[UNREADABLE] = damaged
    return flow(cases, left_out, target.cases, [parts_of(fold) for fold in parts])


def _reason(case: Case, target: Dataset) -> str:
    if case.label not in target.labels:
        return _OTHER_FINDING
    return _OTHER_VIEW if case.view and case.view not in FRONTAL_VIEWS else _NOT_CHOSEN


def write_and_publish(
    out: Path, content: Mapping[str, Any], rows: Mapping[str, report.Row]
) -> dict[str, Any]:
    """Write the report of a study, and what a publication needs of its compared models.

    Args:
        out: Study folder.
        content: Split, seed, hashes, versions, flow: all that is not a model's.
        rows: Rows of the report by the name of the model.

    Returns:
        The content of ``report.json``.
    """
    evaluations = report.evaluations(rows)
    full = report.write_study(out, content, rows, evaluations)
    models = {name: evaluation for name, evaluation in evaluations.items() if name != "model_0"}
    if not models:
        return full
    pairs = full["comparisons"]
    of_pairs = {
        "pairs": tables.pairs_table(pairs, f"Pairs of models; {CAPTION}"),
        "pairs_auroc": tables.delong_table(pairs, f"AUROC of pairs of models; {CAPTION}"),
    }
    folder = write_publication(
        out,
        "study",
        full,
        numbers=full["flow"],
        checkpoints=dict(_checkpoints(out, full)),
        tables={
            "models": tables.models_table(models, f"Models on the test images; {CAPTION}"),
            "classes": tables.classes_table(models, f"Each class against the rest; {CAPTION}"),
            "confusion": tables.confusion_table(models, "Images of each class, and their call"),
            **(of_pairs if pairs else {}),
        },
    )
    scores = {name: rows[name].scores for name in models}
    _write_predictions(folder / PREDICTIONS, scores)
    # The paper's figures are of real images, and no yardstick for generated ones.
    paper = {} if full["generated_images"] else report.PAPER
    draw_models(folder / "figure_models", models, paper, whose="the paper, one split")
    for name, evaluation in models.items():
        report.draw_evaluation(folder, f"figure_{name}", scores[name], evaluation, ending="")
    return full


def _checkpoints(out: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, Checkpoint]]:
    """Yield the metadata of every run of the study, by its place in the study's folder."""
    paths = [model["checkpoint"] for model in content["models"].values()]
    paths += [fold["checkpoint"] for folds in content["fold_by_fold"].values() for fold in folds]
    for path in filter(None, paths):
        yield Path(path).parent.as_posix(), read_card(checkpoint_files(out / path)[0])


def _write_predictions(path: Path, models: Mapping[str, Scores]) -> None:
    """Write a row for each model and image."""
    labels = next(iter(models.values())).labels
    columns = ["model", "file", "patient", "label", "predicted", *score_columns(labels)]
    rows = (
        {
            "model": name,
            "file": scores.files[row],
            "patient": scores.patients[row],
            "label": labels.names[scores.targets[row]],
            "predicted": labels.names[scores.predicted[row]],
        }
        | dict(zip(score_columns(labels), scored, strict=True))
        for name, scores in models.items()
        for row, scored in enumerate(scores.probabilities.round(6).tolist())
    )
    write_csv(path, columns, rows)
