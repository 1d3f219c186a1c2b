"""A subject: whatever gives class scores of radiographs and is to be judged.

Audits, external validation and acceptance ask it alone, so that each of them judges every kind of
model. Knows no file and no library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from cxr_transfer.datasets.case import Case
from cxr_transfer.evaluation.evaluated import seen_in_training
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.forward import OnImages
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.predictions import CaseScores
from cxr_transfer.statistics.findings import absence_and_finding
from cxr_transfer.statistics.temperature import score_scale
from cxr_transfer.subjects.description import Description
from cxr_transfer.subjects.input_variants import ScoreAs

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]

Kind = Literal[
    "checkpoint",
    "ensemble",
    "export",
    "openvino",
    "onnx",
    "torchscript",
    "keras",
    "function",
    "server",
    "kserve",
    "scores",
]

TITLES: Mapping[Kind, str] = {
    "checkpoint": "a checkpoint of this package",
    "ensemble": "several checkpoints of this package as one",
    "export": "an exported network of this package",
    "openvino": "a network in OpenVINO's form",
    "onnx": "a network in ONNX's form",
    "torchscript": "a network in TorchScript's form",
    "keras": "a network in Keras's form",
    "function": "a function in Python",
    "server": "a server of this package",
    "kserve": "a model behind KServe's protocol",
    "scores": "a table of scores",
}
"""What a subject is, in words, by its kind."""


@dataclass(frozen=True, eq=False)
class NetworkScores:
    """Answers of one network for N images.

    Attributes:
        own: Scores (N, C) as the network gives them.
        given: Scores at the network's temperature.
        features: Features that its head sees (N, F); None where nothing reads them.
    """

    own: Floats
    given: Floats
    features: npt.NDArray[np.float32] | None


ScoreNetworks = Callable[[Images, bool, OnImages], Sequence[NetworkScores]]


@dataclass(frozen=True)
class OneFinding:
    """Finding that a model is asked for alone.

    Attributes:
        name: Name of the finding.
        target: Index of the finding among the network's.
        threshold: Probability from which on it is named, on the scale that is given.
        network_threshold: Threshold on the network's own scale, before its temperature.
    """

    name: str
    target: int
    threshold: float
    network_threshold: float

    def scores(self, probabilities: Floats, threshold: float) -> Floats:
        """Return the two classes' scores (N, 2) of the probabilities of all findings (N, F)."""
        return absence_and_finding(probabilities[:, self.target], threshold)


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is judged.

    Attributes:
        kind: Kind of the model.
        name: Name for reports.
        labels: Classes in index order.
        preprocessing: Preprocessing from a radiograph to the grey image of 8 bits that
            ``score_networks`` takes.
        sha256: SHA-256 of the weights of each network, or of the file or table; none where there is
            no file.
        score_networks: Function that returns the scores of each of its networks for images
            (N, 1, H, W); it is told whether features are wanted, and what is called with the number
            of images that a network is done with. None of a table of scores.
        cards: Card of each checkpoint; none for a model of another tool.
        path: Path of its file or folder; None where it has none.
        network: Network in which gradients can be followed; None where there is none, or several.
        temperature: Temperature at which its scores are given; None of several networks, each of
            which has its own.
        confidence_threshold: Limit of the highest score below which no class is given.
        reference: Reference of its training images; None where there is none, or for several.
        trained_on: Number of images of training and validation by source, where that is known.
        table: Scores by image, of a table of scores.
        description: Description of a model of another tool.
        facts: What its file or server says of itself.
        thresholds: Probability from which on each finding is named; None of classes, or where they
            are not known.
        finding: Finding that it is asked for alone, where it is a model of findings; else None.
        score_as: Function that returns scores of grey images, brought to it in another way than the
            description says; None where there is no description.
    """

    kind: Kind
    name: str
    labels: LabelSet
    preprocessing: Preprocessing
    sha256: tuple[str, ...]
    score_networks: ScoreNetworks | None
    cards: tuple[Checkpoint, ...] = ()
    path: Path | None = None
    network: nn.Sequential | None = None
    temperature: float | None = None
    confidence_threshold: float | None = None
    reference: TrainingReference | None = None
    trained_on: Mapping[str, int] = field(default_factory=dict)
    table: CaseScores | None = None
    description: Description | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    thresholds: tuple[float, ...] | None = None
    finding: OneFinding | None = None
    score_as: ScoreAs | None = None

    @property
    def identity(self) -> str:
        """Name with the start of the first hash: another run's model may have the same name."""
        return f"{self.title} {self.sha256[0][:12]}" if self.sha256 else self.title

    @property
    def title(self) -> str:
        """Name as a page's heading has it."""
        return f"{self.name}, {self.finding.name}" if self.finding else self.name

    @property
    def label_table(self) -> dict[str, str]:
        """Label to the class that it counted as in training, where its card says so."""
        return self.cards[0].label_table if self.cards else {}

    @property
    def has_features(self) -> bool:
        """Whether anything reads the features: the training reference."""
        return self.reference is not None

    @property
    def score_scale(self) -> str:
        """Scale of the scores that are given."""
        scale = "as the model gives them"
        if self.kind in ("checkpoint", "export"):
            scale = score_scale(self.temperature)
        elif self.kind == "ensemble":
            scale = f"the mean of {len(self.cards)} models"
        if self.finding is None:
            return scale
        return f"{scale}, moved so that the threshold, {self.finding.threshold:.4g}, lies at 0.5"

    def scored(self, images: Images, *, with_features: bool, on_image: OnImages) -> NetworkScores:
        """Return what the model says: of several networks the mean of their calibrated scores.

        Args:
            images: Images after preprocessing, (N, 1, H, W).
            with_features: Whether the features are wanted, where anything reads them.
            on_image: Function that is called with the number of images that a network is done with.

        Raises:
            TypeError: It is a table of scores.
        """
        if self.score_networks is None:
            raise TypeError("Expected a model that can be asked, but this is a table of scores.")
        networks = self.score_networks(images, with_features and self.has_features, on_image)
        if len(networks) == 1:
            return networks[0]
        mean = np.mean([network.given for network in networks], axis=0)
        return NetworkScores(mean, mean, None)

    def seen(self, cases: Sequence[Case]) -> npt.NDArray[np.bool_]:
        """Return for every (indexed) case whether training saw its image or its patient, (N,)."""
        if not self.cards:
            return np.zeros(len(cases), dtype=np.bool_)
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

    def described(self) -> dict[str, Any]:
        """Return what a report says of it."""
        content: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "title": TITLES[self.kind],
            "sha256": list(self.sha256),
        }
        if self.description is not None:
            content["description"] = self.description.model_dump(mode="json")
        if self.facts:
            content["facts"] = dict(self.facts)
        if self.finding:
            content["finding"] = {"name": self.finding.name, "threshold": self.finding.threshold}
        return content
