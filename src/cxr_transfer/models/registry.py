"""The table of architectures: a name in a recipe, and how the network is built.

Every network is a flat ``nn.Sequential`` of named children in data order. It takes grey uint8
images (N, 1, H, W) and gives logits (N, classes). Its first layer brings images to the scale that
its weights want. Its last child is called ``head``; all before it is the body. What trains is named
by these children, never counted. A name with a colon is a network of another library or of
the user's own code (`backbones`), which `adapter` brings into that form. Knows nothing of torch
until a network is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from cxr_transfer import forks
from cxr_transfer.errors import CxrError, ModelError
from cxr_transfer.models.architecture import Architecture as Architecture
from cxr_transfer.models.architecture import Tensors
from cxr_transfer.models.backbones import backbone
from cxr_transfer.tables import Table

if TYPE_CHECKING:
    from torch import nn


def _simple_cnn(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    from cxr_transfer.models.simple_cnn import simple_cnn

    return simple_cnn(classes, size=size)


def _resnet50(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    from cxr_transfer.models.resnet50 import resnet50

    return resnet50(classes, epsilon=epsilon)


def _resnet50_early(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    from cxr_transfer.models.early_resnet50 import early_resnet50

    return early_resnet50(classes, size=size, epsilon=epsilon)


def _resnet50_conv4(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    from cxr_transfer.models.resnet50 import resnet50

    return resnet50(classes, epsilon=epsilon, last_stage=4)


def _resnet50_conv3(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    from cxr_transfer.models.resnet50 import resnet50

    return resnet50(classes, epsilon=epsilon, last_stage=3)


def _load_resnet50(network: nn.Sequential, tensors: Tensors) -> None:
    from cxr_transfer.models.resnet50 import load_imagenet

    load_imagenet(network, tensors)


def _load_resnet50_early(network: nn.Sequential, tensors: Tensors) -> None:
    from cxr_transfer.models.early_resnet50 import load_early_imagenet

    load_early_imagenet(network, tensors)


def _load_stages_of_resnet50(network: nn.Sequential, tensors: Tensors) -> None:
    from cxr_transfer.models.resnet50 import load_imagenet_stages

    load_imagenet_stages(network, tensors)


_KERAS = "Apache-2.0; ImageNet weights: Keras, MIT"

ARCHITECTURES = Table(
    "architecture",
    Architecture,
    {
        "simple_cnn": Architecture(
            "The paper's simple CNN",
            _simple_cnn,
            last_with_places="relu4",
            behind_places="dense",
            licence="Apache-2.0",
        ),
        "resnet50": Architecture(
            "ResNet-50",
            _resnet50,
            _load_resnet50,
            last_with_places="conv5_block3",
            licence=_KERAS,
        ),
        "resnet50_conv4": Architecture(
            "ResNet-50 without its last stage",
            _resnet50_conv4,
            _load_stages_of_resnet50,
            last_with_places="conv4_block6",
            licence=_KERAS,
        ),
        "resnet50_conv3": Architecture(
            "ResNet-50 without its last two stages",
            _resnet50_conv3,
            _load_stages_of_resnet50,
            last_with_places="conv3_block4",
            licence=_KERAS,
        ),
        "resnet50_early": Architecture(
            "The first two stages of ResNet-50",
            _resnet50_early,
            _load_resnet50_early,
            last_with_places="both_sides",
            behind_places="bands",
            licence=_KERAS,
        ),
    },
    group="cxr_transfer.architectures",
)
"""Architectures by the name that a recipe and a checkpoint's metadata give them."""


def architecture(name: str) -> Architecture:
    """Return the row of an architecture: of the table, or of another library by ``LIBRARY:NAME``.

    Raises:
        UsageError: ``unknown_architecture``, ``bad_backbone``.
    """
    return backbone(name) if ":" in name else ARCHITECTURES[name]


def _is_architecture(name: str) -> str:
    try:
        architecture(name)
    except CxrError as error:
        raise ValueError(error.message.rstrip(".")) from None
    return name


ArchitectureName = Annotated[str, AfterValidator(_is_architecture)]
"""Name that `architecture` takes."""


def build(name: str, classes: int, *, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    """Build a network with random weights drawn from torch's global generator.

    Args:
        name: Name of an architecture.
        classes: Number of outputs.
        size: Height and width of the images (the CNN's dense layer depends on it).
        epsilon: Epsilon of ResNet-50's batch normalisation, as the weight file wants it.

    Raises:
        UsageError: ``unknown_architecture``, ``bad_backbone``.
        ModelError: ``no_head`` for a network of others that has no linear head.
        MachineError: ``forked`` in a child of a process that had used a network;
            ``missing_package``, ``broken_package`` for a library that cannot be imported.
    """
    forks.use("torch")
    network = architecture(name).build(classes, size, epsilon)
    if is_own(name):
        return network
    from cxr_transfer.models.adapter import flat_network

    return flat_network(network, classes, size)


def is_own(name: str) -> bool:
    """Tell whether an architecture is one of this package, whose form is known without a run."""
    return ARCHITECTURES.is_own(name)


def load_pretrained(name: str, network: nn.Sequential, tensors: Tensors) -> None:
    """Put ImageNet weights, Keras' tensors, into a network of the table.

    Raises:
        ModelError: ``foreign_weights`` for tensors that are not this network's, and for an
            architecture that has no ImageNet weights.
    """
    load = architecture(name).load_imagenet
    if load is None:
        raise ModelError(
            "foreign_weights",
            f"Expected an architecture with ImageNet weights, but {name} has none; start "
            "from random weights or from a checkpoint.",
        )
    load(network, tensors)
