"""All checks of an audit in the order in which they are told, and the verdict on them.

The order is that of TRUST: what most often makes a high figure undeserved comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxr_transfer.audits import data_checks as data
from cxr_transfer.audits import model_checks as model
from cxr_transfer.audits.inputs import Check, Evidence, Verdict


def run_checks(evidence: Evidence) -> list[Check]:
    """Return all checks, the ones that tell most first.

    Retraining is asked for or not; where it was not, no check of it can be "not done".
    """
    return [
        data.overlap(evidence),
        data.parts(evidence),
        model.outside(evidence),
        model.within(evidence),
        *([model.left_out(evidence)] if evidence.left_out is not None else []),
        model.occlusion(evidence),
        model.heat_maps(evidence),
        data.metadata(evidence),
        data.demographics(evidence),
        model.matched(evidence),
        data.association(evidence),
        model.source_classifier(evidence),
        model.fragility(evidence),
        model.calibrated(evidence),
        model.groups(evidence),
    ]


def verdict(checks: Sequence[Check]) -> Verdict:
    """Return "fail" when a hard check fails, else "warn" when any warns, fails, or is not done."""
    if any(check.hard and check.verdict == "fail" for check in checks):
        return "fail"
    return "pass" if all(check.verdict == "pass" for check in checks) else "warn"
