"""One stage of training on Lightning: images in memory in, the best weights and a history out.

Lightning runs the loop, the devices and the processes. What is ours: an order and a dropout that
depend on seed, stage and epoch alone, Keras' optimizer and callbacks, and a resume file that is
whole, runs no code, and leads to the same bits. Knows nothing of recipes or other stages.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
from cxr_transfer.training.augmented_images import augmented, mixed
from cxr_transfer.training.device import Execution
from cxr_transfer.training.optimizer import learning_layers, optimizer_of
from cxr_transfer.training.stage_recipe import Stage

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


def mean_auroc(scores: Tensor, targets: Tensor) -> float:
    """Return the mean area under the ROC curve, class by class against the rest.

    Args:
        scores: Class scores, (N, classes).
        targets: Target of each image, (N,).

    Returns:
        Mean over the classes that some images have and some have not; 0.5 where there is none.
    """
    from sklearn.metrics import roc_auc_score

    areas = []
    for column in range(scores.shape[1]):
        positive = (targets == column).numpy()
        if positive.any() and not positive.all():
            areas.append(float(roc_auc_score(positive, scores[:, column].numpy())))
    return sum(areas) / len(areas) if areas else 0.5


class Stored(Dataset[Batch]):
    """Inputs and targets in memory; a whole batch is taken out at once."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets.to(inputs.device)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, rows: list[int]) -> Batch:
        index = torch.tensor(rows)
        return self.inputs[index], self.targets[index]


@dataclass(frozen=True)
class Material:
    """What a stage is fed beside its images, the same in every epoch.

    Attributes:
        augmentation: Random changes of the training images: name to strength.
        frozen: What a training batch goes through before the part that trains, where the images
            themselves are fed, since they change; None where what comes in went through it before.
        class_weights: Weight of each class in the training loss, (classes,); None gives all 1.
        draws: Weight with which each training image is drawn, with replacement, (N,); None takes
            each image once in an epoch.
    """

    augmentation: Mapping[str, float] = field(default_factory=dict)
    frozen: nn.Sequential | None = None
    class_weights: Tensor | None = None
    draws: Tensor | None = None


class _Shuffled(Sampler[int]):
    """A new order in every epoch that depends on nothing but seed, stage and epoch.

    The epoch is asked of the trainer, not told by it: after a resume Lightning fetches the first
    batch before it would call ``set_epoch``.

    Over several processes each takes every n-th image; a remainder that would give some of them
    one step more is left out of that epoch.
    """

    def __init__(
        self,
        images: int,
        *,
        seed: int,
        stage: str,
        trainer: lightning.Trainer,
        draws: Tensor | None = None,
    ) -> None:
        self.images, self.seed, self.stage, self.trainer = images, seed, stage, trainer
        self.draws = draws

    def __len__(self) -> int:
        return self.images // self.trainer.world_size

    def __iter__(self) -> Iterator[int]:
        # Not `trainer.current_epoch`: that lags behind between a resume and its first epoch.
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        generator_seed = seed_of(self.seed, "order", self.stage, progress.processed)
        generator = torch.Generator().manual_seed(generator_seed)
        if self.draws is None:
            order = torch.randperm(self.images, generator=generator).tolist()
        else:
            drawn = torch.multinomial(self.draws, self.images, True, generator=generator)
            order = drawn.tolist()
        processes = self.trainer.world_size
        return iter(order[self.trainer.global_rank : len(self) * processes : processes])


class _StageModule(lightning.LightningModule):
    """The part of the network that is run in a stage, its loss and its optimizer."""

    def __init__(
        self, network: nn.Sequential, stage: Stage, *, material: Material, seed: int
    ) -> None:
        super().__init__()
        self.network = network
        self.stage, self.material, self.seed = stage, material, seed
        # In a tuple, so that it is no part of this module: its weights stay out of resume files.
        self._frozen = (material.frozen,)
        self._scored: list[tuple[Tensor, Tensor]] = []

    def train(self, mode: bool = True) -> _StageModule:
        super().train(mode)
        if mode:
            callbacks.modes_for_training(self)
        return self

    def on_fit_start(self) -> None:
        for frozen in self._frozen:
            if frozen is not None:
                frozen.eval().to(self.device)

    def on_train_epoch_start(self) -> None:
        self.train()
        # Dropout then depends on the epoch alone, not on how the process came to it.
        torch.manual_seed(self._seed("noise"))

    def _seed(self, purpose: str, *parts: object) -> int:
        return seed_of(
            self.seed, purpose, self.stage.name, self.current_epoch, self.global_rank, *parts
        )

    def training_step(self, batch: Batch, number: int) -> Tensor:
        inputs, targets = batch
        if self.material.augmentation:
            seed = self._seed("augmentation", number)
            inputs = augmented(inputs, self.material.augmentation, seed=seed)
        partners, share = None, 1.0
        if self.stage.mixup:
            inputs, partners, share = mixed(
                inputs, alpha=self.stage.mixup, seed=self._seed("mixup", number)
            )
        for frozen in self._frozen:
            if frozen is not None:
                with torch.no_grad():
                    inputs = frozen(inputs)
        logits = self.network(inputs).float()
        loss = share * self._training_loss(logits, targets)
        if partners is not None:
            loss = loss + (1 - share) * self._training_loss(logits, targets[partners])
        accuracy = (logits.detach().argmax(dim=1) == targets).float().mean()
        self._note({"loss": loss, "accuracy": accuracy}, batch)
        return loss

    def _training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        weights = self.material.class_weights
        return functional.cross_entropy(
            logits,
            targets,
            weight=None if weights is None else weights.to(logits.device),
            label_smoothing=self.stage.label_smoothing,
        )

    def validation_step(self, batch: Batch, _: int) -> None:
        inputs, targets = batch
        logits = self.network(inputs).float()
        accuracy = (logits.argmax(dim=1) == targets).float().mean()
        # Each image counts the same, and no target is smoothed: losses of two recipes compare.
        loss = functional.cross_entropy(logits, targets)
        self._note({"val_loss": loss, "val_accuracy": accuracy}, batch)
        if self.stage.monitor == "val_auroc":
            self._scored.append((logits.softmax(dim=1).cpu(), targets.cpu()))

    def on_validation_epoch_end(self) -> None:
        if self._scored:
            scores, targets = (torch.cat(column) for column in zip(*self._scored, strict=True))
            self._scored = []
            self.log("val_auroc", mean_auroc(scores, targets))

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
        return optimizer_of(self.stage, self.network)


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
    material: Material = Material(),
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
        material: What the images are fed with.

    Returns:
        A row per epoch.

    Raises:
        ModelError: ``loss_not_finite``, ``damaged_resume_file``.
        MachineError: ``disk_full``, ``not_writable``.
        KeyboardInterrupt: As it came.
    """
    per_process = stage.batch_size // execution.processes
    history = callbacks.History(stage.name, tell)
    best = callbacks.BestWeights(stage.monitor)
    resume = folder / "partial" / f"{stage.name}.resume"
    each_epoch = _callbacks(stage, network, best, history, resume)
    if execution.bar:
        each_epoch.append(RichProgressBar(leave=False))
    module = _StageModule(network, stage, material=material, seed=seed)
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
    order = _Shuffled(
        len(training), seed=seed, stage=stage.name, trainer=trainer, draws=material.draws
    )
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
    else:
        for callback in each_epoch:
            if isinstance(callback, callbacks.MovingAverage) and callback.average:
                module.load_state_dict(callback.average)
    return history.rows


def _callbacks(
    stage: Stage,
    network: nn.Sequential,
    best: callbacks.BestWeights,
    history: callbacks.History,
    resume: Path,
) -> list[Callback]:
    """Return what happens between the steps and epochs of a stage, in order."""
    chosen: list[Callback] = [
        callbacks.StopAtNaN(),
        callbacks.StopEarly(epochs=stage.stop_after, monitor=stage.monitor),
    ]
    if stage.schedule == "plateau":
        chosen.append(
            callbacks.ReduceOnPlateau(
                epochs=stage.reduce_after, factor=stage.reduce_factor, monitor=stage.monitor
            )
        )
    if stage.warmup_epochs or stage.schedule == "cosine":
        chosen.append(
            callbacks.LearningRate(
                stage.schedule, warmup_epochs=stage.warmup_epochs, max_epochs=stage.max_epochs
            )
        )
    if stage.unfreeze_every:
        learning = [list(weights) for _, weights in learning_layers(network)]
        chosen.append(callbacks.Unfreeze(learning, stage.unfreeze_every))
    chosen.append(best)
    if stage.ema:
        chosen.append(callbacks.MovingAverage(stage.ema))  # behind `best`, which sees the average
    return [*chosen, history, _resume_file(resume)]


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
