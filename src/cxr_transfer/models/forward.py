"""What a network makes of images: class scores, and the features that its head sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from cxr_transfer import forks

OnImages = Callable[[int], None]
"""Function that is called with the number of images that were done."""


def pass_over(_images: int) -> None:
    """Count nothing."""


@torch.inference_mode()
def probabilities(
    network: nn.Module,
    images: Tensor,
    *,
    batch_size: int = 20,
    device: str = "cpu",
    exclusive: bool = True,
    on_image: OnImages = pass_over,
) -> Tensor:
    """Return class scores (N, classes), float32, rows summing to 1, for images (N, 1, H, W).

    Args:
        network: Network, or the last part of one.
        images: Images, or what the last part takes.
        batch_size: Number of images at once.
        device: Device as torch names it.
        exclusive: Whether the labels are classes; else they are findings, and each has a
            probability of its own.
        on_image: Function that is called with the number of images after every batch.

    Raises:
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    batches = _in_batches(network, images, batch_size, device, on_image)
    return torch.cat([scores_of(logits, exclusive).cpu() for logits in batches])


def scores_of(logits: Tensor, exclusive: bool) -> Tensor:
    """Return what logits (N, L) mean: softmax of classes, sigmoid of findings."""
    return logits.softmax(dim=1) if exclusive else logits.sigmoid()


@torch.inference_mode()
def features(
    network: nn.Sequential,
    images: Tensor,
    *,
    batch_size: int = 20,
    device: str = "cpu",
    on_image: OnImages = pass_over,
) -> Tensor:
    """Return what the network's head sees, (N, F) float32, for images (N, 1, H, W).

    ``on_image`` is called with the number of images after every batch.

    Raises:
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    batches = _in_batches(network[:-1], images, batch_size, device, on_image)
    return torch.cat([seen.flatten(1).cpu() for seen in batches])


@torch.inference_mode()
def probabilities_and_features(
    network: nn.Sequential,
    images: Tensor,
    *,
    batch_size: int = 20,
    device: str = "cpu",
    on_image: OnImages = pass_over,
) -> tuple[Tensor, Tensor]:
    """Return what `probabilities` and `features` return, bit for bit, of one pass.

    Raises:
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    scored, seen = [], []
    for batch in _in_batches(network[:-1], images, batch_size, device, on_image):
        scored.append(scores_of(network[-1](batch).float(), exclusive=True).cpu())
        seen.append(batch.flatten(1).cpu())
    return torch.cat(scored), torch.cat(seen)


def _in_batches(
    network: nn.Module, images: Tensor, batch_size: int, device: str, on_image: OnImages
) -> Iterator[Tensor]:
    """Yield what a network gives for each batch of images, float32, on the device."""
    forks.use("torch")
    network.eval().to(device)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        yield network(batch.to(device)).float()
        on_image(len(batch))
