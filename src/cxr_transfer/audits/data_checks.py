"""Checks of the images: what they give away before a network has looked at them.

Copies and shared patients, file formats, ages, and sources that go with a class: a high figure on
such images may be undeserved, whatever the network is.

The pitfalls: Roberts et al. 2021 (Nat. Mach. Intell. 3:199), Maguolo & Nanni 2021 (Inf. Fusion
76:1), Garcia Santa Cruz et al. 2021 (Med. Image Anal. 74:102225).
"""

from __future__ import annotations

from dataclasses import replace

from cxr_transfer.audits.inputs import AuditInputs, Finding, Verdict, above, not_done
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.metrics import Evaluation


def overlap(audit_inputs: AuditInputs) -> Finding:
    """Judge whether images that are scored were seen in training, or look as if."""
    near = len(audit_inputs.near_copies)
    if audit_inputs.own_images_seen:
        verdict: Verdict = "fail"
        reading = (
            f"{audit_inputs.own_images_seen} scored images or their patients were seen in "
            "training: the figures are of images that were learnt by heart."
        )
    elif near:
        verdict = "warn"
        reading = f"{near} scored images look nearly like one that training saw: look at them."
    else:
        verdict, reading = (
            "pass",
            "No scored image or patient was seen in training, nor a near copy.",
        )
    return Finding(
        verdict,
        reading,
        {
            "same": audit_inputs.own_images_seen,
            "near_duplicates": list(audit_inputs.near_copies)[:50],
        },
    )


def parts(audit_inputs: AuditInputs) -> Finding:
    """Judge whether the run's parts share patients, and what a split by image would leak.

    The split by image is drawn anew on the same images, to show what it would have been worth.
    """
    measured = audit_inputs.parts
    if measured is None or measured["patients_in_several"] is None:
        why = "there is no split.csv beside the checkpoint, which would tell"
        return not_done(why, measured)
    several, leaked = measured["patients_in_several"], measured["image_split"]
    reading = f"{several} patients stand in several of the run's parts."
    if leaked:
        reading += (
            f" Drawn by image, as in the paper, {100 * leaked['share']:.0f} of 100 test images "
            "would be of a patient that training has seen."
        )
    if measured.get("retrained"):
        by = {name: of_split["accuracy"] for name, of_split in measured["retrained"].items()}
        reading += (
            f" Retrained, the accuracy is {Estimate.from_dict(by['image']).percent()} percent by "
            f"image and {Estimate.from_dict(by['patient']).percent()} by patient."
        )
    return Finding("fail" if several else "pass", reading, dict(measured))


def metadata(audit_inputs: AuditInputs) -> Finding:
    """Judge whether the files alone give the classes away.

    Grey levels are measured beside it and not judged: a finding changes them too.
    """
    finding = _baseline(audit_inputs.metadata, "size, format, compression and corners")
    if audit_inputs.grey_levels is None or finding.verdict == "not done":
        return finding
    grey = audit_inputs.grey_levels.auroc_macro
    addition = f"Grey levels and file size alone, in which a finding may show: {grey}."
    return replace(
        finding,
        reading=f"{finding.reading} {addition}",
        measured={**finding.measured, "grey_levels_auroc_macro": grey.as_dict()},
    )


def demographics(audit_inputs: AuditInputs) -> Finding:
    """Judge whether age, sex and view give the classes away."""
    return _baseline(audit_inputs.demographics, "age, sex and view")


def _baseline(evaluation: Evaluation | None, what: str) -> Finding:
    if evaluation is None:
        return not_done("there are too few images or patients")
    area = evaluation.auroc_macro
    return Finding(
        above(area.value, warn=0.65, fail=0.8),
        f"Without a look at the picture, {what} tell the classes apart with an AUROC of {area}.",
        {
            "auroc_macro": area.as_dict(),
            "auroc": {
                label: of_class["auroc"].as_dict()
                for label, of_class in evaluation.per_class.items()
            },
            "accuracy": evaluation.accuracy.as_dict(),
        },
    )


def association(audit_inputs: AuditInputs) -> Finding:
    """Judge whether source and class are one and the same."""
    measured = audit_inputs.association
    if measured["cramers_v"] is None:
        why = "there are not two sources and two classes"
        return not_done(why, measured)
    value = float(measured["cramers_v"])
    return Finding(
        above(value, warn=0.3, fail=0.7),
        f"Cramer's V of source and class is {value:.2f} (0 none, 1 one and the same).",
        dict(measured),
    )
