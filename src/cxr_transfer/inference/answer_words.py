"""Which class or findings scores name, and what is said once of all answers of a model.

Knows a model's card and its reference, and no network.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxr_transfer.labels import JOINED, NO_FINDING
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.statistics.temperature import EVEN, as_given

UNUSUAL = (
    "the image is unlike most images that the model was trained on: its scores may mean little"
)
TRAINED_ON = (
    "this image, or a copy of it, was in the training data: its scores say nothing of new images"
)
NO_REFERENCE = (
    "nothing is known of the images that this model was trained on: scores are not calibrated, and "
    "an unfamiliar image is not noticed"
)
NO_ABSTENTION = (
    "this model was made to give no class where it is not sure, but its limit for that is not "
    "known here: it abstains from nothing"
)
NO_THRESHOLDS = (
    f"the thresholds of this model's findings are not known here: each is named from {EVEN} on"
)


def thresholds_of(card: Checkpoint, reference: TrainingReference | None) -> dict[str, float] | None:
    """Return the probability from which on each finding is named; None for a network of classes."""
    if card.label_set.exclusive:
        return None
    thresholds = reference.thresholds if reference else None
    return dict(zip(card.labels, thresholds or [EVEN] * len(card.labels), strict=True))


def named(
    card: Checkpoint, reference: TrainingReference | None, scores: npt.NDArray[np.float32]
) -> tuple[str, tuple[str, ...] | None]:
    """Return the label that an image's scores name, and its findings.

    Args:
        card: Card of the network.
        reference: Reference of its training images; None where there is none.
        scores: Scores of one image as they are given, (C,).

    Returns:
        The class with the highest score, and None; or the findings that reach their thresholds,
        joined as a manifest joins them, and one by one in the network's order.
    """
    thresholds = thresholds_of(card, reference)
    if thresholds is None:
        return card.labels[int(scores.argmax())], None
    reached = as_given(scores) >= np.array(list(thresholds.values()))
    findings = tuple(name for name, is_named in zip(card.labels, reached, strict=True) if is_named)
    return JOINED.join(sorted(findings)) or NO_FINDING, findings


def place_warnings(ood_status: str, trained_on: bool) -> list[str]:
    """Return what a reader should know of where an image lies among the training images.

    Args:
        ood_status: Answer of `TrainingReference.ood_status`.
        trained_on: Whether the image, or a copy of it, is one of them.
    """
    return [*([UNUSUAL] if ood_status == "far" else []), *([TRAINED_ON] if trained_on else [])]


def notes_of(card: Checkpoint, reference: TrainingReference | None) -> tuple[str, ...]:
    """Return notes that hold for all answers of a model."""
    least = reference.confidence_threshold if reference else None
    abstains = card.recipe.get("coverage") is None or least is not None
    calibrated = reference is not None and reference.calibrated
    knows_thresholds = card.label_set.exclusive or bool(reference and reference.thresholds)
    calibration = reference.calibration_words if reference else NO_REFERENCE
    return (
        *(() if calibrated else (calibration,)),
        *(() if abstains else (NO_ABSTENTION,)),
        *(() if knows_thresholds else (NO_THRESHOLDS,)),
    )
