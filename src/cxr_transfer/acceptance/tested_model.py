"""What is tested for acceptance: a model, or a table of its scores, opened before any image is.

In comes what a person named; out go its classes, the scores of its own validation images where it
has some, and what a record says of it. Scores nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cxr_transfer.errors import CxrError
from cxr_transfer.labels import LabelSet, refuse_findings
from cxr_transfer.runs.run_folder import run_folder, validation_scores
from cxr_transfer.statistics.calibration import apply_temperature
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.subjects.opening import SubjectOptions, open_subject
from cxr_transfer.subjects.subject import Subject

NEGATIVE, POSITIVE = "negative", "positive"
SIDES = LabelSet((NEGATIVE, POSITIVE))
"""Classes of a test: what is looked for, and all the rest."""


@dataclass(frozen=True, eq=False)
class TestedModel:
    """Model, or table of scores, that is tested.

    Attributes:
        model: Model or table.
        facts: What the record says of it: ``kind``, ``name`` and hashes.
        validation: Scores of its own validation images, on the scale on which it gives scores; None
            where there are none.
    """

    model: Subject
    facts: dict[str, Any]
    validation: Scores | None = None

    @property
    def labels(self) -> LabelSet:
        """Classes in index order."""
        return self.model.labels


def open_for_test(subject: str, options: SubjectOptions) -> TestedModel:
    """Open a model or a table of scores.

    Args:
        subject: Model or table of scores, as `open_subject` takes it.
        options: How it is asked.

    Raises:
        DataError: ``bad_predictions`` for another table.
        ModelError: What opening the model raises.
        UsageError: ``several_findings`` for a model of findings.
    """
    model = open_subject(subject, options)
    facts: dict[str, Any] = {"name": model.name, "sha256": list(model.sha256)}
    if model.table is not None:
        return TestedModel(model, {"kind": "scores"} | facts)
    refuse_findings(model.labels, "an acceptance test")
    facts |= {
        "temperature": model.temperature,
        "confidence_threshold": model.confidence_threshold,
        "device": options.device,
    }
    return TestedModel(model, {"kind": "model"} | facts, _own_validation(model))


def _own_validation(model: Subject) -> Scores | None:
    """Return the validation scores of a run, at the model's temperature; None of anything else."""
    if model.kind != "checkpoint" or model.path is None:
        return None
    try:
        kept = validation_scores(run_folder(model.path), model.labels)
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
