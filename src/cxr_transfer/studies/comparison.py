"""Models that were tested on the same images, compared: whose figures differ by more than chance.

In come run folders, cross-validations, and tables of predictions; out go tests and differences by
patient. Only images that all of them have take part. A run that kept no predictions is scored on
its test part first; every image is opened once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.manifest import PARTS_FILE
from cxr_transfer.errors import DataError, UsageError, listing
from cxr_transfer.evaluation import publication_tables as tables
from cxr_transfer.evaluation.comparisons import compared_pairs
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.folder import sha256
from cxr_transfer.models.metadata import CARD, read_card
from cxr_transfer.runs.predictions import (
    PREDICTIONS,
    PredictionTable,
    no_predictions,
    nothing_common,
    read_predictions,
    seen_beside,
)
from cxr_transfer.runs.run_folder import parts
from cxr_transfer.statistics.intervals import DIFFERENCES, INTERVALS, Estimate
from cxr_transfer.statistics.metrics import Evaluation, evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.studies.finding_comparison import are_of_findings, compare_finding_models
from cxr_transfer.studies.unscored_runs import score_test_parts
from cxr_transfer.text import for_terminal

_REPORT = 50
"""Letters of a model's name that a table has room for."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A model that takes part.

    Attributes:
        name: Name of the model, unlike those of the others.
        table: Predictions of the model.
        file_sha256: SHA-256 of the table that was read; "" where its run was scored here.
        seen: Number of its images that training saw, as the report beside the table says.
    """

    name: str
    table: PredictionTable
    file_sha256: str
    seen: int = 0


def compare_models(
    paths: Sequence[Path],
    out: Path,
    *,
    device: str = "auto",
    resamples: int = 2000,
    seed: int = 0,
    on_images: Callable[[int], Callable[[], None]] = lambda number: lambda: None,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Compare models on the images that all of them were tested on, and write the report.

    Args:
        paths: Run folders, cross-validation folders, evaluation folders, or tables of predictions;
            two or more.
        out: Report folder, owned by the caller.
        device: Device for runs that kept no predictions.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
        on_images: Function that is told how many images are read, where any is; it gives a function
            that is called after every image.
        log: Function that is told what is left out.

    Returns:
        Of models of findings what `compare_finding_models` returns. Else the content of
        ``report.json``: ``models``, the evaluation of each on the common images and
        how many of its images are left out; ``comparisons`` of `compared_pairs`.

    Raises:
        UsageError: ``one_model`` for fewer than two.
        DataError: ``no_predictions``, ``bad_predictions``, ``other_classes``, ``two_labels``,
            ``not_paired``, ``no_common_images``.
    """
    if len(paths) < 2:
        raise UsageError(
            "one_model", f"Expected at least two models to compare, but got {len(paths)}; add one."
        )
    names = distinct_names(paths)
    again: dict[str, Any] = {"resamples": resamples, "seed": seed}
    if are_of_findings(paths):
        return compare_finding_models(paths, names, out, log=log, **again)
    read = {path: _table_of(path) for path in paths}
    # What can be refused is refused before an image of an unscored run is opened.
    _check_classes(
        {name: _labels(path, read[path]) for name, path in zip(names, paths, strict=True)}
    )
    _check_any_common([_contents(path, read[path]) for path in paths])
    unscored = [path for path in paths if read[path] is None]
    scored = score_test_parts(unscored, device=device, on_images=on_images) if unscored else {}
    models = []
    for name, path in zip(names, paths, strict=True):
        table = read[path] or scored[path]
        origin = "" if path in scored else sha256(_table_path(path))
        models.append(Compared(name, table, origin, seen_beside(_table_path(path))))
        if models[-1].seen:
            log(f"{name}: training saw {models[-1].seen} of its images; do not quote the figures")
    common, left_out = on_common_images(models)
    for name, number in left_out.items():
        if number:
            log(f"{name}: {number} images that not all models have are left out")
    evaluations = {name: evaluate(scores, **again) for name, scores in common.items()}
    content = {
        "intended_use": INTENDED_USE,
        "intervals": INTERVALS,
        "differences": DIFFERENCES,
        "images": len(next(iter(common.values())).files),
        "patients": len(set(next(iter(common.values())).patients)),
        "labels": list(models[0].table.scores.labels),
        "models": {
            model.name: {
                "left_out": left_out[model.name],
                "other_labels": model.table.other_labels,
                "seen_in_training": model.seen,
                "predictions_sha256": model.file_sha256,
                "evaluation": evaluations[model.name].as_dict(),
            }
            for model in models
        },
        "comparisons": compared_pairs(common, **again),
        "resamples": resamples,
        "seed": seed,
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
    }
    _write(out, content, evaluations)
    return content


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that tell them apart.

    Raises:
        UsageError: ``same_model`` where a path stands there twice.

    >>> distinct_names([Path("runs/a/model_1"), Path("runs/b/model_1")])
    ['a/model_1', 'b/model_1']
    """
    whole = [path.resolve() for path in paths]
    whole = [path.parent if path.name == PREDICTIONS else path for path in whole]
    if len(set(whole)) < len(whole):
        raise UsageError(
            "same_model",
            "Expected different models, but one is given twice; leave one of them out.",
        )
    for last in range(1, max(len(path.parts) for path in whole) + 1):
        names = ["/".join(path.parts[-last:]) for path in whole]
        if len(set(names)) == len(names):
            return list(map(for_terminal, names))
    raise AssertionError("different paths have different parts")


def _table_path(path: Path) -> Path:
    return path / PREDICTIONS if path.is_dir() else path


def _table_of(path: Path) -> PredictionTable | None:
    """Return the predictions of a model; None for a run that is yet to be scored.

    Raises:
        DataError: ``no_predictions`` where there is neither a table nor a run.
    """
    table = _table_path(path)
    if table.is_file():
        return read_predictions(table)
    if (path / CARD).is_file() and (path / PARTS_FILE).is_file():
        return None
    raise no_predictions(path)


def _labels(path: Path, table: PredictionTable | None) -> LabelSet:
    if table:
        return table.scores.labels
    return read_card(path / CARD).label_set


def _contents(path: Path, table: PredictionTable | None) -> set[str]:
    """Return the SHA-256 of the images of a model; none where its table does not have them."""
    if table is None:
        return {row.sha256 for row in parts(path) if row.split == "test"}
    return set(table.sha256) if all(table.sha256) else set()


def _check_any_common(contents: Sequence[set[str]]) -> None:
    """Refuse models without an image in common.

    Args:
        contents: SHA-256 of the images of each model; where one has none, nothing is refused.

    Raises:
        DataError: ``no_common_images``.
    """
    if all(contents) and not set.intersection(*contents):
        raise nothing_common("content")


def _check_classes(labels_of: Mapping[str, LabelSet]) -> None:
    """Refuse models of different classes.

    Raises:
        DataError: ``other_classes``.
    """
    first = next(iter(labels_of.values()))
    for name, labels in labels_of.items():
        if set(labels) != set(first):
            raise DataError(
                "other_classes",
                f"Expected models of the same classes ({', '.join(first)}), but {name} has "
                f"{', '.join(labels)}; compare models of one task.",
            )


def on_common_images(
    models: Sequence[Compared],
) -> tuple[dict[str, Scores], dict[str, int]]:
    """Return the scores of the images that all models have, and how many others each one has.

    Images are the same where their SHA-256 is, or, unless all tables have it, their name.

    Raises:
        DataError: ``other_classes``; ``no_common_images``; ``two_labels`` for an image that has
            different labels; ``not_paired`` for one that has different patients.
    """
    _check_classes({model.name: model.table.scores.labels for model in models})
    by_content = all(all(model.table.sha256) for model in models)
    keys = [model.table.identities(by_content=by_content) for model in models]
    shared = set(keys[0]).intersection(*keys[1:])
    if not shared:
        raise nothing_common("content" if by_content else "name")
    order = [key for key in keys[0] if key in shared]
    scores = {}
    for model, of_model in zip(models, keys, strict=True):
        row_of = {key: row for row, key in enumerate(of_model)}
        rows = np.array([row_of[key] for key in order])
        scores[model.name] = _reordered(model.table.scores.only(rows), models[0].table.scores)
    _check_labels(scores)
    left_out = {
        model.name: len(of_model) - len(order) for model, of_model in zip(models, keys, strict=True)
    }
    return _with_patients(models, scores), left_out


def _reordered(scores: Scores, like: Scores) -> Scores:
    """Return scores with the classes in another table's order."""
    if scores.labels == like.labels:
        return scores
    columns = [scores.labels.target(label) for label in like.labels]
    places = np.argsort(columns)
    return dataclasses.replace(
        scores,
        labels=like.labels,
        targets=places[scores.targets],
        probabilities=scores.probabilities[:, columns],
    )


def _check_labels(scores: Mapping[str, Scores]) -> None:
    (first, of_first), *others = scores.items()
    for name, of_other in others:
        differing = np.flatnonzero(of_first.targets != of_other.targets)
        if len(differing):
            files = (for_terminal(of_first.files[row]) for row in differing)
            raise DataError(
                "two_labels",
                f"Expected one label per image, but {len(differing)} have another in {name} than "
                f"in {first}: {listing(files)}; compare models of the same labels.",
            )


def _with_patients(models: Sequence[Compared], scores: Mapping[str, Scores]) -> dict[str, Scores]:
    """Return the scores under one naming of files and patients: of a table that has patients."""
    naming = next((model for model in models if model.table.has_patients), models[0])
    patients, files = scores[naming.name].patients, scores[naming.name].files
    for model in models:
        if model.table.has_patients and scores[model.name].patients != patients:
            raise DataError(
                "not_paired",
                f"Expected the same patients in all tables, but {model.name} has others than "
                f"{naming.name}; make both tables of one manifest.",
            )
    return {
        name: dataclasses.replace(of_model, patients=patients, files=files)
        for name, of_model in scores.items()
    }


def _write(out: Path, content: Mapping[str, Any], evaluations: Mapping[str, Evaluation]) -> None:
    pairs = content["comparisons"]
    write_json(out / "report.json", content)
    caption = f"Differences on {content['images']} images; 95 % intervals by patient in brackets"
    tables.write_table(out / "compare", tables.pairs_table(pairs, caption))
    tables.write_table(out / "compare_auroc", tables.delong_table(pairs, f"AUROC. {caption}"))
    models = tables.models_table(evaluations, "The models on the same images")
    tables.write_table(out / "models", models)
    names = [f"{_short(pair['b'])} less\n{_short(pair['a'])}" for pair in pairs]
    panels = [
        Panel(title, [Estimate.from_dict(pair[key]) for pair in pairs], line=0.0)
        for key, title in (
            ("accuracy_b_minus_a", "accuracy gained, points [95 %]"),
            ("auroc_b_minus_a", "macro AUROC gained, points [95 %]"),
        )
    ]
    dot_panels(out / "figures" / "differences.png", names, panels, "What one gains on another")
    dot_panels(out / "figures" / "differences", names, panels)
    write_text(
        out / "report.md", render("comparison.md.j2", content=content, evaluations=evaluations)
    )


def _short(name: str) -> str:
    return name if len(name) <= _REPORT else f"…{name[1 - _REPORT :]}"
