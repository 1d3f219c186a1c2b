"""Which variant of a network's input is right, and which class each score is of, by known labels.

Scores of several variants in, the number of one out, with words on how sure that is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm, rankdata

from cxr_transfer.datasets.case import Case
from cxr_transfer.subjects.arrays import Floats
from cxr_transfer.subjects.input_variants import compare_scores

SATURATED = 1e-3
"""Spread of the scores below which a network answers all images alike."""


def first_that_varies(scores: Sequence[Floats], sure: dict[str, str]) -> int:
    """Choose the first variant under which the network does not answer all images alike.

    Args:
        scores: Scores of each variant, (N, K).
        sure: Words on each key; that of the range is added.
    """
    varied = [float(of_way.std(axis=0).max()) for of_way in scores]
    best = next((way for way, spread in enumerate(varied) if spread > SATURATED), 0)
    sure["input.range"] = (
        f"GUESS: generated images have a spread of scores of {varied[best]:.3f} with it; give "
        "--data and --labels to measure it"
    )
    return best


def best_by_labels(
    scores: Sequence[Floats],
    targets: npt.NDArray[np.int64],
    cases: Sequence[Case],
    titles: Sequence[str],
    sure: dict[str, str],
) -> int:
    """Choose the variant with the highest AUROC, and say how far it is ahead.

    Args:
        scores: Scores of each variant, (N, K).
        targets: Classes of the images, (N,).
        cases: Cases of the images.
        titles: Words for each variant.
        sure: Words on each key; those of the input are added.

    Returns:
        Number of the variant; of those that are as good as the best, the first.
    """
    classes = int(targets.max()) + 1
    ordered = [_in_order(of_way, targets, classes) for of_way in scores]
    patients = [case.patient for case in cases]
    compared = compare_scores(ordered, targets, patients)
    best = int(np.argmax(compared.areas))
    # As good as the best: what is simpler comes first.
    close = [
        way for way in range(len(scores)) if compared.difference(best, way).low <= 0 or way == best
    ]
    chosen = close[0]
    area = 100 * compared.areas[chosen]
    others = [way for way in close if way != chosen]
    word = "measured" if not others else "GUESS"
    reason = f"{word}: AUROC {area:.1f} on {len(targets)} images"
    if others:
        named = "; ".join(f"{titles[way]} ({100 * compared.areas[way]:.1f})" for way in others[:4])
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        reason += f", not clearly better than {named}{more}"
    else:
        second = max((way for way in range(len(scores)) if way != best), key=compared.areas.item)
        reason += f", the next best ({titles[second]}) {100 * compared.areas[second]:.1f}"
    for name in ("input.range", "input.bright", "input.equalise"):
        sure[name] = reason if name == "input.range" else f"{word}, with the range"
    return chosen


def _in_order(scores: Floats, targets: npt.NDArray[np.int64], classes: int) -> Floats:
    """Return scores with a column for each class, in the order that tells them apart best."""
    if scores.shape[1] == 1 or scores.shape[1] > classes == 2:
        # Of several findings one is read, and it may be of either class.
        positive = scores[:, _furthest(scores, targets == 1)[0]]
        if _area(positive, targets == 1) < 0.5:
            positive = 1 - positive
        return np.stack([1 - positive, positive], axis=1)
    columns = _assigned(scores, targets, classes)
    return scores[:, columns]


def _assigned(scores: Floats, targets: npt.NDArray[np.int64], classes: int) -> list[int]:
    areas = np.array(
        [
            [_area(scores[:, column], targets == target) for column in range(scores.shape[1])]
            for target in range(classes)
        ]
    )
    return linear_sum_assignment(-areas)[1].tolist()  # type: ignore[no-any-return]


def best_column(scores: Floats, targets: npt.NDArray[np.int64], sure: dict[str, str]) -> int:
    """Choose the one of several findings that tells two classes apart best.

    Args:
        scores: Scores of a variant, (N, K).
        targets: 0 or 1 for each image, (N,).
        sure: Words on each key; that of the column is added.
    """
    positive = targets == 1
    best, apart = _furthest(scores, positive)
    # The best of K columns by chance lies further from 1/2 than one does (Bonferroni).
    word = "measured" if apart > _chance(positive, scores.shape[1]) else "GUESS"
    sure["output.column"] = (
        f"{word}: of {scores.shape[1]} numbers that do not sum to 1 it tells the classes apart "
        f"best (AUROC {100 * (0.5 + apart):.1f})"
    )
    return best


def _furthest(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[int, float]:
    """Return the column whose area lies furthest from 1/2, and how far."""
    apart = [abs(_area(column, positive) - 0.5) for column in scores.T]
    best = int(np.argmax(apart))
    return best, apart[best]


def order_of_classes(
    scores: Floats, targets: npt.NDArray[np.int64], labels: tuple[str, ...], sure: dict[str, str]
) -> tuple[str, ...]:
    """Return the classes in the order of the scores; of one score, the second is what it is of.

    Args:
        scores: Scores of a variant, (N, K).
        targets: Classes of the images, as they stand in ``labels``, (N,).
        labels: Classes in any order.
        sure: Words on each key; that of the labels is added.
    """
    if scores.shape[1] == 1:
        positive = targets == 1
        area = _area(scores[:, 0], positive)
        word = "measured" if abs(area - 0.5) > _chance(positive) else "GUESS"
        sure["labels"] = f"{word}: the score is of {labels[int(area >= 0.5)]}"
        sure["labels"] += f" (AUROC {100 * max(area, 1 - area):.1f})"
        return labels if area >= 0.5 else labels[::-1]
    columns = _assigned(scores, targets, len(labels))
    if scores.shape[1] != len(labels):
        sure["labels"] = f"GUESS: {scores.shape[1]} numbers for {len(labels)} classes"
        return labels
    sure["labels"] = "measured: the order that tells the classes apart best"
    by_column = dict(zip(columns, labels, strict=True))
    return tuple(by_column[column] for column in range(len(labels)))


def _chance(positive: npt.NDArray[np.bool_], tries: int = 1) -> float:
    """Return how far from 1/2 the area of a score without meaning lies in 19 of 20 cases at most.

    Source: Mann & Whitney 1947, Ann. Math. Stat. 18:50.
    """
    inside, outside = int(positive.sum()), int((~positive).sum())
    limit = norm.ppf(1 - 0.025 / tries)
    return float(limit * np.sqrt((inside + outside + 1) / (12 * inside * outside)))


def _area(scores: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    inside, outside = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - inside * (inside + 1) / 2) / max(inside * outside, 1))
