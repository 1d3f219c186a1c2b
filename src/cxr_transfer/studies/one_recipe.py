"""One recipe on what a person gave as data: from the files to the checkpoint.

Whatever can be refused is refused before an image is opened; each image is opened once. A recipe
to which sources were added is trained again without each of them, to tell what it brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.damaged import DAMAGED_FILE, damaged_line
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.loading import Pretraining, open_dataset
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import split
from cxr_transfer.errors import Notice, UsageError
from cxr_transfer.progress import counting, of_images
from cxr_transfer.studies.source_contribution import source_contribution
from cxr_transfer.training.device import Execution
from cxr_transfer.training.loggers import where_to_look
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.run import run_recipe
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
    mapping: Mapping[str, str]
    sources: tuple[Collection, ...]
    split_by: Literal["patient", "image"]
    is_split_asked: bool
    pretraining: Pretraining | None
    skip_damaged: bool
    seed: int
    execution: Execution
    start: Path | None
    weights: Path | None

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
