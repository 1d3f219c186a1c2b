"""What images of one source bring, on that source's other images: means over random draws.

In come the `Scores` of one fixed test part by models that were trained with several draws of so
many images; out go means over the draws, with intervals that hold draws and patients. Knows no
model and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr_transfer.statistics.auroc import mean_of_draws
from cxr_transfer.statistics.external import ranked_classes
from cxr_transfer.statistics.intervals import Estimate, percentile_interval
from cxr_transfer.statistics.learning_curve import Resampling, draws_variance
from cxr_transfer.statistics.metrics import BLOCK
from cxr_transfer.statistics.scores import Floats, Scores, WeightedScores, ratio
from cxr_transfer.statistics.temperature import as_given


@dataclass(frozen=True, eq=False)
class AreaPoint:
    """AUROC after training with so many images of the source.

    Attributes:
        mean: Mean over draws and classes.
        classes: Mean over draws of each class's area; only classes with a figure.
        of_draws: Mean over classes of each draw, (D,).
        replicates: Mean over draws and classes, (1 + R,): the value itself, then its resamples.
    """

    mean: Estimate
    classes: dict[str, Estimate]
    of_draws: Floats
    replicates: Floats

    def gained_over(self, other: AreaPoint) -> Estimate:
        """Return how much larger the mean is than another point's, resampled alike."""
        gained = self.replicates - other.replicates
        return percentile_interval(float(gained[0]), gained[1:])


def area_point(draws: Sequence[Scores], resampling: Resampling) -> AreaPoint:
    """Return the AUROC of one size.

    Args:
        draws: Scores of the same test images, a model for each of the D draws.
        resampling: Resampling of these images and draws.
    """
    first, rows = draws[0], ranked_classes(draws[0])
    # (1 + R, D, K): area of each class, for each draw, in each resample.
    areas = np.stack([_areas(scores, resampling.patients)[:, rows] for scores in draws], axis=1)
    means = areas.mean(axis=2)
    positive = first.targets == rows[:, None]
    table = np.stack([scores.probabilities.T[rows] for scores in draws])
    return AreaPoint(
        mean=mean_of_draws(
            positive, table, first.patients, draws_variance=draws_variance(means[0])
        ),
        classes={
            first.labels.names[target]: mean_of_draws(
                positive[[place]],
                table[:, [place]],
                first.patients,
                draws_variance=draws_variance(areas[0, :, place]),
            )
            for place, target in enumerate(rows.tolist())
        },
        of_draws=means[0],
        replicates=np.clip((means * resampling.draws).sum(axis=1), 0, 1),
    )


def _areas(scores: Scores, weights: npt.NDArray[np.int64]) -> Floats:
    """Return the area of each class, (1 + R, C)."""
    blocks = np.array_split(weights.astype(np.float64), 1 + len(weights) // BLOCK)
    return np.concatenate([WeightedScores(scores, block).areas[0] for block in blocks])


def rates_at(
    draws: Sequence[Scores],
    thresholds: Sequence[float],
    label: str,
    resampling: Resampling,
) -> dict[str, Estimate]:
    """Return sensitivity and specificity, each draw at its own threshold; means over the draws.

    Args:
        draws: Scores of the same test images, a model for each of the D draws.
        thresholds: Threshold of each draw, set on images that do not test it.
        label: Class, against the rest.
        resampling: Resampling of these images and draws.
    """
    positive = draws[0].one_vs_rest(label)[0]
    called = np.stack(
        [
            as_given(scores.one_vs_rest(label)[1]) >= threshold
            for scores, threshold in zip(draws, thresholds, strict=True)
        ]
    )
    return {
        "sensitivity": _rate(called, positive, draws[0].patients, resampling),
        "specificity": _rate(~called, ~positive, draws[0].patients, resampling),
    }


def _rate(
    hit: npt.NDArray[np.bool_],
    of: npt.NDArray[np.bool_],
    patients: Sequence[str],
    resampling: Resampling,
) -> Estimate:
    """Return the mean over draws of the share of some images that are hit, (D, N)."""
    weights = resampling.patients.astype(np.float64)
    shares = ratio(
        weights @ (hit & of).T.astype(np.float64),
        np.repeat((weights @ of)[:, None], len(hit), axis=1),
    )
    means = np.clip((shares * resampling.draws).sum(axis=1), 0, 1)
    units = {patient for patient, is_meant in zip(patients, of, strict=True) if is_meant}
    return percentile_interval(float(means[0]), means[1:], units=len(units))
