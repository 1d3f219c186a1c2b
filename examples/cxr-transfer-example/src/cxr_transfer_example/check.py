"""A check that warns where a class has so few images that its figures mean little."""

from __future__ import annotations

import numpy as np

from cxr_transfer.audits.checks import AuditCheck
from cxr_transfer.audits.inputs import AuditInputs, Finding, below


def rarest_class(audit_inputs: AuditInputs) -> Finding:
    """Judge the share of the rarest class among the images that are scored."""
    labels = audit_inputs.scores.labels
    shares = np.bincount(audit_inputs.scores.targets, minlength=len(labels)) / len(
        audit_inputs.cases
    )
    rarest = int(shares.argmin())
    return Finding(
        below(float(shares[rarest]), warn=0.1, fail=0.02),
        f"The rarest class, {labels.names[rarest]}, has {100 * shares[rarest]:.0f} of 100 images.",
        {"shares": dict(zip(labels, shares.tolist(), strict=True))},
    )


RAREST_CLASS = AuditCheck(
    "Images of the rarest class",
    "share of the images: fails below 2 %, warns below 10 %",
    rarest_class,
)
