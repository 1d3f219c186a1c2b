"""Activations of a network's frozen part by OpenVINO: several times as fast as torch, and alike.

On a processor, for many images. What is not as torch computes it, within rounding, is not taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from cxr_transfer.errors import MachineError
from cxr_transfer.openvino_runtime import Network, Precision, converted

QUICK_FROM = 256
"""Images from which on a conversion costs less time than it saves."""

_ALIKE = 1e-4
"""By how much activations may differ from torch's, as a share of the largest one."""

_TRIED = 4
"""Images on which both are compared before one is taken for the other."""

_log = logging.getLogger(__name__)


def computed(frozen_part: nn.Sequential, device: str, precision: str, images: Tensor) -> Tensor:
    """Return what a frozen part makes of images, as torch computes it.

    Args:
        frozen_part: Frozen children, on the device.
        device: Device as torch names it.
        precision: Precision, "float32" or "bfloat16".
        images: Inputs of the first child.
    """
    with (
        torch.inference_mode(),
        torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        outputs: Tensor = frozen_part(images.to(device))
    return outputs


def is_quick(images: Tensor, device: str) -> bool:
    """Tell whether OpenVINO is asked: of many images, on a processor."""
    return device == "cpu" and images.dtype == torch.uint8 and len(images) >= QUICK_FROM


def quick(
    frozen_part: nn.Sequential, images: Tensor, precision: str
) -> Callable[[Tensor], Tensor] | None:
    """Return what computes the activations by OpenVINO; None where that cannot be had as well.

    In float32 they must be torch's within rounding; in bfloat16 at most twice as far from float32's
    as torch's are.

    Args:
        frozen_part: Frozen children, in inference mode.
        images: Images, (N, 1, H, W) uint8; the first ones are tried.
        precision: Precision, "float32" or "bfloat16".

    Raises:
        MachineError: ``forked``.
    """
    tried = images[:_TRIED]
    exact = computed(frozen_part, "cpu", "float32", tried)
    given = exact if precision == "float32" else computed(frozen_part, "cpu", precision, tried)
    try:
        graph = converted(frozen_part, tried)
        threads = torch.get_num_threads()
        network = Network(graph, precision=cast(Precision, precision), threads=threads)
    except MachineError:
        raise
    except Exception as error:  # whatever a network of others is made of
        _log.debug("the frozen part is computed by torch, since it is not converted: %s", error)
        return None

    def answered(batch: Tensor) -> Tensor:
        return torch.from_numpy(network(batch.numpy())[0]).to(given.dtype)

    found, bound = answered(tried), _ALIKE * float(exact.abs().max())
    if found.shape != exact.shape or not _apart(found, exact) <= max(
        bound, 2 * _apart(given, exact)
    ):
        _log.debug("the frozen part is computed by torch, since its conversion differs")
        return None
    return answered


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other.float()).abs().max())
