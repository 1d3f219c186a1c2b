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

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.audits.baselines import source_classifier
from cxr_transfer.audits.cached_scores import cached
from cxr_transfer.audits.checks import run_checks, verdict
from cxr_transfer.audits.drawing import draw
from cxr_transfer.audits.html_page import html_page
from cxr_transfer.audits.images_alone import near_copies, tables_alone
from cxr_transfer.audits.input_variants import compare_input_variants
from cxr_transfer.audits.inputs import AuditInputs, Check
from cxr_transfer.audits.leakage import parts_evidence
from cxr_transfer.audits.picture_evidence import drift_evidence, picture_evidence
from cxr_transfer.audits.readings import (
    Kinds,
    Part,
    Readings,
    kinds_of,
    read_scores,
    table_readings,
)
from cxr_transfer.audits.reasons import reasons
from cxr_transfer.audits.report import page
from cxr_transfer.audits.retraining import Retraining, both_splits, leave_sources_out
from cxr_transfer.audits.saliency import saliency_evidence
from cxr_transfer.audits.scorers import ImageScorer, scorer_of, table_scores, unavailable
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.evaluation.decoding import Decoded, decode_once, leave_out
from cxr_transfer.evaluation.evaluate import groups
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import NONE_STATED, LabelSet, refuse_findings
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
from cxr_transfer.statistics.subgroups import check_columns
from cxr_transfer.statistics.temperature import EVEN
from cxr_transfer.subjects.declared_images import declared_images
from cxr_transfer.subjects.subject import TITLES, Subject
from cxr_transfer.training.device import Execution, resolve_device
from cxr_transfer.training.tensors import ImageTensors

SCHEMA = "cxr-transfer/audit/1"
"""Name of the form of ``audit.json``: ``audit.schema.json`` beside this module describes it."""

BY_THEMSELVES = "what files, age, sex, view and features tell"
REPORT = "judging and drawing"
"""Phases of an audit."""

RETRAINING = "leave-one-source-out retraining (ask for it with --retrain)"


def audit(
    subject: Subject,
    cases: Sequence[Case],
    out: Path,
    *,
    saw: Path | None = None,
    compare_with: Sequence[Case] = (),
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
    """Audit a model on ``cases`` into ``out``.

    Args:
        subject: Model of classes, as `open_subject` opens it; of a model of findings one of them,
            as `as_classes` gives it with its cases.
        cases: Images of all kinds: those it was trained on (they are recognised, and not scored),
            others of the same sources, images from elsewhere, other findings.
        out: Report folder.
        saw: Table of images that it was trained on, beside what it declares itself; None for none.
        compare_with: Images of another data set, from which drift is measured.
        retrain: Whether its recipe is trained again without each source, and with parts drawn by
            patient and by image, into ``out/retrain``; what was done there before is kept.
        skip_damaged: Whether files that cannot be read are left out, and listed in ``out``.
        columns: Further columns of the manifest by which groups are formed.
        weights: ImageNet weights file for retraining, where the recipe wants them.
        device: Device of checkpoints: "auto", "cpu", "cuda" or "mps".
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
        UsageError: ``several_findings`` for a model of findings, and for the retraining of one;
            what `check_columns` raises, before an image is opened; ``no_start`` when the recipe
            cannot be trained again; ``unknown_precision``.
        ModelError: What the model raises where it is asked; with ``retrain`` what
            `imagenet_weights` raises, before any image is read.
        MachineError: What `imagenet_weights` raises.
    """
    columns = check_columns(columns, cases)
    refuse_findings(subject.labels, "an audit of them together")
    at = resolve_device(device)
    again = {"resamples": resamples, "seed": seed}
    execution = Execution(device, precision, progress=progress, is_one_of_many=True)
    into: dict[str, Any] = {"weights": weights, "execution": execution, "log": log, **again}
    retraining = Retraining.of(_retrained(subject), out / "retrain", **into) if retrain else None
    decoded = _decoded(subject, cases, out, skip_damaged, on_image)
    seen = subject.seen(decoded.cases)
    if saw is not None:
        seen = seen | declared_images(saw, decoded.cases)[1]
    of_table = table_scores(subject, decoded.cases)
    kinds = _kinds(subject, decoded, seen, of_table)
    leave_out(out, decoded.damaged, log)
    asked = scorer_of(subject, at)
    maps = keeping = None
    if asked is not None:
        keeping = cached(asked, subject, at, out)
        readings = read_scores(keeping, subject, decoded, kinds, precision, again, progress)
        maps = _maps(subject, asked, readings.part, at, again, progress)
    elif of_table is not None:
        readings = table_readings(of_table, subject.labels, decoded, kinds, again)
    part = readings.part
    folder = run_folder(_own_path(subject)) if subject.kind == "checkpoint" else None
    rows = parts(folder) if folder else ()
    ways = compare_input_variants(subject, part, seed=seed, progress=progress)
    evidence = picture_evidence(subject, keeping, decoded, readings, again, progress)
    if compare_with:
        reference = _decoded(subject, compare_with, out, skip_damaged, on_image)
        theirs = table_scores(subject, reference.cases)
        evidence["drift"] = drift_evidence(
            subject, keeping, decoded, readings.scored, reference, theirs, seed
        )
    audit_inputs = _audit_inputs(
        subject, decoded, kinds, readings, asked, rows, retraining, maps, again, progress
    )
    progress(REPORT, 0.0)
    opened = folder and record_test_set_access(folder, "audit", part.cases, subject.sha256[0])
    audit_inputs = dataclasses.replace(
        audit_inputs, columns=columns, input_variants=ways, evidence=evidence
    )
    checks = run_checks(audit_inputs)
    can_retrain = subject.kind == "checkpoint" and not retrain
    content = _content(subject, decoded, kinds, readings, checks) | {
        "score_scale": subject.score_scale,
        "not_done": [RETRAINING] if can_retrain else [],
        "test_set_accesses": opened,
        "device": at,
        "seed": seed,
    }
    write_json(out / "audit.json", content)
    draw(out / "figures", subject.title, audit_inputs, checks, part.images)
    write_text(out / "audit.md", page(subject.title, content, checks))
    write_text(out / "audit.html", html_page(subject.title, content, checks, out / "figures"))
    return content


def _decoded(
    subject: Subject,
    cases: Sequence[Case],
    out: Path,
    skip_damaged: bool,
    on_image: Callable[[], None],
) -> Decoded:
    return decode_once(
        cases,
        subject.preprocessing,
        subject.labels,
        files=True,
        unfinished=out,
        skip_damaged=skip_damaged,
        on_image=on_image,
    )


def _kinds(
    subject: Subject,
    decoded: Decoded,
    seen: npt.NDArray[np.bool_],
    of_table: npt.NDArray[np.float64] | None,
) -> Kinds:
    """Tell the images apart by what they are to the model.

    Raises:
        DataError: ``nothing_to_audit``.
    """
    kinds = kinds_of(decoded, seen, of_table)
    if not len(kinds.inside):
        raise DataError(
            "nothing_to_audit",
            f"Expected images with a label of {subject.name} that its training has not seen, "
            f"but all {len(decoded.cases)} are of other labels, were seen, or have no scores; give "
            "the data with its test part.",
        )
    return kinds


def _retrained(subject: Subject) -> Path:
    """Return where the checkpoint lies whose recipe is trained again.

    Raises:
        UsageError: ``no_recipe``; ``several_findings`` for one of these.
    """
    if subject.finding is not None:
        raise UsageError(
            "several_findings",
            "Expected no --retrain for one of several findings: retraining of those is not built "
            "yet; leave it out.",
        )
    return _own_path(subject)


def _own_path(subject: Subject) -> Path:
    """Return where a checkpoint lies.

    Raises:
        UsageError: ``no_recipe`` for a model of which there is none.
    """
    if subject.kind != "checkpoint" or subject.path is None:
        raise UsageError(
            "no_recipe",
            f"Expected one checkpoint of this package, whose recipe can be trained again, but "
            f"{subject.name} is {TITLES[subject.kind]}; leave --retrain out.",
        )
    return subject.path


def _maps(
    subject: Subject,
    asked: ImageScorer,
    part: Part,
    device: str,
    again: dict[str, int],
    progress: Tell,
) -> dict[str, Any]:
    """Return what heat maps show: exact ones of a network that has gradients."""
    return saliency_evidence(
        subject.network if subject.network is not None else asked.exact,
        part.images,
        [case.patient for case in part.cases],
        lungs=part.tensors.lungs,
        device=device,
        progress=progress,
        **again,
    )


def _audit_inputs(
    subject: Subject,
    decoded: Decoded,
    kinds: Kinds,
    readings: Readings,
    asked: ImageScorer | None,
    rows: Sequence[PartRow],
    retraining: Retraining | None,
    maps: Mapping[str, Any] | None,
    again: dict[str, int],
    progress: Tell,
) -> AuditInputs:
    """Put together all that the checks look at."""
    ours = Part(subject.labels, decoded, kinds.ours)
    # Tables, features, sources, near copies: five steps of about the same length.
    step = counting(progress, BY_THEMSELVES, 5)
    tables = tables_alone(ours, decoded, again, step)
    # Of one network of this package alone: others show no features.
    features = asked.features(ours.images) if isinstance(asked, Scorer) else None
    step()
    from_features = None if features is None else source_classifier(features, ours.cases, **again)
    step()
    near = near_copies(decoded, np.flatnonzero(kinds.seen), kinds.inside)
    return AuditInputs(
        scores=readings.whole,
        cases=readings.part.cases,
        evaluation=readings.evaluation,
        occluded=readings.occluded,
        **tables,
        association=source_by_class(ours.cases, **again),
        source_classifier=from_features,
        near_copies=near,
        own_images_seen=own_overlap(subject.cards[0], rows) if rows else 0,
        outside=_outside(subject.labels, decoded, kinds.elsewhere, readings.scored),
        parts=parts_evidence(rows, ours.cases, subject.labels, seed=again["seed"])
        | ({"retrained": _both_splits(retraining, ours)} if retraining else {}),
        matched=_matched(subject.labels, decoded, readings.scored, again["seed"]),
        heat_maps=maps,
        left_out=leave_sources_out(retraining, *_of_known_labels(decoded)) if retraining else None,
        threshold=subject.finding.threshold if subject.finding else EVEN,
        unavailable=unavailable(subject, seen=int(kinds.seen.sum())),
    )


def _outside(
    labels: LabelSet,
    decoded: Decoded,
    rows: npt.NDArray[np.int64],
    scored: npt.NDArray[np.float64],
) -> list[dict[str, Any]]:
    """Return what images from elsewhere, or with other findings, are called."""
    # Where a finding's label is missing, nothing that it is called is wrong.
    rows = np.array([row for row in rows if decoded.cases[row].label != NONE_STATED], np.int64)
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
    subject: Subject,
    decoded: Decoded,
    kinds: Kinds,
    readings: Readings,
    checks: Sequence[Check],
) -> dict[str, Any]:
    """Return what stands in ``audit.json`` of the images, the figures and the checks."""
    return {
        "schema": SCHEMA,
        "intended_use": INTENDED_USE,
        "checkpoint": {"name": subject.name, "weights_sha256": "".join(subject.sha256[:1])},
        "subject": subject.described(),
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
        "reasons": [check.name for check in reasons(checks)],
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
