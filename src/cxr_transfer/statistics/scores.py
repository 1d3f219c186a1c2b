"""Class scores of a model for images whose labels are known, and what is counted of them.

`Scores` is what every statistic begins with. `WeightedScores` counts it under rows of image
weights: ones for the value itself, the bootstrap's counts for its replicates.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """A model's class scores for images whose labels are known.

    Attributes:
        labels: The classes, in the order of the columns of ``probabilities``.
        targets: (N,) int64, index of the true label of each image.
        probabilities: (N, C) float64, each row sums to 1.
        patients: N names; images of one patient share theirs.
        files: N names, in the order of the rows.

    Raises:
        DataError: ``scores`` when one of these does not hold.
    """

    labels: LabelSet
    targets: npt.NDArray[np.int64]
    probabilities: Floats
    patients: tuple[str, ...]
    files: tuple[str, ...]

    def __post_init__(self) -> None:
        targets, probabilities = np.asarray(self.targets), np.asarray(self.probabilities)
        if not self.labels.exclusive:
            raise _unfit(
                "classes of which an image has one",
                "findings, of which it has any number",
                "use what is computed of findings (cxr evaluate)",
            )
        images, classes = len(self.files), len(self.labels)
        shapes = (targets.shape, (len(self.patients),), probabilities.shape)
        if not images or shapes != ((images,), (images,), (images, classes)):
            raise _unfit(
                f"one target, patient and row of {classes} probabilities for each of >= 1 files",
                f"{images} files and shapes {', '.join(map(str, shapes))}",
                "score every file once, with one column per label",
            )
        if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= classes:
            raise _unfit(
                f"integer targets from 0 to {classes - 1}",
                f"{targets.dtype} from {targets.min()} to {targets.max()}",
                "score with the label set that the targets were made with",
            )
        if not np.isfinite(probabilities).all():
            raise _unfit("finite probabilities", "NaN or infinity", "check the model's weights")
        sums = probabilities.sum(axis=1, dtype=np.float64)
        if probabilities.min() < 0 or np.abs(sums - 1).max() > 1e-4:
            received = f"a minimum of {probabilities.min():.4g}, sums up to {sums.max():.4g}"
            raise _unfit("probabilities >= 0 that sum to 1", received, "apply the softmax first")
        # Lists and float32 are welcome; from here on there is one type.
        object.__setattr__(self, "targets", targets.astype(np.int64))
        object.__setattr__(self, "probabilities", probabilities.astype(np.float64))
        object.__setattr__(self, "patients", tuple(self.patients))
        object.__setattr__(self, "files", tuple(self.files))

    @classmethod
    def of(
        cls,
        labels: LabelSet,
        targets: npt.NDArray[np.int64],
        probabilities: Floats,
        cases: Sequence[Case],
    ) -> Self:
        """Return the scores of ``cases``, row for row."""
        patients, files = zip(*((case.patient, case.file) for case in cases), strict=True)
        return cls(labels, targets, probabilities, patients, files)

    def only(self, rows: npt.ArrayLike) -> Scores:
        """Return the scores of these rows alone; the classes stay, with or without an image."""
        kept = np.asarray(rows)
        return Scores(
            labels=self.labels,
            targets=self.targets[kept],
            probabilities=self.probabilities[kept],
            patients=tuple(np.asarray(self.patients, dtype=object)[kept]),
            files=tuple(np.asarray(self.files, dtype=object)[kept]),
        )

    def one_vs_rest(self, label: str) -> tuple[npt.NDArray[np.bool_], Floats]:
        """Return which images are of ``label``, (N,), and its score for each, (N,).

        Raises:
            DataError: ``unknown_label``.
        """
        target = self.labels.target(label)
        return self.targets == target, self.probabilities[:, target]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the class with the highest score; the first of equals."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)


class WeightedScores:
    """Scores under rows of image weights, with what several metrics are made of, computed once.

    Args:
        scores: N images, C classes.
        weights: (R, N) float64, how often each image counts in each row.
    """

    def __init__(self, scores: Scores, weights: Floats) -> None:
        self.scores, self.weights = scores, weights

    @functools.cached_property
    def confusion(self) -> Floats:
        """(R, C, C) weighted confusion matrices: rows are true classes, columns predicted ones."""
        classes = len(self.scores.labels)
        cell = self.scores.targets * classes + self.scores.predicted
        counts = self.weights @ np.eye(classes**2)[cell]
        return np.asarray(counts.reshape(-1, classes, classes))

    @property
    def right(self) -> Floats:
        """(R, C) weight of the images of each class that are predicted as it."""
        return np.asarray(np.diagonal(self.confusion, axis1=1, axis2=2))

    @property
    def of_class(self) -> Floats:
        """(R, C) weight of the images of each class."""
        return np.asarray(self.confusion.sum(axis=2))

    @property
    def predicted(self) -> Floats:
        """(R, C) weight of the images that are predicted as each class."""
        return np.asarray(self.confusion.sum(axis=1))

    @functools.cached_property
    def areas(self) -> tuple[Floats, Floats]:
        """AUROC and average precision, each (R, C), of each class against the rest.

        AUROC: the chance that an image of the class scores higher than another, equals counting
        half (Mann-Whitney). Average precision: sum of precision times gain in recall, as
        scikit-learn. Equal scores make one step.
        """
        auroc, average_precision = [], []
        for target, column in enumerate(self.scores.probabilities.T):
            order = np.argsort(-column, kind="stable")
            steps = np.flatnonzero(np.diff(column[order], prepend=np.inf))
            positive = (self.scores.targets == target).astype(np.float64)[order]
            ranked = self.weights[:, order]
            of_class = np.add.reduceat(ranked * positive, steps, axis=1)
            of_all = np.add.reduceat(ranked, steps, axis=1)
            hits, seen = of_class.cumsum(axis=1), of_all.cumsum(axis=1)
            others = of_all - of_class
            positives, negatives = hits[:, -1], seen[:, -1] - hits[:, -1]
            pairs = (others * (hits - of_class / 2)).sum(axis=1)
            auroc.append(ratio(pairs, positives * negatives, np.nan))
            gains = (of_class * ratio(hits, seen, 0.0)).sum(axis=1)
            average_precision.append(ratio(gains, positives, np.nan))
        return np.stack(auroc, axis=1), np.stack(average_precision, axis=1)

    def macro(self, values: Floats) -> Floats:
        """Return the mean (R,) over classes of a figure (R, C) that rests on predicted classes.

        A class that no image has counts as 0. One that merely was not drawn makes the resample's
        mean unknown (NaN): a 0 there would drag the interval down.
        """
        never = ~np.isin(np.arange(len(self.scores.labels)), self.scores.targets)
        lost = ((self.of_class == 0) & ~never).any(axis=1)
        return np.where(lost, np.nan, np.nan_to_num(values).mean(axis=1))

    def weighted(self, values: Floats) -> Floats:
        """Return the mean (R,) of a figure (R, C) in which each class weighs as its images do."""
        of_class = self.of_class
        share = of_class / of_class.sum(axis=1, keepdims=True)
        return np.asarray((share * np.nan_to_num(values)).sum(axis=1))


def ratio(above: Floats, below: Floats, otherwise: float = np.nan) -> Floats:
    """Return ``above / below``, and ``otherwise`` where ``below`` is 0."""
    return np.divide(above, below, out=np.full_like(above, otherwise), where=below != 0)


def _unfit(expected: str, received: str, remedy: str) -> DataError:
    return DataError("scores", f"Expected {expected}, but got {received}; {remedy}.")
