"""Runs of a study on many machines at once: each trains into its own folder, and needs no other.

In come works that are yet to be done, and the decoded images; out go their run folders, under a
path that every machine sees. The study then finds them done. A process or machine that is lost is
replaced, and its work goes on where its folder was left. A worker has one processor: a run's bits
are those of one process with one thread.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import CxrError, MachineError
from cxr_transfer.models.metadata import CARD, WEIGHTS
from cxr_transfer.progress import tell_nobody
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.ray_session import TRIES, ray_session
from cxr_transfer.training.device import Execution, resolve_device, resolve_precision
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.tensors import ImageTensors

Images = Mapping[Preprocessing, ImageTensors]


class Work(Protocol):
    """Part of a study that one worker does by itself; it can be pickled."""

    @property
    def title(self) -> str:
        """Title of its phase, which no other work has."""
        ...

    def __call__(self, images: Images) -> None:
        """Do it, and leave it in its folder; what is done there already is not done again."""
        ...


@dataclass(frozen=True)
class Training:
    """A run of a recipe.

    Attributes:
        title: Title of its phase.
        recipe: Recipe that is run.
        dataset: Cases with their parts.
        rows: Rows of the decoded images of these cases, or a flag for each; None is all of them.
        folder: Run folder.
        begin: Further arguments of `run_recipe`.
    """

    title: str
    recipe: Recipe
    dataset: Dataset
    rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | None
    folder: Path
    begin: Mapping[str, Any]

    def __call__(self, images: Images) -> None:
        """Train, unless that is done."""
        tensors = images[self.recipe.preprocessing]
        if self.rows is not None:
            tensors = tensors.only(self.rows)
        run_recipe(self.recipe, self.dataset, tensors, self.folder.resolve(), **self.begin)


def is_trained(folder: Path) -> bool:
    """Tell whether a run has ended: its weights are written last."""
    return (folder / CARD).is_file() and (folder / WEIGHTS).is_file()


def away(execution: Execution) -> Execution:
    """Return how a run of a study is computed by a worker: settled here, alike on every machine."""
    device = resolve_device(execution.device)
    return dataclasses.replace(
        execution,
        device=device,
        precision=resolve_precision(execution.precision, device),
        cluster=None,
        progress=tell_nobody,
        say_epochs=False,
        is_one_of_many=True,
    )


def run_on_cluster(
    execution: Execution,
    works: Sequence[Work],
    images: Images,
    *,
    done: Callable[[str], None],
) -> set[str]:
    """Do all works, as many at a time as there are workers; return their titles.

    Args:
        execution: Settings with a cluster; where they say "cuda", each worker gets one.
        works: Works that are not done.
        images: Decoded images, by the preprocessing that made them.
        done: Function that is called with the title of a work that has ended.

    Raises:
        MachineError: ``missing_package`` (Ray), ``no_cluster``, ``worker_lost``.
        CxrError: What a work raises; those that have begun end first.
    """
    cluster, device = execution.cluster, resolve_device(execution.device)
    if not works or cluster is None:
        return set()
    workers = min(cluster.workers, len(works))
    with ray_session(cluster.address, workers) as ray:
        arrays = {
            preprocessing: (tensors.images.numpy(), tensors.targets.numpy())
            for preprocessing, tensors in images.items()
        }
        shared = ray.put(arrays)
        actor = ray.remote(
            num_cpus=1,
            num_gpus=1 if device == "cuda" else 0,
            max_restarts=TRIES,
            max_task_retries=TRIES,
        )(_Worker)
        pool = [actor.remote(shared, os.getcwd()) for _ in range(workers)]
        for title, failed in _ended(ray, pool, list(works)):
            if failed is not None:
                raise failed
            done(title)
    return {work.title for work in works}


def _ended(
    ray: Any,  # noqa: ANN401 - Ray's
    pool: Sequence[Any],
    waiting: list[Work],
) -> Iterator[tuple[str, CxrError | None]]:
    """Give each worker a work after the other; yield the title of each that has ended."""
    running: dict[Any, tuple[Any, Work]] = {}
    failed = False
    for worker in pool:
        work = waiting.pop(0)
        running[worker.do.remote(work)] = (worker, work)
    while running:
        (ended, *_), _ = ray.wait(list(running), num_returns=1)
        worker, work = running.pop(ended)
        try:
            error = ray.get(ended)
        except ray.exceptions.RayError as lost:
            error = MachineError(
                "worker_lost",
                f"Expected a worker of the cluster to end {work.title}, but it was lost "
                f"{TRIES} times: {str(lost).splitlines()[0]}; look at its memory, and give the "
                "command again: what is done is kept.",
            )
        failed = failed or error is not None
        if waiting and not failed:
            following = waiting.pop(0)
            running[worker.do.remote(following)] = (worker, following)
        yield work.title, error


class _Worker:
    """A process of the cluster that does one work after the other, with one thread."""

    def __init__(
        self, arrays: Mapping[Preprocessing, tuple[Any, Any]], folder: str | None = None
    ) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)
        if folder and os.path.isdir(folder):
            os.chdir(folder)  # Paths of a person's recipe are relative to it.
        # Ray's shared memory is not to be written to, and torch asks for memory that is.
        self._images = {
            preprocessing: ImageTensors(
                torch.from_numpy(pixels.copy()), torch.from_numpy(targets.copy())
            )
            for preprocessing, (pixels, targets) in arrays.items()
        }

    def do(self, work: Work) -> CxrError | None:
        """Do a work; return what was wrong, since Ray would do again what raises."""
        try:
            work(self._images)
        except CxrError as error:
            return error
        return None
