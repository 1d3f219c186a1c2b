"""What happens between epochs, with Keras' semantics, each as a Lightning callback with a state.

Keras (tf.keras 2): EarlyStopping stops at the n-th epoch in a row whose validation loss is not
strictly better; ReduceLROnPlateau acts at the n-th epoch in a row that is not better by 1e-4,
absolute, and then starts counting anew. Each state travels in the resume file, so that a run that
was killed goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import get_ema_multi_avg_fn

from cxr_transfer.errors import ModelError
from cxr_transfer.progress import Tell
from cxr_transfer.training.device import training_phase
from cxr_transfer.training.stage_recipe import Stage

HISTORY = (
    "stage",
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
)
"""Columns of every history; a stage that monitors the AUROC adds it."""


def _mode(monitor: str) -> Literal["min", "max"]:
    return "min" if monitor == "val_loss" else "max"


class StopEarly(EarlyStopping):
    """Lightning's early stopping with Keras' settings, also right after a resume."""

    def __init__(self, *, epochs: int, monitor: str = "val_loss") -> None:
        super().__init__(
            monitor,
            min_delta=0.0,
            patience=epochs,
            mode=_mode(monitor),
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

    def __init__(self, *, epochs: int, factor: float, monitor: str = "val_loss") -> None:
        self.epochs = epochs
        self.factor = factor
        self.monitor = monitor
        self._state: dict[str, Any] = {}
        self._scheduler: ReduceLROnPlateau | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tie the scheduler to the optimizer of this stage."""
        self._scheduler = ReduceLROnPlateau(
            trainer.optimizers[0],
            mode=_mode(self.monitor),
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
            self._scheduler.step(float(trainer.callback_metrics[self.monitor]))

    def state_dict(self) -> dict[str, Any]:
        """Return the counts for the resume file."""
        return dict(self._scheduler.state_dict()) if self._scheduler else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the counts up again."""
        self._state = state_dict
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state_dict)


class LearningRate(Callback):
    """Set the learning rate before every step: a rise from 0, then what the schedule says.

    It follows from the number of the step alone, so a resume needs no state of it. What a plateau
    lowers is left to `ReduceOnPlateau` once the rise is over.
    """

    def __init__(self, schedule: str, *, warmup_epochs: int, max_epochs: int) -> None:
        self.schedule = schedule
        self.warmup_epochs, self.max_epochs = warmup_epochs, max_epochs
        self._steps = 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note how many steps an epoch has."""
        self._steps = max(1, int(trainer.num_training_batches))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Set the rate of every group of weights, from the one that it began with."""
        # By epoch and batch: `global_step` counts on over what gradient scaling skips.
        epoch = trainer.current_epoch + batch_idx / self._steps
        factor = self.factor(epoch, 1 / self._steps)
        if factor is None:
            return
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = group["initial_lr"] * factor

    def factor(self, epoch: float, step: float) -> float | None:
        """Return the factor of the first learning rate at a time; None where it is not ours.

        Args:
            epoch: Time in epochs since the beginning of the stage.
            step: Length of one step in epochs.
        """
        if epoch < self.warmup_epochs:
            return min(1.0, (epoch + step) / self.warmup_epochs)
        if self.schedule == "cosine":
            share = (epoch - self.warmup_epochs) / (self.max_epochs - self.warmup_epochs)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        return None


class Unfreeze(Callback):
    """Let one more layer learn every few epochs, from the head backwards.

    Source: gradual unfreezing, Howard & Ruder 2018 (ACL, 328).

    Args:
        layers: Weights of each layer that the stage trains, in data order.
        epochs: Epochs after which one more of them starts to learn.
    """

    def __init__(self, layers: Sequence[Sequence[Tensor]], epochs: int) -> None:
        self.layers, self.epochs = layers, epochs

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze what does not learn yet: it follows from the epoch's number alone."""
        learning = 1 + trainer.current_epoch // self.epochs
        for place, weights in enumerate(reversed(self.layers)):
            for weight in weights:
                weight.requires_grad_(place < learning)
                if place >= learning:
                    weight.grad = None


class MovingAverage(Callback):
    """Validate and hand on the moving average of the weights instead of the weights themselves.

    Source: Polyak & Juditsky 1992; as torch's `AveragedModel` computes it.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._own: dict[str, Tensor] = {}

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Move the average towards the weights after the step."""
        now = pl_module.state_dict()
        if not self.average:
            self.average = {name: tensor.detach().clone() for name, tensor in now.items()}
            return
        average: Any = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]
        floating = [name for name, tensor in now.items() if tensor.is_floating_point()]
        average(
            [self.average[name] for name in floating], [now[name].detach() for name in floating], 0
        )
        for name in now.keys() - set(floating):
            self.average[name] = now[name].detach().clone()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in the weights' place."""
        if self.average:
            self._own = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}
            pl_module.load_state_dict(self.average)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back; `BestWeights` has seen the average, since it comes before."""
        if self._own:
            pl_module.load_state_dict(self._own)
            self._own = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the average for the resume file."""
        return {"average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the average up again."""
        self.average = state_dict["average"]


class BestWeights(Callback):
    """Keep the weights of the epoch with the (strictly) best monitored figure."""

    def __init__(self, monitor: str = "val_loss") -> None:
        self.monitor = monitor
        self.best = math.inf
        self.epoch = -1
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights when they are the best so far."""
        figure = float(trainer.callback_metrics[self.monitor])
        # Lower is better of both.
        cost = figure if _mode(self.monitor) == "min" else -figure
        if cost < self.best:
            self.best, self.epoch = cost, trainer.current_epoch
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
        self._check(trainer, "val_loss")

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
        row |= {name: float(figures[name]) for name in (*HISTORY, "val_auroc") if name in figures}
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


class TellBatches(Callback):
    """Tell after every batch which share of the stage is done, if it needs all of its epochs."""

    def __init__(self, stage: Stage, tell: Tell) -> None:
        self.phase, self.epochs, self._tell = training_phase(stage.name), stage.max_epochs, tell

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Tell how far the stage is."""
        done = trainer.current_epoch + (batch_idx + 1) / max(1, int(trainer.num_training_batches))
        self._tell(self.phase, min(done / self.epochs, 1.0))


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def modes_for_training(module: nn.Module, *, keep_statistics: bool = False) -> None:
    """Put frozen modules into inference mode, except dropout.

    tf.keras 2 and later: ``trainable=False`` makes batch normalisation use its moving statistics;
    dropout has no weights to freeze and stays active.

    Args:
        module: Module whose parts are put into their modes.
        keep_statistics: Whether batch normalisation is in inference mode everywhere.
    """
    for child in module.modules():
        weights = list(child.parameters(recurse=False))
        is_frozen = bool(weights) and not any(weight.requires_grad for weight in weights)
        if is_frozen or (keep_statistics and isinstance(child, BATCH_NORMS)):
            child.eval()
