"""How many images are enough: the same recipes trained on ever more images, tested on the same.

The data give one test part by patient. Draws of each size come from all other images, and each
recipe is trained on each draw. Its scores on the test part give curves, a law and a report. Each
(recipe, size, draw) is a run folder; a study that was stopped goes on with those that are not done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.damaged import DAMAGED_FILE, damaged_line, write_damaged
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.draws import check_sizes
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.loading import indexed, open_dataset
from cxr_transfer.datasets.paper import Dataset, dataset_0, pretraining_cases
from cxr_transfer.datasets.phantom import NOTICE_FILE, write_phantom
from cxr_transfer.datasets.splits import split
from cxr_transfer.errors import DataError, Notice, UsageError
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import CARD, WEIGHTS, fingerprint
from cxr_transfer.progress import Show
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.studies.cluster_runs import away, run_on_cluster
from cxr_transfer.studies.curve_plan import (
    FROM_FILES,
    LearningCurve,
    curve_progress,
    keeping,
    pretrained_of,
    recipes_of,
    title_of,
)
from cxr_transfer.studies.curve_report import write_curve
from cxr_transfer.studies.curve_runs import CurveRuns, CurveWork, curve_runs, is_done, place_of
from cxr_transfer.studies.plan import PHANTOM, SMALLEST_PHANTOM
from cxr_transfer.studies.progress import StudyProgress
from cxr_transfer.training.device import (
    DEFAULT,
    Execution,
    resolve_device,
    resolve_precision,
)
from cxr_transfer.training.frozen_features import KeptActivations, fed_with_images
from cxr_transfer.training.memory import keep_freed_memory
from cxr_transfer.training.recipe import NO_CHECKPOINT, Recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.settings import check_settings
from cxr_transfer.training.start import check_run
from cxr_transfer.training.tensors import ImageTensors, load_tensors

Log = Callable[[str], None]


def run_learning_curve(
    data: str,
    out: Path,
    curve: LearningCurve,
    *,
    execution: Execution = DEFAULT,
    weights: Path | None = None,
    start: Path | None = None,
    log: Log = lambda line: None,
    show: Show = lambda progress: None,
) -> dict[str, Any]:
    """Measure ``curve`` on ``data`` into ``out``, and write its report.

    Args:
        data: Archives, a manifest (.csv), a folder per class, or `PHANTOM`.
        out: Study folder, owned by the caller (`own_folder.lock_folder`).
        curve: Sizes, recipes and draws.
        execution: Device, processes, progress.
        weights: ImageNet weights file, where the weights are not at hand.
        start: Checkpoint for the recipes that start from one, instead of training it.
        log: Function that is told what happens.
        show: Function that is given how far the study is, many times.

    Returns:
        The content of ``out/curve.json``.

    Raises:
        UsageError: What `recipes_of` and `pretrained_of` raise; ``other_run``.
        DataError: ``too_few_to_draw``; ``seen_images`` for a start that has seen patients of the
            data set.
        CxrError: What any of its steps raises.
    """
    provenance.commit()  # Asked now and kept: the source may change while this process runs.
    curve = curve.on(data)
    recipes, left_out = recipes_of(curve, weights)
    trained_first = pretrained_of(curve, recipes.values(), start)
    folder = _data_folder(data, out, curve, log)
    for name, why in left_out.items():
        log(Notice(f"{name} is left out: {why}"))
    measuring = _Measuring(curve, out, recipes, trained_first, execution, weights, start, log, show)
    measuring.read(folder)
    measuring.pretrain()
    measuring.run()
    measuring.progress.begin("writing the report")
    content = {
        "generated_images": (folder / NOTICE_FILE).is_file(),
        "left_out": left_out,
        "started_from": measuring.started_from,
        "device": resolve_device(execution.device),
        "precision": resolve_precision(execution.precision, resolve_device(execution.device)),
    }
    written = write_curve(out, curve, recipes, measuring.target, content)
    measuring.tidy()
    return written


class _Measuring:
    """A curve on its way: what is read of the data, and the checkpoints that runs start from."""

    target: Dataset
    pretraining: Dataset | None
    progress: StudyProgress

    def __init__(
        self,
        curve: LearningCurve,
        out: Path,
        recipes: Mapping[str, Recipe],
        trained_first: Mapping[str, Recipe],
        execution: Execution,
        weights: Path | None,
        start: Path | None,
        log: Log,
        show: Show,
    ) -> None:
        self.curve, self.out, self.recipes = curve, out, recipes
        self.execution, self.weights, self.log, self.show = execution, weights, log, show
        # What an earlier call trained is taken as it is: its images need not be read again.
        self.starts = {name: out / name for name in trained_first if _is_trained(out / name)}
        self.trained_first = {
            name: recipe for name, recipe in trained_first.items() if name not in self.starts
        }
        if start is not None:
            self.starts = {
                recipe.initial: start
                for recipe in recipes.values()
                if recipe.initial not in NO_CHECKPOINT
            }
        self.records = Records(
            *(
                recipe_there.preprocessing
                for recipe_there in (*recipes.values(), *trained_first.values())
            )
        )
        self.kept: list[KeptActivations] = []

    def read(self, folder: Path) -> None:
        """Refuse what can be refused, then decode every image once."""
        recipes, skip = list(self.recipes.values()), self.curve.skip_damaged
        self.pretraining = _pretraining(folder, self.trained_first) if self.trained_first else None
        steps: list[Callable[[], None]] = []
        target = open_dataset(
            folder,
            next((recipe.dataset for recipe in recipes if recipe.dataset), None),
            table=recipes[0].labels,
            skip_damaged=skip,
            before=lambda dataset_read: steps.append(self._planned(dataset_read)),
            on_image=lambda: steps[0](),
            records=self.records,
        )
        if target.damaged:
            self.log(damaged_line(target.damaged, str(self.out / DAMAGED_FILE)))
            write_damaged(self.out, target.damaged)
        self.target = split(target, seed=self.curve.seed)
        check_sizes(self.target, self.curve.sizes)
        fixed = {name: getattr(self.curve, name) for name in ("seed", "max_epochs", "input_size")}
        check_settings(self.out, {"learning_curve": data_hash(self.target.cases)} | fixed)
        counts = ", ".join(f"{number} {label}" for label, number in target.counts().items())
        tested = len(self.target.test)
        self.log(f"{target.name}: {counts}; {tested} of them in the test part, by patient")

    def _planned(self, dataset: Dataset) -> Callable[[], None]:
        """Check all before an image is opened; return what is called after each image."""
        for line in dataset.notices:
            self.log(Notice(line))
        begin: dict[str, Any] = {"seed": self.curve.seed, "execution": self.execution}
        for recipe in self.recipes.values():
            if recipe.initial not in self.trained_first:
                check_run(recipe, dataset.labels, **begin, **self._begin(recipe))
        for recipe in self.trained_first.values():
            if self.pretraining:
                check_run(recipe, self.pretraining.labels, **begin, **self._begin(recipe))
        for start in set(self.starts.values()):
            _check_unseen(start, dataset)
        check_sizes(split(dataset, seed=self.curve.seed), self.curve.sizes)
        pending = [
            (name, size, number)
            for size, number in self.curve.runs()
            for name in self.recipes
            if not is_done(place_of(self.out, name, size, number))
        ]
        self.progress = curve_progress(
            self.curve,
            self.recipes,
            self.trained_first,
            dataset,
            self.pretraining,
            pending,
            self.show,
        )
        # One line shows the whole study; hundreds of runs need no loggers' files beside theirs.
        self.execution = dataclasses.replace(
            self.execution,
            progress=self.progress.within,
            say_epochs=False,
            is_one_of_many=True,
            loggers=(),
        )
        return self.progress.count(f"reading {dataset.name}", len(dataset.cases))

    def _begin(self, recipe: Recipe) -> dict[str, Any]:
        """Return what a run of a recipe begins with."""
        return {
            "start": self.starts.get(recipe.initial),
            "weights": self.weights if recipe.initial in FROM_FILES else None,
        }

    def pretrain(self) -> None:
        """Train what others start from, on images of no patient of the curve."""
        if self.pretraining is None:
            return
        step = self.progress.count(f"reading {self.pretraining.name}", len(self.pretraining.cases))
        records = Records(*self.records.wanted.preprocessings, shared=self.records)
        read = indexed(
            self.pretraining, step, skip_damaged=self.curve.skip_damaged, records=records
        )
        dataset = split(pretraining_cases(read, self.target), seed=self.curve.seed)
        for name, recipe in self.trained_first.items():
            tensors = load_tensors(
                dataset.cases, recipe.preprocessing, dataset.labels, records=records
            )
            self.progress.begin(name)
            self.starts[name] = run_recipe(
                recipe,
                dataset,
                tensors,
                self.out / name,
                seed=self.curve.seed,
                execution=self.execution,
                log=self.log,
                **self._begin(recipe),
            )

    def run(self) -> None:
        """Run every recipe on every draw that is not done."""
        keep_freed_memory()  # one batch's activations lie where the last one's did
        runs: dict[str, CurveRuns] = {}
        tensors = {
            preprocessing: load_tensors(
                self.target.cases, preprocessing, self.target.labels, records=self.records
            )
            for preprocessing in self.records.wanted.preprocessings
        }
        for name, recipe in self.recipes.items():
            images, begin = tensors[recipe.preprocessing], self._begin(recipe)
            runs[name], network = curve_runs(
                self.out, recipe, self.target, images, begin, self.execution, self.curve.seed
            )
            kept = runs[name].kept
            self.kept.append(kept)
            places = [place_of(self.out, name, *run) for run in self.curve.runs()]
            parts = fed_with_images(network, [stage.train for stage in recipe.stages])
            if parts and not all(map(is_done, places)):
                step = self.progress.count(keeping(name), len(images))
                for part in parts:
                    kept.prepare(part, on_image=step)
        if self.execution.cluster:
            self._run_on_cluster(tensors)
        for size, number in self.curve.runs():
            for name, runs_of_recipe in runs.items():
                if not is_done(place_of(self.out, name, size, number)):
                    self.progress.begin(title_of(name, size, number))
                runs_of_recipe.run(size, number)

    def _run_on_cluster(self, tensors: Mapping[Preprocessing, ImageTensors]) -> None:
        """Do on a cluster what is not done; the activations that are kept lie in the folder."""
        # Longest first: else one worker would be left with them at the end.
        works = [
            CurveWork(
                title_of(name, size, number),
                (size, number),
                self.out.resolve(),
                recipe,
                self.target,
                self._begin(recipe),
                away(self.execution),
                self.curve.seed,
            )
            for size, number in sorted(self.curve.runs(), reverse=True)
            for name, recipe in self.recipes.items()
            if not is_done(place_of(self.out, name, size, number))
        ]
        run_on_cluster(self.execution, works, tensors, done=self.progress.begin)

    @property
    def started_from(self) -> dict[str, str]:
        """SHA-256 of the weights that recipes start from, by the name of what made them."""
        return {
            name: load_checkpoint(place)[0].weights_sha256 for name, place in self.starts.items()
        }

    def tidy(self) -> None:
        """Delete the activations, once nothing is left to be run."""
        for kept in self.kept:
            kept.remove()


def _data_folder(data: str, out: Path, curve: LearningCurve, log: Log) -> Path:
    if data != PHANTOM:
        return Path(data)
    log("drawing generated images (they show no patient)")
    pixels = max(SMALLEST_PHANTOM, curve.input_size or 0)
    write_phantom(out / PHANTOM, seed=curve.seed, pixels=pixels)
    return out / PHANTOM


def _is_trained(folder: Path) -> bool:
    return (folder / CARD).is_file() and (folder / WEIGHTS).is_file()


def _pretraining(folder: Path, trained_first: Mapping[str, Recipe]) -> Dataset:
    """Return Dataset_0 of the archives, on which others are trained first.

    Raises:
        UsageError: ``no_start``.
    """
    try:
        return dataset_0(read_archives(folder))
    except DataError as error:
        names = ", ".join(trained_first)
        raise UsageError(
            "no_start",
            f"Expected archives to train {names} on, since others start from it, but got {folder} "
            f"({error.code}); give a checkpoint with --model-0, or choose other --models.",
        ) from error


def _check_unseen(start: Path, dataset: Dataset) -> None:
    """Refuse a start that knows patients of the curve: its runs would have had more images."""
    seen = set(load_checkpoint(start)[0].seen.get("patients", ()))
    met = {case.patient for case in dataset.cases if fingerprint(case.patient) in seen}
    if met:
        raise DataError(
            "seen_images",
            f"Expected a checkpoint that has seen no patient of {dataset.name}, but {start} has "
            f"seen {len(met)} of them; leave --model-0 out to train one that has not.",
        )
