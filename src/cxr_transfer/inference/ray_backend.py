"""The same table as `table` writes, answered by many machines through Ray Data.

Names of chunks go out. Three stages follow, each with processes of its own: read (tasks), prepare
and infer (pools of actors that grow and shrink). Answers come back in any order. A chunk that is
whole is kept as `table` keeps it: the rows are the same, and a run that was stopped goes on. Every
machine must see images and model under the same name; an image that one does not see becomes a row
that says so. A process or machine that is lost is replaced, and its work done again. Ray tells its
makers nothing, and shows no dashboard.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxr_transfer.errors import MachineError
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.stages import Inferring, Preparing, Row, answers_of, chunk_row, read
from cxr_transfer.inference.table import Each, Parts, Summary, resumable
from cxr_transfer.quiet import quiet
from cxr_transfer.ray_session import TRIES, ray_session
from cxr_transfer.storage import Location, is_address

BLOCK = 16 * 1024 * 1024
"""Bytes between two stages that go out as one piece; a row that is larger goes alone."""

READ, PREPARE, INFER = 0.125, 0.375, 0.5
"""Processors that a process of each stage counts for: one of each fits on one, and each pool may
grow to as many as there are processors, whichever stage is the slow one. Were two of these equal,
Ray would make one stage of two."""

STARTS = 3
"""Times that all stages start while no chunk is gained by it."""

STARTS_S = 600
"""Seconds in which the first process of each pool must have started."""

# The number of tries has no other name yet. Where it is not set, Ray tries without end.
_DEPRECATED = "`ray_remote_args` is deprecated"


def predict_on_cluster(
    model: str | Path,
    files: Sequence[str | Path],
    out: Location,
    *,
    workers: int = 2,
    address: str | None = None,
    options: Mapping[str, Any] | None = None,
    on_image: Each | None = None,
) -> Summary:
    """Write a row for each of ``files``, in their order, to ``out`` (.csv or .parquet).

    Args:
        model: Model as `Predictor.open` takes it; a path must lead to it on every machine. A
            checkpoint is converted on each of them: give them an exported .xml.
        files: Paths that lead to the same files on every machine, or addresses of objects.
        out: Path of the table on this machine, or its address; written once, at the end.
        workers: Largest number of processes that decode, and of those that hold the network.
        address: Address of a Ray cluster ("auto": the one this machine is part of); None starts one
            here.
        options: Further arguments of `Predictor.open`.
        on_image: Function that is called once for every file that has been answered.

    Raises:
        TypeError: One path where a list is meant; an item that is no path.
        MachineError: ``missing_package`` (Ray), ``no_cluster``, ``cluster_full``, ``node_failed``,
            ``worker_lost``.
        CxrError: What `Predictor.open` and `predict_into` raise.
    """
    predictor_options = dict(options or {})
    place = os.path.abspath(model) if os.path.exists(model) else str(model)
    predictor = Predictor.open(place, **predictor_options)
    with resumable(predictor, files, out, settings=predictor_options, on_image=on_image) as parts:
        stages = _Stages(place, predictor, predictor_options, workers)
        _answer(parts, stages, address, on_image)
        return parts.finish()


def _answer(parts: Parts, stages: _Stages, address: str | None, on_image: Each | None) -> None:
    """Answer for all chunks that are missing, and start again while some are gained by it.

    Raises:
        MachineError: ``worker_lost``.
    """
    starts, before = 0, 0
    while missing := parts.missing():
        starts = 1 if len(missing) != before else starts + 1
        before = len(missing)
        rows = [
            chunk_row(number, [_everywhere(file) for file in parts.chunk(number)])
            for number in missing
        ]
        try:
            # Connected anew each time: what is left of the processes before goes with them.
            with ray_session(address, stages.workers) as ray, _limits(ray, stages.workers):
                _keep(parts, stages.answered(ray, rows), on_image)
        except MachineError as error:
            # What dies with a machine may use up all tries before Ray knows that it is gone.
            if error.code != "worker_lost" or starts == STARTS:
                raise


def _everywhere(file: str | Path) -> str:
    """Return the name of a file on every machine."""
    return file if is_address(file) else os.path.abspath(file)


def _keep(parts: Parts, rows: Iterable[Row], on_image: Each | None) -> None:
    """Keep each chunk when its last batch has come."""
    begun: defaultdict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        number, answers = row["number"], answers_of(row)
        begun[number] |= dict(enumerate(answers, row["first"]))
        files = parts.chunk(number)
        if len(begun[number]) < len(files):
            continue
        chunk = begun.pop(number)
        for place, file in enumerate(files):
            chunk[place]["file"] = str(file)
        parts.keep(number, [chunk[place] for place in range(len(files))])
        for _ in files if on_image else ():
            on_image()  # type: ignore[misc]


class _Stages:
    """The pipeline: which stage runs in how many processes."""

    def __init__(
        self, model: str, predictor: Predictor, options: Mapping[str, Any], workers: int
    ) -> None:
        self.workers = workers
        self._inferring = (model, dict(options))
        any_modality = bool(options.get("any_modality", False))
        self._preparing = (predictor.card.preprocessing, any_modality)

    def answered(self, ray: Any, rows: list[Row]) -> Iterator[Row]:  # noqa: ANN401 - Ray's
        """Yield the rows of the last stage, in any order.

        Raises:
            MachineError: ``cluster_full``, ``worker_lost``.
        """
        pool, most = ray.data.ActorPoolStrategy, self.workers
        # A block for each chunk, or one process would get them all.
        answered = (
            ray.data.from_items(rows, override_num_blocks=len(rows))
            .flat_map(
                read,
                compute=ray.data.TaskPoolStrategy(size=max(1, self.workers // 2)),
                num_cpus=READ,
            )
            .map(
                Preparing,
                fn_constructor_args=self._preparing,
                compute=pool(min_size=1, max_size=most),
                num_cpus=PREPARE,
                max_task_retries=TRIES,
            )
            .map(
                Inferring,
                fn_constructor_args=self._inferring,
                compute=pool(min_size=1, max_size=most),
                num_cpus=INFER,
                max_task_retries=TRIES,
            )
        )
        try:
            yield from answered.iter_rows()
        except ray.exceptions.GetTimeoutError:
            raise MachineError(
                "cluster_full",
                f"Expected a process of each stage to start within {STARTS_S} s, but one did not: "
                "the cluster has no processor or memory free; wait for other work on it, or add "
                "machines.",
            ) from None
        except Exception as error:  # Ray's own, of many kinds
            raise MachineError(
                "worker_lost",
                "Expected processes that last, but they died again and again over the same images "
                f"({type(error).__name__}). What was answered is kept. Run the same command again; "
                "if it stops again, run it without --cluster, which shows where.",
            ) from None


@contextmanager
def _limits(ray: Any, workers: int) -> Iterator[None]:  # noqa: ANN401 - Ray's
    """Bound what the stages take, for the time of a block: processes, and what lies between."""
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = BLOCK
    context.wait_for_min_actors_s = STARTS_S
    context.max_consecutive_actor_init_deaths = STARTS
    context.execution_options.resource_limits = ray.data.ExecutionResources(cpu=workers)
    with (
        quiet("ray.data", expected=[_DEPRECATED], level=logging.CRITICAL),
        ray.data.DataContext.current(context),
    ):
        yield
