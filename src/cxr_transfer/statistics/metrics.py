"""What a model's class scores are worth: the paper's figures of merit, each with its interval.

In come the `Scores` of a model on images it was not trained on; out goes an `Evaluation`. This
module does not know which model scored, how the images were split, or how a figure is drawn.

Every statistic is computed from image weights: ones for the value itself, the bootstrap's counts
for its replicates (`intervals.value_and_resamples`), all of them at once. The intervals of AUROC
need no replicates: `auroc`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from cxr_transfer.statistics.auroc import auroc_intervals
from cxr_transfer.statistics.intervals import (
    Estimate,
    percentile_interval,
    value_and_resamples,
)
from cxr_transfer.statistics.scores import Floats, Scores, WeightedScores, ratio

BLOCK = 256
"""Resamples that are ranked at a time: keeps memory bounded and the arrays in the cache."""


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
    """Figures of merit of one model on one set of images, with 95 % intervals by patient.

    `intervals.INTERVALS` says by which method they are made.

    Proportions lie in [0, 1]. ``*_macro`` is the mean over classes, F1 the mean of the classes'
    F1 (the paper's reading); ``*_weighted`` weighs each class by its images. A class without an
    image has no recall, F1, AUROC or average precision of its own, and no ``auroc_macro`` is
    formed; in the other macro averages it counts as 0, as in scikit-learn over all labels.

    Attributes:
        per_class: Figures of each class by label, in the order of the label set.
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
                label: {
                    k: v.as_dict() if isinstance(v, Estimate) else v for k, v in of_class.items()
                }
                for label, of_class in self.per_class.items()
            },
            "confusion": self.confusion.tolist(),
            "test_images": self.images,
            "test_patients": self.patients,
        }


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Attributes:
        title: Name for people.
        of_class: Function that returns it for each class against the rest, (R, C); None for a
            figure of all classes at once.
        averages: Functions that make one number (R,) of all classes, by the ending of its name.
    """

    title: str
    of_class: Callable[[WeightedScores], Floats] | None
    averages: Mapping[str, Callable[[WeightedScores, Floats], Floats]] = field(default_factory=dict)


_MACRO_AND_WEIGHTED = {"_macro": WeightedScores.macro, "_weighted": WeightedScores.weighted}

METRICS = {
    "accuracy": Metric(
        "Accuracy", None, {"": lambda of, _: of.right.sum(axis=1) / of.weights.sum(axis=1)}
    ),
    "precision": Metric(
        "Precision", lambda of: ratio(of.right, of.predicted, 0.0), _MACRO_AND_WEIGHTED
    ),
    "recall": Metric(
        "Recall", lambda of: ratio(of.right, of.of_class, np.nan), _MACRO_AND_WEIGHTED
    ),
    "f1": Metric(
        "F1",
        lambda of: np.where(
            of.of_class > 0, ratio(2 * of.right, of.of_class + of.predicted, 0.0), np.nan
        ),
        _MACRO_AND_WEIGHTED,
    ),
    "auroc": Metric(
        "AUROC", lambda of: of.areas[0], {"_macro": lambda _, areas: areas.mean(axis=1)}
    ),
    "average_precision": Metric("Average precision", lambda of: of.areas[1]),
}
"""Figures of merit by name; `Evaluation` and `ClassEvaluation` have a field for each."""

AVERAGES = tuple(f"{name}{kind}" for name, metric in METRICS.items() for kind in metric.averages)
"""The statistics that are one number for all classes."""

OF_A_CLASS = tuple(name for name, metric in METRICS.items() if metric.of_class)
"""The statistics that are one number for each class."""

TITLES = {
    f"{name}{kind}": f"{metric.title} ({kind[1:]})" if kind else metric.title
    for name, metric in METRICS.items()
    for kind in metric.averages
}
"""Names for people of `AVERAGES`."""


def evaluate(scores: Scores, *, resamples: int = 2000, seed: int = 0) -> Evaluation:
    """Return the figures of merit of ``scores`` with their 95 % intervals by patient.

    Raises:
        UsageError: ``resamples`` below 1.

    >>> from cxr_transfer.labels import LabelSet
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
    replicates = statistics(scores, weights)

    patients = np.asarray(scores.patients)

    def estimate(values: Floats, of: npt.NDArray[np.bool_] | slice = slice(None)) -> Estimate:
        return percentile_interval(values[0], values[1:], units=len(np.unique(patients[of])))

    classes = len(scores.labels)
    areas, mean_area = aurocs(scores)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (scores.targets, scores.predicted), 1)
    per_class: dict[str, ClassEvaluation] = {
        label: {
            "precision": estimate(replicates["precision"][:, target], scores.predicted == target),
            "recall": estimate(replicates["recall"][:, target], scores.targets == target),
            "f1": estimate(replicates["f1"][:, target], scores.targets == target),
            "auroc": areas[target],
            "average_precision": estimate(
                replicates["average_precision"][:, target], scores.targets == target
            ),
            "images": int(confusion[target].sum()),
        }
        for target, label in enumerate(scores.labels)
    }
    return Evaluation(
        **{name: estimate(replicates[name]) for name in AVERAGES if name != "auroc_macro"},
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
    of_blocks = [_statistics(WeightedScores(scores, block)) for block in blocks]
    return {name: np.concatenate([block[name] for block in of_blocks]) for name in of_blocks[0]}


def _statistics(weighted: WeightedScores) -> dict[str, Floats]:
    by_name: dict[str, Floats] = {}
    for name, metric in METRICS.items():
        values = np.empty(0)
        if metric.of_class:
            values = by_name[name] = metric.of_class(weighted)
        for kind, average in metric.averages.items():
            by_name[f"{name}{kind}"] = average(weighted, values)
    return by_name
