"""What happens between epochs, with Keras' semantics, each as a Lightning callback with a state.

Keras (tf.keras 2): EarlyStopping stops at the n-th epoch in a row whose validation loss is not
strictly better; ReduceLROnPlateau acts at the n-th epoch in a row that is not better by 1e-4,
absolute, and then starts counting anew. Each state travels in the resume file, so that a run that
was killed goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cxr_transfer.errors import ModelError

MONITORED = "val_loss"
HISTORY = ("stage", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


class StopEarly(EarlyStopping):
    """Lightning's early stopping with Keras' settings, also right after a resume."""

    def __init__(self, *, epochs: int) -> None:
        super().__init__(
            MONITORED,
            min_delta=0.0,
            patience=epochs,
            mode="min",
            verbose=False,
            check_on_train_epoch_end=False,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once when the run was killed between its last epoch and its end."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class ReduceOnPlateau(Callback):
    """Torch's scheduler with Keras' counting, stepped after every validation.

    Keras waits until its count reaches the patience, torch until it exceeds it: hence minus one.
    """

    def __init__(self, *, epochs: int, factor: float) -> None:
        self.epochs = epochs
        self.factor = factor
        self._state: dict[str, Any] = {}
        self._scheduler: ReduceLROnPlateau | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tie the scheduler to the optimizer of this stage."""
        self._scheduler = ReduceLROnPlateau(
            trainer.optimizers[0],
            mode="min",
            factor=self.factor,
            patience=self.epochs - 1,
            threshold=1e-4,
            threshold_mode="abs",
            eps=0,
        )
        if self._state:
            self._scheduler.load_state_dict(self._state)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count, and reduce when it is time."""
        if not trainer.sanity_checking and self._scheduler is not None:
            self._scheduler.step(float(trainer.callback_metrics[MONITORED]))

    def state_dict(self) -> dict[str, Any]:
        """Return the counts for the resume file."""
        return dict(self._scheduler.state_dict()) if self._scheduler else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the counts up again."""
        self._state = state_dict
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state_dict)


class BestWeights(Callback):
    """Keep the weights of the epoch with the (strictly) lowest validation loss."""

    def __init__(self) -> None:
        self.best = math.inf
        self.epoch = -1
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights when they are the best so far."""
        loss = float(trainer.callback_metrics[MONITORED])
        if loss < self.best:
            self.best, self.epoch = loss, trainer.current_epoch
            self.weights = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in pl_module.state_dict().items()
            }

    def state_dict(self) -> dict[str, Any]:
        """Return the best weights for the resume file."""
        return {"best": self.best, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up again."""
        self.best = state_dict["best"]
        self.epoch = state_dict["epoch"]
        self.weights = state_dict["weights"]


class StopAtNaN(Callback):
    """Stop when a loss is no number any more, before that state is saved over a good one."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the validation loss, before it is taken for the best.

        Raises:
            ModelError: ``loss_not_finite``.
        """
        self._check(trainer, MONITORED)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the training loss, before the resume file is written.

        Raises:
            ModelError: ``loss_not_finite``.
        """
        self._check(trainer, "loss")

    def _check(self, trainer: Trainer, name: str) -> None:
        figure = float(trainer.callback_metrics[name])
        if not math.isfinite(figure):
            raise ModelError(
                "loss_not_finite",
                f"Expected a finite {name}, but in epoch {trainer.current_epoch + 1} got {figure}; "
                "the epochs before stand in history.csv. Lower the learning rate and run it "
                "in another folder.",
            )


class History(Callback):
    """One row per epoch, written out as it comes; the rows travel in the resume file."""

    def __init__(self, stage: str, tell: Callable[[list[dict[str, Any]]], None]) -> None:
        self.stage = stage
        self.rows: list[dict[str, Any]] = []
        self._tell = tell
        self._started = 0.0
        self._learning_rate = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and note the learning rate before it may be reduced."""
        self._started = time.perf_counter()
        self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of this epoch."""
        figures = trainer.callback_metrics
        row: dict[str, Any] = {"stage": self.stage, "epoch": trainer.current_epoch + 1}
        row |= {name: float(figures[name]) for name in HISTORY if name in figures}
        row["learning_rate"] = self._learning_rate
        row["seconds"] = round(time.perf_counter() - self._started, 3)
        self.rows.append(row)
        self._tell(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows for the resume file."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up again."""
        self.rows = state_dict["rows"]


def modes_for_training(module: torch.nn.Module) -> None:
    """Put frozen modules into inference mode, except dropout.

    tf.keras 2 and later: ``trainable=False`` makes batch normalisation use its moving statistics;
    dropout has no weights to freeze and stays active.
    """
    for child in module.modules():
        weights = list(child.parameters(recurse=False))
        if weights and not any(weight.requires_grad for weight in weights):
            child.eval()
