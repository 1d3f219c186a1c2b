"""All checks of an audit in the order in which they are told, and the verdict on them.

The order is that of TRUST: what most often makes a high figure undeserved comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxr_transfer.audits import data_checks as data
from cxr_transfer.audits import model_checks as model
from cxr_transfer.audits.inputs import AuditInputs, Check, Verdict


def run_checks(audit_inputs: AuditInputs) -> list[Check]:
    """Return all checks, the ones that tell most first.

    Retraining is asked for or not; where it was not, no check of it can be "not done".
    """
    return [
        data.overlap(audit_inputs),
        data.parts(audit_inputs),
        model.outside(audit_inputs),
        model.within(audit_inputs),
        *([model.left_out(audit_inputs)] if audit_inputs.left_out is not None else []),
        model.occlusion(audit_inputs),
        model.heat_maps(audit_inputs),
        data.metadata(audit_inputs),
        data.demographics(audit_inputs),
        model.matched(audit_inputs),
        data.association(audit_inputs),
        model.source_classifier(audit_inputs),
        model.robustness(audit_inputs),
        model.calibrated(audit_inputs),
        model.groups(audit_inputs),
    ]


def verdict(checks: Sequence[Check]) -> Verdict:
    """Return "fail" when a hard check fails, else "warn" when any warns, fails, or is not done."""
    if any(check.hard and check.verdict == "fail" for check in checks):
        return "fail"
    return "pass" if all(check.verdict == "pass" for check in checks) else "warn"
