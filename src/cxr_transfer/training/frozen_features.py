"""The frozen part of a network, computed once instead of in every epoch.

A network is a flat sequence of named children. What stands before the first child that trains, or
that is random in training (dropout), gives the same activations every time: they are kept, and
only the rest is run. Exactly the same arithmetic, tested bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cxr_transfer.errors import UsageError
from cxr_transfer.files import scratch_file

IN_MEMORY = 2**30
"""Bytes of activations that are kept in memory; more are kept in a file that is mapped into it."""


def freeze(network: nn.Sequential, train: Sequence[str]) -> None:
    """Let only the modules named in ``train`` learn; ``["*"]`` is all of them.

    Raises:
        UsageError: ``unknown_module`` when the network has no module of a name,
            ``nothing_learns`` when those named hold no weights.
    """
    known = dict(network.named_modules())
    unknown = [name for name in train if name != "*" and not known.get(name)]
    if unknown:
        raise UsageError(
            "unknown_module",
            f"Expected modules of the network in 'train', but got {', '.join(unknown)}; it has "
            f"{', '.join(name for name, _ in network.named_children())}.",
        )
    network.requires_grad_("*" in train)
    for name in set(train) - {"*"}:
        known[name].requires_grad_(True)
    if not any(weight.requires_grad for weight in network.parameters()):
        raise UsageError(
            "nothing_learns",
            f"Expected modules with weights in 'train', but {', '.join(train)} have none.",
        )


def cut(network: nn.Sequential) -> nn.Sequential:
    """Return the children of ``network`` whose activations can be kept: those before the cut.

    It is empty when it would hold no weights: keeping what costs nothing only costs memory.
    """
    children = list(network.children())
    first = next(
        (
            number
            for number, child in enumerate(children)
            if any(weight.requires_grad for weight in child.parameters())
            or any(isinstance(module, nn.Dropout) for module in child.modules())
        ),
        len(children),
    )
    frozen_part = part_of(network, 0, first)
    return frozen_part if any(True for _ in frozen_part.parameters()) else part_of(network, 0, 0)


def part_of(network: nn.Sequential, start: int, stop: int | None = None) -> nn.Sequential:
    """Return the children from ``start`` to ``stop``, with the network's own weights and names."""
    part: nn.Sequential = network[start:stop]  # type: ignore[assignment]
    return part


def activations(
    frozen_part: nn.Sequential,
    images: Tensor,
    *,
    batch_size: int = 20,
    device: str = "cpu",
    home: str = "cpu",
    precision: str = "float32",
    scratch: Path | None = None,
    on_image: Callable[[int], None] = lambda tensors: None,
) -> Tensor:
    """Return what ``frozen_part`` makes of ``images``; the images themselves when it is empty.

    Args:
        frozen_part: Frozen children, in their order.
        images: What the first of them takes: images (N, 1, H, W) uint8, or kept activations.
        batch_size: Images at a time.
        device: Where it is computed.
        home: Where the result lies: "cpu", or ``device``.
        precision: "float32" or "bfloat16", as the rest of the network will be trained.
        scratch: Folder in which activations beyond a gigabyte are kept, mapped into memory.
        on_image: Called with the number of images after every batch.

    Raises:
        MachineError: ``disk_full`` or ``not_writable`` for the scratch file.

    Returns:
        (N, ...) of the type that the last child gives out; four-dimensional ones in channels-last
        order, as the rest wants them.
    """
    if len(frozen_part) == 0:
        return images.to(home)
    frozen_part.eval().to(device)
    kept: Tensor | None = None
    for start in range(0, len(images), batch_size):
        with (
            torch.inference_mode(),
            torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"),
        ):
            batch = frozen_part(images[start : start + batch_size].to(device)).to(home)
        # A tensor made in inference mode could not stand in a graph: this one is made outside.
        if kept is None:
            kept = _kept_at(len(images), batch, scratch)
        kept[start : start + len(batch)] = batch
        on_image(len(batch))
    return images.to(home) if kept is None else kept


def _kept_at(images: int, like: Tensor, scratch: Path | None) -> Tensor:
    """Return an empty tensor for ``images`` activations, in a file when they are many."""
    shape = (images, *like.shape[1:])
    if like.dim() == 4:
        shape = (shape[0], shape[2], shape[3], shape[1])
    size = math.prod(shape)
    if like.device.type != "cpu":
        kept = torch.empty(shape, dtype=like.dtype, device=like.device)
    elif scratch is None or size * like.element_size() <= IN_MEMORY:
        kept = torch.empty(shape, dtype=like.dtype)
    else:
        with scratch_file(scratch, size * like.element_size()) as path:
            kept = torch.from_file(str(path), shared=True, size=size, dtype=like.dtype).view(shape)
    return kept.permute(0, 3, 1, 2) if like.dim() == 4 else kept
