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
from cxr_transfer.models.adapter import Features
from cxr_transfer.text import for_terminal

IN_MEMORY = 2**30
"""Bytes of activations that are kept in memory; more are kept in a file that is mapped into it."""


def layers(network: nn.Module, path: str = "") -> list[tuple[str, nn.Module]]:
    """Return the parts of a network that hold weights, in data order, each by its path.

    A block with branches inside is one part; sequences and lists of blocks are opened, and so is
    the body of a network of another library (`models.adapter.Features`).
    """
    parts: list[tuple[str, nn.Module]] = []
    for name, child in network.named_children():
        inner = f"{path}.{name}" if path else name
        if next(child.parameters(), None) is None:
            continue
        is_open = type(child) in (nn.Sequential, nn.ModuleList, Features)
        is_open = is_open or isinstance(network, Features)
        # Weights of its own, such as a transformer's embeddings, would belong to no part.
        is_open = is_open and next(child.parameters(recurse=False), None) is None
        parts += layers(child, inner) if is_open else [(inner, child)]
    return parts


def chosen_layers(network: nn.Module, train: Sequence[str]) -> list[str]:
    """Return the paths of the modules that a stage trains, in data order.

    Args:
        network: Network of the stage.
        train: Names or paths of modules; ``*`` is all of them, ``last:N`` the last N of `layers`.

    Raises:
        UsageError: ``unknown_module`` when the network has no module of a name, or fewer layers;
            ``nothing_learns`` when those named hold no weights.
    """
    modules, parts = dict(network.named_modules()), [name for name, _ in layers(network)]
    chosen: set[str] = set()
    unknown = []
    for name in train:
        number = name.removeprefix("last:")
        if name == "*":
            chosen |= set(parts)
        elif number != name and number.isdecimal() and 1 <= int(number) <= len(parts):
            chosen |= set(parts[-int(number) :])
        elif number == name and name in modules and name:
            chosen.add(name)
        else:
            unknown.append(name)
    if unknown:
        raise UsageError(
            "unknown_module",
            f"Expected modules of the network in 'train' (or last:1 to last:{len(parts)}), but got "
            f"{', '.join(map(for_terminal, unknown))}; it has {', '.join(parts)}.",
        )
    if not any(True for name in chosen for _ in modules[name].parameters()):
        raise UsageError(
            "nothing_learns",
            f"Expected modules with weights in 'train', but {', '.join(train)} have none.",
        )
    order = list(modules)
    return sorted(chosen, key=order.index)


def freeze(network: nn.Sequential, train: Sequence[str]) -> None:
    """Let only the modules named in ``train`` learn, as `chosen_layers` reads them.

    Raises:
        UsageError: As `chosen_layers`.
    """
    modules = dict(network.named_modules())
    network.requires_grad_("*" in train)
    for name in chosen_layers(network, train):
        modules[name].requires_grad_(True)


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
