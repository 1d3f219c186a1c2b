"""What a publication needs, in one folder below a report: tables, figures, methods, seeds, hashes.

In come numbers that the report has already; nothing is computed here. The same run gives the same
bytes, but for what it says of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_transfer.evaluation.methods import Kind, methods, record
from cxr_transfer.evaluation.publication_tables import Table, write_table
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.figures.flow import flow_diagram
from cxr_transfer.files import write_json, write_text
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.statistics.metrics import TITLES, Evaluation

PUBLICATION = "publication"
"""Name of the folder."""

_SHOWN = ("accuracy", "f1_macro", "auroc_macro")


def write_publication(
    out: Path,
    kind: Kind,
    content: Mapping[str, Any],
    *,
    flow: Mapping[str, Any],
    checkpoints: Mapping[str, Checkpoint],
    tables: Mapping[str, Table],
) -> Path:
    """Write tables, flow diagram, methods paragraph and record; return the folder.

    Args:
        out: Report folder.
        kind: What was done.
        content: Content of ``report.json``.
        flow: Numbers of `datasets.flow`.
        checkpoints: Metadata of every checkpoint that was trained or scored, by its run.
        tables: Tables by the name of their files.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    folder = out / PUBLICATION
    for name, table in tables.items():
        write_table(folder / f"table_{name}", table)
    write_text(folder / "methods.md", methods(kind, content, flow, checkpoints))
    write_json(folder / "record.json", record(content, checkpoints) | {"flow": flow})
    flow_diagram(folder / "figure_flow", flow)
    return folder


def draw_models(
    path: Path,
    models: Mapping[str, Evaluation],
    others: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
    whose: str = "",
) -> None:
    """Draw the figures of merit of models as dots with their intervals.

    Args:
        path: The PNG file, or what the names of a publication's files begin with.
        models: Evaluations by the name of the model.
        others: Somebody else's figures by model and metric, in percent.
        title: One line.
        whose: Whose the other figures are.
    """
    panels = [
        Panel(
            f"{TITLES[metric]}, percent [95 %]",
            [getattr(found, metric) for found in models.values()],
            others=[(others or {}).get(name, {}).get(metric, float("nan")) for name in models]
            if others
            else (),
            bounds=(0.0, 100.0),
        )
        for metric in _SHOWN
    ]
    dot_panels(path, list(models), panels, title, whose)
