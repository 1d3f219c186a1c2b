"""Scores of all runs of a learning curve in, its report out: JSON, tables, figure, page.

Knows nothing of networks. The words of the page: ``learning_curve.md.j2``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import patient_overlap
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.learning_curve import CurveDrawing, learning_curve
from cxr_transfer.files import write_csv, write_json, write_text
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.learning_curve import (
    FACTOR,
    INTERVALS,
    MEASURES,
    Extrapolation,
    Point,
    Resampling,
    extrapolated,
    images_needed,
    points,
)
from cxr_transfer.studies.curve_plan import LearningCurve
from cxr_transfer.studies.curve_runs import place_of, read_result, read_test_scores
from cxr_transfer.training.recipe import Recipe

Curves = Mapping[str, Mapping[int, Mapping[str, Point]]]
"""By recipe, size and measure."""

CURVE, TABLE, LATEX, FIGURE = (
    "curve.json",
    "learning_curve.csv",
    "learning_curve.tex",
    "learning_curve",
)


def write_curve(
    out: Path,
    curve: LearningCurve,
    recipes: Mapping[str, Recipe],
    dataset: Dataset,
    content: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the report of a curve whose runs are done.

    Args:
        out: Study folder.
        curve: Curve that was measured.
        recipes: Recipes that were run, by name.
        dataset: Data set with its test part.
        content: Further entries of the report: device, what was left out.

    Returns:
        The content of ``curve.json``.

    Raises:
        DataError: ``bad_result``.
    """
    test = dataset.test
    resampling = Resampling.of(
        [case.patient for case in test], curve.draws, resamples=curve.resamples, seed=curve.seed
    )
    numbers = range(1, curve.draws + 1)
    measured: dict[str, dict[int, dict[str, Point]]] = {}
    results: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for name in recipes:
        measured[name], results[name] = {}, {}
        for size in curve.sizes:
            places = [place_of(out, name, size, number) for number in numbers]
            scores = [read_test_scores(place, dataset) for place in places]
            measured[name][size] = points(scores, resampling)
            results[name][size] = [read_result(place) for place in places]
    drawn = {size: _drawn_per_class(results[next(iter(recipes))][size]) for size in curve.sizes}
    laws = {
        name: extrapolated(
            list(drawn.values()), [measured[name][size]["accuracy"] for size in curve.sizes]
        )
        for name in recipes
    }
    rows = _rows(curve, recipes, measured, results, drawn)
    full = _head(curve, dataset) | dict(content)
    full |= {
        "models": {name: {"title": recipe.shown} for name, recipe in recipes.items()},
        "points": rows,
        "laws": {name: _law(law) for name, law in laws.items()},
    }
    write_json(out / CURVE, full)
    _write_tables(out, rows)
    learning_curve(
        out / "figures" / FIGURE,
        [_drawing(name, recipes[name], drawn, measured[name], laws[name]) for name in recipes],
        test_images=len(test),
    )
    page = render(
        "learning_curve.md.j2",
        content=full,
        intervals=INTERVALS,
        factor=FACTOR,
        commit=provenance.short(full["commit"]),
        by_size={
            size: {row["model"]: row for row in rows if row["images_per_class"] == size}
            for size in curve.sizes
        },
    )
    write_text(out / "report.md", page)
    return full


def _head(curve: LearningCurve, dataset: Dataset) -> dict[str, Any]:
    """Return what stands in ``curve.json`` of the study, its data and where it ran."""
    return {
        "intended_use": INTENDED_USE,
        "intervals": INTERVALS,
        "dataset": dataset.name,
        "classes": dataset.counts(),
        "split_by": dataset.split_by,
        "test_images": len(dataset.test),
        "test_patients": len({case.patient for case in dataset.test}),
        "patients_in_two_parts": patient_overlap(dataset),
        "damaged_files": len(dataset.damaged),
        "data_hash": data_hash(dataset.cases),
        "sizes": list(curve.sizes),
        **{
            name: getattr(curve, name)
            for name in ("draws", "seed", "max_epochs", "input_size", "resamples")
        },
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }


def _drawn_per_class(results: Sequence[Mapping[str, Any]]) -> float:
    """Return how many images per class were drawn: the mean over classes and draws."""
    return float(
        np.mean(
            [
                result["images"]["train"][label] + result["images"]["validation"][label]
                for result in results
                for label in result["images"]["train"]
            ]
        )
    )


def _rows(
    curve: LearningCurve,
    recipes: Mapping[str, Recipe],
    measured: Curves,
    results: Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]],
    drawn: Mapping[int, float],
) -> list[dict[str, Any]]:
    """Return a row for each recipe and size."""
    first = next(iter(recipes))
    return [
        {
            "model": name,
            "images_per_class": size,
            "drawn_per_class": drawn[size],
            "draws": curve.draws,
            **{
                measure: by_measure[measure].estimate.as_dict()
                | {"of_draws": by_measure[measure].of_draws.tolist()}
                for measure in MEASURES
            },
            "gained_over": None
            if name == first
            else _gained(first, by_measure, measured[first], size, list(drawn.values())),
            **{
                f"{kind}_per_run": float(np.mean([result[kind] for result in results[name][size]]))
                for kind in ("seconds", "processor_seconds")
            },
        }
        for name in recipes
        for size, by_measure in measured[name].items()
    ]


def _gained(
    first: str,
    by_measure: Mapping[str, Point],
    of_first: Mapping[int, Mapping[str, Point]],
    size: int,
    drawn: Sequence[float],
) -> dict[str, Any]:
    """Return what a recipe gains over the first one, and how many images that one needs for it."""
    accuracies = [point["accuracy"] for point in of_first.values()]
    needed = images_needed(drawn, accuracies, by_measure["accuracy"])
    return {
        "model": first,
        **{name: by_measure[name].gained_over(of_first[size][name]).as_dict() for name in MEASURES},
        # JSON has no infinity.
        "images_needed": {
            name: value if math.isfinite(value) else None for name, value in asdict(needed).items()
        },
        "images_needed_text": _needed_text(needed, drawn),
    }


def _needed_text(needed: Estimate, drawn: Sequence[float]) -> str:
    """Return a number of images that may lie beyond the smallest and the largest size.

    >>> _needed_text(Estimate(60.4, 10.0, math.inf), [10.0, 100.0])
    '60 [10 or fewer, more than 100]'
    """

    def text(images: float) -> str:
        if math.isinf(images):
            return f"more than {drawn[-1]:.0f}"
        return f"{images:.0f}" if images > drawn[0] else f"{drawn[0]:.0f} or fewer"

    return f"{text(needed.value)} [{text(needed.low)}, {text(needed.high)}]"


def _law(law: Extrapolation) -> dict[str, Any]:
    """Return a law as it stands in ``curve.json``."""
    return {
        "law": None if law.law is None else asdict(law.law),
        "refused": law.refused,
        "images_per_class": law.images,
        "accuracy": _complement(law.error).as_dict(),
        **{name: getattr(law, name).as_dict() for name in ("exponent", "floor", "gained")},
        "resamples": law.resamples,
    }


def _write_tables(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the points as CSV and as LaTeX."""
    bounds = ("value", "low", "high")
    columns = ["model", "images_per_class", "drawn_per_class", "draws"]
    columns += [f"{measure}_{bound}" for measure in MEASURES for bound in bounds]
    columns += [f"{measure}_gained_{bound}" for measure in MEASURES for bound in bounds]
    write_csv(
        out / TABLE,
        columns,
        (
            {name: row[name] for name in columns[:4]}
            | {f"{m}_{bound}": row[m][bound] for m in MEASURES for bound in bounds}
            | (
                {
                    f"{m}_gained_{bound}": row["gained_over"][m][bound]
                    for m in MEASURES
                    for bound in bounds
                }
                if row["gained_over"]
                else {}
            )
            for row in rows
        ),
    )
    models = list(dict.fromkeys(row["model"] for row in rows))
    sizes = list(dict.fromkeys(row["images_per_class"] for row in rows))
    cells = {(row["images_per_class"], row["model"]): row for row in rows}
    write_text(
        out / LATEX,
        render(
            "learning_curve.tex.j2", models=models, sizes=sizes, cells=cells, intervals=INTERVALS
        ),
    )


def _drawing(
    name: str,
    recipe: Recipe,
    drawn: Mapping[int, float],
    measured: Mapping[int, Mapping[str, Point]],
    law: Extrapolation,
) -> CurveDrawing:
    """Return what is drawn of one recipe."""
    return CurveDrawing(
        name=f"{name}: {recipe.shown}",
        images=list(drawn.values()),
        errors=[_complement(by_measure["accuracy"].estimate) for by_measure in measured.values()],
        law=law.law.error if law.law else None,
        more=(law.images, law.error) if law.law else None,
    )


def _complement(share: Estimate) -> Estimate:
    """Return the share wrong for the share right, or the other way round."""
    return Estimate(1 - share.value, 1 - share.high, 1 - share.low)
