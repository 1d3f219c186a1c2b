"""Cross-validation on a person's own images: every image scored by models that never met it.

Images are opened once, and parted into folds by patient. In each fold a run is made for each
recipe and seed. The validation part chooses among the recipes, and the chosen one alone scores the
test part. Each run has a folder of its own, so that a cross-validation that was stopped goes on
with the first run that is not done. Which figures are made of the scores: ``fold_report``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.datasets.damaged import DAMAGED_FILE, damaged_line, write_damaged
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import check_folds, check_number, folds
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import fingerprint
from cxr_transfer.progress import Show
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.studies.cluster_runs import Training, away, is_trained, run_on_cluster
from cxr_transfer.studies.finding_fold_report import (
    FindingFold,
    scored_finding_fold,
    write_finding_folds,
)
from cxr_transfer.studies.fold_report import Fold, scored_fold, write_cross_validation
from cxr_transfer.studies.one_recipe import TrainingPlan, open_data, say_notices
from cxr_transfer.studies.progress import REPORT, StudyProgress, plan_runs
from cxr_transfer.studies.recipe_choice import best_recipe, validation_figures
from cxr_transfer.text import for_terminal
from cxr_transfer.training.device import resolve_device, resolve_precision
from cxr_transfer.training.recipe import NO_CHECKPOINT, Recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.settings import check_settings
from cxr_transfer.training.start import check_run
from cxr_transfer.training.tensors import ImageTensors, load_tensors

Log = Callable[[str], None]


@dataclass(frozen=True)
class Protocol:
    """Settings of a cross-validation.

    Attributes:
        folds: Number of folds.
        seeds: Number of runs of each fold, with the plan's seed and those after it.
        others: Recipes among which, with the plan's own, each fold's validation part chooses.
        resamples: Number of resamples of the bootstrap.
    """

    folds: int
    seeds: int = 1
    others: tuple[Recipe, ...] = ()
    resamples: int = 2000

    def __post_init__(self) -> None:
        check_number(self.folds)
        if self.seeds < 1:
            raise UsageError(
                "seeds", f"Expected at least 1 seed, but got {self.seeds}; 3 is usual."
            )


def cross_validate(
    plan: TrainingPlan,
    protocol: Protocol,
    data: Path,
    out: Path,
    *,
    log: Log = lambda line: None,
    show: Show = lambda progress: None,
) -> dict[str, Any]:
    """Cross-validate the recipe of ``plan`` on ``data`` into ``out``, and write the report.

    Args:
        plan: Plan with recipe, data and execution.
        protocol: Settings of folds, seeds, and recipes to choose among.
        data: Manifest (.csv), folder per class, or archives.
        out: Folder, owned by the caller (`own_folder.lock_folder`).
        log: Function that is told what happens.
        show: Function that gets the progress, many times.

    Returns:
        Content of ``out/report.json``.

    Raises:
        UsageError: ``unused_option``, ``other_recipes``, ``other_run``; what `check_run` raises.
        DataError: ``parts_given``, ``too_few``, ``seen_images``; what `open_dataset` raises.
        CxrError: What a run raises.
    """
    provenance.commit()  # Asked now and kept: the source may change while this process runs.
    recipes = _candidates(plan, protocol)
    runs = _Runs(plan, protocol, recipes, out)
    records = Records(*(recipe.preprocessing for recipe in recipes.values()))
    begun: list[tuple[Dataset, StudyProgress, Callable[[], None]]] = []

    def before(listed: Dataset) -> None:
        _check(runs, listed)
        say_notices(plan, listed, log)
        begun.append((listed, *plan_runs(len(listed.cases), runs.to_do(), show)))

    dataset = open_data(plan, data, records, before=before, on_image=lambda: begun[0][2]())
    listed, progress, _ = begun[0]
    if dataset.damaged:
        log(damaged_line(dataset.damaged, str(out / DAMAGED_FILE)))
    parts = folds(dataset, protocol.folds, by=plan.split_by, seed=plan.seed)
    _check_start(plan, dataset, by_image=True)
    _check_folder(plan, protocol, dataset, out)
    write_damaged(out, dataset.damaged)
    tensors = {
        preprocessing: load_tensors(dataset.cases, preprocessing, dataset.labels, records=records)
        for preprocessing in dict.fromkeys(recipe.preprocessing for recipe in recipes.values())
    }
    done = []
    ended = _on_cluster(runs, parts, tensors, progress) if plan.execution.cluster else set()
    for number, part in enumerate(parts, start=1):
        for run in runs.of_fold(number):
            if run.title not in ended:
                progress.begin(run.title)
            begin = runs.begin(run.recipe) | {
                "seed": run.seed,
                "execution": dataclasses.replace(
                    plan.execution, progress=progress.within, is_one_of_many=True
                ),
            }
            images = tensors[run.recipe.preprocessing]
            run_recipe(run.recipe, part, images, run.folder, log=log, **begin)
        done.append(runs.scored(number, part, tensors))
        if protocol.others:
            log(f"fold {number}: the validation part chose {done[-1].chosen.name}")
    progress.begin(REPORT)
    write: Any = write_cross_validation if dataset.labels.exclusive else write_finding_folds
    report: dict[str, Any] = write(
        *(out, _content(runs, dataset), done),
        listed=listed,
        resamples=protocol.resamples,
        seed=plan.seed,
    )
    return report


def _on_cluster(
    runs: _Runs,
    parts: Sequence[Dataset],
    tensors: Mapping[Preprocessing, ImageTensors],
    progress: StudyProgress,
) -> set[str]:
    """Do on a cluster what is not done; return the titles of the runs that ended there."""
    execution = away(runs.plan.execution)
    works = [
        Training(
            run.title,
            run.recipe,
            part,
            None,
            run.folder,
            runs.begin(run.recipe) | {"seed": run.seed, "execution": execution},
        )
        for number, part in enumerate(parts, start=1)
        for run in runs.of_fold(number)
        if not run.is_done
    ]
    return run_on_cluster(runs.plan.execution, works, tensors, done=progress.begin)


@dataclass(frozen=True)
class _Run:
    """A run of a cross-validation, done or not."""

    title: str
    recipe: Recipe
    seed: int
    folder: Path

    @property
    def is_done(self) -> bool:
        return is_trained(self.folder)


@dataclass(frozen=True)
class _Runs:
    """All runs of a cross-validation, done or not."""

    plan: TrainingPlan
    protocol: Protocol
    recipes: Mapping[str, Recipe]
    out: Path

    @property
    def seeds(self) -> range:
        return range(self.plan.seed, self.plan.seed + self.protocol.seeds)

    def of_fold(self, number: int) -> list[_Run]:
        """Return the runs of a fold in their order: recipe by recipe, seed by seed."""
        return [
            _Run(
                title=f"fold {number} of {self.protocol.folds}: {name}, seed {seed}",
                recipe=recipe,
                seed=seed,
                folder=self.out / f"fold_{number}" / name / f"seed_{seed}",
            )
            for name, recipe in self.recipes.items()
            for seed in self.seeds
        ]

    def to_do(self) -> dict[str, Recipe | None]:
        """Return the recipe of every run by its title; None for one that is done."""
        numbers = range(1, self.protocol.folds + 1)
        runs = (run for number in numbers for run in self.of_fold(number))
        return {run.title: None if run.is_done else run.recipe for run in runs}

    def begin(self, recipe: Recipe) -> dict[str, Any]:
        """Return what a run of a recipe begins with: a start goes to the recipes that want one.

        Where none of them does, every recipe gets it, and is refused with it.
        """

        def wanted(path: Path | None, wants: Callable[[Recipe], bool]) -> Path | None:
            return path if wants(recipe) or not any(map(wants, self.recipes.values())) else None

        return self.plan.begin | {
            "start": wanted(self.plan.start, lambda choice: choice.initial not in NO_CHECKPOINT),
            "weights": wanted(
                self.plan.weights, lambda choice: choice.initial in ("imagenet", "file")
            ),
        }

    def scored(
        self, number: int, part: Dataset, tensors: Mapping[Preprocessing, ImageTensors]
    ) -> Fold | FindingFold:
        """Choose the recipe of a fold by its validation part, and score its test part with it."""
        folders: dict[str, list[Path]] = {name: [] for name in self.recipes}
        for run in self.of_fold(number):
            folders[run.recipe.name].append(run.folder)
        figures = {name: validation_figures(runs, part.labels) for name, runs in folders.items()}
        chosen = self.recipes[best_recipe(figures)]
        images = tensors[chosen.preprocessing]
        device = resolve_device(self.plan.execution.device)
        scored = scored_fold if part.labels.exclusive else scored_finding_fold
        return scored(number, part, chosen, figures, folders[chosen.name], images, device)


def _candidates(plan: TrainingPlan, protocol: Protocol) -> dict[str, Recipe]:
    """Return the recipes by name, with what the person says of labels.

    Raises:
        UsageError: ``other_recipes`` for recipes of one name, or of other images; ``unused_option``
            for what a cross-validation does not do.
    """
    if plan.execution.processes > 1:
        raise UsageError(
            "unused_option",
            f"Expected one process for a cross-validation, but got {plan.execution.processes}; "
            "leave --devices and --num-nodes out.",
        )
    if plan.sources:
        raise UsageError(
            "unused_option",
            "Expected --add-source without --folds, since what a source brings is measured on one "
            "test part; leave out one of them.",
        )
    recipes: dict[str, Recipe] = {}
    for recipe in (plan.recipe, *protocol.others):
        if recipe.name in recipes:
            raise UsageError(
                "other_recipes",
                f"Expected recipes of different names to choose among, but two are called "
                f"{recipe.name}; give one of them another name.",
            )
        if _images_of(recipe) != _images_of(plan.recipe):
            raise UsageError(
                "other_recipes",
                f"Expected recipes for the same images to choose among, but {recipe.name} has "
                f"another dataset or other [labels] than {plan.recipe.name}; give both the same.",
            )
        recipes[recipe.name] = recipe.relabelling(plan.mapping)
    return recipes


def _images_of(recipe: Recipe) -> tuple[str, dict[str, str]]:
    """Return what of a recipe decides its images and their classes."""
    return recipe.dataset or "dataset_1", recipe.labels  # to own images both are the same


def _check(runs: _Runs, dataset: Dataset) -> None:
    """Refuse what can be refused before an image is opened."""
    for recipe in runs.recipes.values():
        check_run(recipe, dataset.labels, **runs.begin(recipe))
    check_folds(dataset, runs.protocol.folds, by=runs.plan.split_by)
    _check_start(runs.plan, dataset, by_image=False)


def _check_start(plan: TrainingPlan, dataset: Dataset, *, by_image: bool) -> None:
    """Refuse a start that has seen images or patients on which its runs would be tested.

    Raises:
        DataError: ``seen_images``.
    """
    if plan.start is None:
        return
    seen = load_checkpoint(plan.start)[0].seen
    patients, images = (set(seen.get(key, ())) for key in ("patients", "images"))
    met = sum(
        fingerprint(case.patient) in patients or (by_image and fingerprint(case.pixels) in images)
        for case in dataset.cases
    )
    if met:
        raise DataError(
            "seen_images",
            f"Expected a start that has seen none of these images, since each of them is tested, "
            f"but {plan.start} has seen {met} of {len(dataset.cases)} (by image or patient); give "
            "another start, or leave these images out.",
        )


def _check_folder(plan: TrainingPlan, protocol: Protocol, dataset: Dataset, out: Path) -> None:
    """Refuse a folder of other folds; recipes and seeds may be added later.

    Raises:
        UsageError: ``other_run``.
    """
    precision = resolve_precision(plan.execution.precision, resolve_device(plan.execution.device))
    check_settings(
        out,
        {
            "folds": protocol.folds,
            "split": plan.split_by,
            "seed": plan.seed,
            "precision": precision,
            "labels": list(dataset.labels),
            "data_hash": data_hash(dataset.cases),
        },
    )


def _content(runs: _Runs, dataset: Dataset) -> dict[str, Any]:
    """Return what stands in ``report.json`` of the protocol, the data and where it ran."""
    execution = runs.plan.execution
    device = resolve_device(execution.device)
    return {
        "recipes": {name: recipe.model_dump(mode="json") for name, recipe in runs.recipes.items()},
        "folds": runs.protocol.folds,
        "seeds": list(runs.seeds),
        "seed": runs.plan.seed,
        "split": runs.plan.split_by,
        "resamples": runs.protocol.resamples,
        "labels": list(dataset.labels),
        "data": for_terminal(dataset.name),
        "data_hash": data_hash(dataset.cases),
        "damaged_files": len(dataset.damaged),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "device": device,
        "precision": resolve_precision(execution.precision, device),
    }
