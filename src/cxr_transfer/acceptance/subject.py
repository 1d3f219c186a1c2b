"""What is tested for acceptance: a model, or a table of its scores, opened before any image is.

In comes what a person named; out go its classes, the scores of its own validation images where it
has some, and what a record says of it. Scores nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer.datasets.decode import sha256_of_file
from cxr_transfer.errors import CxrError, DataError
from cxr_transfer.labels import LabelSet, refuse_findings
from cxr_transfer.runs.predictions import read_case_scores
from cxr_transfer.runs.run_folder import run_folder, validation_scores
from cxr_transfer.statistics.calibration import apply_temperature
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.studies.judged_models import JudgedModel, open_judged
from cxr_transfer.training.device import resolve_device

NEGATIVE, POSITIVE = "negative", "positive"
SIDES = LabelSet((NEGATIVE, POSITIVE))
"""Classes of a test: what is looked for, and all the rest."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Model, or table of scores, that is tested.

    Attributes:
        labels: Classes in index order.
        facts: What the record says of it: ``kind``, ``name`` and hashes.
        model: Model; None of a table.
        table: Path of the table; None of a model.
        validation: Scores of its own validation images, on the scale on which it gives scores; None
            where there are none.
    """

    labels: LabelSet
    facts: dict[str, Any]
    model: JudgedModel | None = None
    table: Path | None = None
    validation: Scores | None = None


def open_for_test(subject: str, device: str = "auto") -> Subject:
    """Open a model or a table of scores.

    Args:
        subject: Model as `open_judged` takes it, or a table of scores (.csv).
        device: Device: "auto", "cpu", "cuda" or "mps".

    Raises:
        DataError: ``bad_predictions`` for another table.
        ModelError: What opening the model raises.
        UsageError: ``several_findings`` for a model of findings.
    """
    if subject.endswith(".csv"):
        path = Path(subject)
        labels = read_case_scores(path).labels
        hashes = [sha256_of_file(path)]
        own = {"kind": "scores", "name": path.stem, "sha256": hashes}
        return Subject(labels, own, table=path)
    device = resolve_device(device)
    model = open_judged(subject, device)
    refuse_findings(model.labels, "an acceptance test")
    facts: dict[str, Any] = {
        "kind": "model",
        "name": model.name,
        "sha256": [card.weights_sha256 for card in model.cards],
        "temperature": model.temperature,
        "confidence_threshold": model.confidence_threshold,
        "device": device,
    }
    return Subject(model.labels, facts, model=model, validation=_own_validation(subject, model))


def _own_validation(subject: str, model: JudgedModel) -> Scores | None:
    """Return the validation scores of a run, at the model's temperature; None of anything else."""
    if len(model.cards) > 1:
        return None
    try:
        kept = validation_scores(run_folder(Path(subject)), model.labels)
    except CxrError:  # An exported network, or none of a run.
        return None
    if kept is None or model.temperature is None:
        return kept
    return apply_temperature(kept, model.temperature)


def two_sided(scores: Scores, positive: tuple[str, ...]) -> Scores:
    """Return scores of what is looked for against all the rest, of the classes `SIDES`.

    Args:
        scores: Scores of N images.
        positive: Classes that are looked for; their scores are added.
    """
    targets = [scores.labels.target(name) for name in positive]
    score = np.clip(scores.probabilities[:, targets].sum(axis=1), 0, 1)
    return Scores(
        SIDES,
        np.isin(scores.targets, targets).astype(np.int64),
        np.stack([1 - score, score], axis=1),
        scores.patients,
        scores.files,
    )


def refuse_all_met(met: int, images: int) -> None:
    """Refuse images of which the model met every one.

    Raises:
        DataError: ``seen_images``.
    """
    if met and met == images:
        raise DataError(
            "seen_images",
            f"Expected images that the model has not met, but it met all {met} of them or their "
            "patients; give images of other patients.",
        )
