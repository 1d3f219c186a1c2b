"""The models of a node, opened and tried before the first object comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxr_transfer.errors import CxrError
from cxr_transfer.export.self_test import self_test_image
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.prepare import prepare
from cxr_transfer.models.folder import LARGEST_PAGE, read_bytes, strict_json
from cxr_transfer.models.metadata import RELEASED, checkpoint_files, released_models
from cxr_transfer.pacs.answered_image import NOT_DONE, AnsweringModel


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
    opened = {}
    for origin in dict.fromkeys(origins):
        predictor = Predictor.open(origin)
        image = self_test_image()
        predictor.check(prepare(image, predictor.card.preprocessing, quality_control=False))
        audit = _verdict(origin, predictor.card.weights_sha256)
        facts = AnsweringModel.of(predictor, audit=audit)
        opened[origin] = JudgingModel(origin, predictor, facts, Path(origin).suffix != ".xml")
    return opened


def _verdict(origin: str, weights_sha256: str) -> str:
    """Return the verdict of the audit beside a model, if it is of these weights."""
    path = Path(origin)
    if not path.exists() and origin in released_models():
        path = RELEASED / origin
    try:
        folder = path.parent if path.suffix == ".xml" else checkpoint_files(path)[0].parent
        audit = strict_json(read_bytes(folder / "audit.json", most=LARGEST_PAGE))
        if audit["checkpoint"]["weights_sha256"] == weights_sha256:
            return str(audit["verdict"])
    except (CxrError, ValueError, LookupError, TypeError):
        pass
    return NOT_DONE
