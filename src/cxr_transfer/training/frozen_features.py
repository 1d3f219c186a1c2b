"""The frozen part of a network, computed once instead of in every epoch.

A network is a flat sequence of named children. What stands before the first child that trains, or
that is random in training (dropout), gives the same activations every time: they are kept, and
only the rest is run. Of many images OpenVINO computes them, on a processor several times as fast as
torch and alike within rounding; of few the arithmetic is exactly torch's. Trainings that share
images and what they start from share kept activations, too: on disk (`KeptActivations`).
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.files import remove_own, scratch_file, write_bytes
from cxr_transfer.models.adapter import Features
from cxr_transfer.text import for_terminal
from cxr_transfer.training.quick_activations import computed, is_quick, quick

IN_MEMORY = 2**30
"""Bytes of activations that are kept in memory; more are kept in a file that is mapped into it."""

ACTIVATIONS = ".activations"
"""Ending of the files in which activations are kept for other trainings or a later process."""

_log = logging.getLogger(__name__)

_TAKEN = 64
"""Images whose kept activations are copied at a time."""


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


def never_trained(network: nn.Sequential, stages: Iterable[Sequence[str]]) -> nn.Sequential:
    """Return the children of ``network`` before the first that any stage trains.

    Args:
        network: Network that is trained.
        stages: For each stage the names of the modules that it trains.
    """
    return min(_frozen_parts(network, stages), key=len)


def fed_with_images(network: nn.Sequential, stages: Iterable[Sequence[str]]) -> list[nn.Sequential]:
    """Return the frozen parts whose activations of images a training asks for.

    Args:
        network: Network that is trained.
        stages: For each stage the names of the modules that it trains.
    """
    parts = _frozen_parts(network, stages)
    never = min(parts, key=len)
    return [never] if len(never) else [part for part in parts if len(part)]


def _frozen_parts(network: nn.Sequential, stages: Iterable[Sequence[str]]) -> list[nn.Sequential]:
    parts = []
    for train in stages:
        freeze(network, train)
        parts.append(cut(network))
    return parts


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
        images: Inputs of the first of them: images (N, 1, H, W) uint8, or kept activations.
        batch_size: Number of images at a time.
        device: Device on which it is computed.
        home: Device on which the result lies: "cpu", or ``device``.
        precision: Precision, "float32" or "bfloat16", in which the other layers will be trained.
        scratch: Folder in which activations beyond a gigabyte are kept, mapped into memory.
        on_image: Function that is called with the number of images after every batch.

    Raises:
        MachineError: ``disk_full`` or ``not_writable`` for the scratch file.

    Returns:
        (N, ...) of the type that the last child gives out; four-dimensional ones in channels-last
        order, as the rest wants them.
    """
    if len(frozen_part) == 0:
        return images.to(home)
    frozen_part.eval().to(device)
    compute: Callable[[Tensor], Tensor] = functools.partial(
        computed, frozen_part, device, precision
    )
    if is_quick(images, device):
        compute = quick(frozen_part, images, precision) or compute
    kept: Tensor | None = None
    for start in range(0, len(images), batch_size):
        batch = compute(images[start : start + batch_size]).to(home)
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


class KeptActivations:
    """Activations of a network's frozen children for all images of a data set, kept on disk.

    Many trainings on parts of one data set, all from the same weights, ask for the same numbers:
    they are computed once, for all images in their order, and found again by a later process. So
    they do not depend on who asked first.

    A file's name is the hash of what is in it: weights, images, precision and device.
    """

    def __init__(
        self,
        folder: Path,
        network: nn.Sequential,
        images: Tensor,
        *,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        """Keep activations of ``images`` in ``folder``.

        Args:
            folder: Folder for nothing else; made when the first activations are kept.
            network: Network with the weights that the trainings start from.
            images: Images of the data set, all of them, (N, 1, H, W) uint8.
            device: Device on which activations are computed.
            precision: Precision, "float32" or "bfloat16".
        """
        self.folder = folder
        self._images, self._device, self._precision = images, device, precision
        digests = [_digest(image) for image in images]
        self._row = {digest: row for row, digest in enumerate(digests)}
        self._all = hashlib.sha256("".join(digests).encode()).hexdigest()
        self._children = _fingerprints(network)
        self._opened: dict[int, Tensor] = {}

    def of(
        self,
        frozen_part: nn.Sequential,
        images: Tensor,
        *,
        home: str = "cpu",
        on_image: Callable[[int], None] = lambda images: None,
    ) -> Tensor | None:
        """Return the activations of some of the images, as `activations` would.

        Args:
            frozen_part: First children of the network.
            images: Images, (M, 1, H, W) uint8.
            home: Device on which the result lies.
            on_image: Function that is called with the number of images after every batch, where
                all of them are computed now.

        Returns:
            (M, ...); None where the children have other weights than at the start, or an image is
            another one: nobody else would ask for those.

        Raises:
            MachineError: ``disk_full`` or ``not_writable`` for a scratch file.
        """
        if not len(frozen_part) or images.dtype != self._images.dtype:
            return None
        rows = [self._row.get(_digest(image), -1) for image in images]
        prints = _fingerprints(frozen_part)
        if -1 in rows or prints != self._children[: len(prints)]:
            return None
        whole = self.prepare(frozen_part, on_image=on_image)
        if rows == list(range(len(whole))):
            return whole.to(home)
        kept = _kept_at(len(rows), whole[:1], self.folder)
        for start in range(0, len(rows), _TAKEN):
            taken = rows[start : start + _TAKEN]
            kept[start : start + len(taken)] = whole[taken]
        return kept.to(home)

    def is_kept(self, frozen_part: nn.Sequential) -> bool:
        """Tell whether the activations of all images need not be computed again."""
        length = len(frozen_part)
        return length in self._opened or (self.folder / self._file_name(length)).is_file()

    def prepare(
        self, frozen_part: nn.Sequential, *, on_image: Callable[[int], None] = lambda images: None
    ) -> Tensor:
        """Compute the activations of all images where they are not kept yet; return them.

        What cannot be written is kept in memory: a later process computes it again.

        Args:
            frozen_part: First children of the network, with the weights of the start.
            on_image: Function that is called with the number of images after every batch.

        Raises:
            MachineError: ``disk_full`` or ``not_writable`` for a scratch file.
        """
        length = len(frozen_part)
        if length not in self._opened:
            self._opened[length] = self._read_or_made(frozen_part, on_image)
        return self._opened[length]

    def _read_or_made(self, frozen_part: nn.Sequential, on_image: Callable[[int], None]) -> Tensor:
        compute = functools.partial(
            activations, frozen_part, device=self._device, precision=self._precision
        )
        like = compute(self._images[:1])
        path = self.folder / self._file_name(len(frozen_part))
        size = len(self._images) * like.numel() * like.element_size()
        if not path.is_file() or path.stat().st_size != size:
            made = compute(self._images, scratch=self.folder, on_image=on_image)
            try:
                write_bytes(path, _in_order(made).view(torch.uint8).numpy().data)
            except MachineError:
                return made
        else:
            _log.debug("activations of %d images: found on disk", len(self._images))
        return _mapped(path, len(self._images), like)

    def remove(self) -> None:
        """Delete the files: what is in them can be computed again."""
        self._opened.clear()
        remove_own(self.folder, [path.name for path in self.folder.glob(f"*{ACTIVATIONS}")])

    def _file_name(self, length: int) -> str:
        by = "openvino" if is_quick(self._images, self._device) else "torch"
        content = (*self._children[:length], self._all, self._precision, self._device, by)
        return f"{hashlib.sha256('/'.join(content).encode()).hexdigest()[:32]}{ACTIVATIONS}"


def _digest(image: Tensor) -> str:
    return hashlib.sha256(image.contiguous().numpy().data).hexdigest()


def _fingerprints(children: Iterable[nn.Module]) -> list[str]:
    """Return a hash of the structure and the weights of each child."""
    prints = []
    for child in children:
        digest = hashlib.sha256(repr(child).encode())
        for name, tensor in child.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_in_order(tensor.cpu()).view(torch.uint8).numpy().data)
        prints.append(digest.hexdigest())
    return prints


def _in_order(tensor: Tensor) -> Tensor:
    """Return the elements of a tensor in the order in which they lie, (n,); copied where needed."""
    ordered = tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor
    return ordered.detach().contiguous().reshape(-1)


def _mapped(path: Path, images: int, like: Tensor) -> Tensor:
    """Return the activations in a file, mapped into memory."""
    shape = (images, *like.shape[1:])
    if like.dim() == 4:
        shape = (shape[0], shape[2], shape[3], shape[1])
    flat = torch.from_file(str(path), shared=False, size=math.prod(shape), dtype=like.dtype)
    kept = flat.view(shape)
    return kept.permute(0, 3, 1, 2) if like.dim() == 4 else kept
