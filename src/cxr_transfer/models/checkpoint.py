"""A trained network on disk: ``checkpoint.safetensors`` (weights) + ``checkpoint.json`` (its card).

Never a pickle, and never a fallback to one. What does not fit is a `ModelError` that names the
difference.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from cxr_transfer.errors import ModelError
from cxr_transfer.files import write_bytes, write_text
from cxr_transfer.models.folder import (
    LARGEST_WEIGHTS,
    other_types,
    read_bytes,
    safetensors_header,
)
from cxr_transfer.models.metadata import (
    CARD,
    WEIGHTS,
    Checkpoint,
    check_hash,
    checkpoint_files,
    first_problem,
    read_card,
)
from cxr_transfer.models.registry import build, is_own
from cxr_transfer.models.released import weights_at_hand
from cxr_transfer.text import for_terminal

REAL, COUNTED = ("F32", "F16"), ("I64",)
"""Types of weights that are taken: half precision is widened without loss; and of counters."""


def save_checkpoint(folder: Path, network: nn.Module, card: Mapping[str, Any]) -> Path:
    """Write both files into ``folder``, weights first; the card's hash ties them together.

    Args:
        folder: Run folder.
        network: Network whose ``state_dict`` is kept.
        card: Fields of `Checkpoint` other than ``weights_sha256``.

    Returns:
        Path of the weights file.

    Raises:
        ModelError: ``weights_not_finite``; ``bad_card`` for fields that `read_card` would refuse.
        MachineError: ``disk_full``, ``not_writable``.
    """
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    _refuse_non_finite(weights)
    content = safetensors.torch.save(weights, {"labels": json.dumps(list(card["labels"]))})
    try:
        checkpoint = Checkpoint(weights_sha256=hashlib.sha256(content).hexdigest(), **card)
    except ValidationError as error:
        raise ModelError(
            "bad_card", f"Expected the fields of a checkpoint, but {first_problem(error)}."
        ) from None
    # The old card is wrong for the new weights: a crash in between is found by its hash.
    write_bytes(folder / WEIGHTS, content)
    write_text(folder / CARD, checkpoint.model_dump_json(indent=2) + "\n")
    return folder / WEIGHTS


def load_checkpoint(path: Path) -> tuple[Checkpoint, nn.Sequential]:
    """Load a checkpoint from its weights file, its card, or the run folder that holds both.

    Returns:
        The card, and the network in inference mode.

    Raises:
        ModelError: ``no_checkpoint``, ``not_safetensors``, ``bad_card``, ``other_schema``,
            ``wrong_hash``, ``corrupt_weights``, ``wrong_labels``, ``wrong_weights``,
            ``wrong_type``, ``weights_not_finite``, and what `weights_at_hand` and
            `models.folder.opened` raise.
        MachineError: What `weights_at_hand` raises.
    """
    card_path, weights_path = checkpoint_files(path)
    checkpoint = read_card(card_path)
    content = read_bytes(weights_at_hand(checkpoint, weights_path), most=LARGEST_WEIGHTS)
    check_hash(checkpoint, hashlib.sha256(content).hexdigest(), weights_path)
    try:
        tensors, metadata = safetensors_header(content)
    except ValueError as error:
        raise _corrupt(weights_path, error) from None
    _check_labels(checkpoint, metadata.get("labels"), card_path)
    # First without memory: what the file holds is known to fit before any of it is made. How a
    # network of another package falls into parts is found out by running it: it is made at once.
    with torch.device("meta") if is_own(checkpoint.architecture) else contextlib.nullcontext():
        outline = _built(checkpoint).state_dict()
    _check_tensors(tensors, outline, str(weights_path))
    try:
        weights = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise _corrupt(weights_path, error) from None
    network = _built(checkpoint)
    fit_weights(network, weights, origin=str(weights_path))
    return checkpoint, network.eval()


def _built(checkpoint: Checkpoint) -> nn.Sequential:
    return build(
        checkpoint.architecture,
        len(checkpoint.labels),
        size=checkpoint.preprocessing.size,
        epsilon=checkpoint.epsilon,
    )


def _corrupt(path: Path, error: Exception) -> ModelError:
    reason = for_terminal(str(error))
    return ModelError("corrupt_weights", f"Expected safetensors in {path}, but got: {reason}.")


def _check_labels(checkpoint: Checkpoint, trained: str | None, card_path: Path) -> None:
    # An edited card with the same labels in another order would fit, and name every image wrongly.
    if trained is not None and trained != json.dumps(list(checkpoint.labels)):
        raise ModelError(
            "wrong_labels",
            f"Expected the labels {for_terminal(trained)[:200]} with which these weights were "
            f"saved, but {card_path} has {json.dumps(list(checkpoint.labels))}; take the card that "
            "came with them.",
        )


def _check_tensors(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], own: Mapping[str, Tensor], origin: str
) -> None:
    """Refuse a file whose tensors have other names, shapes or types than a network's.

    Raises:
        ModelError: ``wrong_weights`` naming what is missing, left over or of another shape;
            ``wrong_type`` naming what is of another type.
    """
    _check_shapes({name: shape for name, (_, shape) in tensors.items()}, own, origin)
    others = other_types(
        tensors, lambda name: REAL if own[name].dtype.is_floating_point else COUNTED
    )
    if others:
        raise ModelError(
            "wrong_type",
            f"Expected weights in {origin} as they were trained, but {len(others)} are of another "
            f"type: {'; '.join(others[:5])}; save them in float32.",
        )


def _check_shapes(
    shapes: Mapping[str, tuple[int, ...]], own: Mapping[str, Tensor], origin: str
) -> None:
    wrong = [f"missing {name}" for name in own if name not in shapes]
    wrong += [f"unknown {for_terminal(name)[:100]}" for name in shapes if name not in own]
    wrong += [
        f"{name} is {shapes[name]}, not {tuple(own[name].shape)}"
        for name in own
        if name in shapes and shapes[name] != tuple(own[name].shape)
    ]
    if wrong:
        raise ModelError(
            "wrong_weights",
            f"Expected the weights of this architecture in {origin}, but {len(wrong)} differ: "
            f"{'; '.join(wrong[:5])}.",
        )


def fit_weights(network: nn.Module, weights: Mapping[str, Tensor], *, origin: str) -> None:
    """Put ``weights`` into ``network``, every tensor in its place.

    Raises:
        ModelError: ``wrong_weights`` naming what is missing, left over or of another shape;
            ``weights_not_finite``.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    _check_shapes(shapes, network.state_dict(), origin)
    _refuse_non_finite(weights)
    network.load_state_dict(dict(weights))


def _refuse_non_finite(weights: Mapping[str, Tensor]) -> None:
    bad = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ModelError(
            "weights_not_finite",
            f"Expected finite weights, but {', '.join(bad[:5])} hold NaN or infinite values.",
        )
