"""Every path of a device, compared with the processor: for a machine whose GPU was never tried.

In comes the name of a device; out goes a row for each path: how far apart the two came out, how far
they may be, and the seconds of each. Images are generated, and networks begin with the same random
weights, so that nothing has to be fetched.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.loading import open_dataset
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.datasets.splits import split
from cxr_transfer.evaluation.evaluate import evaluate_checkpoint
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.metadata import WEIGHTS
from cxr_transfer.models.registry import build
from cxr_transfer.models.saliency_maps import heat_maps
from cxr_transfer.progress import Tell, tell_nobody
from cxr_transfer.training.device import Execution, resolve_device, resolve_precision
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import load_recipe
from cxr_transfer.training.run import run_recipe

_EPOCHS = 2
_SIZE = PhantomSize(normal=60, bacterial=60, viral=6, covid19=40)
_FIGURES = ("accuracy", "f1_macro", "auroc_macro")
_NETWORKS = ("simple_cnn", "resnet50", "resnet50_early")


@dataclass(frozen=True)
class PathCheck:
    """How one path came out.

    Attributes:
        path: What was tried, in words.
        difference: How far apart device and processor came out; of "the same bits" 0 or 1.
        bound: How far apart they may be.
        seconds: Seconds on the device.
        cpu_seconds: Seconds on the processor; those of the first run where the device is compared
            with itself.
    """

    path: str
    difference: float
    bound: float
    seconds: float
    cpu_seconds: float

    @property
    def holds(self) -> bool:
        """Whether the two are as near as they have to be."""
        return self.difference <= self.bound


class _Bench:
    """Images, folders and runs that the checks share."""

    def __init__(self, device: str, folder: Path) -> None:
        self.device, self._folder = device, folder

    @cached_property
    def dataset(self) -> Dataset:
        """Generated images in three classes, with their parts."""
        write_phantom(self._folder / "phantom", size=_SIZE)
        return split(open_dataset(self._folder / "phantom", "dataset_1"), seed=0)

    @cached_property
    def images(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Images of the networks' size, (N, 1, H, W): smooth, as radiographs are."""
        coarse = np.random.default_rng(0).integers(0, 256, (8, 1, 14, 14), dtype=np.uint8)
        smooth = torch.nn.functional.interpolate(
            torch.from_numpy(coarse).float(), (224, 224), mode="bilinear"
        )
        return smooth.to(torch.uint8).numpy()

    def trained(self, recipe: Recipe, device: str, name: str, precision: str = "float32") -> Path:
        """Train a recipe on a device; return the run folder."""
        execution = Execution(device=device, precision=precision)
        return run_recipe(recipe, self.dataset, None, self._folder / name, execution=execution)

    def stopped(self, recipe: Recipe, name: str) -> Path:
        """Train on the device, stop in the middle, and go on; return the run folder."""
        seen: list[float] = []

        def stop(phase: str, share: float) -> None:
            if phase.startswith("training") and not seen:
                seen.append(share)
            elif phase.startswith("training") and share >= 0.5:
                raise KeyboardInterrupt

        execution = Execution(device=self.device, precision="float32", progress=stop)
        folder = self._folder / name
        try:
            run_recipe(recipe, self.dataset, None, folder, execution=execution)
        except KeyboardInterrupt:
            return self.trained(recipe, self.device, name)
        raise RuntimeError("the run ended before it could be stopped")

    def folder(self, name: str) -> Path:
        """Return a folder that is not there yet."""
        shutil.rmtree(self._folder / name, ignore_errors=True)
        return self._folder / name


def check_device(
    device: str = "auto", progress: Tell = tell_nobody, *, paths: Collection[str] | None = None
) -> dict[str, Any]:
    """Compare every path of a device with the processor.

    Args:
        device: Device: "auto", "cuda" or "mps"; "cpu" compares the processor with itself.
        progress: Function that is called with the path that is tried, and the share of it done.
        paths: Paths that are tried, of `PATHS`; None tries all.

    Returns:
        ``device``, ``holds``, ``checks`` (a row for each path), and where it was measured.

    Raises:
        MachineError: ``no_device``.
    """
    at = resolve_device(device)
    rows = []
    with tempfile.TemporaryDirectory(prefix="cxr-device-") as folder:
        bench = _Bench(at, Path(folder))
        wanted = [name for name in PATHS if paths is None or name in paths]
        for number, name in enumerate(wanted, start=1):
            progress(f"{name} ({number} of {len(wanted)})", 0.0)
            rows += [replace(row, path=f"{name}{row.path}") for row in PATHS[name](bench)]
    return {
        "intended_use": INTENDED_USE,
        "device": at,
        "device_name": torch.cuda.get_device_name() if at == "cuda" else at,
        "holds": all(row.holds for row in rows),
        "checks": [
            {
                "path": row.path,
                "difference": row.difference,
                "bound": row.bound,
                "holds": row.holds,
                "seconds": round(row.seconds, 3),
                "cpu_seconds": round(row.cpu_seconds, 3),
            }
            for row in rows
        ],
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "seed": 0,
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    found = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return found, time.perf_counter() - started


def _apart(bench: _Bench, work: Callable[[str], Any], bound: float, path: str = "") -> PathCheck:
    """Compare the numbers that some work gives on device and processor."""
    (there, seconds), (here, cpu_seconds) = (
        _timed(partial(work, device)) for device in (bench.device, "cpu")
    )
    difference = np.abs(np.asarray(there, np.float64) - np.asarray(here, np.float64)).max()
    return PathCheck(path, float(difference), bound, seconds, cpu_seconds)


def _same_bits(first: Callable[[], Path], second: Callable[[], Path]) -> PathCheck:
    """Compare the weights of two runs bit by bit."""
    (one, before), (other, after) = (_timed(work) for work in (first, second))
    digests = {
        hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() for folder in (one, other)
    }
    return PathCheck("", float(len(digests) - 1), 0.0, after, before)


def _scores(bench: _Bench) -> Iterator[PathCheck]:
    for network in _NETWORKS:
        torch.manual_seed(0)
        built = build(network, 3, size=(224, 224), epsilon=1e-3).eval()

        def scores(at: str, built: Any = built) -> Any:  # noqa: ANN401 - a network of any kind
            return probabilities(built, torch.from_numpy(bench.images), device=at).numpy()

        yield _apart(bench, scores, 2e-3, f" of {network}")


def _maps(bench: _Bench) -> Iterator[PathCheck]:
    torch.manual_seed(0)
    network = build("resnet50", 3, size=(224, 224), epsilon=1e-3).eval()
    yield _apart(bench, lambda at: heat_maps(network, bench.images[:4], device=at), 0.02)


def _one_stage() -> Recipe:
    return load_recipe("model_1").limited(_EPOCHS)


def _two_stages() -> Recipe:
    """The paper's Model_3 from random weights: a frozen part, kept activations, two stages."""
    return load_recipe("model_3").model_copy(update={"initial": "random"}).limited(_EPOCHS)


def _validation_loss(folder: Path) -> list[float]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as table:
        return [float(row["val_loss"]) for row in csv.DictReader(table)]


def _training(bench: _Bench) -> Iterator[PathCheck]:
    for name, recipe in (("one stage", _one_stage()), ("two stages", _two_stages())):

        def losses(at: str, name: str = name, recipe: Recipe = recipe) -> list[float]:
            return _validation_loss(bench.trained(recipe, at, f"{name} {at}"))

        yield _apart(bench, losses, 0.05, f", {name}, loss of validation images")


def _again(bench: _Bench) -> Iterator[PathCheck]:
    yield _same_bits(
        lambda: bench.trained(_two_stages(), bench.device, "first"),
        lambda: bench.trained(_two_stages(), bench.device, "second"),
    )


def _resumed(bench: _Bench) -> Iterator[PathCheck]:
    yield _same_bits(
        lambda: bench.trained(_two_stages(), bench.device, "whole"),
        lambda: bench.stopped(_two_stages(), "stopped"),
    )


def _quick(bench: _Bench) -> Iterator[PathCheck]:
    """Training in bfloat16, where the device has units for it; else nothing."""
    if resolve_precision("auto", bench.device) == "bfloat16":
        yield _apart(
            bench,
            lambda at: _validation_loss(
                bench.trained(
                    _two_stages(),
                    at,
                    f"quick {at}",
                    "bfloat16" if at == bench.device else "float32",
                )
            ),
            0.2,
        )


def _evaluation(bench: _Bench) -> Iterator[PathCheck]:
    run = bench.trained(_one_stage(), "cpu", "one stage cpu")
    test = [case for case in bench.dataset.cases if case.split == "test"]

    def figures(at: str) -> list[float]:
        report = evaluate_checkpoint(
            run, test, bench.folder(f"evaluated {at}"), device=at, resamples=20
        )
        return [report["evaluation"][name]["value"] for name in _FIGURES]

    yield _apart(bench, figures, 1e-3)


PATHS: dict[str, Callable[[_Bench], Iterator[PathCheck]]] = {
    "class scores": _scores,
    "heat maps": _maps,
    "training": _training,
    "the same run again: the same bits": _again,
    "a run that was stopped and goes on: the same bits": _resumed,
    "training in bfloat16 beside float32": _quick,
    "evaluation": _evaluation,
}
"""Paths in the order in which they are tried."""
