"""One checkpoint of findings on one list of images: how well each finding is told.

Probabilities are those that `cxr predict` gives, and findings are named from the thresholds of the
reference beside the checkpoint. An image takes part in the figures of the findings whose label is
known; all images are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.datasets.several_findings import unknown_findings
from cxr_transfer.evaluation.decoding import Decoded, leave_out
from cxr_transfer.evaluation.evaluated import Evaluated, ScoredImages
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures import evaluation as figures
from cxr_transfer.files import write_json, write_text
from cxr_transfer.runs.finding_predictions import write_finding_predictions
from cxr_transfer.runs.predictions import PREDICTIONS
from cxr_transfer.runs.run_folder import access_sentence
from cxr_transfer.statistics.findings import FindingScores, evaluate_findings
from cxr_transfer.statistics.intervals import INTERVALS, Estimate
from cxr_transfer.statistics.temperature import EVEN

MEAN_INTERVALS = (
    f"{INTERVALS}; of the mean AUROC over findings, where labels are missing: bootstrap by patient"
)


def report_findings(
    model: Evaluated,
    decoded: Decoded,
    scored: ScoredImages,
    head: dict[str, Any],
    out: Path,
    *,
    columns: Sequence[str] = (),
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Report how well findings are recognised on decoded images, into ``out``.

    Args:
        model: One checkpoint of findings, or several as one.
        decoded: Images with their labels.
        scored: Probabilities of the images.
        head: Entries of ``report.json`` on checkpoint, images, machine, bootstrap and scale.
        out: Report folder.
        columns: Columns of the manifest by which groups are formed, beside source, view, sex and
            age.
        log: Function that gets the lines on what is left out.

    Returns:
        Content of ``out/report.json``: ``head``, ``task``, and ``evaluation`` as
        `statistics.findings.evaluate_findings` has it.
    """
    labels, cases, reference = model.label_set, decoded.cases, model.reference
    thresholds = model.thresholds or (EVEN,) * len(labels)
    unknown = unknown_findings(labels, cases)
    for line in unknown:
        log(line)
    scores = FindingScores.of(labels, decoded.tensors.targets.numpy(), scored.given, cases)
    evaluation = evaluate_findings(
        scores, thresholds, cases, columns=columns, resamples=head["resamples"], seed=head["seed"]
    )
    leave_out(out, decoded.damaged, log)
    heat = reference.temperature if reference else None
    write_finding_predictions(out / PREDICTIONS, scores, thresholds, cases, temperature=heat)
    content = head | {
        "task": labels.task,
        "intervals": MEAN_INTERVALS,
        "thresholds_known": model.thresholds is not None,
        "temperature": heat,
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
