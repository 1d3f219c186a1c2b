"""The paper's study: two archives in, four models, one table and its figures out.

The archives give Dataset_0 and Dataset_1, which are split. Model_0 is trained, then Models 1, 2 and
3. Their scores on the test part make the report. Each model is a run folder of its own. So a study
that was stopped goes on with the first thing that is not done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.damaged import DAMAGED_FILE, damaged_line
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.loading import indexed, notices_of
from cxr_transfer.datasets.paper import Dataset, dataset_0, dataset_1, pretraining_cases
from cxr_transfer.datasets.phantom import write_phantom
from cxr_transfer.datasets.splits import folds, patient_overlap, split
from cxr_transfer.errors import Notice, UsageError
from cxr_transfer.evaluation import report
from cxr_transfer.models.metadata import CARD, WEIGHTS
from cxr_transfer.progress import Show
from cxr_transfer.runs.run_folder import recorded_accesses
from cxr_transfer.statistics.temperature import score_scale
from cxr_transfer.studies.folds import by_fold, pooled
from cxr_transfer.studies.paper_publication import study_flow, write_and_publish
from cxr_transfer.studies.plan import MODELS, PHANTOM, Study, phantom_pixels
from cxr_transfer.studies.progress import REPORT, StudyProgress, plan
from cxr_transfer.studies.refusals import check_model_0, check_runs, check_used, check_weights
from cxr_transfer.studies.scored_run import scored_run
from cxr_transfer.training.device import (
    DEFAULT,
    Execution,
    resolve_device,
    resolve_precision,
)
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import load_recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.settings import check_settings
from cxr_transfer.training.tensors import ImageTensors, load_tensors

Log = Callable[[str], None]


def run_study(
    data: str,
    out: Path,
    study: Study,
    *,
    execution: Execution = DEFAULT,
    weights: Path | None = None,
    model_0: Path | None = None,
    log: Log = lambda line: None,
    show: Show = lambda progress: None,
) -> dict[str, Any]:
    """Run ``study`` on the archives at ``data`` into ``out``, and write its report.

    Args:
        data: Folder with the archives, or `PHANTOM`.
        out: Study folder, owned by the caller (`files.owned`).
        study: Settings of the study.
        execution: Settings of device, processes and progress.
        weights: ImageNet weights file for Model_3, where they are not at hand.
        model_0: Trained Model_0 to transfer from, instead of training one.
        log: Function that gets a line on what happens.
        show: Function that gets the progress, many times.

    Returns:
        Content of ``out/report.json``.

    Raises:
        UsageError: ``unused_option`` for weights or a Model_0 that no model is made of.
        CxrError: What any of its steps raises.
    """
    provenance.commit()  # Asked now and kept: the source may change while this process runs.
    study = study.on(data)
    check_used(study, weights, model_0)
    left_out = check_weights(study, weights)
    models = _models(study, out, left_out, model_0=model_0)
    recipes = {
        name: load_recipe(name).limited(study.max_epochs).sized(study.input_size) for name in models
    }
    begin: dict[str, dict[str, Any]] = {
        name: {"seed": study.seed, "execution": execution} for name in models
    }
    if "model_3" in models:
        begin["model_3"]["weights"] = weights
    check_runs(recipes, begin, model_0)
    archives = read_archives(_data_folder(data, out, study, log))
    for notice in notices_of(archives):
        log(Notice(notice))
    generated = any(archive.generated for archive in archives)
    if generated:
        log(Notice("the images are generated: they show no patient"))
    # The models share one preprocessing, and the two data sets images: hence one decoding.
    records = Records(*(recipe.preprocessing for recipe in recipes.values()))
    target = dataset_1(archives)
    pretraining = dataset_0(archives) if "model_0" in models else None
    progress = plan(study, recipes, target, pretraining, show)
    execution = dataclasses.replace(execution, progress=progress.within, is_one_of_many=True)
    for name in begin:
        begin[name]["execution"] = execution
    target = _indexed(target, study, progress, log, records)
    parts = _parts(target, study, log)
    if model_0:
        for part in parts:
            check_model_0(model_0, part, study)
    # Only what decides the parts and the runs: models may be added to a study later, and each run
    # checks the hash of its data itself.
    fixed = ("split", "folds", "seed", "pretraining", "max_epochs", "input_size")
    device = resolve_device(execution.device)
    precision = resolve_precision(execution.precision, device)
    check_settings(out, {name: getattr(study, name) for name in fixed} | {"precision": precision})
    for name, why in left_out.items():
        log(Notice(f"{name} is left out: {why}"))
    run = _Running(study, out, recipes, begin, execution, progress, log)
    rows: dict[str, report.Row] = {}
    if pretraining:
        model_0, rows["model_0"] = run.pretrain(pretraining, target, records)
    each_fold = run.train(target, parts, model_0, records)
    rows |= {name: pooled(fold_rows) for name, fold_rows in each_fold.items()}
    content = _content(study, out, target, pretraining, parts, each_fold, tuple(rows)) | {
        "generated_images": generated,
        "device": device,
        "precision": precision,
        "left_out": left_out,
        "flow": study_flow(archives, target, parts),
    }
    progress.begin(REPORT)
    return write_and_publish(out, content, rows)


def _content(
    study: Study,
    out: Path,
    target: Dataset,
    pretraining: Dataset | None,
    parts: Sequence[Dataset],
    each_fold: Mapping[str, Sequence[report.Row]],
    models: Sequence[str],
) -> dict[str, Any]:
    """Return what stands in ``report.json`` of the study, its data and where it ran."""
    return {
        "split": study.split,
        "folds": study.folds,
        "fold_by_fold": {name: by_fold(rows) for name, rows in each_fold.items()}
        if study.folds
        else {},
        "seed": study.seed,
        "resamples": study.resamples,
        "pretraining": study.pretraining,
        "max_epochs": study.max_epochs,
        "input_size": study.input_size,
        "data_hash": data_hash(target.cases),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "datasets": {"dataset_1": target.counts()}
        | ({"dataset_0": pretraining.counts()} if pretraining else {}),
        "damaged_files": len(target.damaged),
        "patients_in_two_parts": max(patient_overlap(part) for part in parts),
        "test_set_accesses": {name: recorded_accesses(out / name) for name in models}
        if not study.folds
        else {},
    }


@dataclass(frozen=True)
class _Running:
    """A study whose models can be run: everything that was to be checked is checked."""

    study: Study
    out: Path
    recipes: Mapping[str, Recipe]
    begin: Mapping[str, dict[str, Any]]
    execution: Execution
    progress: StudyProgress
    log: Log

    def pretrain(
        self, dataset: Dataset, target: Dataset, shared: Records
    ) -> tuple[Path, report.Row]:
        """Train Model_0; return its run folder and its row of the table."""
        log, study = self.log, self.study
        recipe = self.recipes["model_0"]
        records = Records(recipe.preprocessing, shared=shared)
        dataset = _indexed(dataset, study, self.progress, log, records)
        log(f"Dataset_0: {_counts(dataset)}")
        if study.pretraining == "clean":
            dataset = pretraining_cases(dataset, target)
            log(f"Model_0 sees no patient of Dataset_1: {_counts(dataset)} are left")
        # Always by patient: the paper says nothing of Dataset_0's parts, and this one is not
        # compared with it.
        dataset = split(dataset, by="patient", seed=study.seed)
        tensors = load_tensors(dataset.cases, recipe.preprocessing, dataset.labels, records=records)
        self.progress.begin("model_0")
        folder = run_recipe(
            recipe, dataset, tensors, self.out / "model_0", log=log, **self.begin["model_0"]
        )
        return folder, self._row(folder, dataset, tensors)

    def train(
        self, target: Dataset, parts: Sequence[Dataset], model_0: Path | None, records: Records
    ) -> dict[str, list[report.Row]]:
        """Train Model_1 to Model_3 on each split; return their rows, one per fold."""
        rows: dict[str, list[report.Row]] = {
            name: [] for name in MODELS[1:] if name in self.recipes
        }
        if not rows:
            return rows
        # Model_1 to Model_3 share one preprocessing.
        preprocessing = self.recipes[next(iter(rows))].preprocessing
        tensors = load_tensors(target.cases, preprocessing, target.labels, records=records)
        number_of = self.study.folds
        for number, part in enumerate(parts, start=1):
            place = self.out / f"fold_{number}" if number_of else self.out
            for name, fold_rows in rows.items():
                title = f"fold {number} of {number_of}: {name}" if number_of else name
                if number_of:
                    self.log(title)
                self.progress.begin(title)
                recipe = self.recipes[name]
                start = model_0 if recipe.initial == "model_0" else None
                folder = run_recipe(
                    recipe,
                    part,
                    tensors,
                    place / name,
                    start=start,
                    log=self.log,
                    **self.begin[name],
                )
                fold_rows.append(self._row(folder, part, tensors))
        return rows

    def _row(self, folder: Path, dataset: Dataset, tensors: ImageTensors) -> report.Row:
        return _evaluate(folder, dataset, tensors, self.study, self.execution, out=self.out)


def _parts(target: Dataset, study: Study, log: Log) -> tuple[Dataset, ...]:
    """Return Dataset_1 with its parts: once, or for each fold."""
    if study.folds:
        parts = folds(target, study.folds, by=study.split, seed=study.seed)
    else:
        parts = (split(target, by=study.split, seed=study.seed),)
    log(
        f"Dataset_1: {_counts(target)}, split by {study.split}"
        f"{f' into {study.folds} folds' if study.folds else ''}, data "
        f"{data_hash(target.cases)[:12]}"
    )
    return parts


def _models(
    study: Study, out: Path, left_out: dict[str, str], *, model_0: Path | None
) -> tuple[str, ...]:
    """Return what is run, in order: what is asked, what it needs, and what was done here before."""
    places = (out, out / "fold_1")
    done = {name for name in MODELS if any((at / name / CARD).is_file() for at in places)}
    wanted = (set(study.models) | done) - set(left_out)
    if "model_2" in wanted:
        wanted.add("model_0")
    if model_0:
        wanted.discard("model_0")
    if not wanted:
        raise UsageError("no_models", "Expected a model to run, but all of them are left out.")
    return tuple(name for name in MODELS if name in wanted)


def _data_folder(data: str, out: Path, study: Study, log: Log) -> Path:
    if data != PHANTOM:
        return Path(data)
    log("drawing generated images (they show no patient)")
    write_phantom(out / PHANTOM, seed=study.seed, pixels=phantom_pixels(study))
    return out / PHANTOM


def _indexed(
    dataset: Dataset, study: Study, progress: StudyProgress, log: Log, records: Records
) -> Dataset:
    step = progress.count(f"reading {dataset.name}", len(dataset.cases))
    readable = indexed(dataset, step, skip_damaged=study.skip_damaged, records=records)
    if readable.damaged:
        where = f"{DAMAGED_FILE} of each run folder"
        log(Notice(f"{dataset.name}: {damaged_line(readable.damaged, where)}"))
    return readable


def _evaluate(
    folder: Path,
    dataset: Dataset,
    tensors: ImageTensors,
    study: Study,
    execution: Execution,
    *,
    out: Path,
) -> report.Row:
    device = resolve_device(execution.device)
    run = scored_run(folder, dataset, tensors, command="study", device=device, timed=True)
    return report.Row(
        scores=run.scores,
        ms_per_image=run.ms_per_image,
        checkpoint=(folder.relative_to(out) if folder.is_relative_to(out) else folder).as_posix()
        + f"/{WEIGHTS}",
        weights_sha256=run.checkpoint.weights_sha256,
        history=folder / "history.csv",
        resamples=study.resamples,
        seed=study.seed,
        score_scale=score_scale(run.temperature),
    )


def _counts(dataset: Dataset) -> str:
    counts = dataset.counts()
    numbers = " / ".join(str(number) for number in counts.values())
    return f"{sum(counts.values())} images = {numbers} {' / '.join(counts)}"
