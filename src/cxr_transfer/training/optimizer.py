"""The optimizer of a stage: which weights it moves, how fast, and which of them decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cxr_transfer.training.frozen_features import layers
from cxr_transfer.training.stage_recipe import Stage

_EPSILON = 1e-7
"""Keras' epsilon of Adam; torch's is 1e-8."""


def learning_layers(network: nn.Module) -> list[tuple[str, list[Tensor]]]:
    """Return the layers of a network that learn, in data order, each with its weights."""
    chosen: list[tuple[str, list[Tensor]]] = [
        (name, [weight for weight in layer.parameters() if weight.requires_grad])
        for name, layer in layers(network)
    ]
    return [(name, weights) for name, weights in chosen if weights]


def optimizer_of(
    stage: Stage, network: nn.Module, *, beside: Sequence[dict[str, Any]] = ()
) -> torch.optim.Optimizer:
    """Return the optimizer of what of ``network`` requires gradients.

    Args:
        stage: Optimizer, rates and decays.
        network: Network, or the part of it that is run in the stage.
        beside: Groups of what learns beside the network, each with its rate.
    """
    groups = [*_groups(stage, network), *beside]
    for group in groups:
        group["initial_lr"] = group["lr"]
    if stage.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=stage.learning_rate, momentum=stage.momentum, nesterov=stage.momentum > 0
        )
    kind = torch.optim.AdamW if stage.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=stage.learning_rate, eps=_EPSILON, weight_decay=0.0, fused=True)


def _groups(stage: Stage, network: nn.Module) -> list[dict[str, Any]]:
    """Return the weights in groups of one rate and one decay, the head's group first."""
    if stage.layer_decay == 1 and not stage.weight_decay:
        learning = [weight for weight in network.parameters() if weight.requires_grad]
        return [{"params": learning, "lr": stage.learning_rate}]
    groups = []
    for depth, (_, weights) in enumerate(reversed(learning_layers(network))):
        rate = stage.learning_rate * stage.layer_decay**depth
        # Biases and the scales of a normalisation have one dimension: they do not decay.
        for decays in (True, False):
            chosen = [weight for weight in weights if (weight.ndim > 1) == decays]
            decay = stage.weight_decay if decays else 0.0
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return groups
