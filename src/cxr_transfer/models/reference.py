"""Features of training images in, ``reference.safetensors`` out: what a network has met before.

Travels beside a checkpoint and answers two questions of an image by the features that the network's
head sees: is it unlike all that the network was trained on, and which training images are nearest?
It also carries the temperature of the class scores, and the score below which no class is given.

Holds labels and sources of the training images, never a name, a patient or a pixel. Knows nothing
of torch, and does not judge whether an image is any good: see ``radiograph/quality_control.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from pydantic import ValidationError

from cxr_transfer.errors import ModelError
from cxr_transfer.files import write_bytes
from cxr_transfer.models.folder import other_types, read_bytes, safetensors_header, strict_json
from cxr_transfer.models.metadata import checkpoint_files, first_problem, read_card
from cxr_transfer.models.reference_header import ReferenceHeader
from cxr_transfer.statistics.score_errors import ScoreBand
from cxr_transfer.statistics.temperature import (
    TemperatureCheck,
    as_given,
    at_temperature,
    each_at_temperature,
    score_scale,
)
from cxr_transfer.text import for_terminal

REFERENCE = "reference.safetensors"
SCHEMA = 2

OodStatus = Literal["in_distribution", "far", "out_of_distribution"]
Floats = npt.NDArray[np.float32]

SAME_IMAGE = 0.05
"""Distance up to which an image is a training image or a copy of one. Every training image lies
within it of itself, and no validation image of the released models lies within it of one. Of copies
of another size or quality of JPEG a fifth to all do, by the model: what is not named may still be a
copy."""

_REAL, _WHOLE = ("centre", "deviations", "directions", "images"), ("label_of", "source_of")
_TYPES = {"centre": "F32", "deviations": "F32", "directions": "F16", "images": "F16"}
_LARGEST = 256 * 1024 * 1024
_REMEDY = "take the one that came with the checkpoint"


@dataclass(frozen=True)
class Neighbour:
    """A training image near another in feature space.

    Attributes:
        label: Class of the image.
        source: Collection that it is from.
        distance: Distance along the main directions; 0 for itself, about 1.4 between any two.
    """

    label: str
    source: str
    distance: float


@dataclass(frozen=True, eq=False)
class TrainingReference:
    """Places of a network's training images in its feature space, and how far is far.

    The covariance of the features is that of probabilistic principal components (Tipping & Bishop,
    J. R. Stat. Soc. B 61, 1999, 611-622): free along the first 64 directions, one variance for all
    others. So a distance counts what no training image has, too. One centre for all classes: with
    one per class (Lee et al., NeurIPS 2018) strangers were told hardly better.

    Attributes:
        weights_sha256: SHA-256 of the weights whose features these are.
        labels: Names of classes, indexed by ``label_of``.
        sources: Names of collections, indexed by ``source_of``, as `text.for_terminal` has them.
        centre: (F,) mean of the training images.
        directions: (D, F) orthonormal, of falling variance.
        deviations: (D,) standard deviations along them.
        rest: Standard deviation in every other direction; 0 where there is none.
        images: (N, D) training images along them; all deviations together are 1.
        label_of: (N,) index of each image's class.
        source_of: (N,) index of each image's collection.
        far_distance: Distance beyond which lie 5 % of held-out images: worth a warning.
        ood_distance: Distance beyond which an image is out of distribution and gets no class: a
            quarter farther than 99 % of held-out images. Images of a new hospital reach 99 %, other
            things go on.
        temperature: Divisor of the logits before the softmax; None where none was fitted.
        confidence_threshold: Limit of the highest score, calibrated and rounded as it is given,
            below which no class is given; None gives one to every image.
        coverage: Share of held-out images whose highest score reaches that.
        temperature_check: Check of the temperature on the validation images; None in references
            that were made before there was one.
        thresholds: Probability from which on each finding is named, in the network's order; None
            for a network of classes.
        score_errors: How many validation images were wrong, by their highest score; None in
            references that were made before it was counted, and for a network of findings.
    """

    weights_sha256: str
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    centre: Floats
    directions: Floats
    deviations: Floats
    rest: float
    images: Floats
    label_of: npt.NDArray[np.int64]
    source_of: npt.NDArray[np.int64]
    far_distance: float
    ood_distance: float
    temperature: float | None = None
    confidence_threshold: float | None = None
    coverage: float | None = None
    temperature_check: TemperatureCheck | None = None
    thresholds: tuple[float, ...] | None = None
    score_errors: tuple[ScoreBand, ...] | None = None

    @property
    def calibrated(self) -> bool:
        """Whether a temperature was fitted: without one the scores stay the network's own."""
        return self.temperature is not None

    @property
    def score_scale(self) -> str:
        """Name of the scale of the scores that `calibrate` returns."""
        return score_scale(self.temperature)

    @property
    def calibration_words(self) -> str:
        """What is known of the temperature, or of why there is none, in one sentence."""
        if self.temperature_check:
            return self.temperature_check.words()
        if self.temperature is None:
            return "Scores are not calibrated: no temperature was found for them."
        return (
            f"Temperature {self.temperature:.3g}, fitted on validation images; whether it helps "
            "others was not asked when it was made."
        )

    def calibrate(self, scores: Floats) -> Floats:
        """Return the network's scores (N, C) at the temperature; as they are where none is."""
        if self.thresholds is not None:
            return each_at_temperature(scores, self.temperature)
        return at_temperature(scores, self.temperature)

    def accepts(self, scores: Floats) -> npt.NDArray[np.bool_]:
        """Tell of which images, by their calibrated scores (N, C), a class may be given."""
        least = 0.0 if self.confidence_threshold is None else self.confidence_threshold
        sure: npt.NDArray[np.bool_] = as_given(scores.max(axis=1)) >= least
        return sure

    def distances(self, features: Floats) -> npt.NDArray[np.float64]:
        """Return how far images lie from the training images' centre, in deviations.

        The Mahalanobis distance over the root of the number of features: about 1 for a training
        image, whatever the network.

        Args:
            features: (K, F), as the network's head sees them.

        Raises:
            ModelError: ``bad_reference`` for another width than that of the training images'.
        """
        away = self._centred(features)
        along = away @ self.directions.T
        squares = ((along / self.deviations) ** 2).sum(axis=1)
        if self.rest:
            squares += ((away - along @ self.directions) ** 2).sum(axis=1) / self.rest**2
        return np.asarray(np.sqrt(squares / features.shape[1]))

    def ood_status(self, features: Floats) -> list[OodStatus]:
        """Return for each image whether it lies among the training images, near them or elsewhere.

        Args:
            features: (K, F), as the network's head sees them.

        Returns:
            "in_distribution"; "far": worth a warning, as images of another hospital often are; or
            "out_of_distribution": like nothing the network was trained on, so it gets no class.

        Raises:
            ModelError: ``bad_reference``, as `distances`.
        """
        return [
            "out_of_distribution"
            if far > self.ood_distance
            else "far"
            if far > self.far_distance
            else "in_distribution"
            for far in self.distances(features)
        ]

    def neighbours(self, features: Floats, number: int = 5) -> tuple[Neighbour, ...]:
        """Return the training images nearest to one image, nearest first.

        Args:
            features: (F,), as the network's head sees them.
            number: Number of images to return, where there are as many.

        Raises:
            ModelError: ``bad_reference``, as `distances`.
        """
        far = np.linalg.norm(self.images - self.places(features[None]), axis=1)
        return tuple(
            Neighbour(
                self.labels[self.label_of[at]], self.sources[self.source_of[at]], float(far[at])
            )
            for at in np.argsort(far, kind="stable")[:number]
        )

    def trained_on(self, features: Floats) -> list[bool]:
        """Return for each image whether it, or a copy of it, is one of `images`.

        Args:
            features: (K, F), as the network's head sees them.

        Raises:
            ModelError: ``bad_reference``, as `distances`.
        """
        if not len(self.images):
            return [False] * len(features)
        return [
            bool(np.linalg.norm(self.images - place, axis=1).min() <= SAME_IMAGE)
            for place in self.places(features)
        ]

    def places(self, features: Floats) -> Floats:
        """Return where images lie along the main directions (K, D), as `images` has them."""
        # Not each in its deviation: those that hardly vary would count as much as what tells
        # classes apart.
        along = self._centred(features) @ self.directions.T
        return np.asarray(along / np.sqrt((self.deviations**2).sum()), np.float32)

    def save(self, folder: Path) -> Path:
        """Write ``reference.safetensors`` into ``folder`` and return its path.

        Raises:
            MachineError: ``disk_full``, ``not_writable``.
        """
        fields = {name: getattr(self, name) for name in ReferenceHeader.model_fields}
        header = ReferenceHeader(**fields).model_dump() | {"schema_version": SCHEMA}
        tensors: dict[str, npt.NDArray[Any]] = {
            "centre": self.centre,
            "deviations": self.deviations,
            "directions": self.directions.astype(np.float16),
            "images": self.images.astype(np.float16),
            "label_of": self.label_of.astype(np.int32),
            "source_of": self.source_of.astype(np.int32),
        }
        # safetensors writes an array's memory as it lies, and several entries in any order.
        whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        content = safetensors.numpy.save(whole, {"reference": json.dumps(header)})
        write_bytes(folder / REFERENCE, content)
        return folder / REFERENCE

    @classmethod
    def load(cls, path: Path, *, weights_sha256: str) -> TrainingReference:
        """Load a reference from its file or from the folder that holds it.

        Args:
            path: File or folder.
            weights_sha256: SHA-256 of the weights that the reference must be of.

        Raises:
            ModelError: ``bad_reference`` for what is damaged, of a newer schema, of other
                types or not finite; ``wrong_hash`` for a reference of other weights; and what
                `models.folder.opened` raises.
        """
        path = path / REFERENCE if path.is_dir() else path
        content = read_bytes(path, most=_LARGEST)
        try:
            types, metadata = safetensors_header(content)
            stored_fields = strict_json(metadata["reference"])
            version = stored_fields.pop("schema_version")
            if version != SCHEMA:
                raise _bad(path, f"schema {SCHEMA}", f"{version}", "update cxr-transfer")
            if others := other_types(types, lambda name: (_TYPES.get(name, "I32"),)):
                raise _bad(path, "the types that it was saved with", "; ".join(others), _REMEDY)
            # As JSON again: a list stands for the tuple that a strict model wants.
            header = ReferenceHeader.model_validate_json(json.dumps(stored_fields))
            fields: dict[str, Any] = dict(header)
            tensors = safetensors.numpy.load(content)
            fields |= {name: tensors[name].astype(np.float32) for name in _REAL}
            fields |= {name: tensors[name].astype(np.int64) for name in _WHOLE}
            reference = cls(**fields)
            reference._require_whole(path)
        except ValidationError as error:
            raise _bad(path, "a reference", first_problem(error), _REMEDY) from None
        except (
            safetensors.SafetensorError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            reason = for_terminal(f"{type(error).__name__}: {error}")
            raise _bad(path, "a reference", reason, _REMEDY) from None
        if reference.weights_sha256 != weights_sha256:
            raise ModelError(
                "wrong_hash",
                f"Expected a reference of the weights with SHA-256 {weights_sha256[:12]}..., but "
                f"{path} is of {reference.weights_sha256[:12]}...; take the one that came with the "
                "checkpoint.",
            )
        return reference

    def _centred(self, features: Floats) -> Floats:
        width = len(self.centre)
        if features.ndim != 2 or features.shape[1] != width:
            raise ModelError(
                "bad_reference",
                f"Expected features (K, {width}), but got {features.shape}; take the reference "
                "that came with the checkpoint.",
            )
        return np.asarray(features - self.centre, np.float32)

    def _require_whole(self, path: Path) -> None:
        width, kept, images = len(self.centre), len(self.deviations), len(self.images)
        shapes = {
            "directions": (kept, width),
            "images": (images, kept),
            "label_of": (images,),
            "source_of": (images,),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                stored_shape = f"{name} {getattr(self, name).shape}"
                raise _bad(path, f"{name} {shape}", stored_shape, _REMEDY)
        arrays = (self.centre, self.directions, self.deviations, self.images)
        if not all(np.isfinite(array).all() for array in arrays):
            raise _bad(path, "finite numbers", "NaN or infinity", _REMEDY)
        if not (self.deviations > 0).all():
            raise _bad(path, "positive deviations", "one that is not", _REMEDY)
        for name, names in (("label_of", self.labels), ("source_of", self.sources)):
            numbers_of = getattr(self, name)
            if images and not 0 <= numbers_of.min() <= numbers_of.max() < len(names):
                raise _bad(path, f"{name} from 0 to {len(names) - 1}", "others", _REMEDY)


def reference_beside(weights: Path, weights_sha256: str) -> tuple[Path, TrainingReference] | None:
    """Return what is kept of the training images beside a weights file or a graph, if it is.

    Args:
        weights: Weights of the checkpoint, or an exported graph.
        weights_sha256: SHA-256 of the checkpoint.

    Raises:
        ModelError: ``bad_reference``, ``wrong_hash`` of a file that has this network's own name.
            One that stands there for another checkpoint of the same folder is passed over.
    """
    own, shared = weights.with_suffix(".reference.safetensors"), weights.parent / REFERENCE
    if own.is_file():
        return own, TrainingReference.load(own, weights_sha256=weights_sha256)
    if not shared.is_file():
        return None
    try:
        return shared, TrainingReference.load(shared, weights_sha256=weights_sha256)
    except ModelError as error:
        if error.code == "wrong_hash":
            return None
        raise


def temperature_of(checkpoint_path: Path) -> float | None:
    """Return the temperature at which a checkpoint's scores are given; None where it has none.

    Args:
        checkpoint_path: Run folder, weights file, card, or the name of a released model.

    Raises:
        ModelError: What `checkpoint_files`, `read_card` and `reference_beside` raise.
    """
    card, weights = checkpoint_files(checkpoint_path)
    kept = reference_beside(weights, read_card(card).weights_sha256)
    return kept[1].temperature if kept else None


def _bad(path: Path, expected: str, got: str, remedy: str) -> ModelError:
    message = f"Expected {expected} in {path}, but got {got}; {remedy}."
    return ModelError("bad_reference", message)
