"""One checkpoint on one list of images: scores, what they are worth, for whom, and when not.

Scores are those that `cxr predict` gives: at the temperature of the reference beside the
checkpoint, where there is one. So a threshold of the report picks there what it picks here.

Images whose label the network does not know are scored too: what a network calls images that it
was never taught is often the most telling figure. Images and patients that its training saw are
refused.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation import report
from cxr_transfer.evaluation.decoding import Decoded, decode_once, leave_out
from cxr_transfer.evaluation.error_sheet import SHOWN, error_sheet, most_confident_errors
from cxr_transfer.evaluation.evaluate_findings import report_findings
from cxr_transfer.evaluation.evaluated import Evaluated, open_evaluated
from cxr_transfer.evaluation.evaluation_page import page
from cxr_transfer.evaluation.publication import evaluation_flow, publish_evaluation
from cxr_transfer.evaluation.scoring import write_scores
from cxr_transfer.figures import evaluation as figures
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.progress import Tell, tell_nobody
from cxr_transfer.runs.predictions import PREDICTIONS
from cxr_transfer.statistics.calibration import apply_temperature, calibration, reliability
from cxr_transfer.statistics.intervals import INTERVALS, Estimate, share
from cxr_transfer.statistics.metrics import Evaluation, evaluate
from cxr_transfer.statistics.operating_points import (
    at_threshold,
    aurc,
    operating_points,
    risk_at,
    risk_coverage,
)
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.subgroups import check_columns, gaps, subgroups, within_sources
from cxr_transfer.training.device import resolve_device


def evaluate_checkpoint(
    checkpoint_path: Path,
    cases: Sequence[Case],
    out: Path,
    *,
    allow_seen: bool = False,
    skip_damaged: bool = False,
    columns: Sequence[str] = (),
    device: str = "auto",
    resamples: int = 2000,
    seed: int = 0,
    on_image: Callable[[], None] = lambda: None,
    log: Callable[[str], None] = lambda line: None,
    progress: Tell = tell_nobody,
) -> dict[str, Any]:
    """Evaluate a checkpoint on ``cases`` into ``out``.

    Args:
        checkpoint_path: Weights file, its card, a run folder, or the name of a released model; or a
            folder of several checkpoints, evaluated as one by the mean of their calibrated scores.
        cases: Images with labels, of any kind.
        out: Report folder.
        allow_seen: Whether images and patients that training saw are scored; the report says so.
        skip_damaged: Whether files that cannot be read are left out, and listed in ``out``.
        columns: Further columns of the manifest by which groups are formed, beside source, view,
            sex and age.
        device: Device: "auto", "cpu", "cuda" or "mps".
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
        on_image: Function that is called after every image.
        log: Function that gets the lines on what is left out.
        progress: Function that is called with the phase, behind the reading, and the share of it
            that is done.

    Returns:
        Content of ``out/report.json``; for a network of findings as `report_findings` has it.
        ``score_scale`` names the scale of all scores and thresholds in it. Over the images whose
        labels the network knows: ``evaluation``, what `_worth` adds, and ``errors``, how many are
        called wrong and how many of these ``figures/errors.png`` shows (null when there are no such
        images). Over all of them: ``groups``, what the images of each source and label are called.

    Raises:
        DataError: ``seen_images`` when training saw some and ``allow_seen`` is not set; what
            `decode_once` raises.
        UsageError: What `check_columns` raises, before an image is opened.
        ModelError: What `load_checkpoint` and `reference_beside` raise.
    """
    columns = check_columns(columns, cases)
    model = open_evaluated(checkpoint_path)
    reference = model.reference
    heat = reference.temperature if reference else None
    labels = model.label_set
    if model.is_ensemble:
        log(f"an ensemble: the mean of {len(model.members)} models' calibrated scores")
    decoded = decode_once(
        cases, model.preprocessing, labels, skip_damaged=skip_damaged, on_image=on_image
    )
    all_cases, cases, images = cases, decoded.cases, decoded.tensors
    seen = _seen(model, cases, allow_seen)
    at = resolve_device(device)
    scored = model.scored(images, at, progress)
    head = _content(model, decoded, seen, at, seed) | {
        "resamples": resamples,
        "score_scale": model.score_scale,
        "test_set_accesses": model.record_access(cases),
        "ms_per_image": scored.ms_per_image.as_dict(),
    }
    if not labels.exclusive:
        return report_findings(model, decoded, scored, head, out, columns=columns, log=log)
    given_scores, targets = scored.given, images.targets.numpy()
    has_label = targets >= 0
    labelled = [case for case, is_known in zip(cases, has_label, strict=True) if is_known]
    scores = evaluation = worth = None
    progress("intervals and groups", 0.0)
    if labelled:
        scores = Scores.of(labels, targets[has_label], given_scores[has_label], labelled)
        evaluation = evaluate(scores, resamples=resamples, seed=seed)
        own = dataclasses.replace(scores, probabilities=scored.own[has_label])
        bootstrap = {"resamples": resamples, "seed": seed}
        worth = _worth(scores, own, labelled, columns, model.validation(), reference, bootstrap)
    leave_out(out, decoded.damaged, log)
    write_scores(out / PREDICTIONS, labels, given_scores, cases, temperature=heat)
    errors = most_confident_errors(targets, given_scores)
    wrong = [cases[row] for row in errors]
    table = out / "errors.csv"
    write_scores(table, labels, given_scores[errors], wrong, temperature=heat, numbered=True)
    content = head | {
        "evaluation": evaluation.as_dict() if evaluation else None,
        "worth": worth,
        "errors": {"images": len(errors), "shown": min(len(errors), SHOWN)} if labelled else None,
        "groups": groups(labels, given_scores, cases),
        "flow": evaluation_flow(all_cases, decoded, has_label),
    }
    write_json(out / "report.json", content)
    progress("drawing", 0.0)
    drawn: tuple[str, ...] = ()
    name, pictures = model.name, out / "figures"
    if scores and evaluation and worth:
        report.draw_evaluation(pictures, name, scores, evaluation, title=name)
        drawn = _draw(pictures, name, scores, evaluation, worth)
        publish_evaluation(out, content, model, scores, evaluation)
    sheet = pictures / "errors.png"
    error_sheet(sheet, labels, given_scores, cases, images.images.numpy(), errors, name)
    write_text(out / "report.md", page(model, content, evaluation, drawn))
    return content


def _seen(model: Evaluated, cases: Sequence[Case], allowed: bool) -> int:
    """Return how many cases training has seen.

    Raises:
        DataError: ``seen_images`` where that is not allowed.
    """
    seen = sum(model.seen(cases))
    if seen and not allowed:
        raise DataError(
            "seen_images",
            f"Expected images of patients that {model.name} was not trained on, but it has "
            f"seen {seen} of {len(cases)} (by image or patient); leave them out, or say "
            "--allow-seen and do not quote the figures.",
        )
    return seen


def _content(
    model: Evaluated, decoded: Decoded, seen: int, device: str, seed: int
) -> dict[str, Any]:
    """Return what stands in ``report.json`` of the checkpoint, the images and the run."""
    return {
        "intended_use": INTENDED_USE,
        "checkpoint": model.described(),
        "intervals": INTERVALS,
        "images": len(decoded.cases),
        "damaged_files": len(decoded.damaged),
        "seen_in_training": seen,
        "data_hash": data_hash(decoded.cases),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "device": device,
        "seed": seed,
    }


def _worth(
    scores: Scores,
    uncalibrated: Scores,
    cases: Sequence[Case],
    columns: Sequence[str],
    validation: Scores | None,
    reference: TrainingReference | None,
    again: dict[str, Any],
) -> dict[str, Any]:
    """Return what the scores are worth beyond accuracy.

    ``calibration`` before and after the temperature of the reference (null without one) and what
    is known of it; ``operating_points``, chosen on the validation images alone (null without them),
    of scores as they are given; ``abstention`` (null where the model has no limit),
    ``risk_coverage``, ``subgroups`` with their ``gaps``, ``within_sources``.
    """
    heat = reference.temperature if reference else None
    points = None
    if validation:
        validation = apply_temperature(validation, heat) if heat else validation
        present = set(validation.targets.tolist()) & set(scores.targets.tolist())
        points = {
            label: {
                name: at_threshold(scores, label, threshold, **again)
                for name, threshold in operating_points(validation, label).items()
            }
            for target, label in enumerate(scores.labels)
            if target in present and len(present) > 1
        }
    grouped = subgroups(scores, cases, columns=columns, **again)
    return {
        "calibration": {
            "temperature": heat,
            "temperature_check": reference.calibration_words if reference else None,
            "before": calibration(uncalibrated, **again).as_dict(),
            "after": calibration(scores, **again).as_dict() if heat else None,
            "reliability_before": reliability(uncalibrated),
            "reliability_after": reliability(scores) if heat else None,
        },
        "operating_points": points,
        "abstention": _abstention(scores, reference, **again),
        "risk_coverage": {"aurc": aurc(scores), "kept": risk_at(scores, **again)},
        "subgroups": grouped,
        "gaps": gaps(grouped),
        "within_sources": within_sources(scores, cases),
    }


def _abstention(
    scores: Scores, reference: TrainingReference | None, *, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Return how many images get a class by the model's own limit, and how many a wrong one."""
    if reference is None or reference.confidence_threshold is None:
        return None
    # In float32, as a prediction is compared with it.
    answered = reference.accepts(scores.probabilities.astype(np.float32))
    kept = scores.only(answered) if answered.any() else None
    return {
        "confidence_threshold": reference.confidence_threshold,
        "answered": int(answered.sum()),
        "not_sure": int((~answered).sum()),
        "wrong_among_answered": share(
            kept.predicted != kept.targets, kept.patients, resamples=resamples, seed=seed
        ).as_dict()
        if kept
        else None,
    }


def _draw(
    folder: Path, name: str, scores: Scores, evaluation: Evaluation, worth: dict[str, Any]
) -> tuple[str, ...]:
    """Draw what `_worth` found; return the names of the files."""
    curves = worth["calibration"]
    figures.reliability_plot(
        folder / f"{name}_reliability.png",
        curves["reliability_before"],
        curves["reliability_after"] or [],
        f"{name}: scores and what came true",
    )
    coverage, risk = risk_coverage(scores)
    figures.risk_coverage_plot(
        folder / f"{name}_risk_coverage.png", coverage, risk, f"{name}: leaving out unsure images"
    )
    rows = [
        (f"{axis}: {group['group']} ({group['images']})", Estimate.from_dict(group["accuracy"]))
        for axis, groups_of_axis in worth["subgroups"].items()
        for group in groups_of_axis
        if not group["too_few"]
    ]
    figures.forest_plot(
        folder / f"{name}_subgroups.png",
        [("all images", evaluation.accuracy), *rows],
        f"{name}: accuracy by group",
    )
    return tuple(f"{name}_{kind}.png" for kind in ("reliability", "risk_coverage", "subgroups"))


def groups(labels: LabelSet, scored: np.ndarray, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return for every source and label how its images are called, with intervals by patient."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, case in enumerate(cases):
        rows[case.source, case.label].append(row)
    predicted = scored.argmax(axis=1)
    return [
        {
            "source": source,
            "label": label,
            "images": len(members),
            "patients": len({cases[row].patient for row in members}),
            "called": {
                name: {"images": int(flags.sum())}
                | share(flags, [cases[row].patient for row in members]).as_dict()
                for target, name in enumerate(labels)
                for flags in [predicted[members] == target]
            },
        }
        for (source, label), members in sorted(rows.items())
    ]
