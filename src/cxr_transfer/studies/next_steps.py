"""Where to look after a study: its files, and commands that go on from them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_transfer.datasets.manifest import PARTS_FILE
from cxr_transfer.files import read_csv
from cxr_transfer.models.folder import read_text
from cxr_transfer.models.metadata import CARD, read_card


def next_steps(out: Path, report: Mapping[str, Any], program: str) -> list[str]:
    """Return lines that name the files of a study and the commands to give next.

    Args:
        out: Study folder.
        report: Content of its ``report.json``.
        program: Words by which the command ``cxr`` is typed here.
    """
    lines = [
        f"report: {out / 'report.md'}, with figures in {out / 'figures'}",
        f"numbers: {out / 'report.json'}",
    ]
    name = max(report["models"])  # the last of the paper's models
    folder = (out / report["models"][name]["checkpoint"]).parent
    if not report["models"][name]["checkpoint"]:
        return lines  # Cross-validated: there is a model for each fold.
    lines += [f"models: {out}/model_*, each with its recipe, history, scores and weights", "next:"]
    commands = [f"card {shlex.quote(str(folder))}"]
    if image := _test_image(folder):
        commands.insert(0, f"predict --model {shlex.quote(str(folder))} {shlex.quote(image)}")
    return lines + [f"  {program} {command}" for command in commands]


def next_of_run(folder: Path, data: Path, program: str) -> list[str]:
    """Return commands that go on from a run, as they can be typed.

    Args:
        folder: Run folder.
        data: Data that the run was given.
        program: Name of the command ``cxr`` as it is typed here.
    """
    run = shlex.quote(str(folder))

    def inside(name: str) -> str:
        return shlex.quote(str(folder / name))

    commands = [f"export {run} --out {inside('exported.xml')}"]
    card = folder / CARD
    # An audit of several findings is not built.
    if not card.is_file() or read_card(card).label_set.exclusive:
        commands.insert(0, f"audit {run} --data {shlex.quote(str(data))} --out {inside('audit')}")
    if image := _test_image(folder):
        commands[:0] = [
            f"evaluate {run} --data {inside(PARTS_FILE)} --out {inside('evaluation')}",
            f"predict {shlex.quote(image)} --model {run}",
        ]
    return ["next:", *(f"  {program} {command}" for command in commands)]


def curve_files(out: Path) -> list[str]:
    """Return lines that name the files of a learning curve.

    Args:
        out: Study folder.
    """
    return [
        f"report: {out / 'report.md'}, with figures in {out / 'figures'}",
        f"numbers: {out / 'curve.json'}, {out / 'learning_curve.csv'}, "
        f"{out / 'learning_curve.tex'}",
        f"runs: {out / 'runs'}, each with its parts, history and test scores",
    ]


def _test_image(folder: Path) -> str | None:
    """Return the path of an image that a run was tested on."""
    rows = read_csv(read_text(folder / PARTS_FILE))
    path = next((row["path"] for row in rows if row["split"] == "test"), None)
    return path and os.path.normpath(folder / path)
