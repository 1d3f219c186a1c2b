"""The methods paragraph of a publication, filled from a run; the record of its seeds and hashes.

Every number stands in the run's own JSON. The words: ``methods.md.j2``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic.fields import FieldInfo

from cxr_transfer.evaluation.rendering import render
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.provenance import short
from cxr_transfer.statistics.intervals import DIFFERENCES, INTERVALS
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.stage_recipe import MONITORS, Stage

Kind = Literal["evaluation", "study", "cross-validation"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_RECIPE = frozenset(
    {
        *("name", "title", "network", "dataset", "initial", "preprocessing"),
        *("augmentation", "stages"),
    }
)
_STAGE = frozenset(
    {
        *("name", "fit", "train", "optimizer", "learning_rate", "schedule", "batch_size"),
        *("max_epochs", "stop_after", "reduce_after", "reduce_factor", "monitor", "keep"),
        *("penalty", "background_swap"),
    }
)
"""Keys of a recipe and of a stage that the template has words for; others are told as they are."""


def methods(
    kind: Kind,
    content: Mapping[str, Any],
    flow: Mapping[str, Any],
    checkpoints: Mapping[str, Checkpoint],
) -> str:
    """Return the methods paragraph, Markdown.

    Args:
        kind: Kind of the work that is reported.
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
        monitors=MONITORS,
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
    recipe, images = card.recipe, card.data.get("images")
    stages, augmentation = recipe.get("stages"), recipe.get("augmentation")
    return {
        "name": card.name,
        "architecture": card.architecture,
        "labels": card.labels,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "initial": card.provenance.get("initial"),
        "data": card.data,
        "images": images if isinstance(images, dict) else {},
        "further": _further(recipe, Recipe.model_fields, _RECIPE),
        "augmentation": augmentation if isinstance(augmentation, dict) else {},
        "stages": [
            dict(stage) | {"further": _further(stage, Stage.model_fields, _STAGE)}
            for stage in (stages if isinstance(stages, list) else ())
            if isinstance(stage, dict)
        ],
    }


def _further(
    table: Mapping[str, Any], fields: Mapping[str, FieldInfo], described: frozenset[str]
) -> list[tuple[str, str]]:
    """Return the keys that have no words of their own and are not as they are by default."""
    defaults = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
    return [
        (key, str(value))
        for key, value in table.items()
        if key not in described and value is not None and value != defaults.get(key)
    ]
