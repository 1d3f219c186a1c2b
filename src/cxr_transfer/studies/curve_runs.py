"""One point of a learning curve: a recipe trained on one draw, and its scores on the test part.

A run folder holds ``run.json``, ``recipe.toml``, ``split.csv``, ``history.csv``, ``log.txt``,
``test_scores.csv`` and, written last, ``result.json``. Its weights are not kept: hundreds of runs
would take many gigabytes, and each can be had again by its seed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from cxr_transfer import provenance
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.draws import draw
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.manifest import PARTS_FILE, write_manifest
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import DataError
from cxr_transfer.files import LOG, append_line, read_csv, write_csv, write_json, write_text
from cxr_transfer.models.folder import read_text
from cxr_transfer.models.forward import probabilities
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.statistics.scores import Floats, Scores
from cxr_transfer.text import for_terminal
from cxr_transfer.training.device import Execution, resolve_device, resolve_precision
from cxr_transfer.training.frozen_features import KeptActivations, never_trained
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.run import remove_partial
from cxr_transfer.training.seeds import seed_of
from cxr_transfer.training.settings import check_settings, split_hash
from cxr_transfer.training.start import Start, check_run
from cxr_transfer.training.tensors import ImageTensors, select

RESULT, SCORES = "result.json", "test_scores.csv"


def place_of(out: Path, name: str, size: int, number: int) -> Path:
    """Return the run folder of a recipe, a size and a draw."""
    return out / "runs" / name / f"per_class_{size}" / f"draw_{number}"


def is_done(folder: Path) -> bool:
    """Tell whether a run has ended: its result is written last."""
    return (folder / RESULT).is_file()


@dataclass(frozen=True)
class CurveRuns:
    """All runs of one recipe.

    Attributes:
        out: Study folder.
        recipe: Recipe that is run.
        dataset: Data set of all cases, with the fixed test part.
        tensors: Decoded images of ``dataset.cases``, in their order.
        begin: Arguments that each run begins with: ``start`` and ``weights``.
        execution: Settings of device, processes and progress.
        kept: Activations that the runs share.
        seed: Random seed of the study.
    """

    out: Path
    recipe: Recipe
    dataset: Dataset
    tensors: ImageTensors
    begin: Mapping[str, Any]
    execution: Execution
    kept: KeptActivations
    seed: int

    def run(self, size: int, number: int) -> None:
        """Train on one draw and score the test part, unless that is done.

        Args:
            size: Number of images per class.
            number: Number of the draw, from 1.

        Raises:
            UsageError: ``other_run`` where the folder holds a run with other settings.
            CxrError: What `check_run` and `train_stages` raise.
        """
        folder = place_of(self.out, self.recipe.name, size, number)
        drawn = draw(self.dataset, size, number, seed=self.seed)
        seed = seed_of(self.seed, "curve", size, number)
        begun = check_run(
            self.recipe, drawn.labels, seed=seed, execution=self.execution, **self.begin
        )
        device = resolve_device(self.execution.device)
        settings = {
            "precision": resolve_precision(self.execution.precision, device),
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": seed,
            "labels": list(drawn.labels),
            "data_hash": data_hash(drawn.cases),
            "split_hash": split_hash(drawn.cases),
            "start": begun.sha256,
        }
        check_settings(folder, settings)
        if is_done(folder):
            return
        began, worked = time.monotonic(), time.process_time()
        write_text(folder / "recipe.toml", self.recipe.to_toml())
        write_manifest(folder / PARTS_FILE, drawn.cases)
        result = self._trained(drawn, begun, folder, seed, device)
        result |= {
            "seconds": round(time.monotonic() - began, 2),
            "processor_seconds": round(time.process_time() - worked, 2),
            "settings": settings,
        }
        write_json(folder / RESULT, result)
        remove_partial(self.recipe, folder)

    def _trained(
        self, drawn: Dataset, begun: Start, folder: Path, seed: int, device: str
    ) -> dict[str, Any]:
        """Train, score and write the scores; return what the result holds of it."""

        def note(line: str) -> None:
            append_line(folder / LOG, f"{provenance.now()} {for_terminal(line)}")

        part = {case.path: case.split for case in drawn.cases}
        rows = np.array([case.path in part for case in self.dataset.cases], dtype=np.bool_)
        tensors = self.tensors.only(rows)
        cases, training = select(drawn, tensors, "train")
        # Lightning takes seconds to import: who is refused, or only scores, does not wait for it.
        from cxr_transfer.training.trainer import train_stages

        trained = train_stages(
            self.recipe,
            begun.network,
            training,
            select(drawn, tensors, "validation")[1],
            sources=[case.source for case in cases],
            folder=folder,
            seed=seed,
            execution=self.execution,
            kept=[self.kept],
            log=note,
            say_epoch=note,
        )
        tested, test = select(drawn, tensors, "test")
        scored = self._scored(begun.network, test, device)
        scores = Scores.of(drawn.labels, test.targets.numpy(), scored, tested)
        write_test_scores(folder / SCORES, scores, tested)
        return {
            "images": {
                name: {
                    label: sum(case.label == label and case.split == name for case in drawn.cases)
                    for label in drawn.labels
                }
                for name in ("train", "validation", "test")
            },
            "patients": len({case.patient for case in drawn.cases if case.split != "test"}),
            "stages": [asdict(outcome) for outcome in trained.outcomes],
            "initial": begun.origin,
            "time": provenance.now(),
            "commit": provenance.commit(),
        }

    def _scored(self, network: nn.Sequential, test: ImageTensors, device: str) -> Floats:
        """Return class scores of the test part, from kept activations where there are some."""
        never = never_trained(network, [stage.train for stage in self.recipe.stages])
        inputs = self.kept.of(never, test.images) if len(never) else None
        if inputs is None:
            return probabilities(network, test.images, device=device).double().numpy()
        trained_part = network[len(never) :]
        return probabilities(trained_part, inputs, device=device).double().numpy()


def curve_runs(
    out: Path,
    recipe: Recipe,
    dataset: Dataset,
    tensors: ImageTensors,
    begin: Mapping[str, Any],
    execution: Execution,
    seed: int,
) -> tuple[CurveRuns, nn.Sequential]:
    """Return the runs of a recipe, and the network that they start from.

    Args:
        out: Study folder.
        recipe: Recipe that is run.
        dataset: Data set of all cases, with the fixed test part.
        tensors: Decoded images of ``dataset.cases``, in their order.
        begin: Arguments that each run begins with.
        execution: Settings of device, processes and progress.
        seed: Random seed of the study.

    Raises:
        CxrError: What `check_run` raises.
    """
    network = check_run(recipe, dataset.labels, seed=seed, execution=execution, **begin).network
    device = resolve_device(execution.device)
    kept = KeptActivations(
        out / "activations",
        network,
        tensors.images,
        device=device,
        precision=resolve_precision(execution.precision, device),
    )
    return CurveRuns(out, recipe, dataset, tensors, begin, execution, kept, seed), network


@dataclass(frozen=True)
class CurveWork:
    """A run of a learning curve that a worker of a cluster does.

    Attributes:
        title: Title of its phase.
        place: Number of images per class, and number of the draw.
        out: Study folder.
        recipe: Recipe that is run.
        dataset: Data set of all cases, with the fixed test part.
        begin: Arguments that the run begins with.
        execution: Settings of device and precision.
        seed: Random seed of the study.
    """

    title: str
    place: tuple[int, int]
    out: Path
    recipe: Recipe
    dataset: Dataset
    begin: Mapping[str, Any]
    execution: Execution
    seed: int

    def __call__(self, images: Mapping[Preprocessing, ImageTensors]) -> None:
        """Train on one draw, unless that is done."""
        tensors = images[self.recipe.preprocessing]
        runs, _ = curve_runs(
            self.out, self.recipe, self.dataset, tensors, self.begin, self.execution, self.seed
        )
        runs.run(*self.place)


def write_test_scores(path: Path, scores: Scores, cases: tuple[Case, ...]) -> None:
    """Write class scores of the test part with all digits of float32, a row per image."""
    columns = ("file", "patient", "sha256", "label", *(f"score_{name}" for name in scores.labels))
    write_csv(
        path,
        columns,
        (
            dict(
                zip(
                    columns,
                    (case.file, case.patient, case.sha256, case.label, *(f"{x:.9g}" for x in row)),
                    strict=True,
                )
            )
            for case, row in zip(cases, scores.probabilities, strict=True)
        ),
    )


def read_result(folder: Path) -> dict[str, Any]:
    """Return what ``result.json`` of a finished run holds.

    Raises:
        DataError: ``bad_result``.
    """
    try:
        result = json.loads(read_text(folder / RESULT))
    except ValueError as error:
        raise _bad(folder / RESULT) from error
    if not isinstance(result, dict):
        raise _bad(folder / RESULT)
    return result


def read_test_scores(folder: Path, dataset: Dataset) -> Scores:
    """Return the scores of the test part that a finished run wrote.

    Args:
        folder: Run folder.
        dataset: Data set of the run, with its test part.

    Raises:
        DataError: ``bad_result`` where they are not those of the test part.
    """
    path = folder / SCORES
    cases = [case for case in dataset.cases if case.split == "test"]
    try:
        rows = read_csv(read_text(path))
        if [row["sha256"] for row in rows] != [case.sha256 for case in cases]:
            raise _bad(path)
        table = [[float(row[f"score_{name}"]) for name in dataset.labels] for row in rows]
    except (KeyError, ValueError) as error:
        raise _bad(path) from error
    targets = np.array([dataset.labels.target(case.label) for case in cases])
    return Scores.of(dataset.labels, targets, np.array(table), cases)


def _bad(path: Path) -> DataError:
    return DataError(
        "bad_result",
        f"Expected what a finished run wrote in {path}, but it was changed or damaged; delete its "
        f"run folder, {path.parent}, and give the command again.",
    )
