"""The table of networks: a name in a recipe, and how it is built.

Every network is a flat ``nn.Sequential`` of named children in data order. It takes grey uint8
images (N, 1, H, W) and gives logits (N, classes); its last child is called ``head``. What trains is
named by these children, never counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxr_transfer import forks
from cxr_transfer.models.early_resnet50 import early_resnet50, load_early_imagenet
from cxr_transfer.models.metadata import Architecture
from cxr_transfer.models.resnet50 import load_imagenet, resnet50
from cxr_transfer.models.simple_cnn import simple_cnn


def build(
    architecture: Architecture, classes: int, *, size: tuple[int, int], epsilon: float
) -> nn.Sequential:
    """Build a network with random weights drawn from torch's global generator.

    Args:
        architecture: Name in the table.
        classes: Number of outputs.
        size: Height and width of the images (the CNN's dense layer depends on it).
        epsilon: Epsilon of ResNet-50's batch normalisation, as the weight file wants it.

    Raises:
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    forks.use("torch")
    if architecture == "simple_cnn":
        return simple_cnn(classes, size=size)
    if architecture == "resnet50_early":
        return early_resnet50(classes, size=size, epsilon=epsilon)
    return resnet50(classes, epsilon=epsilon)


def load_pretrained(
    architecture: Architecture,
    network: nn.Sequential,
    tensors: Mapping[str, npt.NDArray[np.floating]],
) -> None:
    """Put ImageNet weights, Keras' tensors, into a network of the table.

    Raises:
        ModelError: As `load_imagenet`; ``foreign_weights`` for the CNN, which has none.
    """
    if architecture == "resnet50_early":
        load_early_imagenet(network, tensors)
    else:
        load_imagenet(network, tensors)


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
