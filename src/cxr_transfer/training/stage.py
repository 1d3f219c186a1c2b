"""One stage of training on Lightning: images in memory in, the best weights and a history out.

Lightning runs the loop, the devices and the processes. Ours are an order and a dropout that depend
on seed, stage and epoch alone, and Keras' optimizer and callbacks. The resume file is ours, too: it
is whole, runs no code, and leads to the same bits. Knows nothing of recipes or other stages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from cxr_transfer.quiet import quiet
from cxr_transfer.training import callbacks
from cxr_transfer.training.device import Execution, is_main_process
from cxr_transfer.training.loggers import loggers_of
from cxr_transfer.training.optimizer import learning_layers
from cxr_transfer.training.resume_files import WholeFiles, resume_file
from cxr_transfer.training.seeds import seed_of
from cxr_transfer.training.source_losses import SourceLosses, has_source_losses
from cxr_transfer.training.stage_module import Batch, Material, StageModule
from cxr_transfer.training.stage_recipe import Stage

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


class Stored(Dataset[Batch]):
    """Inputs and targets in memory; a whole batch is taken out at once.

    Args:
        inputs: What a network, or a part of one, is fed, (N, ...).
        targets: Targets, (N,); of findings (N, F).
        sources: Number of each image's source, (N,) int64, where the training asks for it.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, sources: Tensor | None = None) -> None:
        self.inputs, self.targets = inputs, targets.to(inputs.device)
        self.sources = None if sources is None else sources.to(inputs.device)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, rows: list[int]) -> Batch:
        index = torch.tensor(rows)
        if self.sources is None:
            return self.inputs[index], self.targets[index]
        return self.inputs[index], self.targets[index], self.sources[index]


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
    material: Material | None = None,
) -> list[dict[str, Any]]:
    """Train what of ``network`` requires gradients, in place.

    Args:
        stage: Stage, with rates, epochs and what is kept.
        network: Part of the network that is run in this stage; it ends with this stage's best (or
            last) weights.
        training: Inputs and targets, with sources where its losses ask for them.
        validation: Features and targets of the images that decide.
        folder: Run folder; the resume file lies in its ``partial/``.
        seed: Random seed of order and dropout.
        device: Device, "cpu", "cuda" or "mps".
        precision: Precision, "float32" or "bfloat16".
        execution: Settings of processes and progress.
        tell: Function that is called with the stage's rows after every epoch.
        material: Changes, weights and draws of the images; None feeds them as they are.

    Returns:
        A row per epoch.

    Raises:
        ModelError: ``loss_not_finite``, ``damaged_resume_file``.
        MachineError: ``disk_full``, ``not_writable``.
        KeyboardInterrupt: As it came.
    """
    material = material or Material()
    per_process = stage.batch_size // execution.processes
    history = callbacks.History(stage.name, tell)
    best = callbacks.BestWeights(stage.monitor)
    resume = folder / "partial" / f"{stage.name}.resume"
    each_epoch = _callbacks(stage, network, best, history, resume)
    if is_main_process():
        each_epoch.append(callbacks.TellBatches(stage, execution.progress))
    source_losses = _source_losses(stage, training, network, seed)
    module = StageModule(network, stage, material=material, seed=seed, source_losses=source_losses)
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=execution.devices,
        num_nodes=execution.num_nodes,
        strategy="ddp" if execution.processes > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        plugins=[WholeFiles()],
        max_epochs=stage.max_epochs,
        callbacks=each_epoch,
        logger=loggers_of(folder, stage, execution.loggers) or False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
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
    module.put_in_place()
    return history.rows


def _source_losses(
    stage: Stage, training: Stored, network: nn.Sequential, seed: int
) -> SourceLosses | None:
    """Return the loss of a stage that asks where images are from; None for any other."""
    if not has_source_losses(stage):
        return None
    head = network.get_submodule("head")
    if training.sources is None or not isinstance(head, nn.Linear):
        raise ValueError("expected the source of each training image, and a linear head")
    return SourceLosses(stage, training.targets, training.sources, head, seed=seed)


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
    return [*chosen, history, resume_file(resume)]


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
