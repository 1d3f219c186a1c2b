"""The methods paragraph of a publication, filled from a run; the record of its seeds and hashes.

Every number stands in the run's own JSON. The words: ``methods.md.j2``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from cxr_transfer.evaluation.rendering import render
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.provenance import short
from cxr_transfer.statistics.intervals import DIFFERENCES, INTERVALS

Kind = Literal["evaluation", "study", "cross-validation"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOLD = frozenset(
    {
        *("name", "title", "network", "dataset", "initial", "new_head", "preprocessing"),
        *("coverage", "labels", "stages"),
        *("fit", "penalty", "background_swap", "train", "learning_rate", "batch_size"),
        *("max_epochs", "stop_after", "reduce_after", "reduce_factor", "keep"),
        *("height", "width", "crop", "detail", "equalise"),
    }
)
"""Keys of a recipe that the template has words for; others are told as they are."""


def methods(
    kind: Kind,
    content: Mapping[str, Any],
    flow: Mapping[str, Any],
    checkpoints: Mapping[str, Checkpoint],
) -> str:
    """Return the methods paragraph, Markdown.

    Args:
        kind: What was done.
        content: Content of ``report.json``.
        flow: Numbers of `datasets.flow`.
        checkpoints: Metadata of every checkpoint that was trained or scored, by its run.
    """
    # Several runs of one recipe have one description.
    models = {card.name: _model(card) for card in checkpoints.values()}
    return render(
        "methods.md.j2",
        kind=kind,
        content=content,
        flow=flow,
        models=list(models.values()),
        runs=record(content, checkpoints)["runs"],
        intervals=INTERVALS,
        differences=DIFFERENCES,
        commit=short(content["commit"]),
    )


def record(content: Mapping[str, Any], checkpoints: Mapping[str, Checkpoint]) -> dict[str, Any]:
    """Return every seed and hash, for JSON.

    Args:
        content: Content of ``report.json``.
        checkpoints: Metadata of every checkpoint that was trained or scored, by its run.
    """
    kept = ("seed", "seeds", "data_hash", "commit", "versions", "machine", "device", "precision")
    return {name: content[name] for name in kept if name in content} | {
        "runs": [
            {
                "run": name,
                "model": card.name,
                "seed": card.provenance.get("seed"),
                "weights_sha256": card.weights_sha256,
                "data_hash": _hash(card.data.get("data_hash")),
                "split_hash": _hash(card.data.get("split_hash")),
                "commit": card.provenance.get("commit"),
                "initial": card.provenance.get("initial"),
            }
            for name, card in checkpoints.items()
        ]
    }


def _hash(value: object) -> str | None:
    """Return a hash of a card as it is; None where it is none."""
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else None


def _model(card: Checkpoint) -> dict[str, Any]:
    # A card that somebody else made may hold other kinds of values.
    recipe, images, stages = card.recipe, card.data.get("images"), card.recipe.get("stages")
    return {
        "name": card.name,
        "architecture": card.architecture,
        "labels": card.labels,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "initial": card.provenance.get("initial"),
        "data": card.data,
        "images": images if isinstance(images, dict) else {},
        "further": _further(recipe),
        "stages": [
            dict(stage) | {"further": _further(stage)}
            for stage in (stages if isinstance(stages, list) else ())
            if isinstance(stage, dict)
        ],
    }


def _further(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a recipe or a stage says beyond the keys that there are words for."""
    return [
        (key, str(value))
        for key, value in table.items()
        if key not in _TOLD and value not in (None, False, 0, "", [], {})
    ]
