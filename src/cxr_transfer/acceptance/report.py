"""An acceptance test as files: the record, a page, a PDF, a table of its images, figures.

In come the figures of a test; out go ``acceptance.json``, ``acceptance.html`` (which loads nothing
from anywhere), ``acceptance.pdf``, ``images.csv`` and the criteria as they were. Computes nothing
but what is drawn. The words of the page: ``acceptance.html.j2``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.acceptance.local_images import LocalImages
from cxr_transfer.acceptance.pdf import acceptance_pages
from cxr_transfer.acceptance.record import results_hash, write_record
from cxr_transfer.errors import MachineError, Notice
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.acceptance import calibration_curves, score_histograms
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.figures.page import pages_pdf
from cxr_transfer.files import write_bytes, write_csv, write_text
from cxr_transfer.provenance import short
from cxr_transfer.runs.predictions import NAMING, score_columns, score_row
from cxr_transfer.statistics.exact import clopper_pearson
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.temperature import bin_of

Floats = npt.NDArray[np.float64]

PAGE, PDF, IMAGES, CRITERIA = (
    "acceptance.html",
    "acceptance.pdf",
    "images.csv",
    "criteria.toml",
)
FIGURES = ("shares", "scores", "calibration")


def write_acceptance(
    out: Path,
    content: Mapping[str, Any],
    local: LocalImages,
    criteria: Path,
    curves: Mapping[str, tuple[Floats, npt.NDArray[np.bool_]]],
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Write all files of a test.

    Args:
        out: Folder of the test.
        content: Content of the record but for the list of files.
        local: Images of the place, scored.
        criteria: Path of the criteria, which are kept beside the record.
        curves: Scores (N,) of images with an answer and which are positive (N,), by name: as they
            are, and recalibrated where that was possible.
        log: Function that is told what is not written, and why.

    Returns:
        The content of ``acceptance.json``.
    """
    write_bytes(out / CRITERIA, criteria.read_bytes())
    _write_images(out / IMAGES, local)
    pictures = _draw(out / "figures", content, curves)
    facts = {
        "content": content,
        "results_sha256": results_hash(content),
        "commit": short(content["commit"]),
        "intended_use": INTENDED_USE,
        "shares": _share_rows(content),
    }
    embedded = {
        name: base64.b64encode(path.read_bytes()).decode() for name, path in pictures.items()
    }
    write_text(out / PAGE, render("acceptance.html.j2", pictures=embedded, **facts))
    files = [PAGE, IMAGES, CRITERIA]
    try:
        pages = acceptance_pages(facts, pictures)
        write_bytes(out / PDF, pages_pdf(pages, title="Acceptance test"))
        files.append(PDF)
    except MachineError as error:
        if error.code != "missing_package":
            raise
        log(Notice(f"no PDF: {error.message}"))
    return write_record(out, content, tuple(files))


def _write_images(path: Path, local: LocalImages) -> None:
    """Write a row for each image: what names it, its answer, and its scores."""
    labels = local.scores.labels
    rows: list[dict[str, object]] = [
        score_row(labels, case, scored) | {"answer": answer}
        for case, scored, answer in zip(
            local.cases, local.scores.probabilities, local.answers, strict=True
        )
    ]
    write_csv(path, [*NAMING, "answer", "predicted", *score_columns(labels)], rows)


def _draw(
    folder: Path,
    content: Mapping[str, Any],
    curves: Mapping[str, tuple[Floats, npt.NDArray[np.bool_]]],
) -> dict[str, Path]:
    """Draw the figures that there are images for; return their files by name."""
    paths = {name: folder / f"{name}.png" for name in FIGURES}
    again, asked = content["recalibrated"], content["criteria"]
    names, tables = ["as it is"], [content["as_it_is"]]
    if again:
        names, tables = [*names, "after recalibration"], [*tables, again["figures"]]
    panels = []
    for name in ("sensitivity", "specificity"):
        floor = asked[name] and 100 * (asked[name]["minimum"] - asked[name]["margin"])
        estimates = [Estimate.from_dict(table[name]) for table in tables]
        if any(estimate.defined for estimate in estimates):
            panels.append(Panel(f"{name}, %", estimates, line=floor, bounds=(0.0, 100.0)))
    if panels:
        dot_panels(paths["shares"], names, panels, "What was measured; dotted: what is asked for")
    score, positive = next(iter(curves.values()))
    thresholds = {"threshold": content["threshold"]["value"]}
    if again:
        thresholds["local threshold"] = again["threshold"]["value"]
    score_histograms(paths["scores"], score, positive, thresholds, "Scores")
    points = {name: _points(*pair) for name, pair in curves.items()}
    calibration_curves(paths["calibration"], points, "Do scores come true?")
    return {name: path for name, path in paths.items() if path.is_file()}


def _points(score: Floats, positive: npt.NDArray[np.bool_]) -> list[dict[str, float]]:
    """Return the share of positives in each tenth of the scores, with its exact interval."""
    bins = bin_of(score)
    points = []
    for number in np.unique(bins):
        inside = bins == number
        share = clopper_pearson(int(positive[inside].sum()), int(inside.sum()))
        points.append(
            {
                "mean_score": float(score[inside].mean()),
                "share": share.value,
                "low": share.low,
                "high": share.high,
            }
        )
    return points


def _share_rows(content: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return a row for each share: when, its name, its figures."""
    rows = [("as it is", content["as_it_is"])]
    if content["recalibrated"]:
        rows.append(("after recalibration", content["recalibrated"]["figures"]))
    rows.append(("as it is, every image with a score", content["as_it_is"]["all_scored"]))
    return [
        (when, name, figures[name])
        for when, figures in rows
        for name in ("sensitivity", "specificity")
    ]
