"""One recipe on what a person gave as data: from the files to the checkpoint.

Whatever can be refused is refused before an image is opened; each image is opened once. A recipe
to which sources were added is trained again without each of them, to tell what it brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.damaged import DAMAGED_FILE, damaged_line
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.loading import Pretraining, open_dataset
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import SplitBy, split
from cxr_transfer.errors import Notice, UsageError
from cxr_transfer.progress import counting, of_images
from cxr_transfer.studies.source_contribution import source_contribution
from cxr_transfer.text import for_terminal
from cxr_transfer.training.device import DEFAULT, Execution, resolve_device, resolve_precision
from cxr_transfer.training.loggers import where_to_look
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.settings import sources_hash
from cxr_transfer.training.start import check_run
from cxr_transfer.training.tensors import load_tensors


@dataclass(frozen=True)
class TrainingPlan:
    """Plan of the training of one recipe.

    Attributes:
        recipe: Recipe, with the labels that it names itself.
        mapping: Labels of the data to classes, before the recipe's own.
        sources: Sources of the user's own beside the archives.
        split_by: Way of drawing parts where the data gives none.
        is_split_asked: Whether the user named ``split_by``, which parts that are given contradict.
        pretraining: Choice of what is left out of Dataset_0; None where the user made none.
        skip_damaged: Whether files that cannot be read are left out.
        seed: Random seed of split, weights, order and dropout.
        execution: Settings of device, processes and precision.
        start: Checkpoint that the recipe starts from.
        weights: File with ImageNet's weights.
    """

    recipe: Recipe
    mapping: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[Collection, ...] = ()
    split_by: SplitBy = "patient"
    is_split_asked: bool = False
    pretraining: Pretraining | None = None
    skip_damaged: bool = False
    seed: int = 0
    execution: Execution = DEFAULT
    start: Path | None = None
    weights: Path | None = None

    @property
    def begin(self) -> dict[str, Any]:
        """Arguments that every training of the plan begins with."""
        return {
            "seed": self.seed,
            "execution": self.execution,
            "start": self.start,
            "weights": self.weights,
        }

    @property
    def added(self) -> list[Case]:
        """Cases of the sources that were added."""
        return [case for source in self.sources for case in source.cases]


def train_recipe(
    plan: TrainingPlan,
    data: Path,
    folder: Path,
    *,
    log: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Train ``plan.recipe`` on ``data`` into ``folder``.

    Args:
        plan: Plan of the training.
        data: Archives, manifest (.csv), or folder per class.
        folder: Run folder, gone on with where it is there.
        log: Function that is told what happens.

    Returns:
        What each added source brings, as `source_contribution` has it; each is trained for when it
        is asked for.

    Raises:
        UsageError: ``unused_option``; what `open_dataset`, `check_run` and `run_recipe` raise.
        DataError: What `open_dataset` and `split` raise.
    """
    recipe = plan.recipe.relabelling(plan.mapping)
    records = Records(recipe.preprocessing)
    steps: list[Callable[[], None]] = []

    def before(listed: Dataset) -> None:
        _check(plan, recipe, listed, data, log)
        for line in where_to_look(folder, plan.execution.loggers):
            log(line)
        images = len(listed.cases)
        steps.append(counting(plan.execution.progress, of_images("reading", images), images))

    dataset = open_data(plan, data, records, before=before, on_image=lambda: steps[0]())
    if dataset.damaged:
        log(damaged_line(dataset.damaged, str(folder / DAMAGED_FILE)))
    dataset = split(dataset, by=plan.split_by, seed=plan.seed)
    tensors = load_tensors(dataset.cases, recipe.preprocessing, dataset.labels, records=records)
    training = plan.begin | {"log": log}
    run_recipe(recipe, dataset, tensors, folder, **training)
    log(f"checkpoint: {folder}")
    names = sorted({case.source for case in plan.added})
    if names and plan.execution.processes > 1:
        # The other processes of a distributed run have nothing to do here.
        log(
            f"not measured what {', '.join(names)} brings, since that takes one process: give the "
            f"command again with --out {folder}, without --devices and --num-nodes"
        )
        names = []
    return (
        source_contribution(name, recipe, dataset, tensors, folder, **training) for name in names
    )


def _check(
    plan: TrainingPlan, recipe: Recipe, dataset: Dataset, data: Path, log: Callable[[str], None]
) -> None:
    """Refuse what can be refused before an image is opened; tell how the data was read."""
    if plan.is_split_asked and any(case.split for case in dataset.cases):
        raise UsageError(
            "unused_option",
            f"Expected --split only where parts are drawn, but {data} gives them; leave it out, or "
            "remove the split column.",
        )
    check_run(recipe, dataset.labels, **plan.begin)
    say_notices(plan, dataset, log)


def open_data(
    plan: TrainingPlan,
    data: Path,
    records: Records,
    *,
    before: Callable[[Dataset], None],
    on_image: Callable[[], None],
) -> Dataset:
    """Open the data set of a plan.

    Args:
        plan: Plan, whose recipe says which data set.
        data: Archives, manifest (.csv), or folder per class.
        records: Records that keep what was decoded.
        before: Function that is given the data set before an image is opened, and may refuse it.
        on_image: Function that is called after every image.

    Raises:
        UsageError, DataError: What `open_dataset` raises.
    """
    return open_dataset(
        data,
        plan.recipe.dataset,
        pretraining=plan.pretraining,
        added=plan.added,
        mapping=plan.mapping,
        table=plan.recipe.labels,
        task=plan.recipe.task,
        skip_damaged=plan.skip_damaged,
        before=before,
        on_image=on_image,
        records=records,
    )


def say_notices(plan: TrainingPlan, dataset: Dataset, log: Callable[[str], None]) -> None:
    """Show a person the notices of how the data was read."""
    notices = [line for source in plan.sources for line in source.notices]
    for line in (*dataset.notices, *notices):
        log(Notice(line))


def settings_of(plan: TrainingPlan, dataset: Dataset) -> dict[str, Any]:
    """Return what a folder of several runs of a plan keeps, so that another plan is refused there.

    Args:
        plan: Plan of the runs.
        dataset: Indexed cases.
    """
    return {
        "seed": plan.seed,
        "precision": _precision(plan),
        "labels": list(dataset.labels),
        "data_hash": data_hash(dataset.cases),
        "sources": sources_hash(dataset.cases),
    }


def facts_of(plan: TrainingPlan, dataset: Dataset) -> dict[str, Any]:
    """Return what a report says of recipe, data, software and machine.

    Args:
        plan: Plan of the runs.
        dataset: Indexed cases.
    """
    return {
        "name": plan.recipe.name,
        "recipe": plan.recipe.model_dump(mode="json"),
        "seed": plan.seed,
        "labels": list(dataset.labels),
        "data": for_terminal(dataset.name),
        "data_hash": data_hash(dataset.cases),
        "damaged_files": len(dataset.damaged),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "device": resolve_device(plan.execution.device),
        "precision": _precision(plan),
    }


def _precision(plan: TrainingPlan) -> str:
    return resolve_precision(plan.execution.precision, resolve_device(plan.execution.device))
