"""The paper's "simple CNN" (Figure 3, whose layers are lost): a reconstruction, in data order.

Four times (3 x 3 convolution with 32, 64, 128, 128 channels, ReLU, 2 x 2 max-pool), flatten, dense
128, dropout 0.5, dense: what a Keras user of 2020 would have written, with Keras' initial weights
(Glorot-uniform, zero biases) and its default padding (none).

Two rewritings change nothing but the time. Pooling stands before the ReLU: both are monotone, so
the maximum commutes. The three equal channels of a grey image go through the first convolution as
one, with its kernel summed over the input channels.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (32, 64, 128, 128)


class UnitScale(nn.Module):
    """Grey images (N, 1, H, W) in 0..255, of any dtype, to float32 in [0, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        """Scale by 1/255."""
        # Not `contiguous`: with one channel both orders look alike to it, it does nothing, and the
        # first convolution would run in the slow order.
        return (images.to(torch.float32) / 255).to(memory_format=torch.channels_last)


class GreyConv2d(nn.Conv2d):
    """A convolution over three equal channels, given once: the kernel's channels are summed."""

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (N, 1, H, W) as if it were its own three-channel repetition."""
        kernel = self.weight.sum(dim=1, keepdim=True)
        return functional.conv2d(images, kernel, self.bias, self.stride, self.padding)


def simple_cnn(classes: int, *, size: tuple[int, int] = (224, 224)) -> nn.Sequential:
    """Build the network: grey uint8 images (N, 1, *size) in, logits (N, classes) out.

    Args:
        classes: Number of outputs.
        size: Height and width of the images in pixels, at least 46 each.

    >>> network = simple_cnn(3)
    >>> sum(weight.numel() for weight in network.parameters())
    2600643
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(scale=UnitScale())
    width, (height, breadth) = 3, size
    for number, channels in enumerate(CHANNELS, start=1):
        convolution = GreyConv2d if number == 1 else nn.Conv2d
        layers[f"conv{number}"] = convolution(width, channels, kernel_size=3)
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        layers[f"relu{number}"] = nn.ReLU()
        width = channels
        height, breadth = (height - 2) // 2, (breadth - 2) // 2
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(width * height * breadth, 128)
    layers["dense_relu"] = nn.ReLU()
    layers["dropout"] = nn.Dropout(0.5)
    layers["head"] = nn.Linear(128, classes)
    network = nn.Sequential(layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
