"""Losses that know where images are from, for stages that train by gradients.

Strata: every source has intercepts of its own in training. Group DRO: the group that fares worst
counts most; a group is the images of one class from one source. Domain-adversarial training: a
classifier of the source behind a reversed gradient, so that features tell less of the source.

What they keep travels in the resume file of a stage, and not in a checkpoint. Knows nothing of
epochs, files or recipes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cxr_transfer.training.losses import loss_of
from cxr_transfer.training.seeds import seed_of
from cxr_transfer.training.stage_recipe import Stage
from cxr_transfer.training.strata import shared_intercept

_INTERCEPT_RATE = 100.0
"""Learning rate of a source's intercept over that of the weights: Adam moves each by about its
rate in a step, and an intercept has to go as far as several logits."""

_HIDDEN = 256
"""Units of the source classifier's hidden layer."""


def has_source_losses(stage: Stage) -> bool:
    """Tell whether a stage that trains by gradients asks where images are from."""
    return stage.fit == "gradient" and bool(stage.source_keys)


class SourceIntercepts(nn.Module):
    """Intercepts of each source for each class, in training alone (see `strata`).

    They begin as the logarithm of how often a source has a class: then a source of one class
    teaches little from the first step on.

    Args:
        counts: Training images by source and class, (sources, classes).
    """

    shift: Tensor

    def __init__(self, counts: Tensor) -> None:
        super().__init__()
        logs = (counts.float() + 0.5).log()
        self.values = nn.Parameter(logs - logs.mean(dim=1, keepdim=True))
        # What the head's bias is moved by once the intercepts are gone.
        self.register_buffer("shift", torch.zeros(counts.shape[1]))
        self._noted: list[tuple[Tensor, Tensor, Tensor]] = []

    def begin_epoch(self) -> None:
        """Forget the logits of the epoch before."""
        self._noted = []

    def forward(self, logits: Tensor, targets: Tensor, sources: Tensor) -> Tensor:
        """Return logits with the intercepts of their sources added, (N, classes)."""
        self._noted.append((logits.detach().cpu(), targets.cpu(), sources.cpu()))
        return logits + self.values[sources]

    def fit_shift(self) -> None:
        """Fit the one intercept that stands for those of the sources, to this epoch's logits."""
        if self._noted:
            logits, targets, sources = (
                torch.cat(column).numpy() for column in zip(*self._noted, strict=True)
            )
            level = shared_intercept(logits.astype(np.float64), targets, sources)
            self.shift.copy_(torch.from_numpy(level))


class GroupWeights(nn.Module):
    """Weights of the groups, raised where the loss is high (group DRO).

    Source: Sagawa et al. 2020 ("Distributionally Robust Neural Networks for Group Shifts", ICLR),
    algorithm 1, by batches as in their code: a group without images in a batch has a loss of 0.

    Args:
        counts: Training images by source and class, (sources, classes); a group is what has any.
        step: Step size of the exponentiated gradient.
    """

    numbers: Tensor
    weights: Tensor

    def __init__(self, counts: Tensor, *, step: float) -> None:
        super().__init__()
        present = counts > 0
        groups = int(present.sum())
        self.step = step
        numbers = (present.flatten().cumsum(0) - 1).reshape(counts.shape)
        self.register_buffer("numbers", numbers)
        self.register_buffer("weights", torch.full((groups,), 1 / groups))

    def forward(self, losses: Tensor, targets: Tensor, sources: Tensor) -> Tensor:
        """Return the weighted sum of the groups' mean losses, and move the weights first.

        Args:
            losses: Loss of each image, (N,).
            targets: Class of each image, (N,).
            sources: Number of each image's source, (N,).
        """
        group = self.numbers[sources, targets]
        members = functional.one_hot(group, len(self.weights)).to(losses.dtype)
        # No product of matrices: in bfloat16 it would round the losses.
        means = (losses[:, None] * members).sum(dim=0) / members.sum(dim=0).clamp(min=1)
        with torch.no_grad():
            moved = self.weights * torch.exp(self.step * (means - means.max()))
            self.weights.copy_(moved / moved.sum())
        # A copy: the next step writes into the weights, and a graph must not change.
        return (self.weights.clone() * means).sum()


class SourceClassifier(nn.Module):
    """A classifier of the source that the features are trained against.

    Source: Ganin et al. 2016 ("Domain-Adversarial Training of Neural Networks", JMLR 17). What
    comes back to the features is the gradient times minus the weight; the weight rises with the
    share of the training that is done, from 0, as in section 5.2.2.

    Args:
        features: How many features the head is given.
        sources: How many sources there are.
        most: Weight at the end.
        seed: Fixes the first weights.
    """

    def __init__(self, features: int, sources: int, *, most: float, seed: int) -> None:
        super().__init__()
        self.most = most
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Linear(features, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, sources)
            )

    def weight(self, done: float) -> float:
        """Return the weight of the reversed gradient when a share of the training is done."""
        return self.most * (2 / (1 + math.exp(-10 * done)) - 1)

    def forward(self, features: Tensor, sources: Tensor, done: float) -> Tensor:
        """Return the classifier's mean loss.

        Args:
            features: Features of a batch, (N, F).
            sources: Number of each image's source, (N,).
            done: Share of the training that is done.
        """
        # Its value is that of the features, its gradient minus the weight times theirs.
        fixed = features.detach()
        reversed_features = fixed + self.weight(done) * (fixed - features)
        return functional.cross_entropy(self.layers(reversed_features).float(), sources)


class SourceLosses(nn.Module):
    """The training loss of a stage that asks where images are from.

    Args:
        stage: What it asks for.
        targets: Class of each training image, (N,).
        sources: Number of each training image's source, (N,).
        head: Last layer of the network.
        seed: Fixes the first weights of a source classifier.
    """

    def __init__(
        self, stage: Stage, targets: Tensor, sources: Tensor, head: nn.Linear, *, seed: int
    ) -> None:
        super().__init__()
        self.stage = stage
        number = int(sources.max()) + 1
        cells = (sources * head.out_features + targets).cpu()
        counts = torch.bincount(cells, minlength=number * head.out_features)
        counts = counts.reshape(number, head.out_features)
        self.intercepts = SourceIntercepts(counts) if stage.is_stratified else None
        self.groups = (
            GroupWeights(counts, step=stage.robust_step) if stage.robust == "group_dro" else None
        )
        self.classifier = None
        if stage.domain_adversarial:
            self.classifier = SourceClassifier(
                head.in_features,
                number,
                most=stage.domain_adversarial,
                seed=seed_of(seed, "source classifier", stage.name),
            )

    def forward(
        self,
        features: Tensor,
        logits: Tensor,
        targets: Tensor,
        sources: Tensor,
        *,
        weights: Tensor | None,
        done: float,
    ) -> Tensor:
        """Return the loss of a batch.

        Args:
            features: What the head was given, (N, F).
            logits: What it made of that, (N, classes).
            targets: Class of each image, (N,).
            sources: Number of each image's source, (N,).
            weights: Weight of each class, (classes,).
            done: Share of the training that is done.
        """
        smoothing = self.stage.label_smoothing
        penalty = logits.new_zeros(())
        if self.intercepts is not None:
            logits = self.intercepts(logits, targets, sources)
            penalty = self.stage.strata_penalty * self.intercepts.values.square().sum()
        if self.groups is not None:
            losses = functional.cross_entropy(
                logits, targets, reduction="none", label_smoothing=smoothing
            )
            loss: Tensor = self.groups(losses, targets, sources)
        else:
            loss = loss_of(logits, targets, weights=weights, smoothing=smoothing)
        if self.classifier is not None:
            loss = loss + self.classifier(features, sources, done)
        return loss + penalty

    def parameter_groups(self) -> Sequence[dict[str, Any]]:
        """Return what the optimizer moves beside the network, each with its rate; none decays."""
        rate = self.stage.learning_rate
        groups: list[dict[str, Any]] = []
        if self.intercepts is not None:
            groups.append({"params": [self.intercepts.values], "lr": rate * _INTERCEPT_RATE})
        if self.classifier is not None:
            groups.append({"params": list(self.classifier.parameters()), "lr": rate})
        return groups
