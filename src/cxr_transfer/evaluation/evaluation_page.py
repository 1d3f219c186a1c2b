"""An assessment for a person: the content of ``report.json`` as one page of Markdown.

Computes nothing; what was not done is said to be not done. The words: ``evaluation.md.j2``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.evaluation.evaluated import Evaluated
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.runs.run_folder import access_sentence
from cxr_transfer.statistics.metrics import Evaluation


def page(
    model: Evaluated | Checkpoint,
    content: Mapping[str, Any],
    evaluation: Evaluation | None,
    drawn: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        model: Checkpoint, or checkpoints, that were evaluated.
        content: Content of ``report.json``.
        evaluation: Figures of merit; None when no image has a label that the network knows.
        drawn: Names of the figures in ``figures/``.
    """
    worth = content["worth"]
    return render(
        "evaluation.md.j2",
        name=model.name,
        labels=model.labels,
        content=content,
        evaluation=evaluation,
        worth=worth,
        gaps=[(axis, gap) for axis, gap in worth["gaps"].items() if gap] if worth else [],
        prevalences=_prevalences(worth["operating_points"] or {}) if worth else [],
        damaged=damaged_sentence(content["damaged_files"]),
        opened=access_sentence(content["test_set_accesses"]),
        drawn=drawn,
    )


def _prevalences(points: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """Return the prevalences for which predictive values are given: the same for every point."""
    of_first_class = next(iter(points.values()), {})
    point = next(iter(of_first_class.values()), {"prevalences": ()})
    return [figures["prevalence"] for figures in point["prevalences"]]
