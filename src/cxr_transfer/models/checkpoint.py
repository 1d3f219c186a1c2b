"""A trained network on disk: ``checkpoint.safetensors`` (weights) + ``checkpoint.json`` (its card).

Never a pickle, and never a fallback to one. What does not fit is a `ModelError` that names the
difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from cxr_transfer.errors import ModelError
from cxr_transfer.files import write_bytes, write_text
from cxr_transfer.models.card import CARD, WEIGHTS, Checkpoint, checkpoint_files, read_card
from cxr_transfer.models.networks import build


def save_checkpoint(folder: Path, network: nn.Module, card: Mapping[str, Any]) -> Path:
    """Write both files into ``folder``, weights first; the card's hash ties them together.

    Args:
        folder: Run folder.
        network: Its ``state_dict`` is what is kept.
        card: Fields of `Checkpoint` other than ``weights_sha256``.

    Returns:
        Path of the weights file.

    Raises:
        ModelError: ``weights_not_finite``.
        MachineError: ``disk_full``, ``not_writable``.
    """
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    _refuse_non_finite(weights)
    content = safetensors.torch.save(weights, {"labels": json.dumps(list(card["labels"]))})
    checkpoint = Checkpoint(weights_sha256=hashlib.sha256(content).hexdigest(), **card)
    # The old card is wrong for the new weights: a crash in between is found by its hash.
    write_bytes(folder / WEIGHTS, content)
    write_text(folder / CARD, checkpoint.model_dump_json(indent=2) + "\n")
    return folder / WEIGHTS


def load_checkpoint(path: Path) -> tuple[Checkpoint, nn.Sequential]:
    """Load a checkpoint from its weights file, its card, or the run folder that holds both.

    Returns:
        The card, and the network in inference mode.

    Raises:
        ModelError: ``no_checkpoint``, ``not_safetensors``, ``bad_card``, ``newer_schema``,
            ``wrong_hash``, ``corrupt_weights``, ``wrong_labels``, ``wrong_weights``,
            ``weights_not_finite``.
    """
    card_path, weights_path = checkpoint_files(path)
    checkpoint = read_card(card_path)
    content = weights_path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != checkpoint.weights_sha256:
        raise ModelError(
            "wrong_hash",
            f"Expected weights with SHA-256 {checkpoint.weights_sha256[:12]}..., but "
            f"{weights_path} has {found[:12]}...; the file is damaged or of another run.",
        )
    try:
        weights = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ModelError(
            "corrupt_weights", f"Expected safetensors in {weights_path}, but got: {error}."
        ) from None
    _check_labels(checkpoint, content, card_path)
    network = build(
        checkpoint.architecture,
        len(checkpoint.labels),
        size=checkpoint.preprocessing.size,
        epsilon=checkpoint.epsilon,
    )
    fit_weights(network, weights, origin=str(weights_path))
    return checkpoint, network.eval()


def _check_labels(checkpoint: Checkpoint, content: bytes, card_path: Path) -> None:
    # An edited card with the same labels in another order would fit, and name every film wrongly.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    trained = header.get("__metadata__", {}).get("labels")
    if trained is not None and trained != json.dumps(list(checkpoint.labels)):
        raise ModelError(
            "wrong_labels",
            f"Expected the labels {trained} with which these weights were saved, but {card_path} "
            f"has {json.dumps(list(checkpoint.labels))}; take the card that came with them.",
        )


def fit_weights(network: nn.Module, weights: Mapping[str, Tensor], *, origin: str) -> None:
    """Put ``weights`` into ``network``, every tensor in its place.

    Raises:
        ModelError: ``wrong_weights`` naming what is missing, left over or of another shape;
            ``weights_not_finite``.
    """
    own = network.state_dict()
    wrong = [f"missing {name}" for name in own if name not in weights]
    wrong += [f"unknown {name}" for name in weights if name not in own]
    wrong += [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if wrong:
        raise ModelError(
            "wrong_weights",
            f"Expected the weights of this architecture in {origin}, but {len(wrong)} differ: "
            f"{'; '.join(wrong[:5])}.",
        )
    _refuse_non_finite(weights)
    network.load_state_dict(dict(weights))


def _refuse_non_finite(weights: Mapping[str, Tensor]) -> None:
    bad = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ModelError(
            "weights_not_finite",
            f"Expected finite weights, but {', '.join(bad[:5])} hold NaN or infinite values.",
        )
