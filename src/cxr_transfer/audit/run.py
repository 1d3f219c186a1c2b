"""Why a model's figure may be undeserved: one page with a verdict, then the evidence.

Order: films -> which of them training saw -> scores of the others, whole, without the lungs, and
changed -> heat maps -> what files, age, sex, view and source alone tell -> the recipe trained again
where that is asked for -> `checks` -> ``audit.json``, ``audit.md``, figures. Judges nothing itself:
the bounds are the checks'. Scores are those that `cxr predict` gives, at the temperature of the
reference beside the checkpoint.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.audit.baselines import (
    baseline,
    demographics_table,
    source_classifier,
    table_of,
)
from cxr_transfer.audit.checks import run_checks, verdict
from cxr_transfer.audit.inputs import Evidence
from cxr_transfer.audit.leakage import parts_evidence
from cxr_transfer.audit.perturbations import CORRUPTIONS, UNCHANGED, corrupted
from cxr_transfer.audit.report import page
from cxr_transfer.audit.retraining import Retraining, both_splits, leave_sources_out
from cxr_transfer.audit.saliency import saliency_evidence
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.near_duplicates import confirmed, hashes, near_duplicates
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.decoding import Decoded, decode_once, leave_out
from cxr_transfer.evaluation.error_sheet import error_sheet, surest_errors
from cxr_transfer.evaluation.evaluate import groups, seen_in_training
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.figures import audit as audit_figures
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.reference import temperature_of
from cxr_transfer.radiograph.lung_segmentation import border_only, lungs_blacked, lungs_only
from cxr_transfer.runs.run_folder import own_overlap, parts, record_opening, run_folder
from cxr_transfer.statistics.association import source_by_class
from cxr_transfer.statistics.intervals import INTERVALS
from cxr_transfer.statistics.matching import matched_pairs
from cxr_transfer.statistics.metrics import Evaluation, Scores, evaluate
from cxr_transfer.statistics.temperature import score_scale
from cxr_transfer.training.device import Execution, resolve_device
from cxr_transfer.training.tensors import Films, load_films

PICTURE = ("bytes_per_pixel", "grey_", "black", "white")
"""Columns of `metadata_table` in which a finding may show: white lungs are brighter, too."""

_OCCLUSIONS: dict[str, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    "lungs blacked out": lungs_blacked,
    "border only": border_only,
    "lungs only": lungs_only,
}
RETRAINING = "leave-one-source-out retraining (ask for it with --retrain)"


def audit(
    checkpoint_path: Path,
    cases: Sequence[Case],
    out: Path,
    *,
    retrain: bool = False,
    skip_damaged: bool = False,
    weights: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    resamples: int = 1000,
    seed: int = 0,
    each: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Audit a checkpoint on ``cases`` into ``out``.

    Args:
        checkpoint_path: Weights file, its card, a run folder, or the name of a released model.
        cases: Films of all kinds: those it was trained on (they are recognised, and not scored),
            others of the same sources, films from elsewhere, other findings.
        out: Report folder.
        retrain: Train its recipe again without each source, and with parts drawn by patient and by
            image, into ``out/retrain``; what was done there before is kept.
        skip_damaged: Leave out files that cannot be read, and list them in ``out``.
        weights: ImageNet weights file for retraining, where the recipe wants them.
        device: As everywhere.
        precision: Of retraining, and of the scores of changed films ("auto": bfloat16 where it is
            fast and calls hardly a film otherwise). Every other score is of float32.
        resamples: Of the bootstrap by patient.
        seed: Of the bootstrap, the folds, the noise, the new weights, and of retraining.
        each: Called after every film that was read.
        say: Is told what happens.

    Returns:
        The content of ``out/audit.json``.

    Raises:
        DataError: ``nothing_to_audit`` when no film with a known label is left that training has
            not seen; what `decode_once` raises.
        UsageError: ``no_start`` when the recipe cannot be trained again; ``unknown_precision``.
        ModelError: What `load_checkpoint` and `temperature_of` raise; with ``retrain`` what
            `imagenet_weights` raises, before any film is read.
        MachineError: What `imagenet_weights` raises.
    """
    checkpoint, network = load_checkpoint(checkpoint_path)
    heat = temperature_of(checkpoint_path)
    labels, folder, at = checkpoint.label_set, run_folder(checkpoint_path), resolve_device(device)
    again = {"resamples": resamples, "seed": seed}
    retraining = (
        Retraining.of(
            checkpoint_path,
            out / "retrain",
            weights=weights,
            execution=Execution(device=device, precision=precision),
            say=say,
            **again,
        )
        if retrain
        else None
    )
    decoded = decode_once(
        cases, checkpoint.preprocessing, labels, skip_damaged=skip_damaged, each=each
    )
    cases, images = decoded.cases, decoded.films.images.numpy()
    kinds = _kinds(decoded, np.array(seen_in_training(checkpoint, cases)))
    if not len(kinds.inside):
        raise DataError(
            "nothing_to_audit",
            f"Expected films with a label of {checkpoint.name} that its training has not seen, "
            f"but all {len(cases)} are of other labels or were seen; give the data with its test "
            "part.",
        )

    leave_out(out, decoded.damaged, say)
    say(f"scoring {len(kinds.inside)} films, whole and in parts")
    scorer = Scorer(network, at, heat)
    scored = np.full((len(cases), len(labels)), np.nan)
    unseen = np.sort(np.concatenate([kinds.inside, kinds.elsewhere]))
    scored[unseen] = scorer.exact(images[unseen])
    quick = scorer.settle(images[kinds.inside], scored[kinds.inside], precision)
    part = _Part(labels, decoded, kinds.inside)
    whole = part.scores(scored[kinds.inside])
    evaluation = evaluate(whole, **again)
    occluded = {
        name: evaluate(part.scores(scorer.exact(hide(part.images))), **again)
        for name, hide in _OCCLUSIONS.items()
    }
    # Before a film is reduced and equalised: what these take away of a change does no harm.
    preprocessing = checkpoint.preprocessing
    plain = part.images
    if preprocessing != preprocessing.unfinished:
        say(f"reading {len(plain)} films once more, for what changes no finding")
        plain = load_films(part.cases, preprocessing.unfinished, labels).images.numpy()
    change = functools.partial(corrupted, plain, preprocessing=preprocessing, seed=seed)
    unchanged, *changed = (
        _accuracy(scorer.quick(change(name)), whole) for name in (UNCHANGED, *CORRUPTIONS)
    )
    say("where its scores come from")
    patients = [case.patient for case in part.cases]
    maps = saliency_evidence(network, part.images, patients, device=at, **again)
    say("what files, age, sex, view and features tell by themselves")
    known_unseen = unseen[decoded.films.targets.numpy()[unseen] >= 0]
    rows = parts(folder)
    ours = _Part(labels, decoded, kinds.ours)
    evidence = Evidence(
        scores=whole,
        cases=part.cases,
        evaluation=evaluation,
        occluded=occluded,
        unchanged=unchanged,
        corrupted=dict(zip(CORRUPTIONS, changed, strict=True)),
        **_tables(ours, decoded, again),
        association=source_by_class(ours.cases, **again),
        source_classifier=source_classifier(scorer.features(ours.images), ours.cases, **again),
        near_copies=_near_copies(images, cases, np.flatnonzero(kinds.seen), kinds.inside),
        own_films_seen=own_overlap(checkpoint, rows),
        outside=groups(labels, scored[kinds.elsewhere], [cases[row] for row in kinds.elsewhere])
        if len(kinds.elsewhere)
        else [],
        parts=parts_evidence(rows, ours.cases, labels, seed=seed)
        | ({"retrained": _both_splits(retraining, ours)} if retraining else {}),
        matched=matched_pairs(
            (matching := _Part(labels, decoded, known_unseen)).scores(scored[known_unseen]),
            matching.cases,
            seed=seed,
        ),
        heat_maps=maps,
        left_out=leave_sources_out(retraining, *_of_known_labels(decoded)) if retraining else None,
    )
    opened = record_opening(folder, "audit", part.cases, checkpoint.weights_sha256)
    found = run_checks(evidence)
    content = {
        "intended_use": INTENDED_USE,
        "checkpoint": {"name": checkpoint.name, "weights_sha256": checkpoint.weights_sha256},
        "score_scale": score_scale(heat),
        "intervals": INTERVALS,
        "verdict": verdict(found),
        "films": {
            "all": len(cases),
            "damaged": len(decoded.damaged),
            "seen_in_training": int(kinds.seen.sum()),
            "scored": len(kinds.inside),
            "elsewhere": len(kinds.elsewhere),
        },
        "accuracy": evaluation.accuracy.as_dict(),
        "auroc_macro": evaluation.auroc_macro.as_dict(),
        "checks": [check.as_dict() for check in found],
        "not_done": [] if retrain else [RETRAINING],
        "test_openings": opened,
        "lung_mask": "a small network fitted to lungs drawn by hand: docs/results/lung_mask.json",
        "precision": quick,
        "data_hash": data_hash(cases),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "device": at,
        "seed": seed,
    }
    write_json(out / "audit.json", content)
    _draw(out / "figures", checkpoint.name, evidence, part.images)
    write_text(out / "audit.md", page(checkpoint, content, found))
    return content


@dataclass(frozen=True, eq=False)
class _Kinds:
    """Rows of films by what they are to the checkpoint.

    Attributes:
        seen: (N,) bool: training saw the film or its patient.
        inside: Rows to score: known label, unseen, of a source that training saw.
        elsewhere: Unseen, of other sources or other labels.
        ours: Known label, of a source that training saw; seen or not.
    """

    seen: npt.NDArray[np.bool_]
    inside: npt.NDArray[np.int64]
    elsewhere: npt.NDArray[np.int64]
    ours: npt.NDArray[np.int64]


def _kinds(decoded: Decoded, seen: npt.NDArray[np.bool_]) -> _Kinds:
    places = {case.source for case, was in zip(decoded.cases, seen, strict=True) if was}
    # Without a film that training saw, nothing tells which source is elsewhere.
    familiar = np.array([not places or case.source in places for case in decoded.cases])
    known = decoded.films.targets.numpy() >= 0
    return _Kinds(
        seen=seen,
        inside=np.flatnonzero(known & ~seen & familiar),
        elsewhere=np.flatnonzero(~seen & ~(known & familiar)),
        ours=np.flatnonzero(known & familiar),
    )


class _Part:
    """Some of the films, with all that is known of them."""

    def __init__(self, labels: LabelSet, decoded: Decoded, rows: npt.NDArray[np.int64]) -> None:
        self.labels, self.rows = labels, rows
        self.cases = [decoded.cases[row] for row in rows]
        self.images = decoded.films.images.numpy()[rows]
        self.targets = decoded.films.targets.numpy()[rows]

    def scores(self, scored: npt.NDArray[np.float64]) -> Scores:
        return Scores.of(self.labels, self.targets, scored, self.cases)

    @property
    def films(self) -> Films:
        return Films(torch.from_numpy(self.images), torch.from_numpy(self.targets))


def _accuracy(scored: npt.NDArray[np.float64], whole: Scores) -> float:
    return float((scored.argmax(axis=1) == whole.targets).mean())


def _of_known_labels(decoded: Decoded) -> tuple[list[Case], Films]:
    rows = np.flatnonzero(decoded.films.targets.numpy() >= 0)
    return [decoded.cases[row] for row in rows], decoded.films.only(rows)


def _both_splits(retraining: Retraining, ours: _Part) -> dict[str, Any] | None:
    if len({case.patient for case in ours.cases}) == len(ours.cases):
        return None  # A film each: both ways of drawing parts are one.
    try:
        return both_splits(retraining, ours.cases, ours.films)
    except DataError:
        return None  # Too few patients or films to draw parts from.


def _tables(ours: _Part, decoded: Decoded, again: dict[str, int]) -> dict[str, Any]:
    """What tables of files, grey levels and people tell of the labels by themselves."""
    files, columns = table_of([decoded.files[row] for row in ours.rows])
    container = np.array([not name.startswith(PICTURE) for name in columns])
    return {
        "metadata": _baseline(files[:, container], ours, again),
        "grey_levels": _baseline(files[:, ~container], ours, again),
        "demographics": _baseline(demographics_table(ours.cases)[0], ours, again),
    }


def _baseline(
    table: npt.NDArray[np.float64], ours: _Part, again: dict[str, int]
) -> Evaluation | None:
    patients, files = zip(*((case.patient, case.file) for case in ours.cases), strict=True)
    try:
        scores = baseline(table, ours.targets, ours.labels, patients, files, seed=again["seed"])
    except DataError:
        return None  # Too few patients of a class: the check says that it is not done.
    return evaluate(scores, **again)


def _near_copies(
    images: npt.NDArray[np.uint8],
    cases: Sequence[Case],
    seen: npt.NDArray[np.int64],
    inside: npt.NDArray[np.int64],
) -> list[dict[str, Any]]:
    """Near-duplicates between films that training saw and films that are scored."""
    rows = np.concatenate([seen, inside])
    films = images[rows, 0]
    crossing = [
        pair
        for pair in near_duplicates(hashes(films))
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
        for pair, likeness in confirmed(films, crossing)
    ]


def _draw(folder: Path, name: str, evidence: Evidence, images: npt.NDArray[np.uint8]) -> None:
    parts = {
        "all of the film": evidence.evaluation,
        **evidence.occluded,
        "file metadata alone": evidence.metadata,
        "age, sex, view alone": evidence.demographics,
    }
    areas = [(title, found.auroc_macro) for title, found in parts.items() if found]
    audit_figures.masked_bars(
        folder / "without_the_lungs.png", areas, f"{name}: AUROC (macro) of what is left"
    )
    audit_figures.source_mosaic(
        folder / "sources.png",
        evidence.association,
        evidence.scores.labels.names,
        "Where the films of each class come from",
    )
    found = evidence.scores
    errors = surest_errors(found.targets, found.probabilities)
    sheet = folder / "errors.png"
    error_sheet(sheet, found.labels, found.probabilities, evidence.cases, images, errors, name)
