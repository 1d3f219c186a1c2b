"""A network of two convolutions, for images of any size."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cxr_transfer.models.registry import Architecture

if TYPE_CHECKING:
    from torch import nn


def tiny_cnn(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    """Build the network: grey uint8 images (N, 1, H, W) in, logits (N, classes) out.

    Args:
        classes: Number of outputs.
        size: Height and width of the images; this network does not depend on them.
        epsilon: Epsilon of the batch normalisation; this network has none.
    """
    from torch import nn

    from cxr_transfer.models.simple_cnn import UnitScale

    return nn.Sequential(
        OrderedDict(
            scale=UnitScale(),
            conv1=nn.Conv2d(1, 8, 5, stride=4),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(8, 16, 3, stride=2),
            relu2=nn.ReLU(),
            avg_pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            head=nn.Linear(16, classes),
        )
    )


TINY_CNN = Architecture("A network of two convolutions", tiny_cnn)
