"""What a model's class scores are worth: the paper's figures of merit, each with its interval.

In come the `Scores` of a model on images it was not trained on; out goes an `Evaluation`. This
module does not know which model scored, how the images were split, or how a figure is drawn.

Every statistic is computed from image weights: ones for the value itself, the bootstrap's counts
for its replicates (`intervals.value_and_resamples`), all of them at once. The intervals of AUROC
need no replicates: `auroc`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypedDict

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sklearn_metrics

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.auroc import auroc_intervals
from cxr_transfer.statistics.intervals import (
    Estimate,
    patient_weights,
    percentile_interval,
    value_and_resamples,
)

Floats = npt.NDArray[np.float64]

BLOCK = 256
"""Resamples that are ranked at a time: keeps memory bounded and the arrays in the cache."""


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


class ClassEvaluation(TypedDict):
    """One class against all the others."""

    precision: Estimate
    recall: Estimate
    f1: Estimate
    auroc: Estimate
    average_precision: Estimate
    images: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of merit of one model on one set of images, with 95 % intervals by patient.

    By which method they are made says `intervals.INTERVALS`.

    Proportions lie in [0, 1]. ``*_macro`` is the mean over classes, F1 the mean of the classes'
    F1 (the paper's reading); ``*_weighted`` weighs each class by its images. A class without an
    image has no recall, F1, AUROC or average precision of its own, and no ``auroc_macro`` is
    formed; in the other macro averages it counts as 0, as in scikit-learn over all labels.

    Attributes:
        per_class: By label, in the order of the label set.
        confusion: (C, C) int64, rows are true classes, columns predicted ones.
    """

    accuracy: Estimate
    precision_macro: Estimate
    recall_macro: Estimate
    f1_macro: Estimate
    precision_weighted: Estimate
    recall_weighted: Estimate
    f1_weighted: Estimate
    auroc_macro: Estimate
    per_class: dict[str, ClassEvaluation]
    confusion: npt.NDArray[np.int64]
    images: int
    patients: int

    def as_dict(self) -> dict[str, Any]:
        """Return what ``report.json`` holds; null for what is not defined."""
        return {
            **{name: getattr(self, name).as_dict() for name in AVERAGES},
            "per_class": {
                label: {k: v.as_dict() if isinstance(v, Estimate) else v for k, v in one.items()}
                for label, one in self.per_class.items()
            },
            "confusion": self.confusion.tolist(),
            "test_images": self.images,
            "test_patients": self.patients,
        }


AVERAGES = (
    "accuracy",
    *(f"{name}_{kind}" for kind in ("macro", "weighted") for name in ("precision", "recall", "f1")),
    "auroc_macro",
)
"""The statistics that are one number for all classes."""

OF_A_CLASS = ("precision", "recall", "f1", "auroc", "average_precision")
"""The statistics that are one number for each class."""


def evaluate(scores: Scores, *, resamples: int = 2000, seed: int = 0) -> Evaluation:
    """Return the figures of merit of ``scores`` with their 95 % intervals by patient.

    Raises:
        UsageError: ``resamples`` below 1.

    >>> labels = LabelSet(("normal", "covid19"))
    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    >>> files = ("1.png", "2.png", "3.png", "4.png")
    >>> scores = Scores(labels, np.array([0, 0, 1, 1]), probabilities, tuple("abcd"), files)
    >>> evaluation = evaluate(scores)
    >>> evaluation.accuracy.percent()
    '75.0 [25.0, 100.0]'
    >>> round(evaluation.f1_macro.value, 4)  # (4/5 + 2/3) / 2
    0.7333
    >>> evaluation.per_class["covid19"]["auroc"].value
    0.75
    """
    weights = value_and_resamples(scores.patients, resamples=resamples, seed=seed)
    found = statistics(scores, weights)

    patients = np.asarray(scores.patients)

    def estimate(values: Floats, of: npt.NDArray[np.bool_] | slice = slice(None)) -> Estimate:
        return percentile_interval(values[0], values[1:], units=len(np.unique(patients[of])))

    classes = len(scores.labels)
    areas, mean_area = aurocs(scores)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (scores.targets, scores.predicted), 1)
    per_class: dict[str, ClassEvaluation] = {
        label: {
            "precision": estimate(found["precision"][:, target], scores.predicted == target),
            "recall": estimate(found["recall"][:, target], scores.targets == target),
            "f1": estimate(found["f1"][:, target], scores.targets == target),
            "auroc": areas[target],
            "average_precision": estimate(
                found["average_precision"][:, target], scores.targets == target
            ),
            "images": int(confusion[target].sum()),
        }
        for target, label in enumerate(scores.labels)
    }
    return Evaluation(
        **{name: estimate(found[name]) for name in AVERAGES if name != "auroc_macro"},
        auroc_macro=mean_area,
        per_class=per_class,
        confusion=confusion,
        images=len(scores.files),
        patients=len(set(scores.patients)),
    )


def aurocs(scores: Scores) -> tuple[list[Estimate], Estimate]:
    """Return the AUROC of each class against the rest, and their mean, with intervals by patient.

    As `evaluate` has them, without the rest; see `auroc.auroc_intervals`.
    """
    positive = scores.targets == np.arange(len(scores.labels))[:, None]
    return auroc_intervals(positive, scores.probabilities.T, scores.patients)


def statistics(scores: Scores, weights: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Compute every statistic once for each row of image weights.

    Args:
        scores: N images, C classes.
        weights: (R, N), how often each image counts.

    Returns:
        `AVERAGES`, each (R,), and those of `ClassEvaluation`, each (R, C). NaN where the
        weights leave a class without an image (for the AUROC: or without any other image).
    """
    blocks = np.array_split(weights.astype(np.float64), 1 + len(weights) // BLOCK)
    found = [_of_confusion(scores, block) | _of_ranking(scores, block) for block in blocks]
    return {name: np.concatenate([block[name] for block in found]) for name in found[0]}


def roc_curve(scores: Scores, label: str) -> tuple[Floats, Floats, Floats]:
    """Return false positive rates, true positive rates and thresholds of ``label`` vs the rest.

    Raises:
        DataError: ``no_curve`` when all images or no image are of the class.
    """
    false_rate, true_rate, thresholds = sklearn_metrics.roc_curve(*_curved(scores, label))
    return false_rate, true_rate, thresholds


def roc_band(
    scores: Scores, label: str, *, resamples: int = 500, seed: int = 0, points: int = 101
) -> tuple[Floats, Floats, Floats]:
    """Return how sure the ROC curve of ``label`` is: its 95 % band by patient, point by point.

    Args:
        scores: N images.
        label: Against the rest.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
        points: False positive rates at which the band is given, evenly spaced.

    Returns:
        False positive rates from 0 to 1, and the lower and upper bound of the true positive rate
        at each (its percentiles over resamples; between steps the curve is drawn straight).

    Raises:
        DataError: ``no_curve``, as `roc_curve`.
    """
    positive, score = _curved(scores, label)
    weights = patient_weights(scores.patients, resamples=resamples, seed=seed)
    order = np.argsort(-score, kind="stable")
    last_of_equals = np.flatnonzero(np.diff(score[order], append=-np.inf))
    ranked = weights[:, order].astype(np.float64)
    hits = np.cumsum(ranked * positive[order], axis=1)[:, last_of_equals]
    alarms = np.cumsum(ranked * ~positive[order], axis=1)[:, last_of_equals]
    rates = np.linspace(0, 1, points)
    drawn = np.array(
        [
            np.interp(rates, np.append(0, false / false[-1]), np.append(0, true / true[-1]))
            for false, true in zip(alarms, hits, strict=True)
            if false[-1] and true[-1]  # a resample without an image of either kind has no curve
        ]
    )
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return rates, low, high


def pr_curve(scores: Scores, label: str) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and thresholds of ``label`` against the rest.

    Raises:
        DataError: ``no_curve``, as `roc_curve`.
    """
    ranked = _curved(scores, label)
    precision, recall, thresholds = sklearn_metrics.precision_recall_curve(*ranked)
    return precision, recall, thresholds


def _of_confusion(scores: Scores, weights: Floats) -> dict[str, Floats]:
    """Statistics of the predicted class, from one weighted confusion matrix per row."""
    classes = len(scores.labels)
    cell = scores.targets * classes + scores.predicted
    confusion = (weights @ np.eye(classes**2)[cell]).reshape(-1, classes, classes)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    of_class, called = confusion.sum(axis=2), confusion.sum(axis=1)
    precision = ratio(right, called, 0.0)
    recall = ratio(right, of_class, np.nan)
    f1 = np.where(of_class > 0, ratio(2 * right, of_class + called, 0.0), np.nan)
    accuracy = right.sum(axis=1) / weights.sum(axis=1)
    found = {"accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1}

    # A class that no image has counts as 0. One that merely was not drawn makes the resample's
    # macro averages unknown (NaN): a 0 there would drag the interval down.
    never = ~np.isin(np.arange(classes), scores.targets)
    lost = ((of_class == 0) & ~never).any(axis=1)
    share = of_class / of_class.sum(axis=1, keepdims=True)
    for name in ("precision", "recall", "f1"):
        known = np.nan_to_num(found[name])
        found[f"{name}_macro"] = np.where(lost, np.nan, known.mean(axis=1))
        found[f"{name}_weighted"] = (share * known).sum(axis=1)
    return found


def _of_ranking(scores: Scores, weights: Floats) -> dict[str, Floats]:
    """Areas under the curves of each class against the rest; equal scores make one step.

    AUROC: the chance that an image of the class scores higher than another, equals counting half
    (Mann-Whitney). Average precision: sum of precision times gain in recall, as scikit-learn.
    """
    auroc, average_precision = [], []
    for target, column in enumerate(scores.probabilities.T):
        order = np.argsort(-column, kind="stable")
        steps = np.flatnonzero(np.diff(column[order], prepend=np.inf))
        positive = (scores.targets == target).astype(np.float64)[order]
        ranked = weights[:, order]
        of_class = np.add.reduceat(ranked * positive, steps, axis=1)
        of_all = np.add.reduceat(ranked, steps, axis=1)
        hits, seen = of_class.cumsum(axis=1), of_all.cumsum(axis=1)
        others = of_all - of_class
        positives, negatives = hits[:, -1], seen[:, -1] - hits[:, -1]
        pairs = (others * (hits - of_class / 2)).sum(axis=1)
        auroc.append(ratio(pairs, positives * negatives, np.nan))
        gains = (of_class * ratio(hits, seen, 0.0)).sum(axis=1)
        average_precision.append(ratio(gains, positives, np.nan))
    areas = np.stack(auroc, axis=1)
    return {
        "auroc": areas,
        "auroc_macro": areas.mean(axis=1),
        "average_precision": np.stack(average_precision, axis=1),
    }


def _curved(scores: Scores, label: str) -> tuple[npt.NDArray[np.bool_], Floats]:
    positive, score = scores.one_vs_rest(label)
    if positive.all() or not positive.any():
        got = f"{positive.sum()} of {len(positive)}; leave this curve out."
        raise DataError("no_curve", f"Expected images of {label!r} and of others, but got {got}")
    return positive, score


def ratio(above: Floats, below: Floats, otherwise: float = np.nan) -> Floats:
    """Return ``above / below``, and ``otherwise`` where ``below`` is 0."""
    return np.divide(above, below, out=np.full_like(above, otherwise), where=below != 0)


def _unfit(expected: str, received: str, remedy: str) -> DataError:
    return DataError("scores", f"Expected {expected}, but got {received}; {remedy}.")
