"""Which weights a stage hands on: its own, or those that it began with where they were better.

In come the rows of its history and the monitored figure before it; out go a decision, the rows with
what was kept, and a line for a person. Knows nothing of networks or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cxr_transfer.training.stage_recipe import MONITORS, Stage

KEPT = "kept"
"""Column of the history: 1 for the epoch whose weights its stage handed on, else 0."""


@dataclass(frozen=True)
class Outcome:
    """End of a stage.

    Attributes:
        name: Name of the stage.
        epochs: Number of its epochs.
        kept_epoch: Epoch whose weights it handed on, from 1; None for those that it began with.
        val_loss: Validation loss of the weights that it handed on.
        improved: Whether an epoch had a better monitored figure than the weights it began with;
            true of a first stage.
        monitor: Name of the monitored figure.
        figure: Monitored figure of the weights that it handed on, where that is not the loss.
    """

    name: str
    epochs: int
    kept_epoch: int | None
    val_loss: float
    improved: bool
    monitor: str = "val_loss"
    figure: float | None = None

    @property
    def goes_back(self) -> bool:
        """Whether the weights that the stage began with are handed on."""
        return self.kept_epoch is None

    @property
    def monitored(self) -> float:
        """Monitored figure of the weights that were handed on."""
        return self.val_loss if self.figure is None else self.figure


def outcome_of(stage: Stage, rows: Sequence[dict[str, Any]], before: Outcome | None) -> Outcome:
    """Decide which weights a finished stage hands on.

    Args:
        stage: Stage, whose ``keep`` and ``monitor`` decide.
        rows: History of the stage, a row per epoch.
        before: End of the stage before; None for a first stage, whose beginning is not compared.

    >>> before = Outcome("head", epochs=1, kept_epoch=1, val_loss=0.3, improved=True)
    >>> rows = [{"epoch": 1, "val_loss": 0.5}, {"epoch": 2, "val_loss": 0.4}]
    >>> outcome_of(Stage(name="all", train=("*",)), rows, before).goes_back
    True
    """
    name = stage.monitor
    is_loss = name == "val_loss"
    sign = 1 if is_loss else -1
    best = min(rows, key=lambda row: sign * row[name])  # the first of equal ones
    own = rows[-1] if stage.keep == "last" else best
    improved = before is None or sign * best[name] < sign * before.monitored
    if stage.keep == "best_overall" and before is not None and not improved:
        loss, figure = before.val_loss, before.figure
        return Outcome(stage.name, len(rows), None, loss, improved, name, figure)
    figure = None if is_loss else own[name]
    return Outcome(stage.name, len(rows), own["epoch"], own["val_loss"], improved, name, figure)


def marked(rows: Sequence[dict[str, Any]], outcome: Outcome) -> list[dict[str, Any]]:
    """Return the rows, each with whether its weights were handed on."""
    return [row | {KEPT: int(row["epoch"] == outcome.kept_epoch)} for row in rows]


def line_of(recipe: str, stage: Stage, outcome: Outcome, before: Outcome | None) -> str | None:
    """Return what is said of a stage that never improved on its beginning; None of any other."""
    if outcome.improved or before is None:
        return None
    kept = {
        "best_overall": "the weights before it are kept",
        "best_of_stage": "its own best are kept all the same, since the recipe says "
        'keep = "best_of_stage" (as in the paper)',
        "last": 'its last are kept all the same, since the recipe says keep = "last"',
    }[stage.keep]
    better = "lower" if outcome.monitor == "val_loss" else "higher"
    return (
        f"{recipe} · {stage.name}: no epoch has a {better} {MONITORS[outcome.monitor]} than the "
        f"{before.monitored:.4f} of the weights before this stage; {kept}"
    )
