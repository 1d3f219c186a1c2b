"""One stage of training on Lightning: images in memory in, the best weights and a history out.

Lightning runs the loop, the devices and the processes. What is ours: an order and a dropout that
depend on seed, stage and epoch alone, Keras' optimizer and callbacks, and a resume file that is
whole, runs no code, and leads to the same bits. Knows nothing of recipes or other stages.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from cxr_transfer.errors import ModelError
from cxr_transfer.files import write_bytes
from cxr_transfer.quiet import quiet
from cxr_transfer.training import callbacks
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe import Stage

Batch = tuple[Tensor, Tensor]

# What Lightning says of itself; what a user must know, we say.
_LOGGERS = ("lightning", "lightning.pytorch", "lightning.fabric")
_WARNINGS = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Trying to infer the `batch_size`.*",
    ".*found in the checkpoint.*",
    ".*module.s. in eval mode at the start.*",
    ".*isinstance.treespec, LeafSpec.* is deprecated.*",
)


def seed_of(*parts: object) -> int:
    """Return a seed for one purpose, e.g. ``seed_of(seed, "order", stage, epoch)``."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7])


class Stored(Dataset[Batch]):
    """Inputs and targets in memory; a whole batch is taken out at once."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets.to(inputs.device)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, rows: list[int]) -> Batch:
        index = torch.tensor(rows)
        return self.inputs[index], self.targets[index]


class _Shuffled(Sampler[int]):
    """A new order in every epoch that depends on nothing but seed, stage and epoch.

    The epoch is asked of the trainer, not told by it: after a resume Lightning fetches the first
    batch before it would call ``set_epoch``.

    Over several processes each takes every n-th image; a remainder that would give some of them
    one step more is left out of that epoch.
    """

    def __init__(self, images: int, *, seed: int, stage: str, trainer: lightning.Trainer) -> None:
        self.images, self.seed, self.stage, self.trainer = images, seed, stage, trainer

    def __len__(self) -> int:
        return self.images // self.trainer.world_size

    def __iter__(self) -> Iterator[int]:
        # Not `trainer.current_epoch`: that lags behind between a resume and its first epoch.
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        generator_seed = seed_of(self.seed, "order", self.stage, progress.processed)
        generator = torch.Generator().manual_seed(generator_seed)
        order = torch.randperm(self.images, generator=generator).tolist()
        processes = self.trainer.world_size
        return iter(order[self.trainer.global_rank : len(self) * processes : processes])


class _StageModule(lightning.LightningModule):
    """The part of the network that is run in a stage, its loss and its optimizer."""

    def __init__(
        self, network: nn.Sequential, *, learning_rate: float, seed: int, stage: str
    ) -> None:
        super().__init__()
        self.network = network
        self.learning_rate, self.seed, self.stage = learning_rate, seed, stage

    def train(self, mode: bool = True) -> _StageModule:
        super().train(mode)
        if mode:
            callbacks.modes_for_training(self)
        return self

    def on_train_epoch_start(self) -> None:
        self.train()
        # Dropout then depends on the epoch alone, not on how the process came to it.
        torch.manual_seed(
            seed_of(self.seed, "noise", self.stage, self.current_epoch, self.global_rank)
        )

    def training_step(self, batch: Batch, _: int) -> Tensor:
        loss, accuracy = self._loss(batch)
        self._note({"loss": loss, "accuracy": accuracy}, batch)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        loss, accuracy = self._loss(batch)
        self._note({"val_loss": loss, "val_accuracy": accuracy}, batch)

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        logits = self.network(inputs).float()
        return (
            functional.cross_entropy(logits, targets),
            (logits.detach().argmax(dim=1) == targets).float().mean(),
        )

    def _note(self, figures: dict[str, Tensor], batch: Batch) -> None:
        # Keras' way: the mean over images, so a partial last batch counts by its size.
        self.log_dict(
            figures,
            on_step=False,
            on_epoch=True,
            batch_size=len(batch[1]),
            prog_bar=True,
            sync_dist=self.trainer.world_size > 1,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        # Keras' epsilon is 1e-7, torch's 1e-8.
        return torch.optim.Adam(learning, lr=self.learning_rate, eps=1e-7, fused=True)


class _WholeFiles(TorchCheckpointIO):
    """Lightning's resume file, written whole or not at all, and read without running code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: object = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(Path(path), content.getvalue())

    def load_checkpoint(
        self,
        path: _PATH,
        map_location: Any = None,  # noqa: ANN401 - Lightning's own signature
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise damaged(Path(path)) from error


@quiet(*_LOGGERS, expected=_WARNINGS)
def run_stage(
    stage: Stage,
    network: nn.Sequential,
    training: Stored,
    validation: Stored,
    *,
    folder: Path,
    seed: int,
    device: str,
    precision: str,
    execution: Execution,
    tell: Callable[[list[dict[str, Any]]], None],
) -> list[dict[str, Any]]:
    """Train what of ``network`` requires gradients, in place.

    Args:
        stage: Rates, epochs, what is kept.
        network: What is run of the network in this stage; ends with this stage's best (or last)
            weights.
        training: What it is fed, with targets.
        validation: Features and targets of the images that decide.
        folder: Run folder; the resume file lies in its ``partial/``.
        seed: Fixes order and dropout.
        device: "cpu", "cuda" or "mps".
        precision: "float32" or "bfloat16".
        execution: Processes, progress.
        tell: Is given the stage's rows after every epoch.

    Returns:
        A row per epoch.

    Raises:
        ModelError: ``loss_not_finite``, ``damaged_resume_file``.
        MachineError: ``disk_full``, ``not_writable``.
        KeyboardInterrupt: As it came.
    """
    per_process = stage.batch_size // execution.processes
    history = callbacks.History(stage.name, tell)
    best = callbacks.BestWeights()
    resume = folder / "partial" / f"{stage.name}.resume"
    each_epoch: list[Callback] = [
        callbacks.StopAtNaN(),
        callbacks.StopEarly(epochs=stage.stop_after),
        callbacks.ReduceOnPlateau(epochs=stage.reduce_after, factor=stage.reduce_factor),
        best,
        history,
        _resume_file(resume),
    ]
    if execution.bar:
        each_epoch.append(RichProgressBar(leave=False))
    module = _StageModule(network, learning_rate=stage.learning_rate, seed=seed, stage=stage.name)
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=execution.devices,
        num_nodes=execution.num_nodes,
        strategy="ddp" if execution.processes > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        plugins=[_WholeFiles()],
        max_epochs=stage.max_epochs,
        callbacks=each_epoch,
        logger=_logger(folder, stage, execution),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=execution.bar,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=folder,
    )
    order = _Shuffled(len(training), seed=seed, stage=stage.name, trainer=trainer)
    try:
        trainer.fit(
            module,
            # Every process validates on all images: exact, and the same decision everywhere.
            _loader(training, per_process, order),
            _loader(validation, stage.batch_size),
            ckpt_path=str(resume) if resume.is_file() else None,
            weights_only=True,
        )
    except SystemExit:
        # Lightning turns Ctrl-C into an exit of its own.
        raise KeyboardInterrupt from None
    # Of which stage the weights are handed on is not decided here: `kept_weights`.
    if stage.keep != "last" and best.weights:
        module.load_state_dict(best.weights)
    return history.rows


def _loader(
    images: Stored, batch_size: int, order: Sampler[int] | None = None
) -> DataLoader[Batch]:
    # A generator of its own: without one every new iterator draws from the global generator, and
    # dropout would differ between an epoch after a resume and the same epoch without one.
    return DataLoader(
        images,
        batch_size=batch_size,
        sampler=order,
        collate_fn=_as_is,
        generator=torch.Generator(),
    )


def _as_is(batch: Any) -> Any:  # noqa: ANN401 - DataLoader's own signature
    """Collate nothing: `Stored.__getitems__` has already made the batch."""
    return batch


def _resume_file(path: Path) -> ModelCheckpoint:
    """Everything that a resume needs, in one file, replaced after every epoch."""
    checkpoint = ModelCheckpoint(
        dirpath=path.parent,
        filename=path.stem,
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    checkpoint.FILE_EXTENSION = path.suffix
    return checkpoint


def _logger(folder: Path, stage: Stage, execution: Execution) -> Logger | bool:
    if not execution.tensorboard:
        return False
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="tensorboard", version=stage.name)


def damaged(path: Path) -> ModelError:
    """Say that what an interrupted run left cannot be taken up."""
    return ModelError(
        "damaged_resume_file",
        f"Expected what an interrupted run left in {path}, but it is damaged or not ours; remove "
        f"the folder {path.parent} to start this run anew.",
    )
