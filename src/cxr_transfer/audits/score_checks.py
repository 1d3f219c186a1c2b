"""Checks of the scores alone: what a mean over images hides.

Each source and class by itself, thresholds carried from one source to another, groups of people,
what acting on a score is worth, and labels that may be wrong. A table of scores has all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cxr_transfer.audits.inputs import AuditInputs, Finding, Verdict, above, below, not_done
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.confident_learning import label_doubts
from cxr_transfer.statistics.decision_curve import THRESHOLDS, decision_curve
from cxr_transfer.statistics.external import (
    FEWEST,
    SENSITIVITY,
    ranked_classes,
    transported_points,
)
from cxr_transfer.statistics.fairness import fairness
from cxr_transfer.statistics.group_calibration import calibration_by_group
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.subgroups import AXES, rows_by_group
from cxr_transfer.statistics.temperature import as_given
from cxr_transfer.statistics.worst_group import by_source_and_class

SURE = 0.05
"""Level of corrected p-values: a gap that chance makes more often judges nobody."""

MOST_LISTED = 50
"""Images that a report names."""

_NORMAL = ("normal", "no finding", "healthy", "negative")


def findings_of(labels: LabelSet) -> list[str]:
    """Return the classes that somebody looks for: all but the one without a finding.

    >>> findings_of(LabelSet(("normal", "covid19")))
    ['covid19']
    """
    absences = {*_NORMAL, *(f"no {label}".casefold() for label in labels)}
    return [label for label in labels if label.casefold() not in absences] or list(labels)


def worst_group(audit_inputs: AuditInputs) -> Finding:
    """Judge the class of the source in which the fewest images are called right."""
    measured = by_source_and_class(audit_inputs.scores, audit_inputs.cases)
    if not measured["groups"]:
        return not_done("no source holds 20 images of a class", measured)
    worst = measured["groups"][0]
    recall = worst["recall"]
    verdict: Verdict = "fail" if recall["high"] < 0.5 else below(recall["value"], warn=0.8, fail=0)
    return Finding(
        verdict,
        f"The worst of {len(measured['groups'])} groups, {worst['source']}: {worst['label']} "
        f"({worst['images']} images), is called right in {_percent(recall)} of 100 images; all "
        f"images are in {audit_inputs.evaluation.accuracy.percent()}.",
        measured,
    )


def operating_point(audit_inputs: AuditInputs) -> Finding:
    """Judge whether a threshold that was set in other sources keeps its sensitivity in each."""
    scores = audit_inputs.scores
    sources = rows_by_group(audit_inputs.cases, AXES["source"])
    if len(sources) < 2:
        return not_done("the scored images are of one source")
    everywhere, points = np.arange(len(scores.files)), []
    for source, rows in sources.items():
        away = np.setdiff1d(everywhere, rows)
        points += _points(source, scores.only(rows), scores.only(away))
    if not points:
        return not_done(
            f"no class has {FEWEST} images, and {FEWEST} others, both in a source and beside it"
        )
    points.sort(key=lambda point: float(point["sensitivity"]["value"]))
    verdicts = {_of_point(point) for point in points}
    worst = points[0]
    alarms = max(points, key=lambda point: float(point["false_alarms"]["value"]))
    return Finding(
        "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "pass",
        f"At the threshold that finds {100 * SENSITIVITY:.0f} of 100 images of {worst['label']} in "
        f"the other sources, {worst['source']} has a sensitivity of "
        f"{_percent(worst['sensitivity'])} percent; the most false alarms, for {alarms['label']} "
        f"in {alarms['source']}, are {_percent(alarms['false_alarms'])} percent instead of "
        f"{100 * alarms['false_alarms_elsewhere']:.1f}.",
        {"sensitivity_wanted": SENSITIVITY, "points": points},
    )


def _points(source: str, part: Scores, away: Scores) -> list[dict[str, Any]]:
    """Return what thresholds set ``away`` are worth in a source, for each class that can say."""
    here, there = set(ranked_classes(part).tolist()), set(ranked_classes(away).tolist())
    wanted = [
        label for label in findings_of(part.labels) if part.labels.target(label) in here & there
    ]
    if not wanted:
        return []
    transported, points = transported_points(part, away), []
    for label in wanted:
        point = (transported[label] or {})[f"sensitivity {SENSITIVITY}"]
        specificity = Estimate.from_dict(point["specificity"])
        is_class, elsewhere = away.one_vs_rest(label)
        alarms = Estimate(1 - specificity.value, 1 - specificity.high, 1 - specificity.low)
        points.append(
            {
                "source": source,
                "label": label,
                "images": int((part.targets == part.labels.target(label)).sum()),
                "others": int((part.targets != part.labels.target(label)).sum()),
                "threshold": point["threshold"],
                "sensitivity": point["sensitivity"],
                "false_alarms": alarms.as_dict(),
                "false_alarms_elsewhere": float(
                    (as_given(elsewhere[~is_class]) >= point["threshold"]).mean()
                ),
            }
        )
    return points


def _of_point(point: Mapping[str, Any]) -> Verdict:
    sensitivity, alarms = point["sensitivity"], point["false_alarms"]
    if sensitivity["high"] < SENSITIVITY - 0.1 or alarms["low"] > 0.5:
        return "fail"
    more = alarms["low"] > point["false_alarms_elsewhere"] + 0.1
    return "warn" if sensitivity["high"] < SENSITIVITY or more else "pass"


def fair(audit_inputs: AuditInputs) -> Finding:
    """Judge whether a group of people, or two at once, is missed or alarmed about more often."""
    measured = fairness(audit_inputs.scores, audit_inputs.cases, columns=audit_inputs.columns)
    gaps = measured["gaps"]
    if not gaps:
        return not_done("no two groups have 20 images of a class, or of the others", measured)
    sure = [gap for gap in gaps if gap["p"] < SURE]
    widest = max(sure or gaps, key=lambda gap: float(gap["gap"]["value"]))
    by_chance = "" if sure else ", no more than chance makes of so many groups"
    return Finding(
        above(widest["gap"]["value"], warn=0.1, fail=0.2) if sure else "pass",
        f"Widest of {len(gaps)} gaps by {widest['axis']}: the {widest['figure']} of "
        f"{widest['label']} are {_percent(widest['gap'])} points apart, from {widest['lower']} to "
        f"{widest['higher']} (p {widest['p']:.2g}, corrected{by_chance})."
        if widest["figure"] == "false alarms"
        else f"Widest of {len(gaps)} gaps by {widest['axis']}: the sensitivity for "
        f"{widest['label']} is {_percent(widest['gap'])} points lower in {widest['lower']} than "
        f"in {widest['higher']} (p {widest['p']:.2g}, corrected{by_chance}).",
        measured,
    )


def calibrated_by_group(audit_inputs: AuditInputs) -> Finding:
    """Judge whether scores mean the same in every group."""
    groups = calibration_by_group(
        audit_inputs.probabilities, audit_inputs.cases, columns=audit_inputs.columns
    )
    if not groups:
        return not_done("no two groups of 20 images")
    sure = [group for group in groups if group["p"] < SURE]
    worst = (sure or groups)[0]
    by_chance = "" if sure else " No group has more than chance makes of so many."
    return Finding(
        above(worst["excess"], warn=0.05, fail=0.15) if sure else "pass",
        f"Largest by {worst['axis']}: {worst['group']} ({worst['images']} images) has a "
        f"calibration error of {Estimate.from_dict(worst['ece'])}; chance alone makes "
        f"{worst['by_chance']:.3f} of it.{by_chance}",
        {"groups": groups},
    )


def useful(audit_inputs: AuditInputs) -> Finding:
    """Judge whether acting on a score does more good than acting on nobody or on everybody."""
    scores = audit_inputs.probabilities
    present = set(ranked_classes(scores).tolist())
    curves = {
        label: decision_curve(scores, label)
        for label in findings_of(scores.labels)
        if scores.labels.target(label) in present
    }
    if not curves:
        return not_done(f"no class has {FEWEST} images, and {FEWEST} others")
    harmful = max(curve["harmful"] for curve in curves.values())
    label = min(curves, key=lambda name: (-curves[name]["harmful"], curves[name]["useful"]))
    least = min(curve["useful"] for curve in curves.values())
    verdict: Verdict = "fail" if harmful > 0.2 else below(least, warn=0.5, fail=0)
    number = len(THRESHOLDS)
    return Finding(
        verdict,
        f"The worst class, {label}: acting on its score is surely better than acting on nobody or "
        f"on everybody at {round(number * curves[label]['useful'])} of {number} thresholds, and "
        f"surely worse at {round(number * curves[label]['harmful'])} (of these images "
        f"{100 * curves[label]['prevalence']:.0f} of 100 are of it).",
        {"classes": curves},
    )


def label_noise(audit_inputs: AuditInputs) -> Finding:
    """Judge how many labels are likely wrong, and name the images to look at.

    A model's own errors look the same, so it is not hard: somebody has to look.
    """
    scores = audit_inputs.scores
    names = scores.labels.names
    if len(np.unique(scores.targets)) < 2 or len(scores.files) < FEWEST:
        return not_done(f"there are not {FEWEST} images of two classes")
    doubts = label_doubts(scores)
    images = [
        {
            "file": scores.files[row],
            "given": names[scores.targets[row]],
            "suggested": names[target],
            "margin": round(float(margin), 4),
        }
        for row, target, margin in zip(doubts.rows, doubts.suggested, doubts.margins, strict=True)
    ]
    return Finding(
        above(doubts.share, warn=0.05, fail=0.15),
        f"{len(images)} of {len(scores.files)} images have a label that the scores speak against "
        f"(an estimated {100 * doubts.share:.1f} of 100): the label is wrong, or the model is; "
        "look at them.",
        {
            "estimated_share": doubts.share,
            "likely_errors": len(images),
            "thresholds": {
                label: None if np.isnan(limit) else float(limit)
                for label, limit in zip(names, doubts.thresholds, strict=True)
            },
            "images": images[:MOST_LISTED],
        },
    )


def _percent(estimate: Mapping[str, float]) -> str:
    return Estimate.from_dict(estimate).percent()
