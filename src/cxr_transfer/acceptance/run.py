"""An acceptance test from the model to its record: figures as it is, recalibrated, and the verdict.

Order: model and criteria -> threshold -> local images -> figures at the transported threshold ->
the same with scores and threshold that were fitted to other local images -> verdict -> record.
Whatever can be refused is refused before an image is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.acceptance.criteria import Criteria, read_criteria
from cxr_transfer.acceptance.local_images import (
    ANSWERED,
    LocalData,
    LocalImages,
    score_local,
)
from cxr_transfer.acceptance.measured import (
    Tested,
    area,
    calibration_of,
    groups_at,
    share_of,
    shares_at,
)
from cxr_transfer.acceptance.record import KIND, SCHEMA
from cxr_transfer.acceptance.report import write_acceptance
from cxr_transfer.acceptance.tested_model import (
    POSITIVE,
    TestedModel,
    open_for_test,
    two_sided,
)
from cxr_transfer.acceptance.verdict import findings, verdict_of
from cxr_transfer.errors import UsageError
from cxr_transfer.evaluation.decoding import leave_out
from cxr_transfer.own_folder import RUN_RECORD
from cxr_transfer.progress import Tell, tell_nobody
from cxr_transfer.runs.predictions import read_predictions
from cxr_transfer.statistics.operating_points import operating_points
from cxr_transfer.statistics.recalibration import (
    AS_GIVEN,
    FEWEST,
    choose_method,
    cross_fitted,
    fit_map,
    folds_of,
    local_threshold,
    nested,
)
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import FOLDS
from cxr_transfer.subjects.opening import SubjectOptions
from cxr_transfer.training.settings import check_settings, settings_checked

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Log = Callable[[str], None]
Curves = dict[str, tuple[Floats, Flags]]


@dataclass(frozen=True)
class AcceptanceTest:
    """What is tested, on what, and by which criteria.

    Attributes:
        subject: Model, or table of scores (.csv).
        criteria: Path of the criteria (.toml).
        local: Images of the place.
        options: How the model is asked.
    """

    subject: str
    criteria: Path
    local: LocalData = field(default_factory=lambda: LocalData(None))
    options: SubjectOptions = field(default_factory=SubjectOptions)


def run_acceptance(
    asked: AcceptanceTest,
    out: Path,
    *,
    log: Log = lambda line: None,
    progress: Tell = tell_nobody,
) -> dict[str, Any]:
    """Test a model, and write the record.

    Args:
        asked: What is tested, on what, and by which criteria.
        out: Folder, owned by the caller (`own_folder.lock_folder`).
        log: Function that is told what happens.
        progress: Function that is told the phase and which share of it is done.

    Returns:
        The content of ``out/acceptance.json``.

    Raises:
        UsageError: ``no_criteria``, ``bad_criteria``, ``unknown_class``, ``no_threshold``,
            ``unknown_subgroup``, ``no_data``, ``other_run``.
        DataError: What `score_local` raises.
        ModelError: What opening the model raises.
    """
    criteria, criteria_sha256 = read_criteria(asked.criteria)
    subject = open_for_test(asked.subject, asked.options)
    criteria.check_classes(subject.labels)
    reference = _threshold_images(criteria, subject, asked.criteria.parent)
    threshold = _threshold(criteria, reference)
    columns = criteria.subgroups.columns if criteria.subgroups else ()
    settings = {"acceptance_of": subject.facts, "criteria_sha256": criteria_sha256}
    if (out / RUN_RECORD).is_file():
        check_settings(out, settings)  # Another test is refused before its images are opened.
    local = score_local(subject, replace(asked.local, columns=columns), log, progress)
    with settings_checked(out, settings | {"data": local.facts}):
        leave_out(out, local.damaged, log)
        log(local.declared)
        measured, curves = measure(local, criteria, threshold["value"], reference)
        content = {
            "kind": KIND,
            "schema": SCHEMA,
            "intended_use": INTENDED_USE,
            "subject": {**subject.facts, "labels": list(subject.labels)},
            "data": {**local.facts, **_counts(local, criteria)},
            "declared": local.declared,
            "criteria": criteria.model_dump(mode="json"),
            "criteria_sha256": criteria_sha256,
            "threshold": threshold,
            **measured,
            "commit": provenance.commit(),
            "time": provenance.now(),
            "versions": provenance.versions(),
            "machine": provenance.machine(),
        }
        return write_acceptance(out, content, local, asked.criteria, curves, log)


def measure(
    local: LocalImages, criteria: Criteria, threshold: float, reference: Scores | None
) -> tuple[dict[str, Any], Curves]:
    """Return all figures and the verdict, and the scores whose calibration is drawn.

    Args:
        local: Images of the place, scored.
        criteria: What is asked for.
        threshold: Transported threshold.
        reference: Scores of the images that set it, of the classes `SIDES`; None for a number.
    """
    both = two_sided(local.scores, criteria.positive)
    every = Tested(
        local.cases, both.probabilities[:, 1], both.targets == 1, criteria.level, criteria.seed
    )
    tested = _only(every, local.is_answered)
    abstained = _abstained(local, criteria)
    as_it_is = _figures(tested, tested.called(threshold), tested.score, criteria, abstained)
    as_it_is["auroc"] = area(tested)
    # As if nobody had been left without an answer.
    as_it_is["all_scored"] = shares_at(every, every.called(threshold))
    share = float((reference.targets == 1).mean()) if reference else None
    again, held_out = _recalibrated(tested, criteria, share, abstained)
    curves = {"as it is": (tested.score, tested.positive)}
    if held_out is not None:
        curves["after recalibration"] = (held_out, tested.positive)
    found = findings(as_it_is, criteria)
    found_again = findings(again["figures"], criteria) if again else None
    verdict, reasons = verdict_of(found, found_again)
    in_use = {"threshold": threshold, "map": None}
    if again and verdict == "accept after recalibration":
        in_use = {"threshold": again["threshold"]["value"], "map": again["map"]}
    figures = {
        "verdict": verdict,
        "reasons": reasons,
        "as_it_is": {**as_it_is, "findings": [finding.as_dict() for finding in found]},
        "recalibrated": again
        and {**again, "findings": [finding.as_dict() for finding in found_again or ()]},
        "in_use": in_use,
        # What a watch compares later answers with; no image can be told from it.
        "watch": {
            "scores": np.sort(every.score[_not_out(local)]).round(6).tolist(),
            "images": abstained["images"],
            "without_answer": abstained["hits"],
            "refused": None if local.refused is None else len(local.refused),
        },
    }
    return figures, curves


def _recalibrated(
    tested: Tested, criteria: Criteria, share: float | None, abstained: dict[str, Any]
) -> tuple[dict[str, Any] | None, Floats | None]:
    """Return what local images bring, on local images that had no part in it; None of too few.

    The scores (N,) of these images after recalibration come with it.
    """
    score, positive, patients = tested.score, tested.positive, tested.patients
    fold = folds_of(positive, patients, criteria.seed) if len(score) else np.zeros(0, np.int64)
    # Every fold has to leave enough of both kinds to the fit.
    kinds = [positive[fold != number] for number in range(FOLDS)]
    if not len(score) or min(min(kind.sum(), (~kind).sum()) for kind in kinds) < FEWEST:
        return None, None
    words: dict[str, Any] = {"reference_share": share, "seed": criteria.seed}
    by_method = cross_fitted(score, positive, patients, **words)
    held_out, chosen = nested(score, positive, patients, **words)
    method = choose_method(score, positive, patients, **words)
    final_map = fit_map(method, score, positive, share)
    asked = criteria.sensitivity
    called = np.zeros(len(score), dtype=np.bool_)
    for number in range(FOLDS):
        inside = fold == number
        local = local_threshold(score[~inside], positive[~inside], asked.minimum, asked.margin)
        called[inside] = tested.called(local.value)[inside]
    final = local_threshold(score, positive, asked.minimum, asked.margin)
    figures = {
        "method": method,
        "methods_of_folds": dict(Counter(chosen)),
        "map": None if final_map is None or method == AS_GIVEN else final_map.as_dict(),
        "threshold": {
            "value": final.value,
            "allowed_misses": final.allowed_misses,
            "is_sure": final.is_sure,
        },
        "by_method": {name: calibration_of(tested, values) for name, values in by_method.items()},
        "figures": _figures(tested, called, held_out, criteria, abstained),
    }
    return figures, held_out


def _figures(
    tested: Tested, called: Flags, score: Floats, criteria: Criteria, abstained: dict[str, Any]
) -> dict[str, Any]:
    """Return the figures of calls and scores that criteria ask about."""
    groups = None
    if criteria.subgroups:
        asked = criteria.subgroups
        groups = groups_at(tested, called, asked.columns, asked.fewest_positives)
    return {
        **shares_at(tested, called),
        "calibration": calibration_of(tested, score) if len(score) else None,
        "abstention": abstained,
        "groups": groups,
    }


def _abstained(local: LocalImages, criteria: Criteria) -> dict[str, Any]:
    """Return the share of images without an answer, and why they have none."""
    refused = local.refused or ()
    patients = [case.patient for case in (*local.cases, *(case for case, _ in refused))]
    flags = np.append(~local.is_answered, np.ones(len(refused), dtype=np.bool_))
    why = Counter(answer for answer in local.answers if answer != ANSWERED)
    why.update(code for _, code in refused)
    share = share_of(flags, patients, level=criteria.level, seed=criteria.seed)
    return {**share, "why": dict(sorted(why.items()))}


def _threshold_images(criteria: Criteria, subject: TestedModel, folder: Path) -> Scores | None:
    """Return the scores of the images that set the threshold; None for a number.

    Raises:
        UsageError: ``no_threshold`` where the model has none.
        DataError: ``other_classes``; what `read_predictions` raises.
    """
    rule = criteria.threshold
    if rule.rule == "value":
        own = subject.validation
        return None if own is None else two_sided(own, criteria.positive)
    if rule.table is not None:
        scores = read_predictions(folder / rule.table).scores
        criteria.check_classes(scores.labels)
        return two_sided(scores, criteria.positive)
    if subject.validation is None:
        raise UsageError(
            "no_threshold",
            f"Expected the scores of validation images beside {subject.facts['name']}, which set "
            'its threshold, but there are none; write rule = "value" and a number, or rule = '
            '"table" and a table of its scores elsewhere, into the criteria.',
        )
    return two_sided(subject.validation, criteria.positive)


def _threshold(criteria: Criteria, reference: Scores | None) -> dict[str, Any]:
    """Return the transported threshold and where it is from."""
    if criteria.threshold.value is not None or reference is None:
        return {"value": criteria.threshold.value, "from": "the criteria", "images": None}
    wanted = criteria.sensitivity.minimum
    points = operating_points(reference, POSITIVE, sensitivity=wanted)
    source = "the model's own validation images"
    if criteria.threshold.table is not None:
        source = "a table of scores of other images"
    return {
        "value": points[f"sensitivity {wanted}"],
        "from": source,
        "images": len(reference.files),
    }


def _counts(local: LocalImages, criteria: Criteria) -> dict[str, Any]:
    """Return how many images and patients there are, and how many were left out."""
    labels = Counter(local.scores.labels.names[target] for target in local.scores.targets)
    return {
        "images": len(local.cases) + len(local.refused or ()),
        "patients": len({case.patient for case in local.cases}),
        "labels": dict(sorted(labels.items())),
        "positives": sum(labels[name] for name in criteria.positive),
        "met_in_training": local.met,
        "damaged_files": len(local.damaged),
    }


def _only(tested: Tested, rows: Flags) -> Tested:
    cases = tuple(case for case, is_kept in zip(tested.cases, rows, strict=True) if is_kept)
    return Tested(cases, tested.score[rows], tested.positive[rows], tested.level, tested.seed)


def _not_out(local: LocalImages) -> Flags:
    return np.array([answer != "out_of_distribution" for answer in local.answers], dtype=np.bool_)
