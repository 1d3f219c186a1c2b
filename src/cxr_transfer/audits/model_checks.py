"""Checks of the network: whether what it scores by is the lungs, and holds elsewhere.

Images from other places, one source alone, the lungs taken away, images changed in what changes no
finding: where the figure falls or does not fall there, it says of what it was made.

The pitfalls: DeGrave, Janizek & Lee 2021 (Nat. Mach. Intell. 3:610), Zech et al. 2018 (PLoS Med.
15:e1002683), Adebayo et al. 2018 (NeurIPS 31).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_transfer.audits.inputs import AuditInputs, Finding, Verdict, above, below, not_done
from cxr_transfer.statistics.calibration import calibration
from cxr_transfer.statistics.external import shortcut_ratio
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.subgroups import gaps, subgroups, within_sources


def input_as_described(audit_inputs: AuditInputs) -> Finding | None:
    """Judge whether the description of a model of another tool can be right.

    Returns:
        The finding; None for a model that brings its preprocessing with it.
    """
    measured = audit_inputs.input_variants
    if measured is None:
        return None
    if not measured:
        return not_done("there are no two classes with ten images each")
    others = measured["variants"]
    if not others:
        return not_done("the model has no scores of images that are brought in another way")
    best = max(others, key=lambda one: one["difference"]["value"])
    gain = best["difference"]
    verdict: Verdict = "fail" if gain["low"] > 0.05 else "warn" if gain["low"] > 0 else "pass"
    reading = (
        f"As described ({measured['described']}) the AUROC of {measured['images']} images is "
        f"{100 * measured['auroc']:.1f}; the best of {len(others)} other ways, {best['title']}, "
        f"would bring {100 * gain['value']:+.1f} points [{100 * gain['low']:+.1f}, "
        f"{100 * gain['high']:+.1f}]."
    )
    if measured["greys_as_sure"]:
        reading += " Images of one grey value are answered as surely as radiographs."
        verdict = "warn" if verdict == "pass" else verdict
    return Finding(verdict, reading, dict(measured))


def outside(audit_inputs: AuditInputs) -> Finding:
    """Judge what the network says of images from elsewhere."""
    wrong: list[str] = []
    for group in audit_inputs.outside:
        if group["images"] < 20:
            continue
        called = {name: estimate["value"] for name, estimate in group["called"].items()}
        most = max(called, key=called.__getitem__)
        title = f"{group['source']}: {group['label']}"
        if group["label"] in audit_inputs.scores.labels:
            if called[group["label"]] < 0.8:
                wrong.append(f"{title} called {most} in {_percent(group['called'][most])}")
        elif called[most] > 0.9:
            wrong.append(f"{title} called {most} in {_percent(group['called'][most])}")
    groups = [
        {"source": g["source"], "label": g["label"], "images": g["images"], "called": g["called"]}
        for g in audit_inputs.outside
    ]
    if not groups:
        return not_done("no images of other sources or findings")
    large = [group for group in audit_inputs.outside if group["images"] >= 20]
    if not large:
        return not_done("no group of 20 images")
    reading = (
        f"Wrong in {len(wrong)} of {len(large)} groups ({'; '.join(wrong)} of 100 images): what "
        "was learnt does not hold there."
        if wrong
        else f"Held in all {len(large)} groups of images from elsewhere."
    )
    return Finding("fail" if wrong else "pass", reading, {"groups": groups})


def within(audit_inputs: AuditInputs) -> Finding:
    """Judge whether classes are told apart inside one source."""
    measured = within_sources(audit_inputs.scores, audit_inputs.cases)
    areas = {
        f"{of_source['source']}: {label}": of_source["classes"][label]["auroc"]
        for of_source in measured["compared"]
        for label in of_source["classes"]
        if of_source["classes"][label]["auroc"]
    }
    if not areas:
        reason = (
            "no source holds two classes with 10 images each, so nothing shows that more than "
            "the source is recognised"
        )
        return not_done(reason, measured)
    name, worst = min(areas.items(), key=lambda item: item[1]["value"])
    verdict = below(worst["value"], warn=0.8, fail=0.7)
    reading = f"The worst, {name}, has an AUROC of {_written(worst)} among images of one source."
    return Finding(verdict, reading, measured)


def left_out(audit_inputs: AuditInputs) -> Finding | None:
    """Judge whether what the recipe learns holds in sources that it has not met.

    It judges the recipe, retrained on what is left, and not this checkpoint: so it is not hard.

    Returns:
        The finding; None where the check was not asked for.
    """
    measured = audit_inputs.left_out
    if measured is None:
        return None
    areas, shares = [], []
    for of_sources in measured["left_out"]:
        place = " and ".join(of_sources["sources"])
        areas += [
            (f"{label} in {place}", auroc) for label, auroc in of_sources["auroc"].items() if auroc
        ]
        shares += [
            (f"{group['source']}: {group['label']}", group["called"][group["label"]])
            for group in of_sources["groups"]
        ]
    if not areas and not shares:
        why = "no source can be left out so that every class is left to learn from"
        return not_done(why, measured)
    name, worst = min(areas or shares, key=lambda item: item[1]["value"])
    if areas:
        verdict = below(worst["value"], warn=0.8, fail=0.7)
        reading = (
            f"Retrained without them, the worst of {len(areas)}, {name}, has an AUROC of "
            f"{_written(worst)}."
        )
    else:
        verdict = below(worst["value"], warn=0.8, fail=0.5)
        reading = (
            f"Retrained without it, {_percent(worst)} of 100 images of the worst, {name}, are "
            "called so; no two classes could be left out together."
        )
    return Finding(verdict, reading, dict(measured))


def heat_maps(audit_inputs: AuditInputs) -> Finding:
    """Judge whether heat maps lie in the lungs and follow what was learnt.

    No proof where it passes: a map shows what raised a score, not why.
    """
    measured = audit_inputs.heat_maps
    if measured is None or measured["enrichment"]["value"] is None:
        return not_done("no image has a heat map", measured)
    rich = measured["enrichment"]
    alike = measured["randomised"].get("all layers")
    verdicts = {
        "fail" if rich["value"] < 0.8 else "warn" if rich["high"] < 1 else "pass",
        above(alike["value"], warn=0.4, fail=0.7)
        if alike and alike["value"] is not None
        else "pass",
    }
    drawn_anew = (
        f"with all weights drawn anew their correlation is {_written(alike)}"
        if alike
        else "made by covering parts of the images, since no weights could be drawn anew"
    )
    return Finding(
        "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "pass",
        f"The maps lie in the lungs {_written(rich)} times as much as even maps would; "
        f"{drawn_anew}.",
        dict(measured),
    )


def matched(audit_inputs: AuditInputs) -> Finding:
    """Judge whether classes are told apart among people alike in age, sex and view."""
    pairs = list(audit_inputs.matched)
    if not pairs:
        why = (
            "no two classes have 10 images each of like age, sex or view that training has not seen"
        )
        return not_done(why)
    worst = min(pairs, key=lambda pair: pair["matched"]["value"])
    first, second = worst["classes"]
    return Finding(
        below(worst["matched"]["value"], warn=0.8, fail=0.7),
        f"The worst pair, {first} and {second}, matched on {', '.join(worst['on'])} "
        f"({worst['images']} images), has an AUROC of {_written(worst['matched'])} instead of "
        f"{_written(worst['all'])}.",
        {"pairs": pairs},
    )


def occlusion(audit_inputs: AuditInputs) -> Finding:
    """Judge how much is left when the lungs are taken away."""
    full = audit_inputs.evaluation.auroc_macro
    measured: dict[str, Any] = {"all of the image": full.as_dict()}
    for name, evaluation in audit_inputs.occluded.items():
        measured[name] = evaluation.auroc_macro.as_dict()
    black = audit_inputs.occluded.get("lungs blacked out")
    if black is None or not full.defined or full.value <= 0.5:
        return not_done(
            "the whole images are told apart no better than by "
            "chance, or were not scored without the lungs",
            measured,
        )
    ratio = shortcut_ratio(full.value, black.auroc_macro.value)
    measured["shortcut_ratio"] = ratio
    verdict = above(ratio, warn=0.3, fail=0.6)
    reading = (
        f"With the lungs blacked out the AUROC is {black.auroc_macro} instead of {full}: "
        f"{100 * max(ratio, 0):.0f} % of what the score tells does not need the lungs."
    )
    return Finding(verdict, reading, measured)


def source_classifier(audit_inputs: AuditInputs) -> Finding:
    """Judge whether the network's own features give the source away."""
    measured = audit_inputs.source_classifier
    if measured is None or measured.get("accuracy") is None:
        return not_done("there are not two sources with ten patients")
    accuracy, chance = measured["accuracy"], measured["chance"]
    above_chance = (accuracy["value"] - chance) / max(1 - chance, 1e-9)
    return Finding(
        above(above_chance, warn=0.4, fail=0.8),
        f"A linear model on the features names the source of {_percent(accuracy)} of 100 images; "
        f"by chance {100 * chance:.1f}.",
        dict(measured),
    )


def robustness(audit_inputs: AuditInputs) -> Finding:
    """Judge how far accuracy falls under changes that change no finding."""
    measured = audit_inputs.evidence.get("robustness")
    if not measured:
        return not_done("no image was changed")
    falls = measured["fall"]
    worst = max(falls, key=lambda name: falls[name]["value"])
    return Finding(
        above(falls[worst]["value"], warn=0.05, fail=0.2),
        f"At worst, under {worst}, the accuracy falls by {_percent(falls[worst])} points "
        f"({measured['images']} images).",
        dict(measured),
    )


def calibrated(audit_inputs: AuditInputs) -> Finding:
    """Judge whether scores mean what they say."""
    result = calibration(audit_inputs.probabilities)
    return Finding(
        above(result.ece.value, warn=0.05, fail=0.15),
        f"The expected calibration error is {result.ece}, on images like those of training.",
        result.as_dict(),
    )


def groups(audit_inputs: AuditInputs) -> Finding:
    """Judge whether some are served worse."""
    measured = subgroups(audit_inputs.scores, audit_inputs.cases, columns=audit_inputs.columns)
    gap = gaps(measured)
    defined = {axis: widest for axis, widest in gap.items() if widest}
    if not defined:
        return not_done("no two groups of 20 images", measured)
    axis = max(defined, key=lambda name: defined[name]["gap"])
    worst = defined[axis]
    return Finding(
        above(worst["gap"], warn=0.1, fail=0.2),
        f"Widest by {axis}: {100 * worst['gap']:.1f} points from {worst['worst']} to "
        f"{worst['best']}.",
        {"gaps": gap, "groups": measured},
    )


def _written(estimate: Mapping[str, float]) -> str:
    return Estimate.from_dict(estimate).written(2)


def _percent(estimate: Mapping[str, float]) -> str:
    return Estimate.from_dict(estimate).percent()
