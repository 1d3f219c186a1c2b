"""Checks that change pictures: letters painted out, surroundings exchanged, boxes, other files.

Each judges what its module of evidence measured: `markers`, `counterfactual`, `mask_shape`,
`reencoding`, `drift`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cxr_transfer.audits.counterfactual import SWAPS
from cxr_transfer.audits.inputs import AuditInputs, Finding, Verdict, above, not_done
from cxr_transfer.audits.mask_shape import BOX, ELSEWHERE, MASK
from cxr_transfer.audits.reencoding import LOSSY
from cxr_transfer.statistics.intervals import Estimate


def markers(audit_inputs: AuditInputs) -> Finding:
    """Judge whether letters in the images go with the class, and whether answers rest on them."""
    measured = audit_inputs.evidence.get("markers")
    if measured is None:
        return not_done("letters were not looked for")
    marked, tied = measured["marked"], measured["cramers_v"]
    reading = f"{_percent(marked)} of 100 images have letters or side markers"
    verdicts: list[Verdict] = ["pass"]
    if tied is not None:
        verdicts.append(above(tied, warn=0.3, fail=0.7))
        reading += f"; Cramer's V of these and the class is {tied:.2f}"
    if painted := measured["painted"]:
        verdicts.append(above(painted["otherwise"]["value"], warn=0.05, fail=0.2))
        reading += (
            f"; painted out, {_percent(painted['otherwise'])} of 100 of {painted['images']} such "
            f"images are called otherwise and the AUROC changes by "
            f"{Estimate.from_dict(painted['auroc_change']).written(3)}"
        )
    elif marked["value"]:
        reading += "; a table of scores does not say what they are worth"
    return Finding(_worst(verdicts), f"{reading}.", dict(measured))


def counterfactual(audit_inputs: AuditInputs) -> Finding:
    """Judge whether the surroundings of the lungs decide the answer."""
    measured = audit_inputs.evidence.get("counterfactual")
    if not measured:
        return not_done("there are no two classes with 20 images that are called right")
    swaps = measured["swaps"]
    verdicts: list[Verdict] = [
        "fail"
        if swap["follows"]["low"] > 0.5
        else above(swap["follows"]["value"], warn=0.2, fail=1)
        for swap in swaps.values()
    ]
    around, border = (swaps[name] for name in SWAPS)
    return Finding(
        _worst(verdicts),
        f"In the surroundings of an image of another class {_percent(around['follows'])} of 100 "
        f"images take that class; with its border alone {_percent(border['follows'])}. With a "
        f"donor of their own class {_percent(around['control'])} are called otherwise "
        f"({measured['images']} images that were called right).",
        dict(measured),
    )


def mask_shape(audit_inputs: AuditInputs) -> Finding:
    """Judge whether the form of the lungs' masks tells the class by itself."""
    measured = audit_inputs.evidence.get("mask_shape")
    if not measured or measured["shape_auroc"]["value"] is None:
        return not_done("there are no two classes with 20 images, or too few patients", measured)
    told, outline, areas = measured["shape_auroc"], measured["outline"], measured["auroc"]
    verdicts: list[Verdict] = [
        above(told["value"], warn=0.65, fail=0.8),
        "warn" if outline["low"] > 0.05 else "pass",
    ]
    return Finding(
        _worst(verdicts),
        f"Eight numbers of the lungs' masks alone tell the classes apart with an AUROC of "
        f"{_written(told)}. With the lungs blacked out by their outline the model's is "
        f"{_written(areas[MASK])}, by a box {_written(areas[BOX])}, with as much blacked out "
        f"elsewhere {_written(areas[ELSEWHERE])} ({measured['images']} images).",
        dict(measured),
    )


def reencoding(audit_inputs: AuditInputs) -> Finding:
    """Judge whether the same picture is read, and called, the same in every form of file."""
    measured = audit_inputs.evidence.get("reencoding")
    if not measured:
        return not_done("no image could be saved again")
    forms = measured["forms"]
    name = max(forms, key=lambda form: forms[form]["otherwise"]["value"])
    worst = forms[name]
    unlike = [
        form
        for form, of_form in forms.items()
        if form not in LOSSY and (of_form["refused"] or of_form["difference"] > 1)
    ]
    verdict: Verdict = "fail" if unlike else above(worst["otherwise"]["value"], warn=0.02, fail=0.1)
    pixels = (
        f"Read otherwise: {', '.join(unlike)}."
        if unlike
        else "Every form without loss is read alike."
    )
    return Finding(
        verdict,
        f"{pixels} At worst, as {name}, {_percent(worst['otherwise'])} of 100 of "
        f"{measured['images']} images are called otherwise.",
        dict(measured),
    )


def drift(audit_inputs: AuditInputs) -> Finding | None:
    """Judge whether the images differ from those of a reference.

    Returns:
        The finding; None where the check was not asked for.
    """
    measured = audit_inputs.evidence.get("drift")
    if measured is None:
        return None
    told = {
        name: area for name, area in measured["told_apart"].items() if area["value"] is not None
    }
    if not told:
        return not_done("the two sets have fewer than two patients each", measured)
    verdicts: list[Verdict] = [above(area["low"], warn=0.65, fail=0.8) for area in told.values()]
    reading = "; ".join(f"by {name} {_written(area)}" for name, area in told.items())
    if distances := measured.get("scores"):
        label = max(distances, key=lambda name: distances[name]["ks"])
        reading += (
            f"; the scores of {label} lie the furthest apart (Kolmogorov-Smirnov "
            f"{distances[label]['ks']:.2f}, p {distances[label]['p']:.2g})"
        )
    if measured["seen"]:
        reading += f"; training saw {measured['seen']} images of the reference"
    images = measured["images"]
    return Finding(
        _worst(verdicts),
        f"A classifier tells {images[0]} images from {images[1]} of the reference with an AUROC "
        f"of: {reading}.",
        dict(measured),
    )


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=("pass", "warn", "fail").index)


def _written(estimate: Mapping[str, float]) -> str:
    return Estimate.from_dict(estimate).written(2)


def _percent(estimate: Mapping[str, Any]) -> str:
    return Estimate.from_dict(estimate).percent()
