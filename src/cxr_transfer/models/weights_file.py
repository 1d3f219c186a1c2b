"""Weights of a file into a network: what fits is taken by name and shape, and the rest is listed.

A ``.safetensors`` file, or PyTorch's ``.pt``/``.pth``, of which tensors are read and no code is
run. Names may have the prefixes that training scripts put before them. Knows no recipe.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from cxr_transfer.errors import ModelError, UsageError, listing
from cxr_transfer.models.folder import LARGEST_WEIGHTS, read_bytes
from cxr_transfer.text import for_terminal

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")
"""Prefixes of names that wrappers and training scripts add: taken away where that fits better."""

TABLES = ("state_dict", "model_state_dict", "model", "weights")
"""Keys under which a file may keep its weights beside other things."""

ENOUGH = 0.5
"""Least share of the body's weights that a file must hold; below it the file is of another
network, and what little fits does so by chance."""


@dataclass(frozen=True)
class Match:
    """Tensors of a file that found a place in a network, and those that did not.

    Attributes:
        taken: Names of the network's tensors that were taken from the file.
        drawn: Names of the network's tensors that the file does not have, or in another shape.
        unused: Names in the file that have no place in the network.
        sha256: SHA-256 of the file.
    """

    taken: tuple[str, ...]
    drawn: tuple[str, ...]
    unused: tuple[str, ...]
    sha256: str

    def line(self) -> str:
        """Return the match as a sentence."""
        parts = [f"{len(self.taken)} of {len(self.taken) + len(self.drawn)} tensors taken"]
        if self.drawn:
            parts.append(f"as they were drawn: {listing([*map(for_terminal, self.drawn)])}")
        if self.unused:
            parts.append(f"without a place: {listing([*map(for_terminal, self.unused)])}")
        return "; ".join(parts)


def load_weights(network: nn.Module, path: Path) -> Match:
    """Put what fits of a file into a network.

    Args:
        network: Network; weights that the file does not have stay as they are.
        path: File of weights, ``.safetensors``, ``.pt``, ``.pth`` or ``.bin``.

    Raises:
        UsageError: ``not_weights`` for a file of another kind.
        ModelError: ``corrupt_weights``; ``foreign_weights`` where less than half of the body's
            weights are in the file; ``weights_not_finite``; what `models.folder.opened` raises.
    """
    if path.suffix not in (".safetensors", ".pt", ".pth", ".bin"):
        raise UsageError(
            "not_weights",
            f"Expected a file of weights (.safetensors, .pt, .pth), but got {path}; export the "
            "weights of your network as one of these.",
        )
    content = read_bytes(path, most=LARGEST_WEIGHTS)
    tensors = _tensors(content, path)
    own = network.state_dict()
    tensors = max(
        _spellings(tensors),
        key=lambda renamed: sum(_fits(own.get(name), tensor) for name, tensor in renamed.items()),
    )
    fitting = {name: tensor for name, tensor in tensors.items() if _fits(own.get(name), tensor)}
    drawn = tuple(name for name in own if name not in fitting)
    body = [name for name in own if not name.startswith("head.")]
    if sum(name in fitting for name in body) < ENOUGH * len(body):
        raise ModelError(
            "foreign_weights",
            f"Expected weights of this network in {path}, but {len(fitting)} of {len(own)} "
            f"tensors fit; missing: {listing([*map(for_terminal, drawn)])}; choose the network "
            "that the file is of.",
        )
    wrong = [name for name, tensor in fitting.items() if not bool(torch.isfinite(tensor).all())]
    if wrong:
        raise ModelError(
            "weights_not_finite",
            f"Expected finite weights in {path}, but {listing(wrong)} hold NaN or infinity; take "
            "another file.",
        )
    network.load_state_dict(fitting, strict=False)
    unused = tuple(name for name in tensors if name not in fitting)
    return Match(tuple(fitting), drawn, unused, hashlib.sha256(content).hexdigest())


def _fits(own: Tensor | None, tensor: Tensor) -> bool:
    return own is not None and own.shape == tensor.shape


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by their names; no code of it is run."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols: what is no table of tensors is refused
            table: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (
        safetensors.SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
    ) as error:
        # What PyTorch says next is how to run the code after all.
        message = (
            "it holds more than tensors" if isinstance(error, pickle.UnpicklingError) else error
        )
        reason = for_terminal(" ".join(str(message).split()))[:200]
        raise ModelError(
            "corrupt_weights",
            f"Expected tensors in {path} that can be read without running code, but got: {reason}; "
            "save the state_dict alone, best as .safetensors.",
        ) from None
    for key in TABLES:
        if isinstance(table, Mapping) and isinstance(table.get(key), Mapping):
            table = table[key]
    if not isinstance(table, Mapping) or not any(
        isinstance(tensor, Tensor) for tensor in table.values()
    ):
        raise ModelError(
            "corrupt_weights",
            f"Expected a table of tensors in {path}, but got {type(table).__name__}; save the "
            "state_dict of the network.",
        )
    return {str(name): tensor for name, tensor in table.items() if isinstance(tensor, Tensor)}


def _spellings(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the tensors under each name that they may have: with prefixes taken away or added."""
    spellings = [tensors]
    for prefix in PREFIXES:
        spellings += [
            {name.removeprefix(prefix): tensor for name, tensor in spelled.items()}
            for spelled in list(spellings)
            if any(name.startswith(prefix) for name in spelled)
        ]
    spellings += [
        {f"body.module.{name}": tensor for name, tensor in spelled.items()}
        for spelled in list(spellings)
    ]
    return spellings
