"""One checkpoint of findings on one list of images: how well each finding is told.

Probabilities are those that `cxr predict` gives, and findings are named from the thresholds of the
reference beside the checkpoint. An image takes part in the figures of the findings whose label is
known; all images are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.datasets.several_findings import unknown_findings
from cxr_transfer.errors import UsageError
from cxr_transfer.evaluation.decoding import Decoded, leave_out
from cxr_transfer.evaluation.evaluated import Evaluated, ScoredImages
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures import evaluation as figures
from cxr_transfer.files import write_csv, write_json, write_text
from cxr_transfer.inference.answer_words import named, thresholds_of
from cxr_transfer.labels import refuse_findings
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.runs.predictions import NAMING, PREDICTIONS
from cxr_transfer.runs.run_folder import access_sentence
from cxr_transfer.statistics.findings import FindingScores, evaluate_findings
from cxr_transfer.statistics.intervals import INTERVALS, Estimate

MEAN_INTERVALS = (
    f"{INTERVALS}; of the mean AUROC over findings, where labels are missing: bootstrap by patient"
)


def check_findings(model: Evaluated, columns: Sequence[str]) -> None:
    """Refuse what is not built of findings: groups, and several models as one.

    Raises:
        UsageError: ``several_findings``.
    """
    if columns:
        raise UsageError(
            "several_findings",
            f"Expected no --subgroup for a model of several findings at once, but got "
            f"{', '.join(columns)}: groups of those are not built yet; leave it out, or evaluate a "
            "manifest for each group.",
        )
    if model.is_ensemble:
        refuse_findings(model.label_set, "an ensemble")


def report_findings(
    model: Evaluated,
    decoded: Decoded,
    scored: ScoredImages,
    head: dict[str, Any],
    out: Path,
    *,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Report how well findings are recognised on decoded images, into ``out``.

    Args:
        model: One checkpoint, of findings.
        decoded: Images with their labels.
        scored: Probabilities of the images.
        head: Entries of ``report.json`` on checkpoint, images, machine, bootstrap and scale.
        out: Report folder.
        log: Function that gets the lines on what is left out.

    Returns:
        Content of ``out/report.json``: ``head``, ``task``, and ``evaluation`` as
        `statistics.findings.evaluate_findings` has it.
    """
    labels, cases, reference = model.label_set, decoded.cases, model.reference
    checkpoint = model.members[0].checkpoint
    unknown = unknown_findings(labels, cases)
    for line in unknown:
        log(line)
    thresholds = list((thresholds_of(checkpoint, reference) or {}).values())
    scores = FindingScores.of(labels, decoded.tensors.targets.numpy(), scored.given, cases)
    evaluation = evaluate_findings(
        scores, thresholds, cases, resamples=head["resamples"], seed=head["seed"]
    )
    leave_out(out, decoded.damaged, log)
    _write(out / PREDICTIONS, checkpoint, reference, scored.given, cases)
    content = head | {
        "task": labels.task,
        "intervals": MEAN_INTERVALS,
        "thresholds_known": bool(reference and reference.thresholds),
        "temperature": reference.temperature if reference else None,
        "temperature_check": reference.calibration_words if reference else None,
        "evaluation": evaluation,
        "unknown_findings": unknown,
    }
    write_json(out / "report.json", content)
    rows = [
        (
            f"{finding} ({of_finding['present']} of {of_finding['images']})",
            Estimate.from_dict(of_finding["auroc"]),
        )
        for finding, of_finding in evaluation["per_class"].items()
    ]
    mean = ("mean over findings", Estimate.from_dict(evaluation["auroc_macro"]))
    picture = out / "figures" / f"{model.name}_findings.png"
    figures.forest_plot(picture, [mean, *rows], f"{model.name}: AUROC by finding")
    page = render(
        "findings.md.j2",
        name=model.name,
        content=content,
        evaluation=evaluation,
        damaged=damaged_sentence(content["damaged_files"]),
        opened=access_sentence(content["test_set_accesses"]),
    )
    write_text(out / "report.md", page)
    return content


def _write(
    path: Path,
    checkpoint: Checkpoint,
    reference: TrainingReference | None,
    scored: npt.NDArray[np.float64],
    cases: Sequence[Case],
) -> None:
    """Write a row per image: what names it, its label, what is named, and each probability.

    Its columns are not those of class scores: a comparison of classes does not take it.
    """
    names = checkpoint.labels
    columns = [*NAMING, "predicted", *(f"probability_{name}" for name in names), "temperature"]
    heat = reference.temperature if reference else None
    write_csv(
        path,
        columns,
        (
            {name: getattr(case, name) for name in NAMING}
            | {"predicted": named(checkpoint, reference, row.astype(np.float32))[0]}
            | {
                f"probability_{name}": f"{value:.6f}"
                for name, value in zip(names, row, strict=True)
            }
            | ({} if heat is None else {"temperature": heat})
            for case, row in zip(cases, scored, strict=True)
        ),
    )
