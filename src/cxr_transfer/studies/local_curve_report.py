"""Scores after ever more local images in, the report of a local curve out.

Trains nothing and opens no image. The words of the page: ``local_curve.md.j2``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.files import write_csv, write_json, write_text
from cxr_transfer.provenance import short
from cxr_transfer.statistics.external import SENSITIVITY, SPECIFICITY
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.learning_curve import INTERVALS, Resampling
from cxr_transfer.statistics.local_curve import AreaPoint, area_point, rates_at
from cxr_transfer.statistics.operating_points import operating_points
from cxr_transfer.statistics.scores import Scores

LOCAL_CURVE = "local_curve.json"


@dataclass(frozen=True, eq=False)
class LocalRun:
    """A run with so many local images, scored on the local test half.

    Attributes:
        size: Number of local images that was asked for.
        number: Number of the draw, from 1.
        run: Run folder, as seen from the report's.
        drawn: Number of local images that were drawn, by whole patients.
        scores: Scores of the test half, the same images for all runs.
        validation: Scores of the run's validation part; None where it kept none.
    """

    size: int
    number: int
    run: str
    drawn: int
    scores: Scores
    validation: Scores | None


def write_local_curve(
    out: Path, content: Mapping[str, Any], runs: Sequence[LocalRun]
) -> dict[str, Any]:
    """Write the report of a local curve into ``out``.

    Args:
        out: Report folder.
        content: What was measured, on what and where.
        runs: All runs, of rising size.

    Returns:
        The content of ``local_curve.json``: beside ``content`` a list ``points``, one for each
        size, with ``images``, ``drawn`` (mean over draws), ``auroc_macro``, ``gained`` over the
        first size (null of that), ``auroc`` by class and ``operating_points`` by class.
    """
    by_size = {size: [run for run in runs if run.size == size] for size in content["sizes"]}
    points: list[dict[str, Any]] = []
    first: AreaPoint | None = None
    for size, of_size in by_size.items():
        resampling = Resampling.of(
            of_size[0].scores.patients,
            len(of_size),
            resamples=content["resamples"],
            seed=content["seed"],
        )
        area = area_point([run.scores for run in of_size], resampling)
        points.append(_point(size, of_size, area, first, resampling))
        first = first or area
    full = {
        "intended_use": INTENDED_USE,
        "intervals": INTERVALS,
        **content,
        "points": points,
        "runs": [
            {"images": run.size, "draw": run.number, "run": run.run, "drawn": run.drawn}
            for run in runs
        ],
    }
    write_json(out / LOCAL_CURVE, full)
    _write_table(out / "local_curve.csv", full)
    _draw(out / "figures", full)
    page = render(
        "local_curve.md.j2",
        content=full,
        wanted={"sensitivity": SENSITIVITY, "specificity": SPECIFICITY},
        commit=short(content["commit"]),
        damaged=damaged_sentence(content["damaged_files"]),
    )
    write_text(out / "report.md", page)
    return full


def _point(
    size: int,
    runs: Sequence[LocalRun],
    area: AreaPoint,
    first: AreaPoint | None,
    resampling: Resampling,
) -> dict[str, Any]:
    """Return the figures of one size."""
    return {
        "images": size,
        "draws": len(runs),
        "drawn": float(np.mean([run.drawn for run in runs])),
        "auroc_macro": area.mean.as_dict(),
        "of_draws": area.of_draws.tolist(),
        "gained": None if first is None else area.gained_over(first).as_dict(),
        "auroc": {label: estimate.as_dict() for label, estimate in area.classes.items()},
        "operating_points": {label: _rates(runs, label, resampling) for label in area.classes},
    }


def _rates(
    runs: Sequence[LocalRun], label: str, resampling: Resampling
) -> dict[str, dict[str, Any]] | None:
    """Return what the thresholds that validation parts set are worth; None where one sets none."""
    thresholds: list[dict[str, float]] = []
    for run in runs:
        if run.validation is None:
            return None
        try:
            thresholds.append(
                operating_points(
                    run.validation, label, sensitivity=SENSITIVITY, specificity=SPECIFICITY
                )
            )
        except DataError:  # The validation part has no image of the class, or no other.
            return None
    scores = [run.scores for run in runs]
    return {
        name: {
            "thresholds": [of_draw[name] for of_draw in thresholds],
            **{
                measured: estimate.as_dict()
                for measured, estimate in rates_at(
                    scores, [of_draw[name] for of_draw in thresholds], label, resampling
                ).items()
            },
        }
        for name in thresholds[0]
    }


def _rows(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each size and figure."""
    for point in content["points"]:
        figures = {"auroc_macro": point["auroc_macro"], "gained": point["gained"]}
        figures |= {f"auroc {label}": area for label, area in point["auroc"].items()}
        for label, rates in point["operating_points"].items():
            for name, rate in (rates or {}).items():
                for measured in ("sensitivity", "specificity"):
                    figures[f"{measured} {label} at {name}"] = rate[measured]
        for figure, estimate in figures.items():
            if estimate is not None:
                head = {name: point[name] for name in ("images", "drawn", "draws")}
                yield head | {"figure": figure} | estimate


def _write_table(path: Path, content: Mapping[str, Any]) -> None:
    write_csv(path, ("images", "drawn", "draws", "figure", "value", "low", "high"), _rows(content))


def _draw(folder: Path, content: Mapping[str, Any]) -> None:
    """Draw a row for each size: AUROC, and each class's sensitivity where 90 % were to be found."""
    points = content["points"]
    names = [f"{point['images']} local images" for point in points]
    panels = [
        Panel("mean AUROC, %", [Estimate.from_dict(point["auroc_macro"]) for point in points])
    ]
    for measured, wanted in (("sensitivity", SENSITIVITY), ("specificity", SPECIFICITY)):
        for label in points[0]["operating_points"]:
            if all(point["operating_points"].get(label) for point in points):
                name = f"{measured} {wanted}"
                rates = [point["operating_points"][label][name][measured] for point in points]
                panels.append(
                    Panel(
                        f"{label}, {measured}, %",
                        [Estimate.from_dict(rate) for rate in rates],
                        line=100 * wanted,
                        bounds=(0.0, 100.0),
                    )
                )
    title = f"{content['name']}: what images of {content['local']} bring there"
    dot_panels(folder / "local_curve.png", names, panels, title)
