"""A network in OpenVINO's form on disk: ``NAME.xml``, ``NAME.bin`` (weights) and ``NAME.json``.

The JSON holds the card of the checkpoint, how the conversion was checked, and the hashes of the
other two. Knows nothing of torch, nor of how films are read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cxr_transfer.errors import ModelError
from cxr_transfer.files import cache_folder
from cxr_transfer.models.card import Checkpoint

Weights = Literal["float32", "int8"]


class Converted(BaseModel):
    """What is known of a converted network.

    Attributes:
        schema_version: Of this file.
        precision: Of weights and activations in the graph.
        check: Films compared with the checkpoint's own network, largest difference of a score,
            share of films with the same class.
        sha256: Of the ``.xml`` and of the ``.bin``.
        card: Of the checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    precision: Weights
    check: dict[str, Any]
    sha256: dict[Literal["xml", "bin"], str]
    card: Checkpoint


def read_converted(path: Path) -> Converted:
    """Read what stands beside the graph ``path`` (.xml), and check both its files.

    Raises:
        ModelError: ``no_model``, ``bad_card``, ``wrong_hash``.
    """
    absent = [
        str(file)
        for file in (path, path.with_suffix(".bin"), path.with_suffix(".json"))
        if not file.is_file()
    ]
    if absent:
        raise ModelError(
            "no_model",
            f"Expected a converted network at {path}, but there is no {' and no '.join(absent)}; "
            "make one with 'cxr export', or give a run folder.",
        )
    card = path.with_suffix(".json")
    try:
        converted = Converted.model_validate(json.loads(card.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            "bad_card",
            f"Expected a converted network's fields in {card}, but {where}: {first['msg']}.",
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError("bad_card", f"Expected JSON in {card}, but got: {error}.") from None
    for suffix, expected in converted.sha256.items():
        if sha256(path.with_suffix(f".{suffix}")) != expected:
            raise ModelError(
                "wrong_hash",
                f"Expected {path.with_suffix(f'.{suffix}')} as it was exported, but it has "
                "other bytes; it is damaged or of another network: export it anew.",
            )
    return converted


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def kept_conversion(card: Checkpoint) -> Path:
    """Return where the conversion of a checkpoint is kept, whether it is there yet or not."""
    return cache_folder() / "converted" / card.weights_sha256 / "float32.xml"
