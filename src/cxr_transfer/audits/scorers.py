"""A subject asked as an audit asks: whole images, changed ones, and what the head sees of them.

A checkpoint of this package is asked as its own evaluation asks it (`Scorer`); every other model by
its scores alone; a table of scores by the images that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.evaluation.scoring import Converted, Scorer, as_predicted
from cxr_transfer.models.forward import OnImages
from cxr_transfer.runs.members import member_folders
from cxr_transfer.subjects.one_finding import FindingEngine
from cxr_transfer.subjects.subject import Subject

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]

NO_NETWORK = "only a checkpoint of this package shows what its head sees, and has gradients"
NO_PICTURES = "a table of scores answers for no image but those that it names"
NOT_DECLARED = (
    "the model declares nothing of what it was trained on, and no image of the data is in a table "
    "given by --saw"
)
"""Why a check cannot be run on a subject."""


class ImageScorer(Protocol):
    """What an audit asks of a model; `Scorer` is one."""

    on_image: OnImages

    def exact(self, images: Images) -> Floats:
        """Return class scores (N, C) of images (N, 1, H, W)."""
        ...

    def quick(self, images: Images) -> Floats:
        """Return class scores (N, C) in the precision that was settled."""
        ...

    def settle(self, images: Images, exact: Floats, precision: str = "auto") -> dict[str, Any]:
        """Choose the precision of `quick`, and return what the report says of it."""
        ...


class SubjectScorer:
    """Any model, asked for its scores alone.

    An image for which a server gives no scores has equal ones: it was not told apart.

    Args:
        subject: Model that can be asked.

    Attributes:
        on_image: Function that is called with the number of images after every batch.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.on_image: OnImages = lambda images: None

    def exact(self, images: Images) -> Floats:
        """Return class scores (N, C) of images (N, 1, H, W), at the subject's temperature."""
        given = self._subject.scored(images, with_features=False, on_image=self.on_image).given
        return np.where(np.isnan(given).any(axis=1, keepdims=True), 1 / given.shape[1], given)

    def quick(self, images: Images) -> Floats:
        """Return the same: what another tool computes is not ours to make quicker."""
        return self.exact(images)

    def settle(self, images: Images, exact: Floats, precision: str = "auto") -> dict[str, Any]:
        """Return that every score is as the model gives it."""
        return {"quoted_scores": "the model's own", "changed_images": "the model's own"}


def scorer_of(subject: Subject, device: str) -> ImageScorer | None:
    """Return what can be asked of a subject; None of a table of scores.

    Args:
        subject: Subject.
        device: Device of a checkpoint, as torch names it.
    """
    if subject.network is not None:
        checkpoint = member_folders(cast(Path, subject.path))[0]

        def converted(precision: str) -> Converted | None:
            engine = as_predicted(checkpoint, device, precision)
            return FindingEngine(engine, subject.finding) if engine and subject.finding else engine

        return Scorer(
            subject.network,
            device,
            subject.temperature,
            converted=converted("float32"),
            in_bfloat16=lambda: converted("bfloat16"),
        )
    return SubjectScorer(subject) if subject.score_networks is not None else None


def table_scores(subject: Subject, cases: Sequence[Case]) -> Floats | None:
    """Return the scores (N, C) that a table has of cases, NaN where it names them not.

    None of a subject that is no table.
    """
    if subject.table is None:
        return None
    rows = subject.table.rows_of(cases)
    scores = np.full((len(cases), len(subject.labels)), np.nan)
    scores[rows >= 0] = subject.table.scores[rows[rows >= 0]]
    return scores


def unavailable(subject: Subject, *, seen: int = 0) -> dict[str, str]:
    """Return the checks that cannot be run on a subject, each with why.

    Args:
        subject: Subject.
        seen: Number of images that its training is known to have seen.
    """
    reasons = {}
    if not subject.cards and not seen:
        reasons["overlap"] = NOT_DECLARED
    if subject.network is None:
        reasons["source_classifier"] = NO_NETWORK
    if subject.kind == "scores":
        reasons["input"] = "a table of scores does not say how images were brought to its model"
    if subject.kind != "checkpoint":
        reasons["parts"] = "only a run folder of this package says how its images were parted"
        reasons["left_out"] = "only a recipe of this package can be trained again"
    if subject.score_networks is None:
        pictures = (
            "occlusion",
            "robustness",
            "heat_maps",
            "counterfactual",
            "mask_shape",
            "reencoding",
        )
        reasons |= dict.fromkeys(pictures, NO_PICTURES)
    return reasons
