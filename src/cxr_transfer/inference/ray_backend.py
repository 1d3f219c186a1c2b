"""The same table as `table` writes, answered by many machines through Ray Data.

Chunks of file names go out, answers come back in any order and are kept as `table` keeps them: the
rows are the same, and a run that was stopped goes on. Images are read where they are answered, so
every machine must see them, and the model, under the same path; an image that one does not see
becomes a row that says so. Ray tells its makers nothing, and shows no dashboard.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxr_transfer.errors import CxrError, MachineError
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.table import Each, Summary, resumable
from cxr_transfer.quiet import quiet

OBJECT_STORE = 200 * 1024 * 1024
"""Bytes of shared memory for a Ray that is started here: only names and answers travel."""


def predict_on_cluster(
    model: str | Path,
    files: Sequence[str | Path],
    out: Path,
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
        files: Paths that lead to the same files on every machine.
        out: The table, on this machine; written once, at the end.
        workers: Processes that answer, with a processor each.
        address: Address of a Ray cluster ("auto": the one this machine is part of); None starts one
            here.
        options: Further arguments of `Predictor.open`.
        on_image: Function that is called once for every file that has been answered.

    Raises:
        TypeError: One path where a list is meant; an item that is no path.
        MachineError: ``missing_package`` (Ray), ``no_cluster``, ``node_failed``.
        CxrError: What `Predictor.open` and `predict_into` raise.
    """
    predictor_options = dict(options or {})
    place = os.path.abspath(model) if os.path.exists(model) else str(model)
    predictor = Predictor.open(place, **predictor_options)
    with resumable(predictor, files, out, settings=predictor_options, on_image=on_image) as parts:
        items = [
            {
                "number": number,
                "files": json.dumps([os.path.abspath(file) for file in parts.chunk(number)]),
            }
            for number in parts.missing()
        ]
        if items:
            with _ray(address, workers) as ray:
                # A block for each chunk, or one worker would get them all.
                chunks = ray.data.from_items(items, override_num_blocks=len(items))
                answered = chunks.map_batches(
                    _Answering,
                    fn_constructor_args=(place, predictor_options),
                    batch_size=1,
                    compute=ray.data.ActorPoolStrategy(size=min(workers, len(items))),
                    num_cpus=1,
                )
                for row in answered.iter_rows():
                    if row["failed"]:
                        raise MachineError(
                            "node_failed",
                            "Expected every machine to open the model, but one said: "
                            f"{row['failed']}",
                        )
                    answers = json.loads(row["answers"])
                    for answer, file in zip(answers, parts.chunk(row["number"]), strict=True):
                        answer["file"] = str(file)
                    parts.keep(row["number"], answers)
                    for _ in answers if on_image else ():
                        on_image()  # type: ignore[misc]
        return parts.finish()


class _Answering:
    """A process of the cluster that holds a predictor: a chunk of names in, its answers out."""

    def __init__(self, model: str, options: Mapping[str, Any]) -> None:
        # One processor each: the network's threads would fight for those of the others.
        os.environ["OMP_NUM_THREADS"] = "1"
        self._predictor: Predictor | None = None
        self._failed = ""
        try:
            self._predictor = Predictor.open(model, **options)
        except CxrError as error:
            # Told as an answer: raised here, Ray would start the process again and again.
            self._failed = error.message

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        answers = []
        if self._predictor:
            files = json.loads(batch["files"][0])
            predictions = self._predictor.predict_files(files, workers=1)
            answers = [answer.as_dict() for answer in predictions]
        return {
            "number": [int(batch["number"][0])],
            "answers": [json.dumps(answers)],
            "failed": [self._failed],
        }


@contextmanager
def _ray(address: str | None, workers: int) -> Iterator[Any]:
    """Give Ray with its data package, connected; what was started here is ended here."""
    with _environment():
        try:
            import ray
            import ray.data
        except ImportError:
            raise MachineError(
                "missing_package",
                "Expected Ray for a cluster, but it is not installed: "
                'pip install "cxr-transfer[cluster]".',
            ) from None
        context = ray.data.DataContext.get_current()
        with quiet("ray", "ray.data"), _without_progress(context):
            if ray.is_initialized():  # the caller's own
                yield ray
                return
            # Ray's logs name images: they go when it goes.
            with tempfile.TemporaryDirectory(prefix="cxr-", ignore_cleanup_errors=True) as folder:
                _start(ray, address, workers, folder)
                try:
                    yield ray
                finally:
                    ray.shutdown()


@contextmanager
def _environment() -> Iterator[None]:
    # Ray looks at both when it is imported and when it starts processes.
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_progress(context: Any) -> Iterator[None]:  # noqa: ANN401 - Ray's
    before = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before


def _start(ray: Any, address: str | None, workers: int, folder: str) -> None:  # noqa: ANN401 - Ray's
    logging_options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            ray.init(address=address, **logging_options)
        else:
            ray.init(
                address="local",
                num_cpus=workers,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                _temp_dir=folder,
                **logging_options,
            )
    except Exception as error:  # Ray raises even the plain one, for a start that took too long
        reason = str(error).strip().splitlines()[0]
        raise MachineError(
            "no_cluster",
            f"Expected a Ray cluster at {address or 'this machine'}, but got: {reason}",
        ) from None
