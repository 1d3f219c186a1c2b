"""The table of architectures: a name in a recipe, and how the network is built.

Every network is a flat ``nn.Sequential`` of named children in data order. It takes grey uint8
images (N, 1, H, W), brings them to the scale that its weights want by its first layer, and gives
logits (N, classes). Its last child is called ``head``; all before it is the body. What trains is
named by these children, never counted. Knows nothing of torch until a network is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from cxr_transfer import forks
from cxr_transfer.errors import ModelError, UsageError
from cxr_transfer.tables import Table

if TYPE_CHECKING:
    from torch import nn

Tensors = Mapping[str, npt.NDArray[np.floating]]
"""Weights by the names that Keras' ImageNet file gives them."""


@dataclass(frozen=True)
class Architecture:
    """How a network is built, and where its pretrained weights go.

    Attributes:
        title: Name for people.
        build: Function (classes, (height, width), epsilon) that returns the network with random
            weights, drawn from torch's global generator. ``epsilon`` is that of its batch
            normalisation; an architecture without one passes it over.
        load_imagenet: Function (network, tensors) that puts the ImageNet weights of ResNet-50 into
            the network; None where there are none for it.
        last_with_places: Child whose output is the last that still has places, for heat maps; ""
            where none are drawn.
        behind_places: What stands between that child and the linear head: the mean over all places,
            means over horizontal bands, or a dense layer with ReLU.
    """

    title: str
    build: Callable[[int, tuple[int, int], float], nn.Sequential]
    load_imagenet: Callable[[nn.Sequential, Tensors], None] | None = None
    last_with_places: str = ""
    behind_places: Literal["mean", "bands", "dense"] = "mean"


def _simple_cnn(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    from cxr_transfer.models.simple_cnn import simple_cnn

    return simple_cnn(classes, size=size)


def _resnet50(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    from cxr_transfer.models.resnet50 import resnet50

    return resnet50(classes, epsilon=epsilon)


def _resnet50_early(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    from cxr_transfer.models.early_resnet50 import early_resnet50

    return early_resnet50(classes, size=size, epsilon=epsilon)


def _load_resnet50(network: nn.Sequential, tensors: Tensors) -> None:
    from cxr_transfer.models.resnet50 import load_imagenet

    load_imagenet(network, tensors)


def _load_resnet50_early(network: nn.Sequential, tensors: Tensors) -> None:
    from cxr_transfer.models.early_resnet50 import load_early_imagenet

    load_early_imagenet(network, tensors)


ARCHITECTURES = Table(
    "architecture",
    Architecture,
    {
        "simple_cnn": Architecture(
            "The paper's simple CNN",
            _simple_cnn,
            last_with_places="relu4",
            behind_places="dense",
        ),
        "resnet50": Architecture(
            "ResNet-50", _resnet50, _load_resnet50, last_with_places="conv5_block3"
        ),
        "resnet50_early": Architecture(
            "The first two stages of ResNet-50",
            _resnet50_early,
            _load_resnet50_early,
            last_with_places="both_sides",
            behind_places="bands",
        ),
    },
    group="cxr_transfer.architectures",
)
"""Architectures by the name that a recipe and a checkpoint's metadata give them."""


def _is_known(name: str) -> str:
    try:
        ARCHITECTURES[name]
    except UsageError as error:
        raise ValueError(error.message) from None
    return name


ArchitectureName = Annotated[str, AfterValidator(_is_known)]
"""Name of a row of `ARCHITECTURES`."""


def build(
    architecture: str, classes: int, *, size: tuple[int, int], epsilon: float
) -> nn.Sequential:
    """Build a network with random weights drawn from torch's global generator.

    Args:
        architecture: Name in `ARCHITECTURES`.
        classes: Number of outputs.
        size: Height and width of the images (the CNN's dense layer depends on it).
        epsilon: Epsilon of ResNet-50's batch normalisation, as the weight file wants it.

    Raises:
        UsageError: ``unknown_architecture``.
        MachineError: ``forked`` in a child of a process that had used a network.
    """
    forks.use("torch")
    return ARCHITECTURES[architecture].build(classes, size, epsilon)


def load_pretrained(architecture: str, network: nn.Sequential, tensors: Tensors) -> None:
    """Put ImageNet weights, Keras' tensors, into a network of the table.

    Raises:
        ModelError: ``foreign_weights`` for tensors that are not this network's, and for an
            architecture that has no ImageNet weights.
    """
    load = ARCHITECTURES[architecture].load_imagenet
    if load is None:
        raise ModelError(
            "foreign_weights",
            f"Expected an architecture with ImageNet weights, but {architecture} has none; start "
            "from random weights or from a checkpoint.",
        )
    load(network, tensors)
