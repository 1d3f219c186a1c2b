"""The early layers of ResNet-50, an image and its mirror image in, logits out.

What an early layer sees (edges, textures, how grey runs) tells more of images from elsewhere than
later layers do: these were trained on things that are no radiographs. docs/log.md has the figures.
Deliberately does not know where weights come from or what classes mean.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxr_transfer.models.resnet50 import EPSILON, load_imagenet_stages, resnet50

LAST = "conv3_block2"
"""Last block of ResNet-50 that is used: 28 x 28 places for an image of 224 x 224."""

CHANNELS = 512
REDUCTION = 8
BANDS = 3
"""Upper, middle and lower zone, as radiologists divide the lungs."""


class BothSides(nn.Module):
    """The mean of what layers make of an image and, mirrored back, of its mirror image.

    An image then scores as its mirror image does, and half of the noise is gone.
    """

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, h, w) for (N, channels, H, W)."""
        mirrored: Tensor = self.body(images.flip(3)).flip(3)
        both: Tensor = (self.body(images) + mirrored) / 2
        return both


class Bands(nn.Module):
    """Mean over each of some horizontal bands of a map, which share no row.

    Args:
        rows: Rows of the map.
        number: Number of bands.
    """

    def __init__(self, rows: int, number: int = BANDS) -> None:
        super().__init__()
        # Written out, not an adaptive pool: ONNX has none whose bands are of two heights.
        edges = [round(band * rows / number) for band in range(number + 1)]
        self.bands = tuple(itertools.pairwise(edges))

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, number * C) for (N, C, rows, w), band by band from above."""
        means = [maps[:, :, top:bottom].mean((2, 3)) for top, bottom in self.bands]
        return torch.cat(means, dim=1)


def early_resnet50(
    classes: int, *, size: tuple[int, int] = (224, 224), epsilon: float = EPSILON
) -> nn.Sequential:
    """Build the network with random weights.

    Children in data order: ``scale``, ``both_sides`` (its ``body`` is ``conv1`` .. `LAST` of
    `resnet50`), ``avg_pool`` (three bands), ``head``.

    Args:
        classes: Number of classes.
        size: Height and width of the images.
        epsilon: Batch-norm epsilon, which belongs to the weights.
    """
    whole = dict(resnet50(1, epsilon=epsilon).named_children())
    names = list(whole)
    body = OrderedDict((name, whole[name]) for name in names[1 : names.index(LAST) + 1])
    head = nn.Linear(BANDS * CHANNELS, classes)
    nn.init.xavier_uniform_(head.weight)
    nn.init.zeros_(head.bias)
    network = nn.Sequential(
        OrderedDict(
            scale=whole["scale"],
            both_sides=BothSides(nn.Sequential(body)),
            avg_pool=Bands(-(-size[0] // REDUCTION)),
            head=head,
        )
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def load_early_imagenet(
    network: nn.Sequential, tensors: Mapping[str, npt.NDArray[np.floating]]
) -> None:
    """Put the early ones of Keras' ImageNet weights into a network of `early_resnet50`.

    Args:
        network: The network.
        tensors: Tensors as in `load_imagenet`; all of ResNet-50's.

    Raises:
        ModelError: What `load_imagenet` raises.
    """
    load_imagenet_stages(network.get_submodule("both_sides.body"), tensors)  # type: ignore[arg-type]
