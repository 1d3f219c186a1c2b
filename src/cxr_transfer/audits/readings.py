"""What a model makes of the images of an audit: whole, and in parts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.scorers import ImageScorer
from cxr_transfer.datasets.lung_masks import LungMasks
from cxr_transfer.evaluation.decoding import Decoded
from cxr_transfer.labels import LabelSet
from cxr_transfer.progress import Tell, counting, of_images
from cxr_transfer.radiograph.lung_segmentation import border_only, lungs_blacked, lungs_only
from cxr_transfer.statistics.metrics import Evaluation, evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.subjects.subject import Subject

_log = logging.getLogger(__name__)

_Images = npt.NDArray[np.uint8]
_OCCLUSIONS: dict[str, Callable[[_Images, LungMasks], _Images]] = {
    "lungs blacked out": lambda images, lungs: lungs_blacked(images, lungs.masks()),
    "border only": lambda images, _: border_only(images),
    "lungs only": lambda images, lungs: lungs_only(images, lungs.masks()),
}


@dataclass(frozen=True, eq=False)
class Readings:
    """Results of a model on the images, whole and in parts.

    Attributes:
        part: Images that are scored for the figures.
        scored: (N, C) scores of all images; NaN for those that training saw.
        whole: Scores of ``part``.
        evaluation: Evaluation of ``whole``.
        occluded: Evaluation with parts of each image hidden, by what is hidden.
        precision: Record of `Scorer.settle`.
    """

    part: Part
    scored: npt.NDArray[np.float64]
    whole: Scores
    evaluation: Evaluation
    occluded: dict[str, Evaluation]
    precision: dict[str, Any]


def read_scores(
    scorer: ImageScorer,
    subject: Subject,
    decoded: Decoded,
    kinds: Kinds,
    precision: str,
    again: dict[str, int],
    progress: Tell,
) -> Readings:
    """Score the images that the figures are of: whole, and with parts hidden.

    Args:
        scorer: Model as it is asked.
        subject: Labels and preprocessing of the model.
        decoded: Images of the audit, all of them.
        kinds: Rows of them by what they are to the checkpoint.
        precision: Precision for changed images, as `Scorer.settle` takes it.
        again: ``resamples`` and ``seed`` of the bootstrap.
        progress: Function that is told the phase and which share of it is done.
    """
    labels, images = subject.labels, decoded.tensors.images.numpy()
    _log.debug("%s: scoring", subject.name)
    inside = len(kinds.inside)
    # Once as they are, once to choose a precision, then with parts hidden.
    times = 1 + len(_OCCLUSIONS) + (precision != "float32")
    title = f"scoring {of_images('', inside).strip()}, whole and in parts"
    scorer.on_image = counting(progress, title, times * inside + len(kinds.elsewhere))
    scored = np.full((len(images), len(labels)), np.nan)
    unseen = np.sort(np.concatenate([kinds.inside, kinds.elsewhere]))
    scored[unseen] = scorer.exact(images[unseen])
    quick = scorer.settle(images[kinds.inside], scored[kinds.inside], precision)
    part = Part(labels, decoded, kinds.inside)
    whole = part.scores(scored[kinds.inside])
    evaluation = evaluate(whole, **again)
    occluded = {
        name: evaluate(part.scores(scorer.exact(hide(part.images, part.tensors.lungs))), **again)
        for name, hide in _OCCLUSIONS.items()
    }
    scorer.on_image = lambda images: None
    return Readings(part, scored, whole, evaluation, occluded, quick)


def table_readings(
    scored: npt.NDArray[np.float64],
    labels: LabelSet,
    decoded: Decoded,
    kinds: Kinds,
    again: dict[str, int],
) -> Readings:
    """Return what a table of scores says: of whole images alone.

    Args:
        scored: Scores of all images, (N, C); NaN where the table has none.
        labels: Its classes.
        decoded: Images of the audit.
        kinds: Rows of them by what they are to the model.
        again: ``resamples`` and ``seed`` of the bootstrap.
    """
    part = Part(labels, decoded, kinds.inside)
    whole = part.scores(scored[kinds.inside])
    precision = {"quoted_scores": "the table's", "changed_images": "none"}
    seen_removed = np.where(kinds.seen[:, None], np.nan, scored)
    return Readings(part, seen_removed, whole, evaluate(whole, **again), {}, precision)


@dataclass(frozen=True, eq=False)
class Kinds:
    """Rows of images by what they are to the model.

    Attributes:
        seen: (N,) bool: training saw the image or its patient.
        inside: Rows to score: known label, unseen, of a source that training saw.
        elsewhere: Unseen, of other sources or other labels.
        ours: Known label, of a source that training saw; seen or not.
    """

    seen: npt.NDArray[np.bool_]
    inside: npt.NDArray[np.int64]
    elsewhere: npt.NDArray[np.int64]
    ours: npt.NDArray[np.int64]


def kinds_of(
    decoded: Decoded,
    seen: npt.NDArray[np.bool_],
    scored: npt.NDArray[np.float64] | None = None,
) -> Kinds:
    """Tell the images apart by what they are to a model.

    Args:
        decoded: N images.
        seen: (N,) whether training saw the image or its patient.
        scored: Scores of a table, (N, C), NaN where it has none: such images are of no kind. None
            of a model that can be asked.
    """
    places = {case.source for case, was in zip(decoded.cases, seen, strict=True) if was}
    # Without an image that training saw, nothing tells which source is elsewhere.
    from_seen_source = np.array([not places or case.source in places for case in decoded.cases])
    has_label = decoded.tensors.targets.numpy() >= 0
    unseen = ~seen if scored is None else ~seen & ~np.isnan(scored).any(axis=1)
    return Kinds(
        seen=seen,
        inside=np.flatnonzero(has_label & unseen & from_seen_source),
        elsewhere=np.flatnonzero(unseen & ~(has_label & from_seen_source)),
        ours=np.flatnonzero(has_label & from_seen_source),
    )


class Part:
    """Some of the images, with all that is known of them."""

    def __init__(self, labels: LabelSet, decoded: Decoded, rows: npt.NDArray[np.int64]) -> None:
        self.labels, self.rows = labels, rows
        self.cases = [decoded.cases[row] for row in rows]
        self.tensors = decoded.tensors.only(rows)
        self.images = self.tensors.images.numpy()
        self.targets = self.tensors.targets.numpy()

    def scores(self, scored: npt.NDArray[np.float64]) -> Scores:
        """Return class scores (rows, C) with the targets and cases that they belong to."""
        return Scores.of(self.labels, self.targets, scored, self.cases)
