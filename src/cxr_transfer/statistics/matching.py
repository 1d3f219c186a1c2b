"""Two classes compared among people who are alike: of one age band, one sex, one view.

Where one class is of children and the other of adults, a network can tell the age and never look
for the disease. In come `Scores` and their cases. Out goes for each pair of classes the AUROC among
images that are chosen so that age, sex and view tell nothing of the class. Beside it goes the AUROC
among all images of the pair. Knows no network, and does not make up what a collection does not
state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.metrics import aurocs
from cxr_transfer.statistics.scores import Scores, ratio
from cxr_transfer.statistics.subgroups import AXES, NOT_STATED, TOO_FEW_TO_RANK

MATCHED_ON = ("age", "sex", "view")


def matched_pairs(scores: Scores, cases: Sequence[Case], *, seed: int = 0) -> list[dict[str, Any]]:
    """Compare every two classes among images that agree in age band, sex and view.

    From each group of images that agree, as many of one class are taken as of the other, by chance.
    What is stated of fewer than 10 images of either class is not matched on; an image of which
    something that is matched on is not stated is left out: unknown is like nothing.

    Args:
        scores: Scores of N images.
        cases: Cases of the same N images, in the same order.
        seed: Random seed of the choice.

    Returns:
        For each pair with at least 10 matched images of each class: ``classes``; ``on``, what was
        matched; ``images``; ``matched`` and ``all``. These two are the AUROC of the second class's
        score against the first's, `Estimate` as a dict, among the matched images and among all of
        the two classes.
    """
    pairs = []
    for first, second in combinations(scores.labels, 2):
        rows = np.flatnonzero(
            np.isin(scores.targets, [scores.labels.target(label) for label in (first, second)])
        )
        on = [axis for axis in MATCHED_ON if _stated(axis, cases, rows, (first, second))]
        kept = _matched(cases, rows, on, first, seed) if on else rows[:0]
        if len(kept) < 2 * TOO_FEW_TO_RANK:
            continue
        pairs.append(
            {
                "classes": [first, second],
                "on": on,
                "images": len(kept),
                "matched": _auroc(scores.only(kept), first, second),
                "all": _auroc(scores.only(rows), first, second),
            }
        )
    return pairs


def _stated(
    axis: str, cases: Sequence[Case], rows: npt.NDArray[np.int64], labels: tuple[str, str]
) -> bool:
    group_of = AXES[axis]
    counts = [
        sum(cases[row].label == label and group_of(cases[row]) != NOT_STATED for row in rows)
        for label in labels
    ]
    return bool(min(counts) >= TOO_FEW_TO_RANK)


def _matched(
    cases: Sequence[Case], rows: npt.NDArray[np.int64], on: Sequence[str], first: str, seed: int
) -> npt.NDArray[np.int64]:
    alike: dict[tuple[str, ...], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for row in rows.tolist():
        group = tuple(AXES[axis](cases[row]) for axis in on)
        if NOT_STATED not in group:
            alike[group][cases[row].label != first].append(row)
    rng = np.random.default_rng(seed)
    kept: list[int] = []
    for group in sorted(alike):
        fewest = min(map(len, alike[group]))
        for members in alike[group]:
            kept += rng.permutation(members)[:fewest].tolist()
    return np.array(sorted(kept), dtype=np.int64)


def _auroc(scores: Scores, first: str, second: str) -> dict[str, float | None]:
    """Return the AUROC of the second class's share of the two scores, with its interval.

    A third class or a temperature has no say in it.
    """
    pair = LabelSet((first, second))
    columns = [scores.labels.target(label) for label in pair]
    two = scores.probabilities[:, columns]
    sums = two.sum(axis=1, keepdims=True)
    two = ratio(two, np.repeat(sums, 2, axis=1), 0.5)
    of_pair = Scores(
        labels=pair,
        targets=(scores.targets == columns[1]).astype(np.int64),
        probabilities=two,
        patients=scores.patients,
        files=scores.files,
    )
    return aurocs(of_pair)[0][1].as_dict()
