"""Whether two data sets differ: in files, in grey values, and in what a model says of them.

A classifier is fitted to tell the two apart, on other patients than it is tested on. Where it does
no better than chance nothing that it sees differs (Lopez-Paz & Oquab 2017, "Revisiting Classifier
Two-Sample Tests", ICLR). Of each score besides, the greatest distance of the two distributions
(Kolmogorov & Smirnov).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from cxr_transfer.audits.baselines import baseline, table_of
from cxr_transfer.audits.images_alone import PICTURE
from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.metrics import aurocs

Floats = npt.NDArray[np.float64]

SETS = LabelSet(("data", "reference"))

FILES, GREYS, SCORES = "file facts", "grey values", "scores"


def drift(
    cases: tuple[Sequence[Case], Sequence[Case]],
    files: tuple[Sequence[Mapping[str, float]], Sequence[Mapping[str, float]]],
    scored: tuple[Floats, Floats] | None,
    labels: LabelSet,
    *,
    seen: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how well two data sets are told apart.

    Args:
        cases: Images of the data, and of the reference.
        files: `file_features` of both.
        scored: Scores (N, C) of both; None where there are none.
        labels: Classes of the scores.
        seen: Number of images of the reference that training saw.
        seed: Random seed of the folds.

    Returns:
        ``images`` of both, ``shared`` (files that are in both), ``seen``; ``told_apart``: AUROC of
        a classifier on `FILES`, `GREYS` and `SCORES`, `Estimate` as a dict (null values where it
        cannot be fitted); ``scores``: by class ``ks`` and its ``p``, ``mean`` of both; ``called``:
        by class the share of both that is called so.
    """
    features, columns = table_of([*files[0], *files[1]])
    is_grey = np.array([name.startswith(PICTURE) for name in columns])
    both = [*cases[0], *cases[1]]
    targets = np.repeat([0, 1], [len(cases[0]), len(cases[1])])
    tables = {FILES: features[:, ~is_grey], GREYS: features[:, is_grey]}
    if scored is not None:
        tables[SCORES] = np.concatenate(scored)
    shared = {case.pixels for case in cases[0]} & {case.pixels for case in cases[1]} - {""}
    content: dict[str, Any] = {
        "images": [len(of_set) for of_set in cases],
        "shared": len(shared),
        "seen": seen,
        "told_apart": {
            name: _told_apart(table, targets, both, seed) for name, table in tables.items()
        },
    }
    if scored is not None:
        content |= {"scores": _distances(*scored, labels), "called": _called(*scored, labels)}
    return content


def _told_apart(
    table: Floats, targets: npt.NDArray[np.int64], cases: Sequence[Case], seed: int
) -> dict[str, float | None]:
    patients, names = zip(*((case.patient, case.file) for case in cases), strict=True)
    try:
        scores = baseline(table, targets, SETS, patients, names, seed=seed)
    except DataError:  # Fewer than two patients of one of them.
        return {"value": None, "low": None, "high": None}
    return aurocs(scores)[1].as_dict()


def _distances(data: Floats, reference: Floats, labels: LabelSet) -> dict[str, Any]:
    distances = {}
    for target, label in enumerate(labels):
        test = ks_2samp(data[:, target], reference[:, target])
        distances[label] = {
            "ks": float(test.statistic),
            "p": float(test.pvalue),
            "mean": [float(data[:, target].mean()), float(reference[:, target].mean())],
        }
    return distances


def _called(data: Floats, reference: Floats, labels: LabelSet) -> dict[str, list[float]]:
    called = [scores.argmax(axis=1) for scores in (data, reference)]
    return {
        label: [float((of_set == target).mean()) for of_set in called]
        for target, label in enumerate(labels)
    }
