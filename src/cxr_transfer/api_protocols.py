"""Protocols as public functions: cross-validation, external validation, and a comparison.

Each does what a command does, through the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.api import (
    Log,
    PathLike,
    Report,
    path_of,
    reported,
    subject_of,
)
from cxr_transfer.datasets.splits import SplitBy
from cxr_transfer.errors import check_list, check_seed, check_whole
from cxr_transfer.own_folder import lock_folder


def cross_validate(
    recipe: PathLike,
    data: PathLike,
    *,
    out: PathLike,
    folds: int = 5,
    seeds: int = 1,
    choose: Sequence[PathLike] = (),
    labels: Mapping[str, str] | None = None,
    split_by: SplitBy = "patient",
    seed: int = 0,
    start: PathLike | None = None,
    weights: PathLike | None = None,
    max_epochs: int | None = None,
    network: str | None = None,
    overrides: Mapping[str, object] | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    precision: str = "auto",
    cluster: str | None = None,
    workers: int = 2,
    log: Log = lambda line: None,
) -> Report:
    """Cross-validate a recipe on own images; the same call goes on where it was stopped.

    Args:
        recipe: Name of a recipe of the package ("model_1", ...), or path of one (.toml).
        data: Folder with a sub-folder per class, manifest (.csv), or folder with the public
            archives.
        out: Folder of the cross-validation, made where it is absent.
        folds: Number of folds.
        seeds: Number of runs of each fold, with ``seed`` and the seeds after it; the mean of their
            calibrated scores is evaluated.
        choose: Other recipes; in each fold the validation part chooses among all of them.
        labels: Label of the data to class; "" as a class leaves its images out.
        split_by: Unit that stays together in a fold: "patient", or "image" as in the paper.
        seed: Random seed of the folds; the first one of weights, order and dropout.
        start: Checkpoint that the recipe starts from, where it starts from one.
        weights: File with weights, where the recipe starts from one.
        max_epochs: Number of epochs at which every stage is cut short.
        network: Name of an architecture, in place of that of ``recipe``.
        overrides: Values of keys of ``recipe`` by their paths, as `train` takes them; the recipes
            of ``choose`` stay as they are.
        skip_damaged: Whether to leave out files that cannot be read.
        device: Device: "auto", "cpu", "cuda" or "mps".
        precision: Precision: "auto", "float32" or "bfloat16".
        cluster: Ray cluster that does many runs at a time: "local" starts one here, "auto" or an
            address is one that runs; None does them here, one after the other.
        workers: Number of runs at a time there, with a processor each.
        log: Function that is told what happens, a line at a time.

    Returns:
        The content of ``report.json``; as a table, a row per fold.

    Raises:
        TypeError: An argument is of another type.
        CxrError: What `cxr train --folds` says; see its codes.
    """
    from cxr_transfer.studies.cross_validation import Protocol
    from cxr_transfer.studies.cross_validation import cross_validate as run
    from cxr_transfer.studies.one_recipe import TrainingPlan
    from cxr_transfer.training.device import Cluster, Execution
    from cxr_transfer.training.recipe_files import load_recipe

    check_list(choose, "recipes")
    check_seed(seed)
    for name, number in (("folds", folds), ("seeds", seeds)):
        check_whole(number, name)
    changed = dict(overrides or {}) | ({} if network is None else {"network": network})
    first = load_recipe(str(path_of(recipe, "recipe")), changed).limited(max_epochs)
    others = tuple(
        load_recipe(str(path_of(other, "recipe"))).limited(max_epochs) for other in choose
    )
    plan = TrainingPlan(
        recipe=first,
        mapping=labels or {},
        split_by=split_by,
        skip_damaged=skip_damaged,
        seed=seed,
        execution=Execution(
            device=device, precision=precision, cluster=Cluster.named(cluster, workers)
        ),
        start=None if start is None else path_of(start, "start"),
        weights=None if weights is None else path_of(weights, "weights"),
    )
    protocol = Protocol(folds=folds, seeds=seeds, others=others)
    source, folder = path_of(data, "data"), path_of(out, "out")
    with lock_folder(folder):
        content = run(plan, protocol, source, folder, log=log)
    text = (folder / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    rows = [_flat({**fold, "runs": len(fold["runs"])}) for fold in content["fold_by_fold"]]
    return Report(content, text, rows, folder)


def validate(
    recipe: PathLike,
    data: PathLike,
    *,
    out: PathLike,
    labels: Mapping[str, str] | None = None,
    seed: int = 0,
    start: PathLike | None = None,
    weights: PathLike | None = None,
    max_epochs: int | None = None,
    overrides: Mapping[str, object] | None = None,
    saw: PathLike | None = None,
    description: PathLike | None = None,
    resamples: int = 2000,
    skip_damaged: bool = False,
    device: str = "auto",
    precision: str | None = None,
    cluster: str | None = None,
    workers: int = 2,
    log: Log = lambda line: None,
) -> Report:
    """Judge a recipe or a model at the next hospital: in each source that holds two classes.

    A recipe is trained without each source in turn, and then meets it; the same call goes on where
    it was stopped. A model, or a table of scores, is judged as it is.

    Args:
        recipe: Name of a recipe of the package ("multi_source", ...), or path of one (.toml); or a
            model or a table of scores, as `audit` takes it ("released:NAME" for a released one).
        data: Folder with the public archives, manifest (.csv) with sources, or folder with a
            sub-folder per class.
        out: Report folder, made where it is absent.
        labels: Label of the data to class; "" as a class leaves its images out.
        seed: Random seed of the parts, of weights, order and dropout, and of the bootstrap.
        start: Checkpoint that the recipe starts from, where it starts from one.
        weights: File with weights, where the recipe starts from one.
        max_epochs: Number of epochs at which every stage is cut short.
        overrides: Values of keys of the recipe by their paths, as `train` takes them.
        saw: For a model or a table: table (.csv) of images that it was trained on, with a column
            ``path``, ``sha256``, ``pixels`` or ``patient``; they are left out.
        description: Description (.toml) of a model of another tool; None looks beside its file.
        resamples: Number of resamples of the bootstrap by patient.
        skip_damaged: Whether to leave out files that cannot be read.
        device: Device: "auto", "cpu", "cuda" or "mps".
        precision: Precision of a recipe: "auto" (also None), "float32" or "bfloat16".
        cluster: Ray cluster that does many runs at a time: "local" starts one here, "auto" or an
            address is one that runs; None does them here, one after the other.
        workers: Number of runs at a time there, with a processor each.
        log: Function that is told what happens, a line at a time.

    Returns:
        The content of ``validation.json``; as a table, a row per source, the worst one first.

    Raises:
        TypeError: An argument is of another type.
        DataError: ``one_source``, ``no_source_to_leave_out``.
        CxrError: What `cxr validate` says; see its codes.
    """
    from cxr_transfer.studies.external_model import ModelValidation, validate_model
    from cxr_transfer.studies.external_validation import validate_recipe
    from cxr_transfer.studies.one_recipe import TrainingPlan
    from cxr_transfer.studies.refusals import check_validated, kind_validated
    from cxr_transfer.training.device import Cluster, Execution
    from cxr_transfer.training.recipe_files import load_recipe

    check_seed(seed)
    check_whole(resamples, "resamples")
    judged = subject_of(recipe, "recipe")
    source, folder = path_of(data, "data"), path_of(out, "out")
    table = None if saw is None else path_of(saw, "saw")
    kind = kind_validated(judged)
    options = {"--from": start, "--weights": weights, "--saw": saw, "--max-epochs": max_epochs}
    options |= {"--description": description}
    check_validated(kind, options | {"-o": overrides, "--precision": precision})
    if kind == "recipe":
        plan = TrainingPlan(
            recipe=load_recipe(judged, overrides or {}).limited(max_epochs),
            mapping=labels or {},
            skip_damaged=skip_damaged,
            seed=seed,
            execution=Execution(
                device=device,
                precision=precision or "auto",
                cluster=Cluster.named(cluster, workers),
            ),
            start=None if start is None else path_of(start, "start"),
            weights=None if weights is None else path_of(weights, "weights"),
        )
        with lock_folder(folder):
            content = validate_recipe(plan, source, folder, resamples=resamples, log=log)
    else:
        asked = ModelValidation(
            model=judged,
            data=source,
            mapping=labels or {},
            saw=table,
            skip_damaged=skip_damaged,
            device=device,
            description=None if description is None else path_of(description, "description"),
            resamples=resamples,
            seed=seed,
        )
        with lock_folder(folder):
            content = validate_model(asked, folder, log=log)
    text = (folder / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    return Report(content, text, list(map(_source_row, content["sources"])), folder)


def _source_row(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a source in one row."""
    from cxr_transfer.studies.external_figures import POINTS, point_of

    row = {name: figures[name] for name in ("source", "images", "patients", "auroc_macro")}
    for label, area in figures["auroc"].items():
        row[f"auroc_{label}"] = area or {}  # no cell where a source has too few images of it
        for measured in POINTS:
            row[f"{measured}_{label}"] = point_of(figures, label, measured) or {}
    abstention = figures["abstention"]
    row |= {"without_class": abstention["without_class"], "accuracy": abstention["accuracy"] or {}}
    return _flat(row)


def compare(
    *models: PathLike,
    out: PathLike | None = None,
    device: str = "auto",
    seed: int = 0,
    on_images: Callable[[int], Callable[[], None]] = lambda number: lambda: None,
    log: Log = lambda line: None,
) -> Report:
    """Compare models on the images that all of them were tested on.

    Args:
        models: Run folders, cross-validation folders, evaluation folders, or tables of predictions
            (.csv) with the columns ``file``, ``label`` and ``score_CLASS``, or of findings
            ``probability_FINDING``; two or more.
        out: Report folder; None keeps no files.
        device: Device for runs that kept no predictions: "auto", "cpu", "cuda" or "mps".
        seed: Random seed of the bootstrap.
        on_images: Function that is told how many images are read, where any is; it gives a function
            that is called after every image.
        log: Function that is told what is left out.

    Returns:
        The content of ``report.json``; as a table, a row per pair (of several findings, per pair
        and finding) with McNemar's test, p adjusted by Holm's method, and the differences of
        accuracy and AUROC with their intervals.

    Raises:
        TypeError: A model is no path.
        UsageError: ``one_model`` for fewer than two, ``same_model`` for one that is given twice.
        DataError: ``no_common_images``, ``two_labels`` and ``other_classes`` for models of
            different images, labels or classes.
    """
    from cxr_transfer.studies.comparison import compare_models, distinct_names

    paths = [path_of(model, "model") for model in models]

    def into(folder: Path) -> dict[str, Any]:
        return compare_models(paths, folder, device=device, seed=seed, on_images=on_images, log=log)

    settings = {"comparison_of": distinct_names(paths)} if paths else {}
    return reported(into, out, settings, "report.md", _pairs)


def _pairs(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per pair of models; of several findings a row per pair and finding."""
    pairs = content["comparisons"]
    if content.get("task") != "multi_label":
        return list(map(_flat, pairs))
    return [
        {"a": pair["a"], "b": pair["b"], "finding": finding} | _flat(test)
        for pair in pairs
        for finding, test in pair["findings"].items()
    ]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with each estimate as three cells: NAME, NAME_low and NAME_high."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if not isinstance(value, Mapping):
            cells[name] = value
        elif "low" in value:
            cells |= {name if end == "value" else f"{name}_{end}": x for end, x in value.items()}
    return cells
