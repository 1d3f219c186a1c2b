"""Where a run is computed: device, processes, and which of them speaks.

Knows nothing of networks or images.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from cxr_transfer.errors import MachineError, UsageError, check_whole
from cxr_transfer.progress import Tell, tell_nobody

PRECISIONS = ("auto", "float32", "bfloat16")

FROZEN_PART = "keeping activations"
"""Phase of a run in which the activations of its frozen part are computed."""
REFERENCE = "fitting the reference"
"""Phase of a run in which its training images are described, for whoever predicts with it."""

LOGGERS = ("tensorboard", "mlflow")
"""Programs that a training can write its figures for, beside ``history.csv``."""


def training_phase(stage: str) -> str:
    """Return the name of the phase in which a stage trains."""
    return f"training {stage}"


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster whose processes do the trainings of a study, many at a time.

    Attributes:
        address: Address of the cluster ("auto": the one this machine is part of); None starts one
            here.
        workers: Number of trainings at a time, with a processor each.
    """

    address: str | None
    workers: int = 2

    @classmethod
    def named(cls, address: str | None, workers: int = 2) -> Cluster | None:
        """Return the cluster of an address, of which "local" starts one here; None of None.

        Raises:
            TypeError: ``workers`` is no whole number.
            UsageError: ``workers`` below 1.
        """
        check_whole(workers, "workers")
        if workers < 1:
            raise UsageError("workers", f"Expected at least 1 worker, but got {workers}.")
        return None if address is None else cls(None if address == "local" else address, workers)


@dataclass(frozen=True)
class Execution:
    """Settings of where and how a run is computed.

    One process on one kind of processor gives the same bits every time. Several processes share
    each batch: the batch normalisation of a part that trains then sees smaller batches.

    Attributes:
        device: Device: "auto", "cpu", "cuda" or "mps".
        precision: Precision: "float32", "bfloat16" (products in bfloat16; sums, weights and
            optimizer in float32), or "auto": bfloat16 where the processor has units for it.
        devices: Number of processes (one per device) on each machine.
        num_nodes: Number of machines.
        loggers: Names in `LOGGERS` whose files are written beside the history.
        say_epochs: Whether every epoch gets a line; the run's ``log.txt`` has it all the same.
        is_one_of_many: Whether a run is part of a study: it then says in one line how it ended.
        cluster: Cluster on which the trainings of a study are done; None does them here, one after
            the other.
        progress: Function that is called with the phase of a run and the share of it that is done.
    """

    device: str = "auto"
    precision: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    loggers: tuple[str, ...] = ()
    say_epochs: bool = True
    is_one_of_many: bool = False
    cluster: Cluster | None = None
    progress: Tell = tell_nobody

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


def resolve_precision(precision: str, device: str) -> str:
    """Return "float32" or "bfloat16": what ``precision`` stands for on a resolved ``device``.

    Raises:
        UsageError: ``unknown_precision``.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            "unknown_precision",
            f"Expected a precision out of {', '.join(PRECISIONS)}, but got {precision!r}.",
        )
    if precision != "auto":
        return precision
    has_units = False
    if device == "cpu":
        # AVX-512's bf16 dot product is quicker on AMD's processors alone (docs/decisions/0004).
        can = torch.cpu.get_capabilities()
        is_amd = str(can.get("cpu_name", "")).startswith("AMD")
        has_units = bool(can.get("amx_bf16") or (is_amd and can.get("avx512_bf16")))
    elif device == "cuda":
        has_units = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if has_units else "float32"


def is_main_process() -> bool:
    """Tell whether this process writes; the others of a distributed run only compute."""
    for name in ("RANK", "SLURM_PROCID"):  # set by torchrun and by Slurm, over all machines
        if name in os.environ:
            return os.environ[name] == "0"
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return node == "0" and os.environ.get("LOCAL_RANK", "0") == "0"


def check_processes(execution: Execution, batch_sizes: Iterable[int]) -> None:
    """Refuse, before any work, what Lightning would refuse after it.

    Raises:
        UsageError: ``batch_not_divisible``.
        MachineError: ``no_device``.
    """
    for batch_size in batch_sizes:
        if batch_size % execution.processes:
            raise UsageError(
                "batch_not_divisible",
                f"Expected a batch of {batch_size} to divide over the processes, but there "
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
