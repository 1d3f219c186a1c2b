"""A network of two convolutions, for images of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxr_transfer.models.architecture import Architecture

if TYPE_CHECKING:
    from torch import nn


def tiny_cnn(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    """Build the network; size of the images and batch normalisation do not matter to it."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    )


TINY_CNN = Architecture("A network of two convolutions", tiny_cnn)
