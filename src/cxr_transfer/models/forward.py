"""What a network makes of images: class scores, and the features that its head sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cxr_transfer import forks


@torch.inference_mode()
def probabilities(
    network: nn.Module, images: Tensor, *, batch_size: int = 20, device: str = "cpu"
) -> Tensor:
    """Return class scores (N, classes), float32, rows summing to 1, for images (N, 1, H, W).

    Raises:
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    forks.use("torch")
    network.eval().to(device)
    scores = [
        network(images[start : start + batch_size].to(device)).float().softmax(dim=1).cpu()
        for start in range(0, len(images), batch_size)
    ]
    return torch.cat(scores)


@torch.inference_mode()
def features(
    network: nn.Sequential, images: Tensor, *, batch_size: int = 20, device: str = "cpu"
) -> Tensor:
    """Return what the network's head sees, (N, F) float32, for images (N, 1, H, W).

    Raises:
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    forks.use("torch")
    body = network[:-1].eval().to(device)
    found = [
        body(images[start : start + batch_size].to(device)).float().flatten(1).cpu()
        for start in range(0, len(images), batch_size)
    ]
    return torch.cat(found)
