"""One row of the table of architectures: how a network is built, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import nn

Tensors = Mapping[str, npt.NDArray[np.floating]]
"""Weights by the names that Keras' ImageNet file gives them."""

BehindPlaces = Literal["mean", "bands", "dense"]


@dataclass(frozen=True)
class Architecture:
    """Row of the table: how a network is built, and where its pretrained weights go.

    Attributes:
        title: Name for people.
        build: Function (classes, (height, width), epsilon) that returns the network with random
            weights, drawn from torch's global generator. ``epsilon`` is that of its batch
            normalisation; an architecture without one passes it over. Another package's may be any
            module whose last layer is linear: `adapter.flat_network` brings it into the form of the
            table, for images of three channels that are standardised as for ImageNet.
        load_imagenet: Function (network, tensors) that puts the ImageNet weights of ResNet-50 into
            the network; None where there are none for it.
        last_with_places: Child whose output is the last that still has places, for heat maps; ""
            where they are made by covering parts of the image.
        behind_places: Layer between that child and the linear head: the mean over all places, means
            over horizontal bands, or a dense layer with ReLU.
        pretrained: Function (classes, (height, width)) that returns the network with the weights
            that its library publishes; None where it publishes none.
        licence: Licence of the code and of the pretrained weights.
        library: Package that the network comes from, as it is imported; "" for this one.
    """

    title: str
    build: Callable[[int, tuple[int, int], float], nn.Sequential]
    load_imagenet: Callable[[nn.Sequential, Tensors], None] | None = None
    last_with_places: str = ""
    behind_places: BehindPlaces = "mean"
    pretrained: Callable[[int, tuple[int, int]], nn.Sequential] | None = None
    licence: str = ""
    library: str = ""
