"""What a network makes of the images of an audit: whole, in parts, and changed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.perturbations import CORRUPTIONS, UNCHANGED, corrupted
from cxr_transfer.datasets.lung_masks import LungMasks
from cxr_transfer.evaluation.decoding import Decoded
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.progress import Tell, counting, of_images
from cxr_transfer.radiograph.lung_segmentation import border_only, lungs_blacked, lungs_only
from cxr_transfer.statistics.metrics import Evaluation, evaluate
from cxr_transfer.statistics.scores import Scores

_log = logging.getLogger(__name__)

_Images = npt.NDArray[np.uint8]
_OCCLUSIONS: dict[str, Callable[[_Images, LungMasks], _Images]] = {
    "lungs blacked out": lambda images, lungs: lungs_blacked(images, lungs.masks()),
    "border only": lambda images, _: border_only(images),
    "lungs only": lambda images, lungs: lungs_only(images, lungs.masks()),
}


@dataclass(frozen=True, eq=False)
class Readings:
    """Results of a network on the images, whole, in parts, and changed.

    Attributes:
        part: Images that are scored for the figures.
        scored: (N, C) scores of all images; NaN for those that training saw.
        whole: Scores of ``part``.
        evaluation: Evaluation of ``whole``.
        occluded: Evaluation with parts of each image hidden, by what is hidden.
        unchanged: Accuracy before any change, decoded as for the changes.
        corrupted: Accuracy after each change of `CORRUPTIONS`.
        precision: Record of `Scorer.settle`.
    """

    part: Part
    scored: npt.NDArray[np.float64]
    whole: Scores
    evaluation: Evaluation
    occluded: dict[str, Evaluation]
    unchanged: float
    corrupted: dict[str, float]
    precision: dict[str, Any]


def read_scores(
    scorer: Scorer,
    checkpoint: Checkpoint,
    decoded: Decoded,
    kinds: Kinds,
    precision: str,
    again: dict[str, int],
    progress: Tell,
) -> Readings:
    """Score the images that the figures are of: whole, with parts hidden, and changed.

    Args:
        scorer: Network with its temperature.
        checkpoint: Labels and preprocessing of the network.
        decoded: Images of the audit, all of them.
        kinds: Rows of them by what they are to the checkpoint.
        precision: Precision for changed images, as `Scorer.settle` takes it.
        again: ``resamples`` and ``seed`` of the bootstrap.
        progress: Function that is told the phase and which share of it is done.
    """
    labels, images = checkpoint.label_set, decoded.tensors.images.numpy()
    _log.debug("%s: scoring on %s", checkpoint.name, scorer.device)
    inside = len(kinds.inside)
    # Once as they are, once to choose a precision, then with parts hidden, and changed.
    times = 1 + len(_OCCLUSIONS) + len((UNCHANGED, *CORRUPTIONS)) + (precision != "float32")
    title = f"scoring {of_images('', inside).strip()}, whole, in parts and changed"
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
    # Before an image is reduced and equalised: what these take away of a change does no harm.
    change = functools.partial(
        corrupted,
        decoded.unfinished[kinds.inside],
        preprocessing=checkpoint.preprocessing,
        seed=again["seed"],
    )
    unchanged, *changed = (
        _accuracy(scorer.quick(change(name)), whole) for name in (UNCHANGED, *CORRUPTIONS)
    )
    scorer.on_image = lambda images: None
    by_change = dict(zip(CORRUPTIONS, changed, strict=True))
    return Readings(part, scored, whole, evaluation, occluded, unchanged, by_change, quick)


@dataclass(frozen=True, eq=False)
class Kinds:
    """Rows of images by what they are to the checkpoint.

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


def kinds_of(decoded: Decoded, seen: npt.NDArray[np.bool_]) -> Kinds:
    """Tell the images apart by what they are to a checkpoint.

    Args:
        decoded: N images.
        seen: (N,) whether training saw the image or its patient.
    """
    places = {case.source for case, was in zip(decoded.cases, seen, strict=True) if was}
    # Without an image that training saw, nothing tells which source is elsewhere.
    from_seen_source = np.array([not places or case.source in places for case in decoded.cases])
    has_label = decoded.tensors.targets.numpy() >= 0
    return Kinds(
        seen=seen,
        inside=np.flatnonzero(has_label & ~seen & from_seen_source),
        elsewhere=np.flatnonzero(~seen & ~(has_label & from_seen_source)),
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


def _accuracy(scored: npt.NDArray[np.float64], whole: Scores) -> float:
    return float((scored.argmax(axis=1) == whole.targets).mean())
