"""ResNet-50 as Keras builds it, image in, logits out, and the way in for Keras' ImageNet weights.

Comes in: grey images 0..255 and, once, Keras' tensors under Keras' layer names. Goes out: a flat
``nn.Sequential`` whose children are named after Keras' layers. Deliberately does not know where
weights come from, which children train, or what the classes mean.

Differences from torchvision's network of the same name, all of them Keras' (He et al. 2015,
"Deep Residual Learning"; ``keras.applications.resnet``): stride 2 stands on a block's first 1x1
convolution and on its shortcut, batch-norm momentum and epsilon, BGR input in 0..255 minus means.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxr_transfer.errors import ModelError, listing
from cxr_transfer.models.imagenet_names import BLOCKS, has_old_names, layer_names, network_arrays

FEATURES = 2048
"""Length of the pooled features which the head sees."""

IMAGENET_CLASSES = 1000
IMAGENET_BGR_MEANS = (103.939, 116.779, 123.68)
"""``keras.applications.resnet.preprocess_input``, mode "caffe"; units of 0..255, BGR order."""

EPSILON = 1.001e-5
"""Batch-norm epsilon of tf.keras' network and weight file (layers ``conv2_block1_1_conv`` ...)."""

OLD_EPSILON = 1e-3
"""Keras' default epsilon, which the file with the old layer names (``res2a_branch2a``) needs."""

_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_TOPS = ("predictions", "probs", "fc1000")
# Keras' moving = 0.99 * moving + 0.01 * batch is torch's momentum 0.01.
_MOMENTUM = 0.01


class Scale(nn.Module):
    """Turn images into what the ImageNet weights were trained on: BGR minus the channel means."""

    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        means = torch.tensor(IMAGENET_BGR_MEANS).view(1, 3, 1, 1)
        # A constant of the network, not a weight: it has no place in a checkpoint.
        self.register_buffer("means", means, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Scale ``images``.

        Args:
            images: (N, 1, H, W) grey or (N, 3, H, W) RGB, uint8 or float, 0..255.

        Returns:
            (N, 3, H, W) float32, BGR, unscaled, ImageNet's means taken away.

        Raises:
            ValueError: The images have neither one channel nor three.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"expected images (N, 1 or 3, H, W), got {tuple(images.shape)}")
        bgr = (
            images.float().flip(1) if images.shape[1] == 3 else images.float().expand(-1, 3, -1, -1)
        )
        # Channels last: a fifth less time for the convolutions on a CPU.
        return (bgr - self.means).contiguous(memory_format=torch.channels_last)


class Block(nn.Module):
    """One bottleneck block: 1x1, 3x3, 1x1, added to its shortcut, ReLU."""

    def __init__(self, incoming: int, narrow: int, stride: int, epsilon: float) -> None:
        super().__init__()
        wide = 4 * narrow
        self.conv1 = _convolution(incoming, narrow, 1, stride)
        self.conv1_bn = _batch_norm(narrow, epsilon)
        self.conv2 = _convolution(narrow, narrow, 3)
        self.conv2_bn = _batch_norm(narrow, epsilon)
        self.conv3 = _convolution(narrow, wide, 1)
        self.conv3_bn = _batch_norm(wide, epsilon)
        changes = incoming != wide
        self.shortcut = _convolution(incoming, wide, 1, stride) if changes else nn.Identity()
        self.shortcut_bn = _batch_norm(wide, epsilon) if changes else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, 4 * narrow, H / stride, W / stride) for (N, incoming, H, W)."""
        inner = self.relu(self.conv1_bn(self.conv1(features)))
        inner = self.relu(self.conv2_bn(self.conv2(inner)))
        inner = self.conv3_bn(self.conv3(inner))
        added: Tensor = self.relu(self.shortcut_bn(self.shortcut(features)) + inner)
        return added


def _convolution(incoming: int, outgoing: int, side: int, stride: int = 1) -> nn.Conv2d:
    # Keras' convolutions carry a bias, but the batch norm behind each takes it away again: with
    # batch statistics it cancels and its gradient is zero; with moving ones it is part of the mean
    # (see `load_imagenet`). So there is none here.
    convolution = nn.Conv2d(incoming, outgoing, side, stride, padding=side // 2, bias=False)
    nn.init.xavier_uniform_(convolution.weight)
    return convolution


def _batch_norm(channels: int, epsilon: float) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=epsilon, momentum=_MOMENTUM)


def resnet50(
    classes: int, *, epsilon: float = EPSILON, last_stage: Literal[3, 4, 5] = 5
) -> nn.Sequential:
    """Build Keras' ResNet-50 with random weights (Glorot-uniform, zero biases).

    Children in data order: ``scale``, ``conv1``, ``conv1_bn``, ``relu``, ``pool``,
    ``conv2_block1`` .. ``conv5_block3``, ``avg_pool``, ``head``. The network takes what `Scale`
    takes (trained on 224 x 224) and returns logits (N, classes), float32.

    Keras counts 4,471,811 weights in its last block and a head of three; here they are 3,072
    fewer, the biases of three convolutions, which change nothing.

    Args:
        classes: Number of classes.
        epsilon: Batch-norm epsilon, which belongs to the weights: `EPSILON` or `OLD_EPSILON`.
        last_stage: Last stage of blocks, ``conv3``, ``conv4`` or ``conv5``; a head sees 512, 1,024
            or 2,048 features.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        scale=Scale(),
        conv1=_convolution(3, 64, 7, 2),
        conv1_bn=_batch_norm(64, epsilon),
        relu=nn.ReLU(),
        # Keras pads with zeros, torch with minus infinity: the same, as values are not negative.
        pool=nn.MaxPool2d(3, 2, padding=1),
    )
    channels = 64
    stages = {stage: count for stage, count in BLOCKS.items() if stage <= last_stage}
    for stage, count in stages.items():
        narrow = 64 * 2 ** (stage - 2)
        for number in range(1, count + 1):
            stride = 2 if number == 1 and stage > 2 else 1
            layers[f"conv{stage}_block{number}"] = Block(channels, narrow, stride, epsilon)
            channels = 4 * narrow
    layers["avg_pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = nn.Linear(channels, classes)
    nn.init.xavier_uniform_(head.weight)
    nn.init.zeros_(head.bias)
    layers["head"] = head
    network = nn.Sequential(layers)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def load_imagenet_stages(
    network: nn.Sequential, tensors: Mapping[str, npt.NDArray[np.floating]]
) -> None:
    """Put Keras' ImageNet weights into a network that has the first stages of ResNet-50 alone.

    Args:
        network: Network of `resnet50` with fewer stages.
        tensors: Tensors as in `load_imagenet`; all of ResNet-50's.

    Raises:
        ModelError: What `load_imagenet` raises.
    """
    (epsilon,) = {layer.eps for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)}
    whole = resnet50(1, epsilon=epsilon)
    load_imagenet(whole, tensors)
    weights = whole.state_dict()
    body = {name: weights[name] for name in network.state_dict() if not name.startswith("head.")}
    network.load_state_dict(body, strict=False)


class _Tensors:
    """Keras' tensors, looked at one by one; notes every one that is not as it should be."""

    def __init__(self, tensors: Mapping[str, npt.NDArray[np.floating]]) -> None:
        self.left = dict(tensors)
        self.wrong: list[str] = []

    def check(self, name: str, *shape: int) -> None:
        """Note where the tensor ``name`` is missing or wrong."""
        array = self.left.pop(name, None)
        if array is None:
            self.wrong.append(f"{name} is missing")
        elif array.shape != shape:
            self.wrong.append(f"{name} has shape {array.shape}, not {shape}")
        elif not np.isfinite(array).all():
            self.wrong.append(f"{name} holds NaN or infinity")


def load_imagenet(network: nn.Sequential, tensors: Mapping[str, npt.NDArray[np.floating]]) -> None:
    """Put Keras' ImageNet weights into a network of `resnet50`, all of them or none.

    Args:
        network: The network; its epsilon must be the one of the tensors' generation.
        tensors: Keras' 318 tensors, or 320 with the 1000-way top, as ``<layer>/<weight>`` with
            Keras' layer names, old (``res5c_branch2a/kernel``) or new
            (``conv5_block3_1_conv/kernel``); kernels (height, width, in, out). The top goes into
            ``head`` where that has 1000 classes and is checked and left out where it has not.

    Raises:
        ModelError: ``foreign_weights`` for a missing, superfluous, misshapen or non-finite tensor
            or for another epsilon; the network is then as it was.
    """
    old = has_old_names(tensors)
    epsilon = OLD_EPSILON if old else EPSILON
    epsilons = {layer.eps for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)}
    if epsilons != {epsilon}:
        raise ModelError(
            "foreign_weights",
            f"Expected a ResNet-50 of batch-norm epsilon {epsilon} for weights with "
            f"{'old' if old else 'new'} layer names, but got {sorted(epsilons)}; build the network "
            "with the epsilon of its weights.",
        )
    source = _Tensors(tensors)
    own_tensors = network.state_dict()
    for path, conv, norm in layer_names(old):
        outgoing, incoming, height, width = own_tensors[f"{path}.weight"].shape
        source.check(f"{conv}/kernel", height, width, incoming, outgoing)
        for name in (f"{conv}/bias", *(f"{norm}/{part}" for part in _NORM)):
            source.check(name, outgoing)
    top = next((top for top in _TOPS if f"{top}/kernel" in source.left), None)
    if top:
        source.check(f"{top}/kernel", FEATURES, IMAGENET_CLASSES)
        source.check(f"{top}/bias", IMAGENET_CLASSES)
    wrong = source.wrong + [f"{name} has no place" for name in source.left]
    if wrong:
        raise ModelError(
            "foreign_weights",
            f"Expected Keras' ResNet-50 weights for ImageNet, but got {len(tensors)} tensors of "
            f"which {len(wrong)} do not fit: {listing(wrong)}; give Keras' own file.",
        )
    arrays = network_arrays(tensors)
    if top and len(own_tensors["head.bias"]) == IMAGENET_CLASSES:
        arrays |= {"head.weight": tensors[f"{top}/kernel"].T, "head.bias": tensors[f"{top}/bias"]}
    # Copies: the network must not write into the caller's arrays.
    state = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in arrays.items()}
    # Not strict: batch norm's batch counter, and the head where the top stays out.
    network.load_state_dict(state, strict=False)
