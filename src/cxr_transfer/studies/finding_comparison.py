"""Models of several findings that were tested on the same images, compared finding by finding.

In come tables of predictions of evaluations and cross-validations; out go tests and differences by
patient. Opens no image: a run is evaluated first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation import publication_tables as tables
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.files import write_json, write_text
from cxr_transfer.models.folder import sha256
from cxr_transfer.models.metadata import CARD, read_card
from cxr_transfer.runs.finding_predictions import FindingTable, is_of_findings, read_findings
from cxr_transfer.runs.predictions import (
    PREDICTIONS,
    is_of_classes,
    no_predictions,
    nothing_common,
    seen_beside,
)
from cxr_transfer.statistics.auroc import auroc_intervals
from cxr_transfer.statistics.finding_comparison import NamedFindings, compared_findings
from cxr_transfer.statistics.intervals import (
    DIFFERENCES,
    INTERVALS,
    NOT_DEFINED,
    Estimate,
    share,
)


def are_of_findings(paths: Sequence[Path]) -> bool:
    """Tell whether models that are to be compared tell several findings at once.

    Raises:
        DataError: ``other_classes`` where some of them do.
    """
    of_findings = [_is_of_findings(path) for path in paths]
    if True not in of_findings:
        return False
    if False in of_findings:
        other = paths[of_findings.index(False)]
        raise DataError(
            "other_classes",
            f"Expected models of several findings at once, as {paths[of_findings.index(True)]} is, "
            f"but {other} tells classes apart; compare models of one task.",
        )
    return True


def _is_of_findings(path: Path) -> bool | None:
    """Tell whether a model tells findings (True) or classes (False); None where nothing says it."""
    table = path / PREDICTIONS if path.is_dir() else path
    if table.is_file():
        return True if is_of_findings(table) else False if is_of_classes(table) else None
    return not read_card(path / CARD).label_set.exclusive if (path / CARD).is_file() else None


def compare_finding_models(
    paths: Sequence[Path],
    names: Sequence[str],
    out: Path,
    *,
    resamples: int = 2000,
    seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Compare models of findings on the images that all of them were tested on; write the report.

    Args:
        paths: Folders with tables of predictions, or such tables; two or more.
        names: Name of each model.
        out: Report folder, owned by the caller.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
        log: Function that is told what is left out.

    Returns:
        The content of ``report.json``: ``models``, with AUROC, sensitivity and specificity of each
        finding; ``comparisons`` of `compared_findings`.

    Raises:
        DataError: ``no_predictions`` for a run that was not evaluated; ``bad_predictions``,
            ``other_classes``, ``two_labels``, ``not_paired``, ``no_common_images``.
    """
    read = {name: read_findings(_table(path)) for name, path in zip(names, paths, strict=True)}
    tables_of = {name: _table(path) for name, path in zip(names, paths, strict=True)}
    seen = {name: seen_beside(table) for name, table in tables_of.items()}
    common, left_out = _on_common_images(read)
    for name, table in read.items():
        if seen[name]:
            log(f"{name}: training saw {seen[name]} of its images; do not quote the figures")
        if left_out[name]:
            log(f"{name}: {left_out[name]} images that not all models have are left out")
        if table.other_labels:
            log(
                f"{name}: {table.other_labels} images have a label that names what is none of the "
                "findings; all their labels count as missing"
            )
    again: dict[str, Any] = {"resamples": resamples, "seed": seed}
    first = common[names[0]].scores
    content = {
        "intended_use": INTENDED_USE,
        "task": "multi_label",
        "intervals": INTERVALS,
        "differences": DIFFERENCES,
        "images": len(first.files),
        "patients": len(set(first.patients)),
        "labels": list(first.labels),
        "models": {
            name: {
                "left_out": left_out[name],
                "other_labels": read[name].other_labels,
                "seen_in_training": seen[name],
                "predictions_sha256": sha256(tables_of[name]),
                "findings": _figures(model, again),
            }
            for name, model in common.items()
        },
        "comparisons": compared_findings(common, **again),
        "resamples": resamples,
        "seed": seed,
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
    }
    _write(out, content)
    return content


def _table(path: Path) -> Path:
    table = path / PREDICTIONS if path.is_dir() else path
    if not table.is_file() and not (path / CARD).is_file():
        raise no_predictions(path)
    if not table.is_file():
        raise DataError(
            "no_predictions",
            f"Expected the predictions of {path}, a model of several findings at once, but it was "
            "not evaluated; run cxr evaluate, and give its --out.",
        )
    return table


def _on_common_images(
    read: Mapping[str, FindingTable],
) -> tuple[dict[str, NamedFindings], dict[str, int]]:
    """Return what all models say of the images that all have, and how many others each one has."""
    (of_first, first), *_ = read.items()
    for name, table in read.items():
        if set(table.scores.labels) != set(first.scores.labels):
            raise DataError(
                "other_classes",
                f"Expected models of the same findings ({', '.join(first.scores.labels)}), but "
                f"{name} has {', '.join(table.scores.labels)}; compare models of one task.",
            )
    by_content = all(all(table.sha256) for table in read.values())
    keys = {name: table.identities(by_content=by_content) for name, table in read.items()}
    shared = set.intersection(*(set(of_model) for of_model in keys.values()))
    if not shared:
        raise nothing_common("content" if by_content else "name")
    order = [key for key in keys[of_first] if key in shared]
    common = {}
    for name, table in read.items():
        row_of = {key: row for row, key in enumerate(keys[name])}
        common[name] = table.only([row_of[key] for key in order], first.scores.labels)
    kept = common[of_first].scores
    for name, model in common.items():
        differing = int((model.scores.targets != kept.targets).any(axis=1).sum())
        if differing:
            raise DataError(
                "two_labels",
                f"Expected the same labels in all tables, but {differing} images have others in "
                f"{name} than in {of_first}; compare models of the same labels.",
            )
        both_named = read[name].has_patients and first.has_patients
        if both_named and model.scores.patients != kept.patients:
            raise DataError(
                "not_paired",
                f"Expected the same patients in all tables, but {name} has others than "
                f"{of_first}; make both tables of one manifest.",
            )
    named = next((name for name, table in read.items() if table.has_patients), of_first)
    patients, files = common[named].scores.patients, kept.files
    same = {
        name: NamedFindings(
            dataclasses.replace(model.scores, patients=patients, files=files), model.named
        )
        for name, model in common.items()
    }
    return same, {name: len(keys[name]) - len(order) for name in read}


def _figures(model: NamedFindings, again: dict[str, Any]) -> dict[str, dict[str, Any]]:
    figures = {}
    for place, name in enumerate(model.scores.labels):
        part, known = model.scores.of_finding(name), model.scores.known(name)
        if part is None:
            continue
        present, is_named = part.targets == 1, model.named[known, place]
        patients = np.array(part.patients, dtype=object)
        (area,), _ = auroc_intervals(present[None], part.probabilities[None, :, 1], part.patients)
        figures[name] = {
            "images": len(part.files),
            "present": int(present.sum()),
            "auroc": area.as_dict(),
            **{
                title: (
                    share(flags[among], patients[among].tolist(), **again)
                    if among.any()
                    else NOT_DEFINED
                ).as_dict()
                for title, flags, among in (
                    ("sensitivity", is_named, present),
                    ("specificity", ~is_named, ~present),
                )
            },
        }
    return figures


def _write(out: Path, content: Mapping[str, Any]) -> None:
    write_json(out / "report.json", content)
    rows: list[Mapping[str, tables.Cell]] = [
        {"a": pair["a"], "b": pair["b"], "finding": name}
        | {key: test[key] for key in ("images", "only_a_right", "only_b_right")}
        | {key: test.get(key) for key in ("p_mcnemar_exact", "p_mcnemar_holm", "p", "p_holm")}
        | {"auroc_b_minus_a": Estimate.from_dict(test["auroc_b_minus_a"])}
        for pair in content["comparisons"]
        for name, test in pair["findings"].items()
    ]
    columns = [
        tables.Column("a", "A"),
        tables.Column("b", "B"),
        tables.Column("finding", "finding"),
        tables.Column("images", "images", "count"),
        tables.Column("only_a_right", "only A right", "count"),
        tables.Column("only_b_right", "only B right", "count"),
        tables.Column("p_mcnemar_exact", "p (McNemar, exact)", "p"),
        tables.Column("p_mcnemar_holm", "p (Holm)", "p"),
        tables.Column("auroc_b_minus_a", "AUROC of B less A, points", "points"),
        tables.Column("p", "p (DeLong)", "p"),
        tables.Column("p_holm", "p (Holm)", "p"),
    ]
    caption = f"Differences on {content['images']} images; 95 % intervals by patient in brackets"
    tables.write_table(out / "compare", tables.Table(caption, columns, rows))
    names = [f"{row['finding']}: {row['b']}\nless {row['a']}" for row in rows]
    gained = [row["auroc_b_minus_a"] for row in rows]
    panel = Panel("AUROC gained, points [95 %]", gained, line=0.0)  # type: ignore[arg-type]
    dot_panels(out / "figures" / "differences.png", names, [panel], "What one gains on another")
    dot_panels(out / "figures" / "differences", names, [panel])
    write_text(out / "report.md", render("finding_comparison.md.j2", content=content))
