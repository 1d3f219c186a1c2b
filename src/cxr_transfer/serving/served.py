"""The models that answer: opened, named apart, and tried on one generated film each.

Comes in: names and paths. Goes out: `Served` models. Knows nothing of requests.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxr_transfer import DEFAULT_MODEL
from cxr_transfer.collections.phantom import draw_film
from cxr_transfer.errors import CxrError, ModelError, UsageError
from cxr_transfer.inference.converted import sha256
from cxr_transfer.inference.predictor import Prediction, Predictor
from cxr_transfer.inference.preparation import prepare
from cxr_transfer.models.card import checkpoint_files, read_card

SAME_SCORE = 1e-4
"""Scores of one film may differ by so much between batches of different sizes."""

NOT_DONE = "not done"


@dataclass(frozen=True, eq=False)
class Served:
    """A model that answers.

    Attributes:
        name: By which it is asked for.
        given: As it was given: where it can be opened again.
        predictor: The model itself.
        tried: What it answered for the generated film when it was opened.
        explains: Whether it can draw heat maps.
    """

    name: str
    given: str
    predictor: Predictor
    tried: Prediction
    explains: bool

    def described(self) -> dict[str, Any]:
        """Return what clients are told of it."""
        card = self.predictor.card
        return {
            "name": self.name,
            "model": self.predictor.model,
            "title": str(card.recipe.get("title", card.name)),
            "labels": list(card.labels),
            "weights_sha256": card.weights_sha256,
            "calibrated": self.predictor.calibrated,
            "explains": self.explains,
            "audit": _verdict(Path(self.given), card.weights_sha256),
            "size": list(card.preprocessing.size),
            "notes": list(self.predictor.notes),
        }

    def answers_as_tried(self, answer: Prediction) -> bool:
        """Tell whether ``answer`` for the generated film is the one from when it was opened."""
        return (
            (answer.status, answer.code) == (self.tried.status, self.tried.code)
            and answer.probabilities.keys() == self.tried.probabilities.keys()
            and all(
                abs(score - self.tried.probabilities[label]) <= SAME_SCORE
                for label, score in answer.probabilities.items()
            )
        )


def open_models(given: Sequence[str | Path]) -> list[Served]:
    """Open models; the first one answers where none is named.

    Raises:
        UsageError: ``same_model_twice``.
        ModelError: What reading a model raises.
    """
    wanted = [str(model) for model in given] or [DEFAULT_MODEL]
    for model in wanted:
        _check_weights(model)
    predictors = [Predictor.open(model) for model in wanted]
    names = _names(predictors)
    film = generated_film()
    return [
        Served(
            name,
            model,
            predictor,
            # Whatever the gate thinks of it: it is the network that is tried.
            predictor.answers([prepare(film, predictor.card.preprocessing, gate=False)])[0],
            explains=Path(model).suffix != ".xml",
        )
        for name, model, predictor in zip(names, wanted, predictors, strict=True)
    ]


def generated_film() -> bytes:
    """Return the film that models are tried on, as a PNG: the same one every time."""
    content = io.BytesIO()
    film = draw_film("normal", rng=np.random.default_rng(0))
    Image.fromarray(film).save(content, "PNG")
    return content.getvalue()


def _check_weights(model: str) -> None:
    """Refuse damaged weights now: a kept conversion would hide them, and torch is slow to say it.

    Raises:
        ModelError: ``wrong_hash``, and what finding and reading the card raises.
    """
    if Path(model).suffix == ".xml":
        return
    card, weights = checkpoint_files(Path(model))
    if sha256(weights) != read_card(card).weights_sha256:
        raise ModelError(
            "wrong_hash",
            f"Expected the weights that {card} describes, but {weights} has other bytes; it is "
            "damaged or of another run: copy it anew.",
        )


def _names(predictors: Sequence[Predictor]) -> list[str]:
    """Return the models' names, with digits of their hash where two have the same."""
    plain = [predictor.card.name for predictor in predictors]
    names = [
        name if plain.count(name) == 1 else f"{name}@{predictor.card.weights_sha256[:8]}"
        for name, predictor in zip(plain, predictors, strict=True)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            "same_model_twice",
            f"Expected models that differ, but got {', '.join(twice)} more than once; name each "
            "once.",
        )
    return names


def _verdict(model: Path, weights_sha256: str) -> str:
    """Return the verdict of the audit that is kept beside a model, if it is of these weights."""
    try:
        folder = checkpoint_files(model)[0].parent if model.suffix != ".xml" else model.parent
        audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
        known = audit["checkpoint"]["weights_sha256"] == weights_sha256
        return str(audit["verdict"]) if known else NOT_DONE
    except (CxrError, OSError, ValueError, LookupError, TypeError):
        return NOT_DONE
