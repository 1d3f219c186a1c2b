"""An audit for a person: verdict first, then every check with its reading and its figures.

The words: ``audit.md.j2``, and ``audit_details.md.j2`` for the tables of the checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.audits.inputs import Check
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.runs.run_folder import access_sentence


def page(name: str, content: Mapping[str, Any], checks: Sequence[Check]) -> str:
    """Return the page.

    Args:
        name: Name of the model that was audited.
        content: Content of ``audit.json``.
        checks: Checks in the order in which the page has them.
    """
    return render(
        "audit.md.j2",
        name=name,
        content=content,
        checks=checks,
        damaged=damaged_sentence(content["images"].get("damaged", 0)),
        opened=access_sentence(content["test_set_accesses"]),
        commit=provenance.short(content["commit"]),
    )
