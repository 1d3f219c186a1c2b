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
from cxr_transfer.runs.run_folder import run_folder, validation_scores
from cxr_transfer.statistics.calibration import apply_temperature
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.subjects.opening import Asking, open_subject
from cxr_transfer.subjects.subject import Subject

NEGATIVE, POSITIVE = "negative", "positive"
SIDES = LabelSet((NEGATIVE, POSITIVE))
"""Classes of a test: what is looked for, and all the rest."""


@dataclass(frozen=True, eq=False)
class TestedModel:
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
    model: Subject | None = None
    table: Path | None = None
    validation: Scores | None = None


def open_for_test(subject: str, asking: Asking) -> TestedModel:
    """Open a model or a table of scores.

    Args:
        subject: Model or table of scores, as `open_subject` takes it.
        asking: How it is asked.

    Raises:
        DataError: ``bad_predictions`` for another table.
        ModelError: What opening the model raises.
        UsageError: ``several_findings`` for a model of findings.
    """
    model = open_subject(subject, asking)
    if model.table is not None:
        path = Path(subject)
        own = {"kind": "scores", "name": path.stem, "sha256": [sha256_of_file(path)]}
        return TestedModel(model.labels, own, table=path)
    refuse_findings(model.labels, "an acceptance test")
    facts: dict[str, Any] = {
        "kind": "model",
        "name": model.name,
        "sha256": list(model.sha256),
        "temperature": model.temperature,
        "confidence_threshold": model.confidence_threshold,
        "device": asking.device,
    }
    return TestedModel(model.labels, facts, model=model, validation=_own_validation(subject, model))


def _own_validation(subject: str, model: Subject) -> Scores | None:
    """Return the validation scores of a run, at the model's temperature; None of anything else."""
    if model.kind != "checkpoint":
        return None
    try:
        kept = validation_scores(run_folder(Path(subject)), model.labels)
    except CxrError:  # none of a run
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
