"""Whether one model is better than another on the same images, or only luckier.

In come two models' predictions or `Scores` on the same images; out go p-values and differences
with intervals. This module does not know the models, and draws no verdict: a p-value is printed
beside the counts it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.statistics.findings import FindingScores
from cxr_transfer.statistics.intervals import Estimate, percentile_interval, value_and_resamples
from cxr_transfer.statistics.metrics import AVERAGES, OF_A_CLASS, statistics
from cxr_transfer.statistics.scores import Scores


@dataclass(frozen=True)
class McNemar:
    """Images that only one of two models got right, and the exact two-sided p-value."""

    only_a_right: int
    only_b_right: int
    p: float


def mcnemar(
    targets: npt.ArrayLike, predicted_a: npt.ArrayLike, predicted_b: npt.ArrayLike
) -> McNemar:
    """Test whether two models err equally often on the same images.

    Exact: of the images that only one model got right, either is as likely to be that one
    (binomial, two-sided). Images are taken as independent; `paired_difference` goes by patient.

    Source: McNemar 1947, Psychometrika 12:153, exact form.

    Args:
        targets: (N,) index of the true label of each image.
        predicted_a: (N,) index that model a chose.
        predicted_b: (N,) index that model b chose.

    Raises:
        DataError: ``not_paired`` unless all three have one entry per image.

    >>> mcnemar([0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1, 0, 1, 1, 1, 1])
    McNemar(only_a_right=1, only_b_right=4, p=0.375)
    """
    true, a, b = (np.asarray(values) for values in (targets, predicted_a, predicted_b))
    if true.ndim != 1 or not true.shape == a.shape == b.shape:
        raise DataError(
            "not_paired",
            f"Expected three vectors with one entry per image, but got shapes {true.shape}, "
            f"{a.shape} and {b.shape}; score both models on the same images.",
        )
    only_a = int(np.sum((a == true) & (b != true)))
    only_b = int(np.sum((a != true) & (b == true)))
    differing = only_a + only_b
    p = float(binomtest(only_a, differing).pvalue) if differing else 1.0
    return McNemar(only_a, only_b, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, keeping their order.

    Source: Holm 1979, Scand. J. Stat. 6:65 (step-down).

    Raises:
        DataError: ``p_values`` unless each lies in [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError(
            "p_values",
            f"Expected p-values from 0 to 1, but got {list(p_values)}; leave out tests that "
            "could not be made.",
        )
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]


def paired_difference(
    scores_a: Scores,
    scores_b: Scores,
    metric: str = "accuracy",
    *,
    label: str = "",
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return by how much b is better than a, with the 95 % interval by patient.

    Both models are scored again on the same resampled patients, so that what is hard for both
    cancels out.

    Args:
        scores_a: Scores of the first model.
        scores_b: Scores of the second model for the same images in the same order.
        metric: Metric of `metrics.AVERAGES`, or with a label of `metrics.OF_A_CLASS`; the
            difference has its unit.
        label: Class whose figure it is, one against the rest; "" for all classes.
        resamples: Number of resamples.
        seed: Random seed; the same seed and patients give the same resamples.

    Raises:
        DataError: ``not_paired`` unless labels, files, targets and patients agree;
            ``unknown_label``.
        UsageError: ``unknown_metric``, or ``resamples`` below 1.
    """
    allowed = OF_A_CLASS if label else AVERAGES
    if metric not in allowed:
        raise UsageError(
            "unknown_metric",
            f"Expected one of {', '.join(allowed)}, but got {metric!r}; choose one of these.",
        )
    check_same_images(scores_a, scores_b)
    weights = value_and_resamples(scores_a.patients, resamples=resamples, seed=seed)
    difference = statistics(scores_b, weights)[metric] - statistics(scores_a, weights)[metric]
    if label:
        difference = difference[:, scores_a.labels.target(label)]
    return percentile_interval(difference[0], difference[1:])


def check_same_images(scores_a: Scores | FindingScores, scores_b: Scores | FindingScores) -> None:
    """Refuse scores of different images: what is hard for both would not cancel out.

    Raises:
        DataError: ``not_paired``, naming what differs and where.
    """
    for name, a, b in (
        ("labels", scores_a.labels.names, scores_b.labels.names),
        ("files", scores_a.files, scores_b.files),
        ("targets", scores_a.targets.tolist(), scores_b.targets.tolist()),
        ("patients", scores_a.patients, scores_b.patients),
    ):
        if a != b:
            raise DataError(
                "not_paired",
                f"Expected the same {name} in the same order for both models, but got "
                f"{_first_difference(a, b)}; score both models on the same images.",
            )


def _first_difference(a: Sequence[object], b: Sequence[object]) -> str:
    if len(a) != len(b):
        return f"{len(a)} and {len(b)} of them"
    # The position, not the content: a patient's name has no place in a message.
    at = next(i for i, (item, other) in enumerate(zip(a, b, strict=True)) if item != other)
    return f"different ones at position {at + 1}"
