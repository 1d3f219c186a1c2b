"""One checkpoint on one list of films: scores, figures of merit, and what each group is called.

Films whose label the network does not know are scored too: what a network calls films that it
was never taught is often the most telling figure. Films and patients that its training saw are
refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.collections.case import Case
from cxr_transfer.collections.index import data_hash, index
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation import report
from cxr_transfer.evaluation.intervals import Estimate, share
from cxr_transfer.evaluation.metrics import Evaluation, Scores, evaluate
from cxr_transfer.evaluation.scoring import time_per_image, write_scores
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.card import Checkpoint, fingerprint
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.networks import probabilities
from cxr_transfer.training.execution import resolve_device
from cxr_transfer.training.films import load_films


def assess(
    checkpoint_path: Path,
    cases: Sequence[Case],
    out: Path,
    *,
    allow_seen: bool = False,
    device: str = "auto",
    resamples: int = 2000,
    seed: int = 0,
    each: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on ``cases`` into ``out``.

    Args:
        checkpoint_path: Weights file, its card, or a run folder.
        cases: Films with labels, of any kind.
        out: Report folder.
        allow_seen: Score films and patients that the training saw, and say so.
        device: As everywhere.
        resamples: Of the bootstrap by patient.
        seed: Of the bootstrap.
        each: Called after every film.

    Returns:
        The content of ``out/report.json``: ``evaluation`` over the films whose labels the network
        knows (null when there are none), ``groups`` by source and label over all of them.

    Raises:
        DataError: ``seen_films`` when training saw some and ``allow_seen`` is not set; what
            `index` raises.
        ModelError: What `load_checkpoint` raises.
    """
    checkpoint, network = load_checkpoint(checkpoint_path)
    cases = index(cases, each=each)
    seen = _seen(checkpoint, cases)
    if seen and not allow_seen:
        raise DataError(
            "seen_films",
            f"Expected films of patients that {checkpoint.name} was not trained on, but it has "
            f"seen {len(seen)} of {len(cases)} (by film or patient); leave them out, or say "
            "--allow-seen and do not quote the figures.",
        )
    labels = checkpoint.label_set
    films = load_films(cases, checkpoint.preprocessing, labels)
    at = resolve_device(device)
    scored = probabilities(network, films.images, device=at).double().numpy()
    known = films.targets.numpy() >= 0
    scores = _known_scores(labels, films.targets.numpy(), scored, cases, known)
    evaluation = evaluate(scores, resamples=resamples, seed=seed) if scores else None
    write_scores(out / "predictions.csv", labels, scored, cases)
    content = {
        "intended_use": INTENDED_USE,
        "checkpoint": {"name": checkpoint.name, "weights_sha256": checkpoint.weights_sha256},
        "films": len(cases),
        "seen_in_training": len(seen),
        "evaluation": evaluation.as_dict() if evaluation else None,
        "groups": groups(labels, scored, cases),
        "ms_per_image": time_per_image(network, films, device=at).as_dict(),
        "data_hash": data_hash(cases),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "device": at,
        "seed": seed,
    }
    write_json(out / "report.json", content)
    if scores and evaluation:
        report.draw_evaluation(
            out / "figures", checkpoint.name, scores, evaluation, title=checkpoint.name
        )
    write_text(out / "report.md", _text(checkpoint, content, evaluation))
    return content


def groups(labels: LabelSet, scored: np.ndarray, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return for every source and label how its films are called, with intervals by patient."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, case in enumerate(cases):
        rows[case.source, case.label].append(row)
    predicted = scored.argmax(axis=1)
    return [
        {
            "source": source,
            "label": label,
            "films": len(members),
            "patients": len({cases[row].patient for row in members}),
            "called": {
                name: {"films": int(flags.sum())}
                | share(flags, [cases[row].patient for row in members]).as_dict()
                for target, name in enumerate(labels)
                for flags in [predicted[members] == target]
            },
        }
        for (source, label), members in sorted(rows.items())
    ]


def _seen(checkpoint: Checkpoint, cases: Sequence[Case]) -> list[Case]:
    films = set(checkpoint.seen.get("films", ()))
    patients = set(checkpoint.seen.get("patients", ()))
    return [
        case
        for case in cases
        if fingerprint(case.pixels) in films or fingerprint(case.patient) in patients
    ]


def _known_scores(
    labels: LabelSet,
    targets: np.ndarray,
    scored: np.ndarray,
    cases: Sequence[Case],
    known: np.ndarray,
) -> Scores | None:
    if not known.any():
        return None
    chosen = [case for case, is_known in zip(cases, known, strict=True) if is_known]
    return Scores(
        labels=labels,
        targets=targets[known],
        probabilities=scored[known],
        patients=tuple(case.patient for case in chosen),
        files=tuple(case.path.name for case in chosen),
    )


def _text(checkpoint: Checkpoint, content: dict[str, Any], evaluation: Evaluation | None) -> str:
    names = list(checkpoint.labels)
    lines = [
        f"# {checkpoint.name} on {content['films']} films",
        "",
        f"**{INTENDED_USE}**",
        "",
        f"Weights `{content['checkpoint']['weights_sha256'][:12]}`, data "
        f"`{content['data_hash'][:12]}`, {content['time']}.",
    ]
    if content["seen_in_training"]:
        lines += [
            "",
            f"**{content['seen_in_training']} of these films or their patients were seen "
            "in training: these figures say nothing of new films.**",
        ]
    if evaluation:
        lines += [
            "",
            f"Accuracy {evaluation.accuracy.percent()}, macro F1 {evaluation.f1_macro.percent()} "
            f"over {evaluation.films} films of {evaluation.patients} patients with a label that "
            "the network knows (percent, 95 % intervals by patient).",
            "",
            *report.class_table(evaluation),
        ]
    lines += [
        "",
        "## What each group is called",
        "",
        "Percent of the films, with 95 % intervals by patient.",
        "",
        f"| source | label | films | {' | '.join(f'called {name}' for name in names)} |",
        f"|---|---|---|{'---|' * len(names)}",
    ]
    for group in content["groups"]:
        cells = [
            Estimate(*(group["called"][name][key] for key in ("value", "low", "high"))).percent()
            for name in names
        ]
        row = [group["source"], group["label"], str(group["films"]), *cells]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"
