"""The models of a node, opened and tried before the first object comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxr_transfer.export.self_test import self_test_image
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.prepare import prepare
from cxr_transfer.pacs.answered_image import AnsweringModel


@dataclass(frozen=True, eq=False)
class JudgingModel:
    """A model that answers for objects.

    Attributes:
        origin: Name or path as it was given, by which it can be opened again.
        predictor: Predictor of the model.
        facts: Facts of it that stand in answers.
        explains: Whether it can draw heat maps.
    """

    origin: str
    predictor: Predictor
    facts: AnsweringModel
    explains: bool


def open_models(origins: Iterable[str]) -> dict[str, JudgingModel]:
    """Open models by their names or paths, each once.

    Raises:
        ModelError: What reading a model raises; ``self_test`` where it scores the self-test image
            otherwise than its checkpoint did.
    """
    opened, image = {}, self_test_image()
    for origin in dict.fromkeys(origins):
        predictor = Predictor.open(origin)
        predictor.check(prepare(image, predictor.card.preprocessing, quality_control=False))
        facts = AnsweringModel.opened(predictor, origin)
        opened[origin] = JudgingModel(origin, predictor, facts, Path(origin).suffix != ".xml")
    return opened
