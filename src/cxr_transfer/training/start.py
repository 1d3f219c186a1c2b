"""What a training starts from, found out and checked before any image is decoded."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from cxr_transfer.errors import ModelError, UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.adapter import check_network
from cxr_transfer.models.backbones import library_version, trust
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.pretrained import imagenet_weights
from cxr_transfer.models.registry import architecture, build, is_own, load_pretrained
from cxr_transfer.models.resnet50 import EPSILON
from cxr_transfer.models.weights_file import load_weights
from cxr_transfer.tables import nearest
from cxr_transfer.training.device import (
    DEFAULT,
    Execution,
    check_processes,
    resolve_device,
    resolve_precision,
)
from cxr_transfer.training.frozen_features import freeze
from cxr_transfer.training.recipe import NO_CHECKPOINT, Recipe
from cxr_transfer.training.recipe_files import shipped_recipes
from cxr_transfer.training.seeds import seed_of
from cxr_transfer.training.source_losses import has_source_losses
from cxr_transfer.training.stage_recipe import Stage


@dataclass(frozen=True)
class Start:
    """Start of a network.

    Attributes:
        network: Network with its initial weights and a head for the label set.
        epsilon: Epsilon of its batch normalisation.
        origin: Origin of the weights in words, for the card.
        sha256: SHA-256 of the weights it starts from; "" for random ones.
        seen: Images and patients that its earlier training saw (`Checkpoint.seen`).
        notices: Lines for a person on it.
    """

    network: nn.Sequential
    epsilon: float
    origin: str
    sha256: str
    seen: dict[str, list[str]]
    notices: tuple[str, ...] = ()


def check_run(
    recipe: Recipe,
    labels: LabelSet,
    *,
    seed: int = 0,
    execution: Execution = DEFAULT,
    start: Path | None = None,
    weights: Path | None = None,
) -> Start:
    """Find out, before any image is decoded, whether ``recipe`` can be run on these classes.

    Args:
        recipe: Recipe to run.
        labels: Classes of the data.
        seed: Random seed of the initial weights.
        execution: Settings of device, processes and precision.
        start: Checkpoint to start from.
        weights: File of weights: ImageNet's, or what the recipe starts from.

    Returns:
        The network as the run begins with it.

    Raises:
        UsageError: ``other_task``, ``unknown_initial``, ``no_start``, ``unused_option``,
            ``unknown_module``, ``nothing_learns``, ``batch_not_divisible``, ``unknown_precision``,
            ``one_process``.
        ModelError: ``other_network``, ``other_labels``, ``no_bias``; what `load_checkpoint` and
            `imagenet_weights` raise.
        MachineError: ``no_device``; what `imagenet_weights` raises.
    """
    if recipe.task != labels.task:
        raise UsageError(
            "other_task",
            f"Expected data of the task of {recipe.name}, {recipe.task}, but the labels were read "
            f"as {labels.task}; train it with 'cxr train', since studies, comparisons and "
            "cross-validation know classes alone, or load the data set for that task.",
        )
    if execution.processes > 1 and not recipe.batch_sizes:
        raise UsageError(
            "unused_option",
            f"Expected one process, since {recipe.name} fits a head and trains nothing, but got "
            f"{execution.processes}; leave --devices and --num-nodes out.",
        )
    if execution.processes > 1 and any(map(has_source_losses, recipe.stages)):
        raise UsageError(
            "one_process",
            f"Expected one process, since {recipe.name} has {recipe.source_keys[0]}, whose state "
            f"belongs to one, but got {execution.processes}; leave --devices and --num-nodes out.",
        )
    check_processes(execution, recipe.batch_sizes)
    resolve_precision(execution.precision, resolve_device(execution.device))
    begun = initial(recipe, labels, seed=seed, start=start, weights=weights)
    for stage in recipe.stages:
        freeze(begun.network, stage.train)
        _check_bias(stage, begun.network)
    return begun


def _check_bias(stage: Stage, network: nn.Sequential) -> None:
    """Refuse a head without a bias where a stage fits one.

    Raises:
        ModelError: ``no_bias``.
    """
    fits_bias = stage.fit == "logistic" or stage.is_stratified
    if fits_bias and getattr(network.get_submodule("head"), "bias", None) is None:
        raise ModelError(
            "no_bias",
            f"Expected a head with a bias, which the stage {stage.name} fits, but the network's "
            "has none; build its last layer with bias=True.",
        )


def initial(
    recipe: Recipe,
    labels: LabelSet,
    *,
    seed: int,
    start: Path | None = None,
    weights: Path | None = None,
) -> Start:
    """Build the network of ``recipe`` with what it starts from.

    Raises:
        UsageError: ``no_start`` when the recipe starts from a checkpoint and none is given,
            ``no_weights`` when it starts from a file and none is given,
            ``unknown_initial`` when neither a recipe nor the checkpoint has that name;
            ``unused_option`` for a checkpoint or weights that the recipe does not start from;
            what `models.registry.build` raises.
        ModelError: ``other_network`` or ``other_labels`` when that checkpoint does not fit;
            ``no_head``, ``bad_network`` for a network of others that is no classifier of images.
    """
    _check_given(recipe, start, weights)
    if ":" in recipe.network:
        trust(recipe.network)
    torch.manual_seed(seed_of(seed, "weights", recipe.network))
    if recipe.initial in NO_CHECKPOINT:
        begun = _without_checkpoint(recipe, labels, weights)
    else:
        begun = _from_checkpoint(recipe, labels, start)
    if not is_own(recipe.network):
        check_network(begun.network, len(labels), recipe.preprocessing.size)
    if recipe.dropout is not None:
        return replace(begun, network=with_dropout(begun.network, recipe.dropout))
    return begun


def _check_given(recipe: Recipe, start: Path | None, weights: Path | None) -> None:
    """Refuse a checkpoint or a file that the recipe does not start from."""
    if recipe.initial in NO_CHECKPOINT and start is not None:
        raise UsageError(
            "unused_option",
            f"Expected no checkpoint, since {recipe.name} starts from "
            f"{NO_CHECKPOINT[recipe.initial]}, but got {start}; leave --from out, or choose a "
            "recipe that starts from one.",
        )
    if recipe.initial not in ("imagenet", "file") and weights is not None:
        raise UsageError(
            "unused_option",
            f"Expected no weights file, since {recipe.name} does not start from ImageNet or a "
            f'file, but got {weights}; leave --weights out, or set initial = "file".',
        )
    if recipe.initial == "file" and weights is None:
        raise UsageError(
            "no_weights",
            f"Expected a file of weights, since {recipe.name} starts from one; give it with "
            "--weights FILE.",
        )


def _without_checkpoint(recipe: Recipe, labels: LabelSet, weights: Path | None) -> Start:
    """Begin with random weights, or with those of a library or a file."""
    size, classes = recipe.preprocessing.size, len(labels)
    if recipe.initial == "imagenet":
        imagenet = imagenet_weights(weights)
        network = build(recipe.network, classes, size=size, epsilon=imagenet.epsilon)
        load_pretrained(recipe.network, network, imagenet.tensors)
        origin = f"ImageNet: {imagenet.origin}"
        return Start(network, imagenet.epsilon, origin, imagenet.sha256, {})
    if recipe.initial == "pretrained":
        row = architecture(recipe.network)
        if row.pretrained is None:
            raise ValueError("a recipe that its own checks let through")
        network = row.pretrained(classes, size)
        origin = f"pretrained: {recipe.network} of {row.library} {library_version(row.library)}"
        return Start(network, EPSILON, origin, tensors_hash(network[:-1]), {})
    network = build(recipe.network, classes, size=size, epsilon=EPSILON)
    if recipe.initial == "random" or weights is None:
        return Start(network, EPSILON, "random", "", {})
    match = load_weights(network, weights)
    origin = f"file {weights.name}: {match.line()}"
    return Start(network, EPSILON, origin, match.sha256, {}, notices=(match.line(),))


def _from_checkpoint(recipe: Recipe, labels: LabelSet, start: Path | None) -> Start:
    """Begin with a checkpoint's weights, and with a new head where the recipe wants one."""
    if start is None:
        raise _without_start(recipe)
    checkpoint, network = load_checkpoint(start)
    if (checkpoint.architecture, checkpoint.preprocessing) != (
        recipe.network,
        recipe.preprocessing,
    ):
        raise ModelError(
            "other_network",
            f"Expected a {recipe.network} with {recipe.preprocessing!r} to start from, but "
            f"{start} is a {checkpoint.architecture} with {checkpoint.preprocessing!r}.",
        )
    if recipe.new_head:
        size = recipe.preprocessing.size
        fresh = build(recipe.network, len(labels), size=size, epsilon=checkpoint.epsilon)
        network.head = fresh.head
    elif checkpoint.label_set != labels:
        raise ModelError(
            "other_labels",
            f"Expected the classes {', '.join(labels)} to start from, but {start} has "
            f"{', '.join(checkpoint.labels)}; set new_head = true in the recipe.",
        )
    if recipe.initial not in (*shipped_recipes(), checkpoint.name):
        raise _unknown_initial(recipe, f"--from gives one of {checkpoint.name}")
    origin = f"{checkpoint.name} {checkpoint.weights_sha256[:12]}"
    return Start(network, checkpoint.epsilon, origin, checkpoint.weights_sha256, checkpoint.seen)


def with_dropout(network: nn.Sequential, share: float) -> nn.Sequential:
    """Return a network that drops a share of its features before the head in training.

    Args:
        network: Flat sequence that ends with ``head``.
        share: Share of the features that is dropped; where the network drops some already, its
            own share is replaced.
    """
    children = list(network.named_children())
    last = children[-2][1]
    if isinstance(last, nn.Dropout):
        last.p = share
        return network
    children.insert(-1, ("dropout", nn.Dropout(share)))
    return nn.Sequential(OrderedDict(children))


def tensors_hash(network: nn.Module) -> str:
    """Return one SHA-256 for the weights of a network, by their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _without_start(recipe: Recipe) -> UsageError:
    shipped = shipped_recipes()
    if recipe.initial in shipped:
        return UsageError(
            "no_start",
            f"Expected a checkpoint, since {recipe.name} starts from {recipe.initial}; make one "
            f"with 'cxr train {recipe.initial} ...' and give it with --from.",
        )
    return _unknown_initial(recipe, "there is no --from")


def _unknown_initial(recipe: Recipe, reason: str) -> UsageError:
    names = [*NO_CHECKPOINT, *shipped_recipes()]
    return UsageError(
        "unknown_initial",
        f"Expected initial = {', '.join(names)} or another recipe, whose checkpoint is given with "
        f"--from, but {recipe.name} has {recipe.initial!r}, and {reason}"
        f"{nearest(recipe.initial, names)}.",
    )
