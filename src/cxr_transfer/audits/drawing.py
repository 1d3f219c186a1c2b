"""Figures of an audit, of what its checks look at and found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.inputs import AuditInputs, Check
from cxr_transfer.evaluation.error_sheet import error_sheet, most_confident_errors
from cxr_transfer.figures import audit as audit_figures


def draw(
    folder: Path,
    name: str,
    audit_inputs: AuditInputs,
    checks: Sequence[Check],
    images: npt.NDArray[np.uint8],
) -> None:
    """Draw the figures into a folder.

    Args:
        folder: Folder of the figures.
        name: Name of the model.
        audit_inputs: What the checks looked at.
        checks: Checks that were made.
        images: Model inputs of the scored images, (N, 1, H, W).

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    parts = {
        "all of the image": audit_inputs.evaluation,
        **audit_inputs.occluded,
        "file metadata alone": audit_inputs.metadata,
        "age, sex, view alone": audit_inputs.demographics,
    }
    areas = [(title, evaluation.auroc_macro) for title, evaluation in parts.items() if evaluation]
    audit_figures.masked_bars(
        folder / "without_the_lungs.png", areas, f"{name}: AUROC (macro) of what is left"
    )
    audit_figures.source_mosaic(
        folder / "sources.png",
        audit_inputs.association,
        audit_inputs.scores.labels.names,
        "Where the images of each class come from",
    )
    scores = audit_inputs.scores
    errors = most_confident_errors(scores.targets, scores.probabilities)
    sheet = folder / "errors.png"
    error_sheet(
        sheet, scores.labels, scores.probabilities, audit_inputs.cases, images, errors, name
    )
