"""Any model where it was not trained: each source by itself, with thresholds of the others.

Order: images, opened once -> those that the model met, by what it declares and what is declared for
it -> scores of the others -> figures within each source that holds two classes. Nothing is trained.
A table of scores is judged like a network, as far as scores alone go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer import provenance
from cxr_transfer.audits.baselines import source_classifier
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import data_hash, index_readable, refuse_damaged
from cxr_transfer.datasets.loading import open_all
from cxr_transfer.datasets.selection import of_classes
from cxr_transfer.errors import DataError, Notice
from cxr_transfer.evaluation.decoding import Decoded, decode_once, leave_out
from cxr_transfer.labels import LabelSet, refuse_findings
from cxr_transfer.models.reference import OodStatus
from cxr_transfer.progress import Tell, counting, of_images, tell_nobody
from cxr_transfer.radiograph.lung_segmentation import lungs_blacked
from cxr_transfer.runs.predictions import CaseScores
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.studies.external_figures import ScoredSource
from cxr_transfer.studies.external_report import write_validation_report
from cxr_transfer.studies.external_sources import sources_to_judge
from cxr_transfer.subjects.declared_images import met_images
from cxr_transfer.subjects.opening import SubjectOptions, open_subject
from cxr_transfer.subjects.subject import Subject
from cxr_transfer.text import for_terminal
from cxr_transfer.training.device import resolve_device
from cxr_transfer.training.settings import check_settings

Log = Callable[[str], None]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_THRESHOLDS = "the images of the other sources that the model is not known to have met"


@dataclass(frozen=True)
class ModelValidation:
    """Settings of how a model, or a table of scores, is judged.

    Attributes:
        model: Model or table of scores, as `open_subject` takes it.
        data: Archives, a manifest (.csv), or a folder per class.
        mapping: Labels of the data to classes; "" leaves images out.
        saw: Table of images that the model was trained on beside what it declares; None for none.
        skip_damaged: Whether files that cannot be read are left out.
        device: Device: "auto", "cpu", "cuda" or "mps".
        description: Description of a model of another tool; None looks beside its file.
        per_second: Requests in a second at most, of a model behind HTTP; 0 sets no limit.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
    """

    model: str
    data: Path
    mapping: Mapping[str, str]
    saw: Path | None = None
    skip_damaged: bool = False
    device: str = "auto"
    description: Path | None = None
    per_second: float = 0.0
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class _Judged:
    """Images that a model has not met, with what it says of them, row for row.

    Attributes:
        cases: Indexed cases, N of them.
        own: Scores as the model gives them, (N, C).
        given: Scores at its temperature, (N, C).
        blacked: Given scores without the lungs, (N, C); None of a table.
        statuses: What the reference says of each; None where there is none.
        features: What the head sees, (N, F); None where there is none.
    """

    cases: tuple[Case, ...]
    own: Floats
    given: Floats
    blacked: Floats | None = None
    statuses: Sequence[OodStatus] | None = None
    features: npt.NDArray[np.float32] | None = None


def validate_model(
    asked: ModelValidation,
    out: Path,
    *,
    log: Log = lambda line: None,
    progress: Tell = tell_nobody,
) -> dict[str, Any]:
    """Judge a model in each source that holds two classes.

    Args:
        asked: Model, data, and how.
        out: Folder, owned by the caller (`own_folder.lock_folder`).
        log: Function that is told what happens.
        progress: Function that is told the phase and which share of it is done.

    Returns:
        The content of ``out/validation.json``.

    Raises:
        UsageError: ``several_findings`` for a model of findings; ``other_run``.
        DataError: ``one_source``, ``no_source_to_leave_out``; ``seen_images`` where it met all
            images; ``bad_predictions``, ``no_common_images`` for a table of scores; what `open_all`
            and `decode_once` raise.
        ModelError: What opening the model raises.
    """
    device = resolve_device(asked.device)
    model = open_subject(asked.model, SubjectOptions(device, asked.description, asked.per_second))
    if model.table is not None:
        return _validate_scores(asked, model, model.table, out, log, progress)
    refuse_findings(model.labels, "external validation")
    cases, notices = _opened(asked, model.labels, model.label_table, log)
    count = counting(progress, of_images("reading", len(cases)), len(cases))
    decoded = decode_once(
        cases,
        model.preprocessing,
        model.labels,
        skip_damaged=asked.skip_damaged,
        on_image=count,
    )
    settings = {"external_validation_of": model.identity}
    _check_folder(asked, decoded.cases, out, settings)
    leave_out(out, decoded.damaged, log)
    met, declared = met_images(model, decoded.cases, asked.saw)
    log(declared)
    judged = _scored(model, decoded, met, progress)
    content = {
        "kind": "model",
        "name": model.name,
        "weights_sha256": list(model.sha256),
        "declared": declared,
        "device": device,
        "damaged_files": len(decoded.damaged),
    }
    met_by_source = _met_by_source(decoded.cases, met)
    return _reported(
        asked, out, judged, model.labels, content, met_by_source, log, notices=notices, model=model
    )


def _validate_scores(
    asked: ModelValidation,
    model: Subject,
    table: CaseScores,
    out: Path,
    log: Log,
    progress: Tell,
) -> dict[str, Any]:
    """Judge a table of scores; images are opened for their hashes alone."""
    cases, notices = _opened(asked, table.labels, {}, log)
    count = counting(progress, of_images("reading", len(cases)), len(cases))
    indexed, damaged = index_readable(cases, on_image=count)
    if not asked.skip_damaged:
        refuse_damaged(damaged, len(cases))
    rows = table.rows_of(indexed)
    kept = np.flatnonzero(rows >= 0)
    log(table.matched(rows))
    scored_cases = tuple(indexed[row] for row in kept)
    scores = table.scores[rows[kept]]
    name = model.name
    _check_folder(asked, scored_cases, out, {"external_validation_of": f"table {name}"})
    leave_out(out, damaged, log)
    met, declared = met_images(model, scored_cases, asked.saw)
    log(declared)
    content = {
        "kind": "scores",
        "name": name,
        "declared": declared,
        "images_without_scores": int((rows < 0).sum()),
        "damaged_files": len(damaged),
    }
    judged = _Judged(_unmet(scored_cases, met), scores[~met], scores[~met])
    counts = _met_by_source(scored_cases, met)
    return _reported(asked, out, judged, table.labels, content, counts, log, notices=notices)


def _opened(
    asked: ModelValidation, labels: LabelSet, table: Mapping[str, str], log: Log
) -> tuple[list[Case], list[str]]:
    """Read what the data hold, and refuse what cannot be judged before an image is opened."""
    read = open_all(asked.data, labels, mapping=asked.mapping, table=table)
    cases, notices = of_classes(read, labels)
    for line in notices:
        log(Notice(line))
    lines = sources_to_judge(cases, labels, is_trained=False).lines()
    for line in lines:
        log(Notice(line))
    return cases, lines


def _scored(model: Subject, decoded: Decoded, met: Flags, progress: Tell) -> _Judged:
    """Score what the model has not met: whole, and with the lungs blacked out."""
    images = decoded.tensors.only(~met)
    passes = 2 * max(1, len(model.cards))  # whole, and without the lungs
    count = counting(progress, of_images("scoring", len(images)), passes * len(images))
    pixels = images.images.numpy()
    whole = model.scored(pixels, with_features=True, on_image=count)
    blacked = lungs_blacked(pixels, images.lungs.masks())
    without = model.scored(blacked, with_features=False, on_image=count)
    statuses = None
    if model.reference and whole.features is not None:
        statuses = model.reference.ood_status(whole.features)
    cases = _unmet(decoded.cases, met)
    return _Judged(cases, whole.own, whole.given, without.given, statuses, whole.features)


def _unmet(cases: Sequence[Case], met: Flags) -> tuple[Case, ...]:
    return tuple(case for case, was_met in zip(cases, met, strict=True) if not was_met)


def _met_by_source(cases: Sequence[Case], met: Flags) -> Counter[str]:
    return Counter(case.source for case, was_met in zip(cases, met, strict=True) if was_met)


def _check_folder(
    asked: ModelValidation, cases: Sequence[Case], out: Path, settings: dict[str, Any]
) -> None:
    """Refuse a folder of another validation.

    Raises:
        UsageError: ``other_run``.
    """
    check_settings(out, settings | {"seed": asked.seed, "data_hash": data_hash(cases)})


def _reported(
    asked: ModelValidation,
    out: Path,
    judged: _Judged,
    labels: LabelSet,
    content: dict[str, Any],
    met: Counter[str],
    log: Log,
    *,
    notices: Sequence[str],
    model: Subject | None = None,
) -> dict[str, Any]:
    """Judge each source that still holds two classes, and write the report."""
    sources = sources_to_judge(judged.cases, labels, is_trained=False)
    for line in sources.lines():
        if line not in notices:
            log(Notice(line))  # what was met is gone now
    probe = _probe(judged, asked)
    scored = [
        _of_source(source, judged, labels, content["name"], met[source], probe, model)
        for source in sources.judged
    ]
    full = content | {
        "thresholds_from": _THRESHOLDS,
        "seed": asked.seed,
        "resamples": asked.resamples,
        "labels": list(labels),
        "data": for_terminal(asked.data.stem),
        "data_hash": data_hash(judged.cases),
        "images_by_source": dict(sorted(Counter(case.source for case in judged.cases).items())),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    return write_validation_report(out, full, scored, sources.skipped)


def _of_source(
    source: str,
    judged: _Judged,
    labels: LabelSet,
    name: str,
    met: int,
    probe: Mapping[str, Any] | None,
    model: Subject | None,
) -> ScoredSource:
    """Return the images of one source, with those of the others that set its thresholds."""
    inside = np.array([case.source == source for case in judged.cases], dtype=np.bool_)

    def scores(values: Floats, rows: Flags) -> Scores:
        cases = [judged.cases[row] for row in np.flatnonzero(rows)]
        targets = np.array([labels.target(case.label) for case in cases], dtype=np.int64)
        return Scores.of(labels, targets, values[rows], cases)

    statuses = judged.statuses
    return ScoredSource(
        source=source,
        run=name,
        cases=_unmet(judged.cases, ~inside),
        scores=scores(judged.given, inside),
        own=scores(judged.own, inside),
        temperature=model.temperature if model else None,
        confidence_threshold=model.confidence_threshold if model else None,
        statuses=statuses and [statuses[row] for row in np.flatnonzero(inside).tolist()],
        elsewhere=scores(judged.given, ~inside),
        without_lungs=None if judged.blacked is None else scores(judged.blacked, inside),
        inside=None,
        probe=probe,
        met=met,
        trained_on=model.trained_on if model else {},
    )


def _probe(judged: _Judged, asked: ModelValidation) -> dict[str, Any] | None:
    """Return how well the features tell the sources of all images apart."""
    if judged.features is None:
        return None
    try:
        return source_classifier(
            judged.features.astype(np.float64),
            judged.cases,
            resamples=asked.resamples,
            seed=asked.seed,
        )
    except DataError:
        return None  # Too few patients of a source.
