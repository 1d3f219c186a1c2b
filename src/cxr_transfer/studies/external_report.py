"""Scores of sources that were not met become a report: JSON, tables, figures, a page.

In come scored sources; out go ``validation.json``, ``report.md``, ``predictions.csv`` and figures.
Trains nothing and opens no image. The words of the page: ``external_validation.md.j2``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.files import write_csv, write_json, write_text
from cxr_transfer.provenance import short
from cxr_transfer.runs.predictions import NAMING, PREDICTIONS, score_columns, score_row
from cxr_transfer.statistics.external import FEWEST, SENSITIVITY, SPECIFICITY, answered
from cxr_transfer.statistics.intervals import INTERVALS, Estimate
from cxr_transfer.studies.external_figures import (
    POINTS,
    ScoredSource,
    point_of,
    source_figures,
    summary_of,
)

VALIDATION = "validation.json"
DETAILS = "\n## Source by source"
"""Where the report goes on with what a terminal does not show."""

_WANTED = {"sensitivity": SENSITIVITY, "specificity": SPECIFICITY}


def write_validation_report(
    out: Path,
    content: Mapping[str, Any],
    scored: Sequence[ScoredSource],
    skipped: Mapping[str, str],
) -> dict[str, Any]:
    """Write the report of an external validation into ``out``.

    Args:
        out: Folder of the validation.
        content: What was validated, on what and where: all that is not of a source.
        scored: Sources that were scored.
        skipped: Reason why each other source was not scored, by its name.

    Returns:
        The content of ``validation.json``: ``summary``, the worst source and the mean;
        ``sources``, the figures of each, the worst one first; ``skipped``.
    """
    again = {"resamples": content["resamples"], "seed": content["seed"]}
    figures = [source_figures(scored_source, **again) for scored_source in scored]
    summary = summary_of(figures, content["labels"])
    figures.sort(key=lambda of_source: summary["order"].index(of_source["source"]))
    full = {
        "intended_use": INTENDED_USE,
        "intervals": INTERVALS,
        **content,
        "summary": summary,
        "sources": figures,
        "skipped": dict(skipped),
    }
    _write_predictions(out / PREDICTIONS, scored)
    write_json(out / VALIDATION, full)
    _draw(out / "figures", full)
    page = render(
        "external_validation.md.j2",
        content=full,
        fewest=FEWEST,
        wanted=_WANTED,
        point_of=point_of,
        commit=short(content["commit"]),
        damaged=damaged_sentence(content["damaged_files"]),
    )
    write_text(out / "report.md", page)
    return full


def _write_predictions(path: Path, scored: Sequence[ScoredSource]) -> None:
    """Write a row for each image: what names it, the run that scored it, and its scores."""
    labels = scored[0].scores.labels
    naming = [name for name in NAMING if name != "split"]

    def rows() -> Iterator[dict[str, object]]:
        for source in scored:
            has_class, out_of_distribution = answered(
                source.scores,
                confidence_threshold=source.confidence_threshold,
                statuses=source.statuses,
            )
            for row, case in enumerate(source.cases):
                answer = "class" if has_class[row] else "not_sure"
                yield score_row(labels, case, source.scores.probabilities[row]) | {
                    "run": source.run,
                    "answer": "out_of_distribution" if out_of_distribution[row] else answer,
                }

    write_csv(path, [*naming, "run", "answer", "predicted", *score_columns(labels)], rows())


def _draw(folder: Path, content: Mapping[str, Any]) -> None:
    """Draw each source's AUROC, and sensitivity and specificity at transported thresholds."""
    sources, labels = content["sources"], content["labels"]
    names = [of_source["source"] for of_source in sources]
    panels = [
        Panel(
            "mean AUROC, %",
            _estimates(of_source["auroc_macro"] for of_source in sources),
            line=50.0,
        )
    ]
    panels += [
        Panel(
            f"{label}, AUROC, %",
            _estimates(of_source["auroc"][label] for of_source in sources),
            line=50.0,
        )
        for label in labels
        if any(of_source["auroc"][label] for of_source in sources)
    ]
    dot_panels(folder / "auroc.png", names, panels, f"{content['name']}, in sources not met")
    for measured in POINTS:
        wanted = 100 * _WANTED[measured]
        panels = [
            Panel(
                f"{label}, {measured}, %",
                _estimates(point_of(of_source, label, measured) for of_source in sources),
                line=wanted,
                bounds=(0.0, 100.0),
            )
            for label in labels
        ]
        title = f"{measured.capitalize()} where the threshold was set for {wanted:.0f} %"
        dot_panels(folder / f"{measured}.png", names, panels, title)


def _estimates(dicts: Iterator[Mapping[str, Any] | None]) -> list[Estimate]:
    return [Estimate.from_dict(estimate) for estimate in dicts]
