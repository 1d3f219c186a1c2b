"""Why a model's figure may be undeserved: one page with a verdict, then the evidence.

Order: films -> which of them training saw -> scores of the others, whole, without the lungs, and
changed -> what files, age, sex, view and source alone tell -> `checks` -> ``audit.json``,
``audit.md``, figures. Judges nothing itself: the bounds are the checks'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.collections.case import Case
from cxr_transfer.collections.duplicates import confirmed, hashes, near_duplicates
from cxr_transfer.collections.index import data_hash, index
from cxr_transfer.collections.manifest import read_manifest
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation import figures
from cxr_transfer.evaluation.assessment import groups, seen_in_training
from cxr_transfer.evaluation.association import source_by_class
from cxr_transfer.evaluation.audit_page import page
from cxr_transfer.evaluation.baselines import (
    baseline,
    demographics_table,
    metadata_table,
    source_classifier,
)
from cxr_transfer.evaluation.checks import Check, Evidence, run_checks
from cxr_transfer.evaluation.intervals import Estimate
from cxr_transfer.evaluation.metrics import Evaluation, Scores, evaluate
from cxr_transfer.evaluation.robustness import CORRUPTIONS, corrupted
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.card import Checkpoint
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.networks import features, probabilities
from cxr_transfer.radiograph.lungs import border_only, lungs_blacked, lungs_only
from cxr_transfer.training.execution import resolve_device
from cxr_transfer.training.films import load_films

OCCLUSIONS: dict[str, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    "lungs blacked out": lungs_blacked,
    "border only": border_only,
    "lungs only": lungs_only,
}


def audit(
    checkpoint_path: Path,
    cases: Sequence[Case],
    out: Path,
    *,
    device: str = "auto",
    resamples: int = 1000,
    seed: int = 0,
    each: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Audit a checkpoint on ``cases`` into ``out``.

    Args:
        checkpoint_path: Weights file, its card, or a run folder.
        cases: Films of all kinds: those it was trained on (they are recognised, and not scored),
            others of the same sources, films from elsewhere, other findings.
        out: Report folder.
        device: As everywhere.
        resamples: Of the bootstrap by patient.
        seed: Of the bootstrap, the folds and the noise.
        each: Called after every film that was read.
        say: Is told what happens.

    Returns:
        The content of ``out/audit.json``.

    Raises:
        DataError: ``nothing_to_audit`` when no film with a known label is left that training has
            not seen; what `index` raises.
        ModelError: What `load_checkpoint` raises.
    """
    checkpoint, network = load_checkpoint(checkpoint_path)
    labels = checkpoint.label_set
    cases = index(cases, each=each)
    films = load_films(cases, checkpoint.preprocessing, labels)
    images, targets = films.images.numpy(), films.targets.numpy()
    at = resolve_device(device)

    def score(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        scored = probabilities(network, torch.from_numpy(pixels), device=at)
        return scored.double().numpy()

    seen = np.array(seen_in_training(checkpoint, cases))
    places = {case.source for case, was in zip(cases, seen, strict=True) if was}
    # Without a film that training saw, nothing tells which source is elsewhere.
    familiar = np.array([not places or case.source in places for case in cases])
    known = targets >= 0
    inside = np.flatnonzero(known & ~seen & familiar)
    if not len(inside):
        raise DataError(
            "nothing_to_audit",
            f"Expected films with a label of {checkpoint.name} that its training has not seen, "
            f"but all {len(cases)} are of other labels or were seen; give the data with its test "
            "part.",
        )
    elsewhere = np.flatnonzero(~seen & ~(known & familiar))
    ours = np.flatnonzero(known & familiar)

    say(f"scoring {len(inside)} films, whole and in parts")
    kept = [cases[row] for row in inside]
    whole = _scores(labels, targets[inside], score(images[inside]), kept)
    again = {"resamples": resamples, "seed": seed}
    evaluation = evaluate(whole, **again)
    occluded = {
        name: evaluate(_scores(labels, targets[inside], score(hide(images[inside])), kept), **again)
        for name, hide in OCCLUSIONS.items()
    }
    changed = {
        name: float(
            (score(corrupted(images[inside], name, seed=seed)).argmax(1) == targets[inside]).mean()
        )
        for name in CORRUPTIONS
    }
    say("what files, age, sex, view and features tell by themselves")
    of_ours = [cases[row] for row in ours]
    found_features = features(network, films.images[torch.from_numpy(ours)], device=at).numpy()
    files, columns = metadata_table(of_ours)
    container = np.array([not name.startswith(PICTURE) for name in columns])
    evidence = Evidence(
        scores=whole,
        cases=kept,
        evaluation=evaluation,
        occluded=occluded,
        corrupted=changed,
        metadata=_baseline(files[:, container], of_ours, targets[ours], labels, again),
        grey_levels=_baseline(files[:, ~container], of_ours, targets[ours], labels, again),
        demographics=_baseline(
            demographics_table(of_ours)[0], of_ours, targets[ours], labels, again
        ),
        association=source_by_class(of_ours, **again),
        source_classifier=source_classifier(found_features, of_ours, **again),
        seen_pairs=_pairs(images, cases, np.flatnonzero(seen), inside),
        exact_pairs=_own_overlap(checkpoint, checkpoint_path),
        outside=groups(labels, score(images[elsewhere]), [cases[row] for row in elsewhere])
        if len(elsewhere)
        else [],
        labels_seen=tuple(labels),
    )
    found = run_checks(evidence)
    content = {
        "intended_use": INTENDED_USE,
        "checkpoint": {"name": checkpoint.name, "weights_sha256": checkpoint.weights_sha256},
        "verdict": verdict(found),
        "films": {
            "all": len(cases),
            "seen_in_training": int(seen.sum()),
            "scored": len(inside),
            "elsewhere": len(elsewhere),
        },
        "accuracy": evaluation.accuracy.as_dict(),
        "auroc_macro": evaluation.auroc_macro.as_dict(),
        "checks": [check.as_dict() for check in found],
        "not_done": NOT_BUILT,
        "lung_mask": "one outline, placed and sized by contrast; not a trained network",
        "data_hash": data_hash(cases),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "device": at,
        "seed": seed,
    }
    write_json(out / "audit.json", content)
    _draw(out / "figures", checkpoint.name, evidence, images[inside])
    write_text(out / "audit.md", page(checkpoint, content, found))
    return content


PICTURE = ("bytes_per_pixel", "grey_", "black", "white")
"""Columns of `metadata_table` in which a finding may show: white lungs are brighter, too."""

NOT_BUILT = (
    "leave-one-source-out retraining",
    "heat maps inside the lungs, and the weight-randomisation check",
)
"""Checks of the list that this version does not make."""


def verdict(checks: Sequence[Check]) -> str:
    """Return "fail" when a hard check fails, else "warn" when any warns, fails, or is not done."""
    if any(check.hard and check.verdict == "fail" for check in checks):
        return "fail"
    return "pass" if all(check.verdict == "pass" for check in checks) else "warn"


def _scores(
    labels: LabelSet,
    targets: npt.NDArray[np.int64],
    scored: npt.NDArray[np.float64],
    cases: Sequence[Case],
) -> Scores:
    return Scores(
        labels,
        targets,
        scored,
        tuple(case.patient for case in cases),
        tuple(case.path.name for case in cases),
    )


def _baseline(
    table: npt.NDArray[np.float64],
    cases: Sequence[Case],
    targets: npt.NDArray[np.int64],
    labels: LabelSet,
    again: dict[str, int],
) -> Evaluation | None:
    try:
        scores = baseline(
            table,
            targets,
            labels,
            [case.patient for case in cases],
            [case.path.name for case in cases],
            seed=again["seed"],
        )
    except DataError:
        return None  # Too few patients of a class: the check says that it is not done.
    return evaluate(scores, **again)


def _pairs(
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
            "seen": cases[rows[min(pair[:2])]].path.name,
            "scored": cases[rows[max(pair[:2])]].path.name,
            "bits": int(pair[2]),
            "mirrored": bool(pair[3]),
            "likeness": round(likeness, 3),
        }
        for pair, likeness in confirmed(films, crossing)
    ]


def _own_overlap(checkpoint: Checkpoint, checkpoint_path: Path) -> int:
    """Films of the run's own test part that training saw, or whose patient it saw."""
    folder = checkpoint_path if checkpoint_path.is_dir() else checkpoint_path.parent
    if not (folder / "split.csv").is_file():
        return 0
    own = [case for case in read_manifest(folder / "split.csv") if case.split == "test"]
    return sum(seen_in_training(checkpoint, own))


def _draw(folder: Path, name: str, evidence: Evidence, images: npt.NDArray[np.uint8]) -> None:
    parts = {
        "all of the film": evidence.evaluation,
        **evidence.occluded,
        "file metadata alone": evidence.metadata,
        "age, sex, view alone": evidence.demographics,
    }
    rows = [(title, found.auroc_macro) for title, found in parts.items() if found]
    figures.forest_plot(
        folder / "without_the_lungs.png",
        [(title, area) for title, area in rows if area.defined] or [("none", Estimate(0, 0, 0))],
        f"{name}: AUROC (macro) of what is left",
    )
    sure = evidence.scores.probabilities.max(axis=1)
    wrong = np.flatnonzero(evidence.scores.predicted != evidence.scores.targets)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:12]
    figures.film_sheet(
        folder / "worst_errors.png",
        images[worst, 0],
        [
            f"{evidence.cases[row].label}, called "
            f"{evidence.scores.labels.names[evidence.scores.predicted[row]]} {sure[row]:.2f}"
            for row in worst
        ],
        f"{name}: its surest errors (for your own eyes)",
    )
