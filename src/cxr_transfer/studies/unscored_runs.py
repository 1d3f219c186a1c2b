"""Runs that kept no predictions are scored on their test parts, all of them in one go."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.index import index_readable, refuse_damaged
from cxr_transfer.datasets.manifest import PARTS_FILE, read_manifest
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.scoring import score
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.models.reference import temperature_of
from cxr_transfer.runs.predictions import PredictionTable
from cxr_transfer.runs.run_folder import record_test_set_access
from cxr_transfer.training.device import resolve_device
from cxr_transfer.training.tensors import load_tensors


@dataclass(frozen=True)
class _Unscored:
    folder: Path
    checkpoint: Checkpoint
    network: nn.Sequential
    cases: tuple[Case, ...]


def score_test_parts(
    folders: Sequence[Path],
    *,
    device: str,
    on_images: Callable[[int], Callable[[], None]],
) -> dict[Path, PredictionTable]:
    """Score the test part of each run; every image is opened once, whoever has it.

    Args:
        folders: Run folders.
        device: Device: "auto", "cpu", "cuda" or "mps".
        on_images: Function that is told how many images are read; it gives a function that is
            called after every image.

    Raises:
        DataError: ``empty`` for a run without test images; what `read_manifest` and `index` raise.
    """
    at = resolve_device(device)
    runs = [_unscored(folder) for folder in folders]
    cases = {case.path: case for run in runs for case in run.cases}
    preprocessings = dict.fromkeys(run.checkpoint.preprocessing for run in runs)
    records = Records(*preprocessings)
    step = on_images(len(cases))
    read, damaged = index_readable(
        list(cases.values()), on_image=step, read=records.read, keep=records.keep
    )
    refuse_damaged(damaged, len(cases))
    row_of = {case.path: row for row, case in enumerate(read)}
    images = {
        preprocessing: load_tensors(
            read, preprocessing, runs[0].checkpoint.label_set, records=records
        )
        for preprocessing in preprocessings
    }
    tables = {}
    for run in runs:
        labels = run.checkpoint.label_set
        rows = np.array([row_of[case.path] for case in run.cases])
        part = images[run.checkpoint.preprocessing].only(rows)
        # Each network has its own order of classes.
        targets = torch.tensor([labels.target(case.label) for case in run.cases])
        part = dataclasses.replace(part, targets=targets)
        heat = temperature_of(run.folder)
        scores = score(run.network, part, run.cases, labels, temperature=heat, device=at)
        sha256 = tuple(case.sha256 for case in run.cases)
        record_test_set_access(run.folder, "compare", run.cases, run.checkpoint.weights_sha256)
        tables[run.folder] = PredictionTable(scores, sha256, has_patients=True)
    return tables


def _unscored(folder: Path) -> _Unscored:
    checkpoint, network = load_checkpoint(folder)
    cases = tuple(case for case in read_manifest(folder / PARTS_FILE) if case.split == "test")
    if not cases:
        raise DataError(
            "empty",
            f"Expected test images in {folder / PARTS_FILE}, but there is none; evaluate the run "
            "on other images with cxr evaluate.",
        )
    return _Unscored(folder, checkpoint, network, cases)
