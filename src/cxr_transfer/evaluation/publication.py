"""What a publication needs, in one folder below a report: tables, figures, methods, seeds, hashes.

In come numbers that the report has already; nothing is computed here. The same run gives the same
bytes, but for what it says of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.flow import UNREADABLE, damaged_cases, flow
from cxr_transfer.evaluation.decoding import Decoded
from cxr_transfer.evaluation.evaluated import Evaluated
from cxr_transfer.evaluation.methods import Kind, methods, record
from cxr_transfer.evaluation.publication_tables import (
    Table,
    classes_table,
    confusion_table,
    models_table,
    write_table,
)
from cxr_transfer.evaluation.report import draw_evaluation
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.figures.flow import flow_diagram
from cxr_transfer.files import write_json, write_text
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.statistics.metrics import TITLES, Evaluation
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.text import for_terminal

PUBLICATION = "publication"
"""Name of the folder."""

CAPTION = "95 % intervals by patient in brackets"
"""Stands in the captions of tables."""

_SHOWN = ("accuracy", "f1_macro", "auroc_macro")


def write_publication(
    out: Path,
    kind: Kind,
    content: Mapping[str, Any],
    *,
    numbers: Mapping[str, Any],
    checkpoints: Mapping[str, Checkpoint],
    tables: Mapping[str, Table],
) -> Path:
    """Write tables, flow diagram, methods paragraph and record; return the folder.

    Args:
        out: Report folder.
        kind: Kind of the work that is reported.
        content: Content of ``report.json``.
        numbers: Numbers of `datasets.flow`.
        checkpoints: Metadata of every checkpoint that was trained or scored, by its run.
        tables: Tables by the name of their files.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    folder = out / PUBLICATION
    for name, table in tables.items():
        write_table(folder / f"table_{name}", table)
    write_text(folder / "methods.md", methods(kind, content, numbers, checkpoints))
    write_json(folder / "record.json", record(content, checkpoints) | {"flow": numbers})
    flow_diagram(folder / "figure_flow", numbers)
    return folder


def publish_evaluation(
    out: Path,
    content: Mapping[str, Any],
    model: Evaluated,
    scores: Scores,
    evaluation: Evaluation,
) -> None:
    """Write what a publication needs of an evaluation."""
    models = {model.name: evaluation}
    folder = write_publication(
        out,
        "evaluation",
        content,
        numbers=content["flow"],
        checkpoints={member.title: member.checkpoint for member in model.members},
        tables={
            "models": models_table(models, f"Figures of merit; {CAPTION}"),
            "classes": classes_table(models, f"Each class against the rest; {CAPTION}"),
            "confusion": confusion_table(models, "Images of each class, and their call"),
        },
    )
    draw_evaluation(folder, "figure", scores, evaluation, ending="")


def evaluation_flow(
    given_cases: Sequence[Case], decoded: Decoded, has_label: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the flow of an evaluation's images.

    Args:
        given_cases: Images that were given.
        decoded: Images that could be read.
        has_label: (N,) whether the network knows the label of each of these.
    """
    analysed = [
        case for case, is_labelled in zip(decoded.cases, has_label, strict=True) if is_labelled
    ]
    others: dict[str, list[Case]] = {}
    for case, is_labelled in zip(decoded.cases, has_label, strict=True):
        if not is_labelled:
            why = f"label {for_terminal(case.label)}, which the network does not know"
            others.setdefault(why, []).append(case)
    return flow(
        given_cases, {UNREADABLE: damaged_cases(given_cases, decoded.damaged)} | others, analysed
    )


def draw_models(
    path: Path,
    models: Mapping[str, Evaluation],
    others: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
    whose: str = "",
) -> None:
    """Draw the figures of merit of models as dots with their intervals.

    Args:
        path: PNG file, or the beginning of the names of a publication's files.
        models: Evaluations by the name of the model.
        others: Somebody else's figures by model and metric, in percent.
        title: Title of the figure, one line.
        whose: Name of the others, for the legend.
    """
    panels = [
        Panel(
            f"{TITLES[metric]}, percent [95 %]",
            [getattr(evaluation, metric) for evaluation in models.values()],
            others=[(others or {}).get(name, {}).get(metric, float("nan")) for name in models]
            if others
            else (),
            bounds=(0.0, 100.0),
        )
        for metric in _SHOWN
    ]
    dot_panels(path, list(models), panels, title, whose)
