"""Keras' ImageNet tensors of ResNet-50 under this package's names and in its order of axes.

Comes in: Keras' tensors under Keras' layer names. Goes out: the same numbers, named and laid out as
a checkpoint of ``resnet50`` has them. Knows no torch: whoever puts a released model together needs
none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}
"""Residual blocks in each stage; stage ``s`` narrows to ``64 * 2 ** (s - 2)`` channels."""


def has_old_names(tensors: Mapping[str, object]) -> bool:
    """Tell whether tensors have the old layer names (``res2a_branch2a``) of Keras."""
    return "bn_conv1/gamma" in tensors


def layer_names(old: bool) -> Iterator[tuple[str, str, str]]:
    """Yield the names of each convolution and the batch norm behind it.

    Args:
        old: Whether Keras' old layer names are wanted.

    Yields:
        Path of our convolution, Keras' name of it, Keras' name of its batch norm. Our batch norm
        is named after its convolution, with ``_bn`` behind.
    """
    yield ("conv1", "conv1", "bn_conv1") if old else ("conv1", "conv1_conv", "conv1_bn")
    parts = (("shortcut", 0, "1"), ("conv1", 1, "2a"), ("conv2", 2, "2b"), ("conv3", 3, "2c"))
    for stage, count in BLOCKS.items():
        for number in range(1, count + 1):
            block = f"conv{stage}_block{number}"
            for part, digit, branch in parts if number == 1 else parts[1:]:
                place = f"{stage}{'abcdef'[number - 1]}_branch{branch}"
                new = f"{block}_{digit}"
                conv, norm = (f"res{place}", f"bn{place}") if old else (f"{new}_conv", f"{new}_bn")
                yield f"{block}.{part}", conv, norm


def network_arrays(
    tensors: Mapping[str, npt.NDArray[np.floating[Any]]],
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of all convolutions and batch norms under the network's names.

    Args:
        tensors: Keras' tensors as ``<layer>/<weight>``; kernels (height, width, in, out). The
            1000-way top is left out.

    Returns:
        float32 arrays; kernels (out, in, height, width). The bias of a convolution is part of the
        running mean behind it.

    Raises:
        KeyError: A tensor is missing.
    """
    arrays = {name: np.asarray(array, dtype=np.float32) for name, array in tensors.items()}
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for path, conv, norm in layer_names(has_old_names(tensors)):
        weights[f"{path}.weight"] = arrays[f"{conv}/kernel"].transpose(3, 2, 0, 1)
        weights[f"{path}_bn.weight"] = arrays[f"{norm}/gamma"]
        weights[f"{path}_bn.bias"] = arrays[f"{norm}/beta"]
        weights[f"{path}_bn.running_mean"] = arrays[f"{norm}/moving_mean"] - arrays[f"{conv}/bias"]
        weights[f"{path}_bn.running_var"] = arrays[f"{norm}/moving_variance"]
    return weights
