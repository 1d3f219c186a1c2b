"""Any model that is to be judged: a checkpoint, several as one, or a network that was exported.

In comes a path; out go class scores and features of images, and what the model declares of the
images that it was trained on. Trains nothing and knows no metric.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.evaluation.evaluated import Member, open_evaluated, seen_in_training
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.export.metadata import ExportMetadata, read_export_metadata, read_onnx_metadata
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.forward import OnImages
from cxr_transfer.models.metadata import RELEASED, Checkpoint
from cxr_transfer.models.reference import TrainingReference, reference_beside
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.run_folder import parts, run_folder
from cxr_transfer.statistics.temperature import at_temperature

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]

EXPORTED = (".xml", ".onnx")
"""Endings of networks that were exported and can be scored here."""

RELEASED_PREFIX = "released:"
"""Before the name of a released model, since recipes have the same names."""

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Opinion:
    """Answers of one network for N images.

    Attributes:
        own: Scores (N, C) as the network gives them.
        given: Scores at the network's temperature.
        features: Features that its head sees (N, F); None where nothing reads them.
    """

    own: Floats
    given: Floats
    features: npt.NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class JudgedModel:
    """A model that is judged.

    Attributes:
        name: Name for reports.
        cards: Card of each of its networks.
        temperature: Temperature at which its scores are given; None of several networks, each of
            which has its own.
        confidence_threshold: Limit of the highest score below which no class is given.
        reference: Reference of its training images; None where there is none, or for several.
        trained_on: Number of images of training and validation by source, where that is known.
        opinions: Function that returns what each of its networks says of images (N, 1, H, W); it is
            told whether features are wanted, and what is called with the number of images that a
            network is done with.
    """

    name: str
    cards: tuple[Checkpoint, ...]
    temperature: float | None
    confidence_threshold: float | None
    reference: TrainingReference | None
    trained_on: Mapping[str, int]
    opinions: Callable[[Images, bool, OnImages], Sequence[Opinion]]

    @property
    def labels(self) -> LabelSet:
        """Classes in index order."""
        return self.cards[0].label_set

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of all its networks."""
        return self.cards[0].preprocessing

    @property
    def has_features(self) -> bool:
        """Whether anything reads the features: the training reference."""
        return self.reference is not None

    def scored(self, images: Images, *, with_features: bool, on_image: OnImages) -> Opinion:
        """Return what the model says: of several networks the mean of their calibrated scores.

        Args:
            images: Images after preprocessing, (N, 1, H, W).
            with_features: Whether the features are wanted, where anything reads them.
            on_image: Function that is called with the number of images that a network is done with.
        """
        opinions = self.opinions(images, with_features and self.has_features, on_image)
        if len(opinions) == 1:
            return opinions[0]
        mean = np.mean([opinion.given for opinion in opinions], axis=0)
        return Opinion(mean, mean, None)

    def seen(self, cases: Sequence[Case]) -> npt.NDArray[np.bool_]:
        """Return for every (indexed) case whether training saw its image or its patient, (N,)."""
        by_member = np.array([seen_in_training(card, cases) for card in self.cards], dtype=np.bool_)
        return np.asarray(by_member.any(axis=0))

    @property
    def declared(self) -> str:
        """Sentence on what it declares of its training."""
        images = {name for card in self.cards for name in card.seen.get("images", ())}
        patients = {name for card in self.cards for name in card.seen.get("patients", ())}
        if not images and not patients:
            return (
                f"{self.name} declares nothing of what it was trained on: whether it met these "
                "images is not known."
            )
        return (
            f"{self.name} declares {len(images)} images of {len(patients)} patients that its "
            "training saw, by hashes."
        )


def open_judged(model: str, device: str) -> JudgedModel:
    """Open a model.

    Args:
        model: Run folder, checkpoint, folder of several, `RELEASED_PREFIX` and the name of a
            released model, or an exported ``.xml`` or ``.onnx``.
        device: Device as torch names it.

    Raises:
        ModelError: What `open_evaluated`, `read_export_metadata` and `Engine` raise.
    """
    path = Path(model)
    if model.startswith(RELEASED_PREFIX):
        path = RELEASED / model.removeprefix(RELEASED_PREFIX)
    if path.suffix in EXPORTED:
        return _exported(path)
    evaluated = open_evaluated(path)
    reference = evaluated.reference
    return JudgedModel(
        name=evaluated.name,
        cards=tuple(member.checkpoint for member in evaluated.members),
        temperature=reference.temperature if reference else None,
        confidence_threshold=reference.confidence_threshold if reference else None,
        reference=reference,
        trained_on=_trained_on(evaluated.members),
        opinions=lambda images, with_features, on_image: [
            _opinion(member, images, device, with_features, on_image)
            for member in evaluated.members
        ],
    )


def _opinion(
    member: Member, images: Images, device: str, with_features: bool, on_image: OnImages
) -> Opinion:
    scorer = Scorer(member.network or load_checkpoint(member.path)[1], device)
    scorer.on_image = on_image
    own, seen = (
        scorer.exact_with_features(images) if with_features else (scorer.exact(images), None)
    )
    return Opinion(own, at_temperature(own, member.temperature), seen)


def _trained_on(members: Sequence[Member]) -> dict[str, int]:
    """Return the images of training and validation by source, over all members."""
    counts: Counter[str] = Counter()
    for member in members:
        counts |= Counter(
            row.source for row in parts(run_folder(member.path)) if row.split != "test"
        )
    return dict(sorted(counts.items()))


def _exported(path: Path) -> JudgedModel:
    converted: ExportMetadata = (
        read_onnx_metadata(path) if path.suffix == ".onnx" else read_export_metadata(path)
    )
    engine = Engine(path)
    reference = None
    # An int8 network's features lie elsewhere: that reference would misjudge them.
    if converted.precision == "float32":
        beside = reference_beside(path, converted.card.weights_sha256)
        reference = beside[1] if beside else None

    def opinions(images: Images, with_features: bool, on_image: OnImages) -> list[Opinion]:
        answers = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            answers.append(engine.answer(batch))
            on_image(len(batch))
        own = np.concatenate([scores for scores, _ in answers]).astype(np.float64)
        seen = np.concatenate([batch for _, batch in answers]) if with_features else None
        return [Opinion(own, at_temperature(own, converted.temperature), seen)]

    return JudgedModel(
        name=converted.card.name,
        cards=(converted.card,),
        temperature=converted.temperature,
        confidence_threshold=converted.confidence_threshold,
        reference=reference,
        trained_on={},
        opinions=opinions,
    )
