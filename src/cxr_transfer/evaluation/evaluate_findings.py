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
from torch import nn

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.datasets.several_findings import unknown_findings
from cxr_transfer.errors import UsageError
from cxr_transfer.evaluation.decoding import Decoded, leave_out
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.evaluation.scoring import time_per_image
from cxr_transfer.figures import evaluation as figures
from cxr_transfer.files import write_csv, write_json, write_text
from cxr_transfer.inference.answer_words import named, thresholds_of
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.runs.run_folder import access_sentence, record_test_set_access
from cxr_transfer.statistics.findings import FindingScores, evaluate_findings
from cxr_transfer.statistics.intervals import INTERVALS, Estimate
from cxr_transfer.statistics.temperature import each_at_temperature, score_scale

MEAN_INTERVALS = (
    f"{INTERVALS}; of the mean AUROC over findings, where labels are missing: bootstrap by patient"
)


def check_groups(columns: Sequence[str]) -> None:
    """Refuse groups, of which no figures of findings are built.

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


def report_findings(
    checkpoint: Checkpoint,
    network: nn.Sequential,
    reference: TrainingReference | None,
    decoded: Decoded,
    head: dict[str, Any],
    folder: Path,
    out: Path,
    *,
    device: str,
    resamples: int,
    seed: int,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Evaluate a network of findings on decoded images, into ``out``.

    Args:
        checkpoint: Card of the network.
        network: Network in inference mode.
        reference: What is known of its training images; None where nothing is.
        decoded: Images with their labels.
        head: What ``report.json`` says of checkpoint, images and machine.
        folder: Run folder of the checkpoint.
        out: Report folder.
        device: Where the network runs.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
        log: Is told what is left out.

    Returns:
        The content of ``out/report.json``: ``head``, ``score_scale``, ``task``, and ``evaluation``
        as `statistics.findings.evaluate_findings` has it.
    """
    labels, cases, images = checkpoint.label_set, decoded.cases, decoded.tensors
    for line in unknown_findings(labels, cases):
        log(line)
    heat = reference.temperature if reference else None
    own = probabilities(network, images.images, device=device, exclusive=False)
    scored = each_at_temperature(own.double().numpy(), heat)
    thresholds = list((thresholds_of(checkpoint, reference) or {}).values())
    scores = FindingScores.of(labels, images.targets.numpy(), scored, cases)
    found = evaluate_findings(scores, thresholds, cases, resamples=resamples, seed=seed)
    leave_out(out, decoded.damaged, log)
    _write(out / "predictions.csv", checkpoint, reference, scored, cases)
    content = head | {
        "task": labels.task,
        "intervals": MEAN_INTERVALS,
        "score_scale": score_scale(heat),
        "thresholds_known": bool(reference and reference.thresholds),
        "temperature": heat,
        "temperature_check": reference.calibration_words if reference else None,
        "evaluation": found,
        "unknown_findings": unknown_findings(labels, cases),
        "test_set_accesses": record_test_set_access(
            folder, "evaluate", cases, checkpoint.weights_sha256
        ),
        "ms_per_image": time_per_image(network, images, device=device).as_dict(),
    }
    write_json(out / "report.json", content)
    name = checkpoint.name
    rows = [
        (f"{finding} ({one['present']} of {one['images']})", Estimate.from_dict(one["auroc"]))
        for finding, one in found["per_class"].items()
    ]
    mean = ("mean over findings", Estimate.from_dict(found["auroc_macro"]))
    figures.forest_plot(
        out / "figures" / f"{name}_findings.png", [mean, *rows], f"{name}: AUROC by finding"
    )
    damaged, opened = damaged_sentence(content["damaged_files"]), content["test_set_accesses"]
    page = render(
        "findings.md.j2",
        name=name,
        content=content,
        found=found,
        damaged=damaged,
        opened=access_sentence(opened),
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
    """Write a row per image: what names it, its label, what is named, and each probability."""
    known = ["file", "patient", "source", "split", "sha256", "label"]
    names = checkpoint.labels
    columns = [*known, "predicted", *(f"score_{name}" for name in names), "temperature"]
    heat = reference.temperature if reference else None
    write_csv(
        path,
        columns,
        (
            {name: getattr(case, name) for name in known}
            | {"predicted": named(checkpoint, reference, row.astype(np.float32))[0]}
            | {f"score_{name}": f"{value:.6f}" for name, value in zip(names, row, strict=True)}
            | ({} if heat is None else {"temperature": heat})
            for case, row in zip(cases, scored, strict=True)
        ),
    )
