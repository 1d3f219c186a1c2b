"""Stages in order: a network and films in, the same network with its best weights out.

Lightning runs the loop, the devices and the processes; what is ours is what a stage means:
what trains, what is kept of the frozen part, which weights win, and that a run which was killed
ends where the uninterrupted run ends. Knows nothing of archives, recipes' origins or reports.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import safetensors.torch
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from cxr_transfer.errors import MachineError, ModelError, UsageError
from cxr_transfer.files import write_bytes, write_csv
from cxr_transfer.models.checkpoint import fit_weights
from cxr_transfer.training import callbacks
from cxr_transfer.training.films import Films
from cxr_transfer.training.memory import keep_freed_memory
from cxr_transfer.training.prefix import activations, cut, freeze, part_of
from cxr_transfer.training.recipe import Recipe, Stage

Batch = tuple[Tensor, Tensor]

COLUMNS = (*callbacks.HISTORY, "seconds")


@dataclass(frozen=True)
class Execution:
    """Where and how a run is computed.

    One process on one kind of processor gives the same bits every time. Several processes share
    each batch: the batch normalisation of a part that trains then sees smaller batches.

    Attributes:
        device: "auto", "cpu", "cuda" or "mps".
        devices: Processes (one per device) on each machine.
        num_nodes: Machines.
        bar: Show Lightning's progress bar (a terminal is watching).
        tensorboard: Write TensorBoard's files beside the history.
    """

    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    bar: bool = False
    tensorboard: bool = False

    @property
    def processes(self) -> int:
        """Over all machines."""
        return self.devices * self.num_nodes


DEFAULT = Execution()
"""One process on the best device that is there."""


def best_device() -> str:
    """Return "cuda", "mps" or "cpu": the first that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_device(device: str) -> str:
    """Return the device that ``device`` stands for.

    Raises:
        MachineError: ``no_device`` when it is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available()}
    there["mps"] = torch.backends.mps.is_available()
    if device == "auto":
        return best_device()
    if not there.get(device):
        raise MachineError(
            "no_device",
            f"Expected one of the devices {', '.join(n for n, ok in there.items() if ok)} of this "
            f"machine, but got {device!r}; leave --device at auto.",
        )
    return device


def is_main_process() -> bool:
    """Tell whether this process writes; the others of a distributed run only compute."""
    for name in ("RANK", "SLURM_PROCID"):  # set by torchrun and by Slurm, over all machines
        if name in os.environ:
            return os.environ[name] == "0"
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return node == "0" and os.environ.get("LOCAL_RANK", "0") == "0"


def seed_of(*parts: object) -> int:
    """Return a seed for one purpose, e.g. ``seed_of(seed, "order", stage, epoch)``."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7])


class _Stored(Dataset[Batch]):
    """Inputs and targets in memory; a whole batch is taken out at once."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitems__(self, rows: list[int]) -> Batch:
        index = torch.tensor(rows)
        return self.inputs[index], self.targets[index]


class _Shuffled(Sampler[int]):
    """A new order in every epoch that depends on nothing but seed, stage and epoch.

    The epoch is asked of the trainer, not told by it: after a resume Lightning fetches the first
    batch before it would call ``set_epoch``.

    Over several processes each takes every n-th film; a remainder that would give some of them
    one step more is left out of that epoch.
    """

    def __init__(self, films: int, *, seed: int, stage: str, trainer: lightning.Trainer) -> None:
        self.films, self.seed, self.stage, self.trainer = films, seed, stage, trainer

    def __len__(self) -> int:
        return self.films // self.trainer.world_size

    def __iter__(self) -> Iterator[int]:
        # Not `trainer.current_epoch`: that lags behind between a resume and its first epoch.
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        generator_seed = seed_of(self.seed, "order", self.stage, progress.processed)
        generator = torch.Generator().manual_seed(generator_seed)
        order = torch.randperm(self.films, generator=generator).tolist()
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
        # Keras' way: the mean over films, so a partial last batch counts by its size.
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
            raise _damaged(Path(path)) from error


def train_stages(
    recipe: Recipe,
    network: nn.Sequential,
    training: Films,
    validation: Films,
    *,
    folder: Path,
    seed: int,
    execution: Execution = DEFAULT,
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Run the stages of ``recipe`` on ``network``, in place.

    What stands under ``folder/partial`` from an earlier, interrupted call with the same arguments
    is taken up; the caller removes it when its own files are written.

    Args:
        recipe: Its stages are run; its name only names.
        network: Flat sequence of named children; ends with the best (or last) weights.
        training: Films that are learnt from.
        validation: Films that decide when to stop and which weights are kept.
        folder: Run folder; ``history.csv`` and ``partial/`` are written here.
        seed: Fixes order and dropout.
        execution: Device, processes, progress.
        say: Is told a line per epoch.

    Returns:
        The history, a row per epoch over all stages.

    Raises:
        UsageError: ``unknown_module``, ``batch_not_divisible``.
        ModelError: ``loss_not_finite``.
        MachineError: ``no_device``, ``disk_full``, ``not_writable``.
        KeyboardInterrupt: As it came; what was done stands in ``folder/partial``.
    """
    _check_processes(recipe, execution)
    keep_freed_memory()
    _quiet()
    device = resolve_device(execution.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    history: list[dict[str, Any]] = []
    pending: list[Stage] = []
    for stage in recipe.stages:
        done = folder / "partial" / f"{stage.name}.safetensors"
        if done.is_file() and not pending:
            _take_up(network, done, history)
        else:
            pending.append(stage)
    # What is frozen in all stages to come is computed once for all of them.
    base = min((len(_frozen(network, stage)) for stage in pending), default=0)
    if base:
        say(f"{recipe.name}: keeping the activations of the frozen part")
    shared = [
        activations(part_of(network, 0, base), films.images, device=device)
        for films in (training, validation)
    ]
    for stage in pending:
        prefix = _frozen(network, stage)
        rest = part_of(network, len(prefix))
        stored = [
            (activations(part_of(prefix, base), inputs, device=device), films.targets)
            for inputs, films in zip(shared, (training, validation), strict=True)
        ]
        rows = _run_stage(
            stage,
            rest,
            _Stored(*stored[0]),
            _Stored(*stored[1]),
            title=recipe.name,
            folder=folder,
            seed=seed,
            device=device,
            execution=execution,
            earlier=list(history),
            say=say,
        )
        history += rows
        network.cpu()
        if is_main_process():
            _put_down(network, folder / "partial" / f"{stage.name}.safetensors", rows)
            (folder / "partial" / f"{stage.name}.resume").unlink(missing_ok=True)
    network.requires_grad_(False)
    network.eval()
    return history


def _check_processes(recipe: Recipe, execution: Execution) -> None:
    for stage in recipe.stages:
        if stage.batch_size % execution.processes:
            raise UsageError(
                "batch_not_divisible",
                f"Expected a batch of {stage.batch_size} to divide over the processes, but there "
                f"are {execution.processes}; choose --devices and --num-nodes accordingly.",
            )
    device = resolve_device(execution.device)
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, execution.devices)
    if execution.devices > there:
        raise MachineError(
            "no_device",
            f"Expected at most --devices {there} for {device} on this machine, but got "
            f"{execution.devices}.",
        )


def _frozen(network: nn.Sequential, stage: Stage) -> nn.Sequential:
    """Let only what ``stage`` trains learn, and return what stands before it."""
    freeze(network, stage.train)
    return cut(network)


def _run_stage(
    stage: Stage,
    network: nn.Sequential,
    training: _Stored,
    validation: _Stored,
    *,
    title: str,
    folder: Path,
    seed: int,
    device: str,
    execution: Execution,
    earlier: list[dict[str, Any]],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    per_process = stage.batch_size // execution.processes

    def tell(rows: list[dict[str, Any]]) -> None:
        row = rows[-1]
        if is_main_process():
            write_csv(folder / "history.csv", COLUMNS, earlier + rows)
            say(
                f"{title} · {stage.name}: epoch {row['epoch']}, loss {row['loss']:.4f}, "
                f"validation loss {row['val_loss']:.4f}, accuracy {row['val_accuracy']:.4f}, "
                f"{row['seconds']:.1f} s"
            )

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
            # Every process validates on all films: exact, and the same decision everywhere.
            _loader(training, per_process, order),
            _loader(validation, stage.batch_size),
            ckpt_path=str(resume) if resume.is_file() else None,
            weights_only=True,
        )
    except SystemExit:
        # Lightning turns Ctrl-C into an exit of its own.
        raise KeyboardInterrupt from None
    if stage.keep == "best" and best.weights:
        module.load_state_dict(best.weights)
    return history.rows


def _loader(
    films: _Stored, batch_size: int, order: Sampler[int] | None = None
) -> DataLoader[Batch]:
    # A generator of its own: without one every new iterator draws from the global generator, and
    # dropout would differ between an epoch after a resume and the same epoch without one.
    return DataLoader(
        films,
        batch_size=batch_size,
        sampler=order,
        collate_fn=_as_is,
        generator=torch.Generator(),
    )


def _as_is(batch: Any) -> Any:  # noqa: ANN401 - DataLoader's own signature
    """Collate nothing: `_Stored.__getitems__` has already made the batch."""
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


def _put_down(network: nn.Sequential, path: Path, rows: list[dict[str, Any]]) -> None:
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    content = safetensors.torch.save(weights, metadata={"history": json.dumps(rows)})
    write_bytes(path, content)


def _take_up(network: nn.Sequential, path: Path, history: list[dict[str, Any]]) -> None:
    try:
        with safetensors.safe_open(str(path), framework="pt") as stored:
            rows = json.loads(stored.metadata()["history"])
        fit_weights(network, safetensors.torch.load_file(path), origin=str(path))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, ModelError) as error:
        raise _damaged(path) from error
    history += rows


def _damaged(path: Path) -> ModelError:
    return ModelError(
        "damaged_resume_file",
        f"Expected what an interrupted run left in {path}, but it is damaged or not ours; remove "
        f"the folder {path.parent} to start this run anew.",
    )


def _quiet() -> None:
    """Silence what Lightning says about itself; what a user must know, we say."""
    logging.getLogger("lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*Trying to infer the `batch_size`.*",
        ".*found in the checkpoint.*",
        ".*module.s. in eval mode at the start.*",
        ".*isinstance.treespec, LeafSpec.* is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message=message)
