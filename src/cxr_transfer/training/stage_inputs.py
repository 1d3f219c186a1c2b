"""What a stage is fed: activations of what is frozen, computed once, or the images themselves.

Images that change in every epoch (augmentation, mixup) go through the whole network in every epoch.
All others go through what is frozen in every stage once, and through what is frozen in one stage
once more. Knows nothing of epochs and files of a run.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cxr_transfer.progress import Tell, counting
from cxr_transfer.training.device import FROZEN_PART, Execution
from cxr_transfer.training.frozen_features import KeptActivations, activations, part_of
from cxr_transfer.training.losses import balanced_weights
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.stage import Stored
from cxr_transfer.training.stage_module import Material
from cxr_transfer.training.stage_recipe import Stage
from cxr_transfer.training.tensors import ImageTensors

Keep = Callable[..., Tensor]
"""Function that returns what a frozen part makes of images, as `activations` does."""


def changes_images(recipe: Recipe, stage: Stage) -> bool:
    """Tell whether a stage is fed other images in every epoch."""
    return stage.fit == "gradient" and bool(recipe.augmentation or stage.mixup)


class StageInputs:
    """Training and validation images behind what is frozen in all stages.

    Args:
        keep: Function that computes activations.
        base: First children, frozen in all stages.
        training: Images that are learnt from.
        validation: Images that decide.
        all_change: Whether the training images change in every stage: then their activations are
            of no use.
        progress: Function that is told the phase and which share of it is done.
        sources: Number of each training image's source, (N,), where a stage depends on them.
    """

    def __init__(
        self,
        keep: Keep,
        base: nn.Sequential,
        training: ImageTensors,
        validation: ImageTensors,
        all_change: bool,
        progress: Tell,
        *,
        sources: Tensor | None = None,
    ) -> None:
        self._sources = sources
        self._keep, self._base = keep, len(base)
        self._training, self._validation = training, validation
        parts = (validation,) if all_change else (training, validation)
        images = sum(map(len, parts))
        # The phase begins with the first batch: what is found on disk is not computed again.
        begun = functools.cache(lambda: counting(progress, FROZEN_PART, images))
        behind = functools.partial(keep, base, on_image=lambda more: begun()(more))
        self._kept_training = None if all_change else behind(training.images)
        self._kept_validation = behind(validation.images)

    def of(self, frozen_part: nn.Sequential, *, is_changed: bool) -> tuple[Stored, Stored]:
        """Return what a stage is fed in training, and what it is validated on.

        Args:
            frozen_part: First children, frozen in this stage.
            is_changed: Whether the training images change in every epoch.
        """
        keep = functools.partial(self._keep, part_of(frozen_part, self._base))
        fed = (
            self._training.images
            if is_changed or self._kept_training is None
            else keep(self._kept_training)
        )
        return (
            Stored(fed, self._training.targets, self._sources),
            Stored(keep(self._kept_validation), self._validation.targets),
        )


def material_of(
    recipe: Recipe,
    targets: Tensor,
    sources: Sequence[str],
    frozen_part: nn.Sequential | None,
    *,
    classes: int = 0,
) -> Material:
    """Return what the images of a stage are fed with, as the recipe says.

    Args:
        recipe: Recipe, with augmentation, class weights and sampling.
        targets: Target of each training image, (N,); of findings (N, F).
        sources: Source of each training image, where the recipe balances them.
        frozen_part: Children that images go through before the part that trains, where images
            themselves are fed; else None.
        classes: Number of classes, also of those that no training image has.
    """
    weights = balanced_weights(targets, classes) if recipe.class_weights == "balanced" else None
    draws = None
    if recipe.sampling != "all":
        # An image's group: its class and, where the recipe says so, its source within the class.
        inner = sources if recipe.sampling == "by_source" else [""] * len(targets)
        groups = list(zip(targets.tolist(), inner, strict=True))
        images, groups_of_class = Counter(groups), Counter(target for target, _ in set(groups))
        draws = torch.tensor(
            [1 / images[group] / groups_of_class[group[0]] for group in groups],
            dtype=torch.float64,
        )
    return Material(recipe.augmentation, frozen_part, weights, draws)


def keeping(
    scratch: Path,
    device: str,
    precision: str,
    execution: Execution,
    kept: Sequence[KeptActivations],
) -> Callable[..., Tensor]:
    """Return `activations` for a run: where they are computed and where they lie.

    Args:
        scratch: Folder in which many activations are kept.
        device: Device on which they are computed.
        precision: "float32" or "bfloat16".
        execution: Processes of the run.
        kept: Activations that are on disk; what is in none of them is computed.
    """
    # One GPU holds images and activations itself: no image crosses over in an epoch. Of several
    # each process would first have to know its own.
    home = device if execution.processes == 1 else "cpu"
    compute = functools.partial(
        activations, device=device, home=home, precision=precision, scratch=scratch
    )

    def keep(frozen_part: nn.Sequential, images: Tensor, **how: Any) -> Tensor:  # noqa: ANN401
        for stored in kept:
            on_disk = stored.of(frozen_part, images, home=home, **how)
            if on_disk is not None:
                return on_disk
        return compute(frozen_part, images, **how)

    return keep
