"""Figures of an audit, of what its checks look at and found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.inputs import AuditInputs, Check
from cxr_transfer.evaluation.error_sheet import SHOWN, error_sheet, most_confident_errors
from cxr_transfer.figures import audit as audit_figures
from cxr_transfer.figures.contact_sheet import BOLD, FAINT, PLAIN, Tile, contact_sheet, one_line
from cxr_transfer.figures.decision_curve import decision_curves


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
    measured = {check.name: check.measured for check in checks}
    if curves := measured.get("decision_curve", {}).get("classes"):
        path = folder / "decision_curve.png"
        decision_curves(path, curves, f"{name}: net benefit of acting on a score")
    _draw_doubts(
        folder / "label_noise.png",
        measured.get("label_noise", {}).get("images", ()),
        audit_inputs,
        images,
        name,
    )
    scores = audit_inputs.scores
    errors = most_confident_errors(scores.targets, scores.probabilities)
    sheet = folder / "errors.png"
    error_sheet(
        sheet, scores.labels, scores.probabilities, audit_inputs.cases, images, errors, name
    )


def _draw_doubts(
    path: Path,
    doubted: Sequence[Mapping[str, Any]],
    audit_inputs: AuditInputs,
    images: npt.NDArray[np.uint8],
    name: str,
) -> None:
    """Draw the images whose label the scores speak against; none, and an earlier sheet goes."""
    if not doubted:
        path.unlink(missing_ok=True)
        return
    row_of = {case.file: row for row, case in enumerate(audit_inputs.cases)}
    tiles = []
    for number, doubt in enumerate(doubted[:SHOWN], start=1):
        row = row_of[doubt["file"]]
        lines = (
            (f"{number}. given {one_line(doubt['given'], 18)}", BOLD),
            (f"rather {one_line(doubt['suggested'], 18)}", PLAIN),
            (one_line(audit_inputs.cases[row].source), FAINT),
        )
        tiles.append(Tile(images[row, 0], lines))
    contact_sheet(path, tiles, f"{name}: labels that may be wrong (for your own eyes)")
