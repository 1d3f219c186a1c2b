"""Labels that are likely wrong, by scores of a model that did not learn from them.

In come `Scores`; out go counts and rows. A model's own errors look the same: which of the two an
image is, only somebody who looks at it can say.

Source: Northcutt, Jiang & Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels", JAIR 70:1373.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr_transfer.statistics.scores import Floats, Scores


@dataclass(frozen=True, eq=False)
class LabelDoubts:
    """Images whose label is likely another, the likeliest first.

    Attributes:
        thresholds: Mean score of each class on the images that are labelled so, (C,); NaN without
            such an image.
        joint: Estimated shares of images by given label (rows) and likely label, (C, C).
        rows: Rows of the images off the diagonal, by falling margin.
        suggested: Likely class of each of them.
        margins: Score of the likely class less that of the given one.
    """

    thresholds: Floats
    joint: Floats
    rows: npt.NDArray[np.int64]
    suggested: npt.NDArray[np.int64]
    margins: Floats

    @property
    def share(self) -> float:
        """Estimated share of images with another label than the likely one."""
        return float(1 - np.trace(self.joint))


def label_doubts(scores: Scores) -> LabelDoubts:
    """Return the confident joint, and the images that it takes for wrongly labelled.

    An image is counted as a class when its score of that class is at least the class's threshold;
    of several such classes as the one with the highest score. Counts are scaled to the number of
    images of each given label (equation 3).

    Args:
        scores: Scores of a model that was not trained on these images.

    >>> from cxr_transfer.labels import LabelSet
    >>> names, files = LabelSet(("normal", "covid19")), tuple("abcdef")
    >>> ill = np.array([0.1, 0.1, 0.95, 0.9, 0.9, 0.9])
    >>> both = np.stack([1 - ill, ill], axis=1)
    >>> scores = Scores(names, np.array([0, 0, 0, 1, 1, 1]), both, files, files)
    >>> doubts = label_doubts(scores)
    >>> doubts.rows.tolist(), doubts.suggested.tolist(), round(doubts.share, 3)
    ([2], [1], 0.167)
    """
    classes, given = len(scores.labels), scores.targets
    chances = scores.probabilities
    thresholds = np.array(
        [
            chances[given == target, target].mean() if (given == target).any() else np.nan
            for target in range(classes)
        ]
    )
    # A class without an image has no threshold, and nothing is counted as it. Rounding must not
    # part an image from a threshold that is its own score.
    reaches = chances >= np.where(np.isnan(thresholds), np.inf, thresholds) - 1e-12
    likely = np.where(reaches, chances, -1.0).argmax(axis=1)
    counted = reaches.any(axis=1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (given[counted], likely[counted]), 1)
    images = np.bincount(given, minlength=classes).astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    # A given label of which nothing is counted stays what it is.
    shares = np.divide(counts, totals, out=np.eye(classes), where=totals > 0)
    joint = shares * images[:, None] / images.sum()
    doubted = np.flatnonzero(counted & (likely != given))
    margins = chances[doubted, likely[doubted]] - chances[doubted, given[doubted]]
    order = np.argsort(-margins, kind="stable")
    return LabelDoubts(thresholds, joint, doubted[order], likely[doubted][order], margins[order])
