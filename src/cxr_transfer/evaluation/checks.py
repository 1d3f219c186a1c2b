"""The checks of an audit: each measures one way in which a high figure may be undeserved.

In comes the `Evidence` that `audit.py` gathered; out goes a `Check` with what was measured, what it
means in one sentence, and pass, warn or fail by bounds that are stated beside it. A check that the
films cannot answer says so: it is "not done", never passed. Knows nothing of files or networks.

The pitfalls and their order: DeGrave, Janizek & Lee 2021 (Nat. Mach. Intell. 3:610), Roberts et al.
2021 (Nat. Mach. Intell. 3:199), Maguolo & Nanni 2021 (Inf. Fusion 76:1), Zech et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from cxr_transfer.collections.case import Case
from cxr_transfer.evaluation.calibration import calibration
from cxr_transfer.evaluation.intervals import Estimate
from cxr_transfer.evaluation.metrics import Evaluation, Scores
from cxr_transfer.evaluation.subgroups import gaps, subgroups, within_sources

Verdict = Literal["pass", "warn", "fail", "not done"]


@dataclass(frozen=True)
class Check:
    """One check of an audit.

    Attributes:
        name: Stable, for programs.
        title: For people.
        verdict: By ``bounds``.
        hard: Whether a failure fails the audit.
        reading: What was found and what it means, one sentence.
        bounds: When it warns and when it fails.
        measured: Every figure, with its interval where it has one.
    """

    name: str
    title: str
    verdict: Verdict
    hard: bool
    reading: str
    bounds: str
    measured: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in ``audit.json``."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the checks look at.

    Attributes:
        scores: Of the films with known labels that training has not seen.
        cases: Theirs, in the same order.
        evaluation: Of ``scores``.
        occluded: Evaluations of the same films by what was left of them: "lungs blacked out",
            "border only", "lungs only".
        corrupted: Accuracy of the same films by the name of the change.
        metadata: Evaluation of what size, format, compression and corners alone tell of the
            labels; None if not done.
        grey_levels: The same of grey percentiles and bytes per pixel, in which a finding may show.
        demographics: The same of age, sex and view.
        association: `association.source_by_class` over all films with known labels.
        source_classifier: `baselines.source_classifier` on the network's features.
        seen_pairs: Near-duplicates between films that training saw and those scored.
        exact_pairs: Of these, how many are the same pixels or the same patient.
        outside: Groups of films of sources or labels that training has not seen, as
            `assessment.groups`.
        labels_seen: Labels of the network.
    """

    scores: Scores
    cases: Sequence[Case]
    evaluation: Evaluation
    occluded: Mapping[str, Evaluation]
    corrupted: Mapping[str, float]
    metadata: Evaluation | None
    grey_levels: Evaluation | None
    demographics: Evaluation | None
    association: Mapping[str, Any]
    source_classifier: Mapping[str, Any] | None
    seen_pairs: Sequence[Mapping[str, Any]]
    exact_pairs: int
    outside: Sequence[Mapping[str, Any]]
    labels_seen: Sequence[str]


def run_checks(evidence: Evidence) -> list[Check]:
    """Return all checks, the ones that tell most first."""
    return [
        overlap(evidence),
        outside(evidence),
        within(evidence),
        occlusion(evidence),
        metadata(evidence),
        demographics(evidence),
        association(evidence),
        source_classifier(evidence),
        fragility(evidence),
        calibrated(evidence),
        groups(evidence),
    ]


def overlap(evidence: Evidence) -> Check:
    """Whether films that are scored were seen in training, or look as if (TRUST, rows 1 and 2)."""
    near = len(evidence.seen_pairs)
    if evidence.exact_pairs:
        verdict: Verdict = "fail"
        reading = (
            f"{evidence.exact_pairs} scored films or their patients were seen in training: the "
            "figures are of films that were learnt by heart."
        )
    elif near:
        verdict = "warn"
        reading = f"{near} scored films look nearly like one that training saw: look at them."
    else:
        verdict, reading = (
            "pass",
            "No scored film or patient was seen in training, nor a near copy.",
        )
    return Check(
        "overlap",
        "Films seen in training among those scored",
        verdict,
        True,
        reading,
        "fails at 1 film or patient; warns at 1 near-duplicate",
        {"same": evidence.exact_pairs, "near_duplicates": list(evidence.seen_pairs)[:50]},
    )


def outside(evidence: Evidence) -> Check:
    """What the network says of films from elsewhere (TRUST, row 7)."""
    bounds = (
        "fails where fewer than 80 % of a group of 20 or more films with a known label are called "
        "so, or more than 90 % of a group of other findings are called one class"
    )
    wrong: list[str] = []
    for group in evidence.outside:
        if group["films"] < 20:
            continue
        called = {name: one["value"] for name, one in group["called"].items()}
        most = max(called, key=called.__getitem__)
        title = f"{group['source']}: {group['label']}"
        if group["label"] in evidence.labels_seen:
            if called[group["label"]] < 0.8:
                wrong.append(f"{title} called {most} in {_percent(group['called'][most])}")
        elif called[most] > 0.9:
            wrong.append(f"{title} called {most} in {_percent(group['called'][most])}")
    groups = [
        {"source": g["source"], "label": g["label"], "films": g["films"], "called": g["called"]}
        for g in evidence.outside
    ]
    if not groups:
        return _not_done(
            "outside", "Films from elsewhere", "no films of other sources or findings", bounds
        )
    large = [group for group in evidence.outside if group["films"] >= 20]
    if not large:
        return _not_done("outside", "Films from elsewhere", "no group of 20 films", bounds)
    reading = (
        f"Wrong in {len(wrong)} of {len(large)} groups ({'; '.join(wrong)} of 100 films): what was "
        "learnt does not hold there."
        if wrong
        else f"Held in all {len(large)} groups of films from elsewhere."
    )
    return Check(
        "outside",
        "Films from elsewhere",
        "fail" if wrong else "pass",
        True,
        reading,
        bounds,
        {"groups": groups},
    )


def within(evidence: Evidence) -> Check:
    """Whether classes are told apart inside one source (TRUST, row 8)."""
    bounds = "fails where an AUROC inside a source is below 0.7, warns below 0.8"
    found = within_sources(evidence.scores, evidence.cases)
    areas = {
        f"{one['source']}: {label}": one["classes"][label]["auroc"]
        for one in found["compared"]
        for label in one["classes"]
        if one["classes"][label]["auroc"]
    }
    title = "Told apart within one source"
    if not areas:
        reason = (
            "no source holds two classes with 10 films each, so nothing shows that more than "
            "the source is recognised"
        )
        return _not_done("within_source", title, reason, bounds, found)
    name, worst = min(areas.items(), key=lambda item: item[1]["value"])
    verdict = _below(worst["value"], warn=0.8, fail=0.7)
    reading = f"The worst, {name}, has an AUROC of {_written(worst)} among films of one source."
    return Check("within_source", title, verdict, True, reading, bounds, found)


def occlusion(evidence: Evidence) -> Check:
    """How much is left when the lungs are taken away (TRUST, row 4)."""
    full = evidence.evaluation.auroc_macro
    measured: dict[str, Any] = {"all of the film": full.as_dict()}
    for name, found in evidence.occluded.items():
        measured[name] = found.auroc_macro.as_dict()
    title, bounds = (
        "The score without the lungs",
        "shortcut ratio (AUROC without the lungs - 0.5) / (AUROC - 0.5): fails above 0.6, warns "
        "above 0.3",
    )
    black = evidence.occluded.get("lungs blacked out")
    if black is None or not full.defined or full.value <= 0.5:
        return _not_done(
            "occlusion",
            title,
            "the whole films are told apart no better than by "
            "chance, or were not scored without the lungs",
            bounds,
            measured,
        )
    ratio = (black.auroc_macro.value - 0.5) / (full.value - 0.5)
    measured["shortcut_ratio"] = ratio
    verdict = _above(ratio, warn=0.3, fail=0.6)
    reading = (
        f"With the lungs blacked out the AUROC is {black.auroc_macro} instead of {full}: "
        f"{100 * max(ratio, 0):.0f} % of what the score tells does not need the lungs."
    )
    return Check("occlusion", title, verdict, True, reading, bounds, measured)


def metadata(evidence: Evidence) -> Check:
    """Whether the files alone give the classes away (TRUST, row 5).

    Grey levels are measured beside it and not judged: a finding changes them too.
    """
    check = _baseline(
        "metadata",
        "What the files alone tell",
        evidence.metadata,
        "size, format, compression and corners",
        hard=True,
    )
    if evidence.grey_levels is None or check.verdict == "not done":
        return check
    grey = evidence.grey_levels.auroc_macro
    said = f"Grey levels and file size alone, in which a finding may show: {grey}."
    return replace(
        check,
        reading=f"{check.reading} {said}",
        measured=check.measured | {"grey_levels_auroc_macro": grey.as_dict()},
    )


def demographics(evidence: Evidence) -> Check:
    """Whether age, sex and view give the classes away (TRUST, row 6)."""
    return _baseline(
        "demographics",
        "What age, sex and view alone tell",
        evidence.demographics,
        "age, sex and view",
        hard=False,
    )


def _baseline(name: str, title: str, found: Evaluation | None, what: str, *, hard: bool) -> Check:
    bounds = "fails above an AUROC of 0.8, warns above 0.65"
    if found is None:
        return _not_done(name, title, "there are too few films or patients", bounds)
    area = found.auroc_macro
    return Check(
        name,
        title,
        _above(area.value, warn=0.65, fail=0.8),
        hard,
        f"Without a look at the picture, {what} tell the classes apart with an AUROC of {area}.",
        bounds,
        {
            "auroc_macro": area.as_dict(),
            "auroc": {label: one["auroc"].as_dict() for label, one in found.per_class.items()},
            "accuracy": found.accuracy.as_dict(),
        },
    )


def association(evidence: Evidence) -> Check:
    """Whether source and class are one and the same (TRUST, row 3)."""
    found = evidence.association
    value = float(found["cramers_v"])
    return Check(
        "source_by_class",
        "Source and class",
        _above(value, warn=0.3, fail=0.7),
        False,
        f"Cramer's V of source and class is {value:.2f} (0 none, 1 one and the same).",
        "fails above 0.7, warns above 0.3",
        dict(found),
    )


def source_classifier(evidence: Evidence) -> Check:
    """Whether the network's own features give the source away (TRUST, row 3)."""
    title, bounds = (
        "Sources told apart by the network's own features",
        ("share of the way from chance to certainty: fails above 0.8, warns above 0.4"),
    )
    found = evidence.source_classifier
    if found is None or found.get("accuracy") is None:
        return _not_done(
            "source_classifier", title, "there are not two sources with ten patients", bounds
        )
    accuracy, chance = found["accuracy"], found["chance"]
    way = (accuracy["value"] - chance) / max(1 - chance, 1e-9)
    return Check(
        "source_classifier",
        title,
        _above(way, warn=0.4, fail=0.8),
        False,
        f"A linear model on the features names the source of {_percent(accuracy)} of 100 films; by "
        f"chance {100 * chance:.1f}.",
        bounds,
        dict(found),
    )


def fragility(evidence: Evidence) -> Check:
    """How far accuracy falls under changes that change no finding (TRUST, row 18)."""
    title, bounds = (
        "Changes that change no finding",
        ("fall of the accuracy: fails above 20 points, warns above 5"),
    )
    if not evidence.corrupted:
        return _not_done("fragility", title, "no film was changed", bounds)
    whole = evidence.evaluation.accuracy.value
    falls = {name: whole - value for name, value in evidence.corrupted.items()}
    worst = max(falls, key=falls.__getitem__)
    return Check(
        "fragility",
        title,
        _above(falls[worst], warn=0.05, fail=0.2),
        False,
        f"At worst, under {worst}, the accuracy falls by {100 * falls[worst]:.1f} points.",
        bounds,
        {"accuracy": whole, "fall": falls},
    )


def calibrated(evidence: Evidence) -> Check:
    """Whether scores mean what they say (TRUST, row 11)."""
    found = calibration(evidence.scores)
    return Check(
        "calibration",
        "Scores and what comes true",
        _above(found.ece.value, warn=0.05, fail=0.15),
        False,
        f"The expected calibration error is {found.ece}, on films like those of training.",
        "fails above 0.15, warns above 0.05",
        found.as_dict(),
    )


def groups(evidence: Evidence) -> Check:
    """Whether some are served worse (TRUST, row 15)."""
    found = subgroups(evidence.scores, evidence.cases)
    gap = gaps(found)
    title, bounds = "Groups", "gap in accuracy: fails above 20 points, warns above 10"
    known = {axis: one for axis, one in gap.items() if one}
    if not known:
        return _not_done("groups", title, "no two groups of 20 films", bounds, found)
    axis = max(known, key=lambda each: known[each]["gap"])
    worst = known[axis]
    return Check(
        "groups",
        title,
        _above(worst["gap"], warn=0.1, fail=0.2),
        False,
        f"Widest by {axis}: {100 * worst['gap']:.1f} points from {worst['worst']} to "
        f"{worst['best']}.",
        bounds,
        {"gaps": gap, "groups": found},
    )


def _not_done(
    name: str, title: str, why: str, bounds: str, measured: Mapping[str, Any] | None = None
) -> Check:
    return Check(name, title, "not done", False, f"Not done: {why}.", bounds, dict(measured or {}))


def _above(value: float, *, warn: float, fail: float) -> Verdict:
    return "fail" if value > fail else "warn" if value > warn else "pass"


def _below(value: float, *, warn: float, fail: float) -> Verdict:
    return "fail" if value < fail else "warn" if value < warn else "pass"


def _written(found: Mapping[str, float]) -> str:
    return Estimate(found["value"], found["low"], found["high"]).written(2)


def _percent(found: Mapping[str, float]) -> str:
    return Estimate(found["value"], found["low"], found["high"]).percent()
