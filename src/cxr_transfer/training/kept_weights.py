"""Which weights a stage hands on: its own, or those that it began with where they were better.

In come the rows of its history and the validation loss before it; out go a decision, the rows with
what was kept, and a line for a person. Knows nothing of networks or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cxr_transfer.training.recipe import Stage

KEPT = "kept"
"""Column of the history: 1 for the epoch whose weights its stage handed on, else 0."""


@dataclass(frozen=True)
class Outcome:
    """How a stage ended.

    Attributes:
        name: Name of the stage.
        epochs: How many it had.
        kept_epoch: Epoch whose weights it handed on, from 1; None for those that it began with.
        val_loss: Validation loss of the weights that it handed on.
        improved: Whether an epoch had a lower validation loss than the weights it began with; true
            of a first stage.
    """

    name: str
    epochs: int
    kept_epoch: int | None
    val_loss: float
    improved: bool

    @property
    def goes_back(self) -> bool:
        """Whether the weights that it began with are handed on."""
        return self.kept_epoch is None


def outcome_of(stage: Stage, rows: Sequence[dict[str, Any]], before: float | None) -> Outcome:
    """Decide which weights a finished stage hands on.

    Args:
        stage: Its ``keep`` decides.
        rows: Its history, a row per epoch.
        before: Validation loss of the weights that it began with; None for a first stage, whose
            beginning is not compared.

    >>> rows = [{"epoch": 1, "val_loss": 0.5}, {"epoch": 2, "val_loss": 0.4}]
    >>> outcome_of(Stage(name="all", train=("*",)), rows, before=0.3).goes_back
    True
    """
    best = min(rows, key=lambda row: row["val_loss"])  # the first of equal ones
    own = rows[-1] if stage.keep == "last" else best
    improved = before is None or best["val_loss"] < before
    if stage.keep == "best_overall" and before is not None and not improved:
        return Outcome(stage.name, len(rows), None, before, improved)
    return Outcome(stage.name, len(rows), own["epoch"], own["val_loss"], improved)


def marked(rows: Sequence[dict[str, Any]], outcome: Outcome) -> list[dict[str, Any]]:
    """Return the rows, each with whether its weights were handed on."""
    return [row | {KEPT: int(row["epoch"] == outcome.kept_epoch)} for row in rows]


def line_of(recipe: str, stage: Stage, outcome: Outcome, before: float | None) -> str | None:
    """Return what is said of a stage that never improved on its beginning; None of any other."""
    if outcome.improved or before is None:
        return None
    kept = {
        "best_overall": "the weights before it are kept",
        "best_of_stage": "its own best are kept all the same, since the recipe says "
        'keep = "best_of_stage" (as in the paper)',
        "last": 'its last are kept all the same, since the recipe says keep = "last"',
    }[stage.keep]
    return (
        f"{recipe} · {stage.name}: no epoch has a lower validation loss than the {before:.4f} of "
        f"the weights before this stage; {kept}"
    )
