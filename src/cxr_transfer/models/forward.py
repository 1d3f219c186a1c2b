"""What a network makes of images: class scores, and the features that its head sees."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cxr_transfer import forks


@torch.inference_mode()
def probabilities(
    network: nn.Module,
    images: Tensor,
    *,
    batch_size: int = 20,
    device: str = "cpu",
    exclusive: bool = True,
) -> Tensor:
    """Return class scores (N, classes), float32, rows summing to 1, for images (N, 1, H, W).

    Args:
        network: Network, or the last part of one.
        images: What it takes.
        batch_size: Number of images at once.
        device: Where the network runs.
        exclusive: Whether the labels are classes; else they are findings, and each has a
            probability of its own.

    Raises:
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    batches = _in_batches(network, images, batch_size, device)
    return torch.cat([scores_of(logits, exclusive).cpu() for logits in batches])


def scores_of(logits: Tensor, exclusive: bool) -> Tensor:
    """Return what logits (N, L) mean: softmax of classes, sigmoid of findings."""
    return logits.softmax(dim=1) if exclusive else logits.sigmoid()


@torch.inference_mode()
def features(
    network: nn.Sequential, images: Tensor, *, batch_size: int = 20, device: str = "cpu"
) -> Tensor:
    """Return what the network's head sees, (N, F) float32, for images (N, 1, H, W).

    Raises:
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    batches = _in_batches(network[:-1], images, batch_size, device)
    return torch.cat([seen.flatten(1).cpu() for seen in batches])


def _in_batches(
    network: nn.Module, images: Tensor, batch_size: int, device: str
) -> Iterator[Tensor]:
    """Yield what a network gives for each batch of images, float32, on the device."""
    forks.use("torch")
    network.eval().to(device)
    for start in range(0, len(images), batch_size):
        yield network(images[start : start + batch_size].to(device)).float()
