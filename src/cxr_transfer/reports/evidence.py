"""Every fact that a report may rest on, by name; None where no file proves it.

A name begins with where it comes from: ``model``, ``training``, ``data``, ``figures``, ``audit``,
``validation``. `HOW` says which command would bring the facts that are absent.
"""

from __future__ import annotations

from collections.abc import Mapping

from cxr_transfer.errors import DataError
from cxr_transfer.reports.data_evidence import data_evidence
from cxr_transfer.reports.documents import Documents, Fact
from cxr_transfer.reports.figure_evidence import (
    audit_evidence,
    figure_evidence,
    validation_evidence,
)
from cxr_transfer.reports.model_evidence import model_evidence, training_evidence

Evidence = Mapping[str, Fact | None]

HOW = {
    "model": "give a run folder of this version; this card does not say it",
    "training": "give a run folder of 'cxr train' or 'cxr study'; this one does not say it",
    "data": "give a run folder with its split.csv, made of data that state it",
    "figures": "run 'cxr evaluate' on the test images, and give its report.json as --evaluation",
    "audit": "run 'cxr audit', and give its audit.json as --audit",
    "validation": "run 'cxr validate', and give its validation.json as --validation",
}
"""What brings facts, by the first word of their names."""


def collect(documents: Documents) -> dict[str, Fact | None]:
    """Return every fact by its name.

    Raises:
        DataError: ``other_report`` for a file that is not as this version writes it.
    """
    kinds = (
        model_evidence,
        training_evidence,
        data_evidence,
        figure_evidence,
        audit_evidence,
        validation_evidence,
    )
    try:
        return {name: fact for kind in kinds for name, fact in kind(documents).items()}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "other_report",
            f"Expected the reports of {documents.card.name} as this version writes them, but in "
            f"one there is something else ({type(error).__name__}: {error}); make it anew.",
        ) from error


def how(fact: str) -> str:
    """Return what would bring a fact that is absent."""
    return HOW[fact.partition(".")[0]]
