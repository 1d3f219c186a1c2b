"""The table of an audit's checks, in the order in which they are reported, and the verdict on them.

What most often makes a high figure undeserved comes first. Other packages may add checks; theirs
come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cxr_transfer.audits import data_checks as data
from cxr_transfer.audits import model_checks as model
from cxr_transfer.audits import picture_checks as picture
from cxr_transfer.audits import score_checks as score
from cxr_transfer.audits.inputs import AuditInputs, Check, Finding, Verdict, not_done
from cxr_transfer.tables import Table


@dataclass(frozen=True)
class AuditCheck:
    """A reason for doubt, and how it is looked for.

    Attributes:
        title: Title for people.
        bounds: Bounds of a warning and of a failure, in words; ``judge`` holds to them.
        judge: Function that finds the verdict; it returns None where the check was not asked for.
        hard: Whether a failure fails the audit.
    """

    title: str
    bounds: str
    judge: Callable[[AuditInputs], Finding | None]
    hard: bool = False


_BASELINE = "fails above an AUROC of 0.8, warns above 0.65"

CHECKS = Table(
    "audit check",
    AuditCheck,
    {
        "worst_group": AuditCheck(
            "Each class of each source",
            "share called right in the worst source and class of 20 images or more (worst-group "
            "accuracy, Sagawa et al. 2020): fails where its interval lies below 50 %, more wrong "
            "than right; warns below 80 %",
            score.worst_group,
            hard=True,
        ),
        "operating_point": AuditCheck(
            "A threshold carried to another source",
            "threshold that finds 90 % of a class in the other sources: warns where the interval "
            "of a source's sensitivity lies below that, or of its false alarms 10 points above the "
            "others'; fails where the sensitivity's lies below 80 %, or the false alarms' above "
            "50 %",
            score.operating_point,
        ),
        "overlap": AuditCheck(
            "Images seen in training among those scored",
            "fails at 1 image or patient; warns at 1 near-duplicate",
            data.overlap,
            hard=True,
        ),
        "parts": AuditCheck(
            "Patients in several parts", "fails at 1 patient in several parts", data.parts
        ),
        "input": AuditCheck(
            "Images brought to the model as it was trained",
            "another range, polarity or equalisation tells the classes apart better: warns where "
            "the interval of the difference in AUROC lies above 0, fails where it lies above 0.05; "
            "warns where images of one grey value are answered as surely as radiographs",
            model.input_as_described,
        ),
        "outside": AuditCheck(
            "Images from elsewhere",
            "fails where fewer than 80 % of a group of 20 or more images with a known label are "
            "called so, or more than 90 % of a group of other findings are called one class",
            model.outside,
            hard=True,
        ),
        "within_source": AuditCheck(
            "Told apart within one source",
            "fails where an AUROC inside a source is below 0.7, warns below 0.8",
            model.within,
            hard=True,
        ),
        "left_out": AuditCheck(
            "Sources left out of training",
            "AUROC on what was left out: fails below 0.7, warns below 0.8; where only single "
            "classes can be left out, share called so: fails below 50 %, warns below 80 %",
            model.left_out,
        ),
        "occlusion": AuditCheck(
            "The score without the lungs",
            "shortcut ratio (AUROC without the lungs - 0.5) / (AUROC - 0.5): fails above 0.6, "
            "warns above 0.3",
            model.occlusion,
            hard=True,
        ),
        "mask_shape": AuditCheck(
            "What the outline of the lungs alone tells",
            "AUROC of the masks' shape alone: fails above 0.8, warns above 0.65 (as of the files "
            "alone); warns where an outline blacked out surely tells 0.05 more than its box",
            picture.mask_shape,
        ),
        "counterfactual": AuditCheck(
            "Surroundings exchanged between images",
            "share of images that take the class of the donor of their surroundings or border "
            "(Xiao et al. 2021): fails where its interval lies above 50 %, so that they decide and "
            "not the lungs; warns above 20 %",
            picture.counterfactual,
            hard=True,
        ),
        "markers": AuditCheck(
            "Letters and side markers",
            "Cramer's V of letters and class: fails above 0.7, warns above 0.3 (as of the source); "
            "share called otherwise with letters painted out: fails above 20 %, warns above 5 %",
            picture.markers,
        ),
        "heat_maps": AuditCheck(
            "Heat maps inside the lungs",
            "enrichment (share of the map in the lungs by the lungs' share of the image): fails "
            "below 0.8, warns where its interval lies below 1; rank correlation with the map of a "
            "network whose weights were all drawn anew: fails above 0.7, warns above 0.4",
            model.heat_maps,
        ),
        "metadata": AuditCheck("What the files alone tell", _BASELINE, data.metadata, hard=True),
        "demographics": AuditCheck(
            "What age, sex and view alone tell", _BASELINE, data.demographics
        ),
        "matched": AuditCheck(
            "Images of like age, sex and view",
            "AUROC of two classes among such images: fails below 0.7, warns below 0.8",
            model.matched,
        ),
        "source_by_class": AuditCheck(
            "Source and class", "fails above 0.7, warns above 0.3", data.association
        ),
        "source_classifier": AuditCheck(
            "Sources told apart by the network's own features",
            "share of the way from chance to certainty: fails above 0.8, warns above 0.4",
            model.source_classifier,
        ),
        "robustness": AuditCheck(
            "Changes that change no finding",
            "fall of the accuracy: fails above 20 points, warns above 5",
            model.robustness,
        ),
        "reencoding": AuditCheck(
            "The same picture in another file",
            "fails where a form without loss is refused or differs by more than one grey level of "
            "255; share called otherwise in the worst form: fails above 10 %, warns above 2 %",
            picture.reencoding,
        ),
        "calibration": AuditCheck(
            "Scores and what comes true", "fails above 0.15, warns above 0.05", model.calibrated
        ),
        "groups": AuditCheck(
            "Groups", "gap in accuracy: fails above 20 points, warns above 10", model.groups
        ),
        "fairness": AuditCheck(
            "Gaps between groups, and between two at once",
            "gap in sensitivity or false alarms (equalised odds, Hardt et al. 2016) that chance "
            "makes in fewer than 5 of 100 such tables: fails above 20 points, warns above 10",
            score.fair,
        ),
        "calibration_by_group": AuditCheck(
            "Scores and what comes true, by group",
            "calibration error beyond what chance makes of so few images, where that makes it in "
            "fewer than 5 of 100 such tables: fails above 0.15, warns above 0.05",
            score.calibrated_by_group,
        ),
        "decision_curve": AuditCheck(
            "Acting on a score",
            "net benefit (Vickers & Elkin 2006) beside acting on nobody and on everybody, at "
            "thresholds from 1 to 50 %: fails where it is surely lower at more than 20 % of them; "
            "warns where it is surely higher at fewer than half",
            score.useful,
        ),
        "label_noise": AuditCheck(
            "Labels that may be wrong",
            "estimated share of wrong labels (confident learning, Northcutt et al. 2021): fails "
            "above 15 %, warns above 5 %",
            score.label_noise,
        ),
        "drift": AuditCheck(
            "Unlike the reference",
            "AUROC of a classifier that tells the images from those of the reference (Lopez-Paz & "
            "Oquab 2017): fails where its interval lies above 0.8, warns where above 0.65",
            picture.drift,
        ),
    },
    group="cxr_transfer.checks",
)
"""Checks by the name that programs know them by."""


def run_checks(audit_inputs: AuditInputs) -> list[Check]:
    """Return all checks that were asked for, the ones that tell most first."""
    why = audit_inputs.unavailable
    return [
        _reported(name, row, finding)
        for name, row in CHECKS.items()
        if (finding := not_done(why[name]) if name in why else row.judge(audit_inputs)) is not None
    ]


def verdict(checks: Sequence[Check]) -> Verdict:
    """Return "fail" when a hard check fails, else "warn" when any warns, fails, or is not done."""
    if any(check.hard and check.verdict == "fail" for check in checks):
        return "fail"
    return "pass" if all(check.verdict == "pass" for check in checks) else "warn"


def _reported(name: str, row: AuditCheck, finding: Finding) -> Check:
    return Check(
        name,
        row.title,
        finding.verdict,
        row.hard and finding.verdict != "not done",
        finding.reading,
        row.bounds,
        dict(finding.measured),
    )
