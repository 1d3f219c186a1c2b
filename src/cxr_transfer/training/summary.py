"""How a run ended, for a person: its best epoch, why each stage stopped, validation figures.

In come a finished run's card, its history and its validation scores; out go lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.files import read_csv
from cxr_transfer.models.folder import read_text
from cxr_transfer.models.metadata import CARD, Checkpoint, read_card
from cxr_transfer.runs.run_folder import validation_findings, validation_scores
from cxr_transfer.statistics.findings import mean_area
from cxr_transfer.statistics.metrics import aurocs
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.stage_recipe import MONITORS, Stage

HISTORY_FILE = "history.csv"


def summary_lines(folder: Path) -> list[str]:
    """Return a line for each stage of a finished run, and one with its validation figures.

    Args:
        folder: Run folder.

    Raises:
        ModelError: What `read_card` raises.
    """
    card = read_card(folder / CARD)
    lines = [f"{stage.name}: {_ended(stage, outcome)}" for stage, outcome in _stages(card)]
    lines.append(f"validation: {', '.join(_figures(folder, card))}")
    return [f"{card.name} · {line}" for line in lines]


def summary_line(folder: Path) -> str:
    """Return how a finished run ended, in one line.

    Args:
        folder: Run folder.

    Raises:
        ModelError: What `read_card` raises.
    """
    card = read_card(folder / CARD)
    stages = _stages(card)
    ends = "; ".join(
        f"{f'{stage.name} ' if len(stages) > 1 else ''}{_ended(stage, outcome)}"
        for stage, outcome in stages
    )
    return f"{card.name}: {ends}; validation {', '.join(_figures(folder, card))}"


def seconds_of(folder: Path) -> float:
    """Return the seconds that the epochs of a run took, over all calls; 0 where none is known."""
    rows = read_csv(read_text(folder / HISTORY_FILE))
    return sum(float(row.get("seconds") or 0) for row in rows)


def _stages(card: Checkpoint) -> list[tuple[Stage, Mapping[str, Any]]]:
    """Return each stage with how it ended; none where a card does not say so."""
    stages = Recipe.model_validate(card.recipe).stages
    outcomes: Sequence[Mapping[str, Any]] = card.provenance.get("stages", ())
    return list(zip(stages, outcomes, strict=False))


def _ended(stage: Stage, outcome: Mapping[str, Any]) -> str:
    """Say which epoch a stage handed on, and why it stopped.

    >>> outcome = {"epochs": 12, "kept_epoch": 7}
    >>> _ended(Stage(name="head", train=("head",), max_epochs=50, stop_after=5), outcome)
    'best epoch 7 of 12, stopped since 5 epochs brought no better validation loss'
    """
    if stage.fit == "logistic":
        return "fitted at once"
    epochs, kept = outcome["epochs"], outcome["kept_epoch"]
    if kept is None:
        which = f"no epoch of {epochs} was better, went back to the weights before it"
    else:
        which = f"{'last' if stage.keep == 'last' else 'best'} epoch {kept} of {epochs}"
    if epochs >= stage.max_epochs:
        return f"{which}, stopped after max_epochs = {stage.max_epochs}"
    better = MONITORS[stage.monitor]
    return f"{which}, stopped since {stage.stop_after} epochs brought no better {better}"


def _figures(folder: Path, card: Checkpoint) -> list[str]:
    """Return the validation figures of the weights that a run kept."""
    figures = []
    if outcomes := card.provenance.get("stages"):
        figures.append(f"loss {outcomes[-1]['val_loss']:.4f}")
    if card.label_set.exclusive:
        scores = validation_scores(folder, card.label_set)
        if scores is not None:
            accuracy = float((scores.predicted == scores.targets).mean())
            figures.append(f"accuracy {accuracy:.4f}")
        area = math.nan if scores is None else aurocs(scores)[1].value
    else:
        findings = validation_findings(folder, card.label_set)
        area = math.nan if findings is None else mean_area(findings)
    if math.isfinite(area):
        figures.append(f"AUROC {area:.4f}")
    return figures or ["not kept"]
