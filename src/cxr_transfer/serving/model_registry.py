"""The models that answer: opened, named apart, and known again by the scores of one image.

Comes in: names and paths. Goes out: `ServedModel` models. Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer.about import DEFAULT_MODEL
from cxr_transfer.errors import CxrError, UsageError, check_list
from cxr_transfer.export.metadata import read_export_metadata
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.prepare import prepare
from cxr_transfer.models.folder import LARGEST_PAGE, read_bytes, strict_json
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files, read_card
from cxr_transfer.serving.schemas import AuditFound

NOT_DONE = "not done"


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that answers.

    Attributes:
        name: Name by which clients ask for it.
        origin: Name or path as it was given, by which it can be opened again.
        predictor: Predictor of the model.
        explains: Whether it can draw heat maps.
    """

    name: str
    origin: str
    predictor: Predictor
    explains: bool

    def described(self) -> dict[str, Any]:
        """Return the facts of it that clients get."""
        card = self.predictor.card
        return {
            "name": self.name,
            "model": self.predictor.model,
            "title": str(card.recipe.get("title", card.name)),
            "labels": list(card.labels),
            "task": card.task,
            "thresholds": self.predictor.thresholds,
            "weights_sha256": card.weights_sha256,
            "calibrated": self.predictor.calibrated,
            "score_scale": self.predictor.score_scale,
            "score_errors": self._score_errors(),
            "explains": self.explains,
            "audit": (self.audit() or {"verdict": NOT_DONE})["verdict"],
            "card": self.card() is not None,
            "size": list(card.preprocessing.size),
            "notes": list(self.predictor.notes),
        }

    def _score_errors(self) -> list[dict[str, Any]] | None:
        reference = self.predictor.reference
        if reference is None or reference.score_errors is None:
            return None
        return [band.model_dump() for band in reference.score_errors]

    def audit(self) -> dict[str, Any] | None:
        """Return what the audit beside it says in words, if it is of these weights.

        What it measured stays away: that may name images, and so people.
        """
        try:
            content = strict_json(self._beside("audit.json"))
            if content["checkpoint"]["weights_sha256"] != self.predictor.card.weights_sha256:
                return None
            audit = AuditFound.model_validate(content | {"model": self.predictor.model})
        except (CxrError, ValueError, LookupError, TypeError):
            return None
        return audit.model_dump()

    def card(self) -> str | None:
        """Return the model card beside it, if it is of these weights."""
        try:
            text = self._beside("MODEL_CARD.md").decode()
        except (CxrError, ValueError):
            return None
        return text if self.predictor.card.weights_sha256 in text else None

    def _beside(self, name: str) -> bytes:
        model = Path(self.origin)
        folder = model.parent if model.suffix == ".xml" else checkpoint_files(model)[0].parent
        return read_bytes(folder / name, most=LARGEST_PAGE)


def named_models(models: Sequence[str | Path]) -> dict[str, str]:
    """Return the names under which models will answer, and how each was given, in order.

    Only their cards are read: that takes no time beside opening them.

    Raises:
        TypeError: One model where a list is meant.
        UsageError: ``same_model_twice``.
        ModelError: What reading a card raises.
    """
    check_list(models, "models")
    wanted = [str(model) for model in models] or [DEFAULT_MODEL]
    return dict(zip(_names([_card(Path(model)) for model in wanted]), wanted, strict=True))


def open_model(name: str, origin: str, self_test: bytes) -> ServedModel:
    """Open a model, and try it.

    Args:
        name: Name under which it will answer.
        origin: Name or path as it was given.
        self_test: Self-test image.

    Raises:
        ModelError: What reading a model raises; ``self_test`` where it scores the self-test image
            otherwise than its checkpoint did.
    """
    predictor = Predictor.open(origin)
    # Whatever quality control thinks of it: it is the network that is tried.
    predictor.check(prepare(self_test, predictor.card.preprocessing, quality_control=False))
    return ServedModel(name, origin, predictor, explains=Path(origin).suffix != ".xml")


def _card(model: Path) -> Checkpoint:
    if model.suffix == ".xml":
        return read_export_metadata(model).card
    return read_card(checkpoint_files(model)[0])


def _names(cards: Sequence[Checkpoint]) -> list[str]:
    """Return the models' names, with digits of their hash where two have the same."""
    plain = [card.name for card in cards]
    names = [
        name if plain.count(name) == 1 else f"{name}@{card.weights_sha256[:8]}"
        for name, card in zip(plain, cards, strict=True)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            "same_model_twice",
            f"Expected models that differ, but got {', '.join(twice)} more than once; name each "
            "once.",
        )
    return names
