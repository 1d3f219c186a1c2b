"""A finished run and its test part become scores, kept in the run folder and on record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.evaluation.scoring import Scorer, score, time_per_image, write_scores
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.models.reference import temperature_of
from cxr_transfer.runs.predictions import PREDICTIONS
from cxr_transfer.runs.run_folder import record_test_set_access
from cxr_transfer.statistics.intervals import NOT_DEFINED, Estimate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.training.tensors import ImageTensors, select


@dataclass(frozen=True, eq=False)
class ScoredRun:
    """A run on its test part.

    Attributes:
        folder: Run folder.
        checkpoint: Metadata of its checkpoint.
        cases: Cases of the test part.
        scores: Scores of these images at the run's temperature.
        temperature: Temperature of the run; None where its scores are the network's own.
        ms_per_image: Milliseconds per image of the network alone; not defined where nobody asked.
    """

    folder: Path
    checkpoint: Checkpoint
    cases: tuple[Case, ...]
    scores: Scores
    temperature: float | None
    ms_per_image: Estimate


def scored_run(
    folder: Path,
    dataset: Dataset,
    tensors: ImageTensors,
    *,
    command: str,
    device: str,
    timed: bool = False,
) -> ScoredRun:
    """Score the test part of a run; keep its predictions, and record that it was opened.

    Args:
        folder: Run folder with its checkpoint and its reference.
        dataset: Cases with the parts of the run.
        tensors: Images of ``dataset.cases``, in their order.
        command: Command on whose behalf the test part is opened.
        device: Device: "cpu", "cuda" or "mps".
        timed: Whether to measure how long an image takes.
    """
    checkpoint, network = load_checkpoint(folder)
    cases, test = select(dataset, tensors, "test")
    heat = temperature_of(folder)
    scores = score(network, test, cases, dataset.labels, temperature=heat, device=device)
    table = folder / PREDICTIONS
    write_scores(table, dataset.labels, scores.probabilities, cases, temperature=heat)
    record_test_set_access(folder, command, cases, checkpoint.weights_sha256)
    ms_per_image = NOT_DEFINED
    if timed:
        ms_per_image = time_per_image(Scorer(network, device).exact, test.images.numpy())
    return ScoredRun(folder, checkpoint, cases, scores, heat, ms_per_image)
