"""Why a model's figure may be undeserved: one page with a verdict, then the evidence.

First it finds which images training saw. The others are scored: whole, without the lungs, and
changed. Then come heat maps, and what files, age, sex, view and source alone tell. The recipe is
trained again where that is asked for. Last come `checks`, ``audit.json``, ``audit.md`` and figures.
It judges nothing itself: the bounds are the checks'. Scores are those that `cxr predict` gives, at
the temperature of the reference beside the checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.audits.baselines import (
    baseline,
    demographics_table,
    source_classifier,
    table_of,
)
from cxr_transfer.audits.checks import run_checks, verdict
from cxr_transfer.audits.inputs import AuditInputs, Check
from cxr_transfer.audits.leakage import parts_evidence
from cxr_transfer.audits.readings import Kinds, Part, Readings, kinds_of, read_scores
from cxr_transfer.audits.report import page
from cxr_transfer.audits.retraining import Retraining, both_splits, leave_sources_out
from cxr_transfer.audits.saliency import saliency_evidence
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.near_duplicates import confirmed, hashes, near_duplicates
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.decoding import Decoded, decode_once, leave_out
from cxr_transfer.evaluation.error_sheet import error_sheet, most_confident_errors
from cxr_transfer.evaluation.evaluate import groups
from cxr_transfer.evaluation.evaluated import seen_in_training
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.figures import audit as audit_figures
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import LabelSet, refuse_findings
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files, read_card
from cxr_transfer.models.reference import temperature_of
from cxr_transfer.progress import Tell, counting, tell_nobody
from cxr_transfer.runs.run_folder import (
    PartRow,
    own_overlap,
    parts,
    record_test_set_access,
    run_folder,
)
from cxr_transfer.statistics.association import source_by_class
from cxr_transfer.statistics.intervals import INTERVALS
from cxr_transfer.statistics.matching import matched_pairs
from cxr_transfer.statistics.metrics import Evaluation, evaluate
from cxr_transfer.statistics.subgroups import check_columns
from cxr_transfer.statistics.temperature import score_scale
from cxr_transfer.training.device import Execution, resolve_device
from cxr_transfer.training.tensors import ImageTensors

PICTURE = ("bytes_per_pixel", "grey_", "black", "white")
"""Columns of `file_features` in which a finding may show: white lungs are brighter, too."""

BY_THEMSELVES = "what files, age, sex, view and features tell"
REPORT = "judging and drawing"
"""Phases of an audit."""

RETRAINING = "leave-one-source-out retraining (ask for it with --retrain)"


def audit(
    checkpoint_path: Path,
    cases: Sequence[Case],
    out: Path,
    *,
    retrain: bool = False,
    skip_damaged: bool = False,
    columns: Sequence[str] = (),
    weights: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    resamples: int = 1000,
    seed: int = 0,
    on_image: Callable[[], None] = lambda: None,
    log: Callable[[str], None] = lambda line: None,
    progress: Tell = tell_nobody,
) -> dict[str, Any]:
    """Audit a checkpoint on ``cases`` into ``out``.

    Args:
        checkpoint_path: Weights file, its card, a run folder, or the name of a released model.
        cases: Images of all kinds: those it was trained on (they are recognised, and not scored),
            others of the same sources, images from elsewhere, other findings.
        out: Report folder.
        retrain: Whether its recipe is trained again without each source, and with parts drawn by
            patient and by image, into ``out/retrain``; what was done there before is kept.
        skip_damaged: Whether files that cannot be read are left out, and listed in ``out``.
        columns: Further columns of the manifest by which groups are formed.
        weights: ImageNet weights file for retraining, where the recipe wants them.
        device: Device: "auto", "cpu", "cuda" or "mps".
        precision: Precision of retraining, and of the scores of changed images ("auto": bfloat16
            where it is fast and calls hardly an image otherwise). Every other score is of float32.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap, the folds, the noise, the new weights, and of
            retraining.
        on_image: Function that is called after every image that was read.
        log: Function that gets a line on what happens.
        progress: Function that is called with the phase, behind the reading, and the share of it
            that is done.

    Returns:
        Content of ``out/audit.json``.

    Raises:
        DataError: ``nothing_to_audit`` when no image with a known label is left that training has
            not seen; what `decode_once` raises.
        UsageError: ``several_findings`` for a network of findings; what `check_columns` raises,
            before an image is opened; ``no_start`` when the
            recipe cannot be trained again; ``unknown_precision``.
        ModelError: What `load_checkpoint` and `temperature_of` raise; with ``retrain`` what
            `imagenet_weights` raises, before any image is read.
        MachineError: What `imagenet_weights` raises.
    """
    columns = check_columns(columns, cases)
    checkpoint, network, heat = _opened(checkpoint_path)
    folder, at = run_folder(checkpoint_path), resolve_device(device)
    again = {"resamples": resamples, "seed": seed}
    execution = Execution(device, precision, progress=progress, is_one_of_many=True)
    retraining = None
    if retrain:
        retraining = Retraining.of(
            checkpoint_path, out / "retrain", weights=weights, execution=execution, log=log, **again
        )
    decoded = decode_once(
        cases,
        checkpoint.preprocessing,
        checkpoint.label_set,
        files=True,
        unfinished=out,
        skip_damaged=skip_damaged,
        on_image=on_image,
    )
    kinds = kinds_of(decoded, np.array(seen_in_training(checkpoint, decoded.cases)))
    if not len(kinds.inside):
        raise DataError(
            "nothing_to_audit",
            f"Expected images with a label of {checkpoint.name} that its training has not seen, "
            f"but all {len(decoded.cases)} are of other labels or were seen; give the data with "
            "its test part.",
        )
    leave_out(out, decoded.damaged, log)
    scorer = Scorer(network, at, heat)
    readings = read_scores(scorer, checkpoint, decoded, kinds, precision, again, progress)
    part = readings.part
    patients = [case.patient for case in part.cases]
    maps = saliency_evidence(
        network,
        part.images,
        patients,
        lungs=part.tensors.lungs,
        device=at,
        progress=progress,
        **again,
    )
    rows = parts(folder)
    audit_inputs = _audit_inputs(
        checkpoint, decoded, kinds, readings, scorer, rows, retraining, maps, again, progress
    )
    progress(REPORT, 0.0)
    opened = record_test_set_access(folder, "audit", part.cases, checkpoint.weights_sha256)
    checks = run_checks(dataclasses.replace(audit_inputs, columns=columns))
    content = _content(checkpoint, decoded, kinds, readings, checks) | {
        "score_scale": score_scale(heat),
        "not_done": [] if retrain else [RETRAINING],
        "test_set_accesses": opened,
        "device": at,
        "seed": seed,
    }
    write_json(out / "audit.json", content)
    _draw(out / "figures", checkpoint.name, audit_inputs, part.images)
    write_text(out / "audit.md", page(checkpoint, content, checks))
    return content


def _opened(path: Path) -> tuple[Checkpoint, nn.Sequential, float | None]:
    """Return card, network and temperature of a model of classes.

    Raises:
        UsageError: ``several_findings`` for a network of findings.
    """
    refuse_findings(read_card(checkpoint_files(path)[0]).label_set, "an audit")
    return *load_checkpoint(path), temperature_of(path)


def _audit_inputs(
    checkpoint: Checkpoint,
    decoded: Decoded,
    kinds: Kinds,
    readings: Readings,
    scorer: Scorer,
    rows: Sequence[PartRow],
    retraining: Retraining | None,
    maps: Mapping[str, Any],
    again: dict[str, int],
    progress: Tell,
) -> AuditInputs:
    """Put together all that the checks look at."""
    ours = Part(checkpoint.label_set, decoded, kinds.ours)
    # Tables, features, sources, near copies: five steps of about the same length.
    step = counting(progress, BY_THEMSELVES, 5)
    tables = _tables(ours, decoded, again, step)
    features = scorer.features(ours.images)
    step()
    from_features = source_classifier(features, ours.cases, **again)
    step()
    near = _near_copies(decoded, np.flatnonzero(kinds.seen), kinds.inside)
    return AuditInputs(
        scores=readings.whole,
        cases=readings.part.cases,
        evaluation=readings.evaluation,
        occluded=readings.occluded,
        unchanged=readings.unchanged,
        corrupted=readings.corrupted,
        **tables,
        association=source_by_class(ours.cases, **again),
        source_classifier=from_features,
        near_copies=near,
        own_images_seen=own_overlap(checkpoint, rows),
        outside=_outside(checkpoint.label_set, decoded, kinds.elsewhere, readings.scored),
        parts=parts_evidence(rows, ours.cases, checkpoint.label_set, seed=again["seed"])
        | ({"retrained": _both_splits(retraining, ours)} if retraining else {}),
        matched=_matched(checkpoint.label_set, decoded, readings.scored, again["seed"]),
        heat_maps=maps,
        left_out=leave_sources_out(retraining, *_of_known_labels(decoded)) if retraining else None,
    )


def _outside(
    labels: LabelSet,
    decoded: Decoded,
    rows: npt.NDArray[np.int64],
    scored: npt.NDArray[np.float64],
) -> list[dict[str, Any]]:
    """Return what images from elsewhere, or with other findings, are called."""
    return groups(labels, scored[rows], [decoded.cases[row] for row in rows]) if len(rows) else []


def _matched(
    labels: LabelSet, decoded: Decoded, scored: npt.NDArray[np.float64], seed: int
) -> list[dict[str, Any]]:
    """Compare pairs of classes on people who are alike, on images that training has not seen."""
    has_label = decoded.tensors.targets.numpy() >= 0
    rows = np.flatnonzero(has_label & ~np.isnan(scored).any(axis=1))
    part = Part(labels, decoded, rows)
    return matched_pairs(part.scores(scored[rows]), part.cases, seed=seed)


def _content(
    checkpoint: Checkpoint,
    decoded: Decoded,
    kinds: Kinds,
    readings: Readings,
    checks: Sequence[Check],
) -> dict[str, Any]:
    """Return what stands in ``audit.json`` of the images, the figures and the checks."""
    return {
        "intended_use": INTENDED_USE,
        "checkpoint": {"name": checkpoint.name, "weights_sha256": checkpoint.weights_sha256},
        "intervals": INTERVALS,
        "verdict": verdict(checks),
        "images": {
            "all": len(decoded.cases),
            "damaged": len(decoded.damaged),
            "seen_in_training": int(kinds.seen.sum()),
            "scored": len(kinds.inside),
            "elsewhere": len(kinds.elsewhere),
        },
        "accuracy": readings.evaluation.accuracy.as_dict(),
        "auroc_macro": readings.evaluation.auroc_macro.as_dict(),
        "checks": [check.as_dict() for check in checks],
        "lung_mask": "a small network fitted to lungs drawn by hand: docs/results/lung_mask.json",
        "precision": readings.precision,
        "data_hash": data_hash(decoded.cases),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }


def _of_known_labels(decoded: Decoded) -> tuple[list[Case], ImageTensors]:
    rows = np.flatnonzero(decoded.tensors.targets.numpy() >= 0)
    return [decoded.cases[row] for row in rows], decoded.tensors.only(rows)


def _both_splits(retraining: Retraining, ours: Part) -> dict[str, Any] | None:
    if len({case.patient for case in ours.cases}) == len(ours.cases):
        return None  # An image each: both ways of drawing parts are one.
    try:
        return both_splits(retraining, ours.cases, ours.tensors)
    except DataError:
        return None  # Too few patients or images to draw parts from.


def _tables(
    ours: Part, decoded: Decoded, bootstrap: dict[str, int], step: Callable[[], None]
) -> dict[str, Any]:
    """Return what tables of files, grey levels and people tell of the labels by themselves."""
    files, columns = table_of([decoded.files[row] for row in ours.rows])
    container = np.array([not name.startswith(PICTURE) for name in columns])
    tables = {
        "metadata": files[:, container],
        "grey_levels": files[:, ~container],
        "demographics": demographics_table(ours.cases)[0],
    }
    evaluations = {}
    for name, table in tables.items():
        evaluations[name] = _baseline(table, ours, bootstrap)
        step()
    return evaluations


def _baseline(
    table: npt.NDArray[np.float64], ours: Part, again: dict[str, int]
) -> Evaluation | None:
    patients, files = zip(*((case.patient, case.file) for case in ours.cases), strict=True)
    try:
        scores = baseline(table, ours.targets, ours.labels, patients, files, seed=again["seed"])
    except DataError:
        return None  # Too few patients of a class: the check says that it is not done.
    return evaluate(scores, **again)


def _near_copies(
    decoded: Decoded, seen: npt.NDArray[np.int64], inside: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return near-duplicates between images that training saw and images that are scored."""
    cases, rows = decoded.cases, np.concatenate([seen, inside])
    tensors = decoded.tensors.images.numpy()[rows, 0]
    crossing = [
        pair
        for pair in near_duplicates(hashes(tensors))
        if min(pair[:2]) < len(seen) <= max(pair[:2])
    ]
    return [
        {
            "seen": cases[rows[min(pair[:2])]].file,
            "scored": cases[rows[max(pair[:2])]].file,
            "bits": int(pair[2]),
            "mirrored": bool(pair[3]),
            "likeness": round(likeness, 3),
        }
        for pair, likeness in confirmed(tensors, crossing)
    ]


def _draw(
    folder: Path, name: str, audit_inputs: AuditInputs, images: npt.NDArray[np.uint8]
) -> None:
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
