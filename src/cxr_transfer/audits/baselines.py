"""What can be told without looking at the lungs: from the file, from the patient's particulars.

In come cases, or a table of numbers an image; out go tables, and `Scores` as a network's. A network
that does no better than these has shown nothing of the lungs (Maguolo & Nanni 2021, Inf. Fusion
76:1; Garcia Santa Cruz et al. 2021, Med. Image Anal. 74:102225). Likewise on a network's own
features: how well they tell the source of an image.

This module knows no network and no report, and does not know what a table's columns mean once
they are made. That a table tells the class does not prove that a network reads the same there.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cxr_transfer.datasets.case import FRONTAL_VIEWS, Case
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.intervals import share
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.subgroups import NOT_STATED

Floats = npt.NDArray[np.float64]
Table = tuple[Floats, tuple[str, ...]]
"""(N, K) numbers, a row an image, and the names of the columns."""

SEXES = ("F", "M")
VIEWS = (*FRONTAL_VIEWS, "L")

TOO_FEW_PATIENTS = 10
"""Sources with fewer patients than this are not told apart from others."""


def table_of(features: Sequence[Mapping[str, float]]) -> Table:
    """Return `file_features` of one or more images as a table, a row each."""
    names = tuple(features[0])
    return np.array(
        [[of_image[name] for name in names] for of_image in features], dtype=np.float64
    ), names


def demographics_table(cases: Sequence[Case]) -> Table:
    """Return age in years (NaN when not stated), sex and view of every case (0 or 1 each).

    That something is not stated is a column too: collections differ in what they state.

    Raises:
        DataError: ``no_images`` without a case.
    """
    _check_images(cases)
    names = (
        "age",
        *(f"sex {name}" for name in (*SEXES, NOT_STATED)),
        *(f"view {name}" for name in (*VIEWS, "other", NOT_STATED)),
    )
    table = np.zeros((len(cases), len(names)))
    for row, case in enumerate(cases):
        # As `subgroups.age_band`: what is no age is not stated.
        is_age = case.age is not None and math.isfinite(case.age) and case.age >= 0
        table[row, 0] = case.age if is_age else np.nan
        sex = case.sex if case.sex in SEXES else NOT_STATED
        view = case.view if case.view in VIEWS else "other" if case.view else NOT_STATED
        table[row, [names.index(f"sex {sex}"), names.index(f"view {view}")]] = 1
    return table, names


def baseline(
    table: Floats,
    targets: npt.ArrayLike,
    labels: LabelSet,
    patients: Sequence[str],
    files: Sequence[str],
    *,
    kind: Literal["trees", "linear"] = "trees",
    folds: int = 5,
    seed: int = 0,
) -> Scores:
    """Score every image with a small classifier that was fitted on other patients' rows.

    Args:
        table: (N, K) numbers; NaN is "unknown".
        targets: (N,) index of each image's label.
        labels: The classes; one without an image scores 0 everywhere.
        patients: N names; the images of a patient stay in one fold.
        files: N names, for the scores.
        kind: ``trees``, gradient-boosted, for tables of few columns of every kind; ``linear``,
            logistic regression on standardised columns, for a network's features.
        folds: At most; no more than the class with the fewest patients has.
        seed: Random seed; the same seed and table give the same scores.

    Returns:
        Out-of-fold class scores in the order of the rows.

    Raises:
        DataError: ``table`` unless it has a row for each target, patient and file; ``too_few``
            with fewer than two classes, or with a class of fewer than two patients; what
            `Scores` raises.
        UsageError: ``folds`` below 2; ``kind`` for another one.
    """
    truth = np.asarray(targets)
    groups = np.asarray(patients, dtype=str)
    if table.ndim != 2 or not table.size or {len(truth), len(groups), len(files)} != {len(table)}:
        raise DataError(
            "table",
            f"Expected a row for each of {len(files)} files, {len(truth)} targets and "
            f"{len(groups)} patients, but got a table of {table.shape}; make it from the same "
            "images.",
        )
    even = np.full((len(table), len(labels)), 1 / len(labels))
    # Unfit targets are refused here, not after the fitting.
    scores = Scores(labels, truth, even, tuple(patients), tuple(files))
    splitter = StratifiedGroupKFold(
        _folds(truth, groups, labels, folds), shuffle=True, random_state=seed
    )
    probabilities = np.zeros_like(even)
    for fitted, held_out in splitter.split(table, truth, groups):
        present = np.unique(truth[fitted])
        if len(present) == 1:  # all patients of the others fell into one fold: no choice is left
            probabilities[held_out, present[0]] = 1
        elif len(held_out):
            # A column unknown throughout says nothing, and the trees cannot bin it.
            rows = np.where(np.isnan(table[fitted]).all(axis=0), 0.0, table)
            # More threads than one make a linear fit slower: see training/linear_probe.py. Those of
            # the trees wait for each other in loops: where others use the processor, one second
            # becomes forty. The scores are the same, bit for bit.
            with threadpool_limits(1):
                model = _model(kind, seed).fit(rows[fitted], truth[fitted])
                probabilities[np.ix_(held_out, present)] = model.predict_proba(rows[held_out])
    return dataclasses.replace(scores, probabilities=probabilities)


def source_classifier(
    features: Floats,
    cases: Sequence[Case],
    *,
    folds: int = 5,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how well a linear classifier tells the source of an image from ``features``.

    Where it does much better than chance, and source and class go together, a network that has
    these features can tell the class by the source (Zech et al. 2018, PLoS Med. 15:e1002683).

    Args:
        features: Features (N, K), of a network say.
        cases: Cases of the same N images, in the same order.
        folds: Number of folds, as in `baseline`.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed; the same seed, features and cases give the same figures.

    Returns:
        - ``accuracy``: share of images put to their source by a classifier that was fitted on
          other patients, `Estimate` as a dict, in [0, 1];
        - ``chance``: share of the largest source, what always naming that one achieves;
        - ``balanced_accuracy``: mean over sources of the share that is put right, which a large
          source does not lift; ``balanced_chance``: one over the number of sources;
        - ``sources``: how many are told apart; ``images`` and ``patients``: of these sources;
        - ``left_out``: the other sources in the order of their names, each with ``source``,
          ``images`` and ``patients``: those with fewer than `TOO_FEW_PATIENTS` patients, and
          images whose source is not stated.

        These four are null where fewer than two sources remain.

    Raises:
        DataError: ``no_images`` without a case; ``table`` unless there is a row for each case.
        UsageError: ``folds`` below 2; ``resamples`` below 1.
    """
    _check_images(cases)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, case in enumerate(cases):
        rows[case.source or NOT_STATED].append(row)
    patients = {source: len({cases[row].patient for row in of}) for source, of in rows.items()}
    kept = sorted(
        source for source in rows if source != NOT_STATED and patients[source] >= TOO_FEW_PATIENTS
    )
    used = sorted(row for source in kept for row in rows[source])
    names = tuple(cases[row].patient for row in used)
    result: dict[str, Any] = {
        "accuracy": None,
        "chance": None,
        "balanced_accuracy": None,
        "balanced_chance": None,
        "sources": len(kept),
        "images": len(used),
        "patients": len(set(names)),
        "left_out": [
            {"source": source, "images": len(rows[source]), "patients": patients[source]}
            for source in sorted(rows.keys() - set(kept), key=lambda s: (s == NOT_STATED, s))
        ],
    }
    if len(features) != len(cases):
        raise DataError(
            "table",
            f"Expected features of {len(cases)} images, but got {len(features)} rows; compute "
            "them from the same images.",
        )
    if len(kept) < 2:
        return result
    labels = LabelSet(tuple(kept))
    targets = np.array([labels.target(cases[row].source) for row in used])
    files = tuple(cases[row].file for row in used)
    scores = baseline(
        features[used], targets, labels, names, files, kind="linear", folds=folds, seed=seed
    )
    right = scores.predicted == scores.targets
    balanced = evaluate(scores, resamples=resamples, seed=seed).recall_macro
    return result | {
        "accuracy": share(right, names, resamples=resamples, seed=seed).as_dict(),
        "chance": float(np.bincount(targets).max() / len(targets)),
        "balanced_accuracy": balanced.as_dict(),
        "balanced_chance": 1 / len(kept),
    }


def _model(kind: str, seed: int) -> ClassifierMixin:
    if kind == "trees":
        # Stopping early would hold images back at random, not by patient. Small leaves: at the
        # default of 20 images a class of 30 could not be told.
        return HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=15,
            min_samples_leaf=10,
            early_stopping=False,
            random_state=seed,
        )
    if kind == "linear":
        return make_pipeline(
            SimpleImputer(strategy="median"),
            StandardScaler(),
            LogisticRegression(max_iter=1000),
        )
    raise UsageError("kind", f"Expected trees or linear, but got {kind!r}; choose one of these.")


def _folds(
    targets: npt.NDArray[Any], patients: npt.NDArray[np.str_], labels: LabelSet, number: int
) -> int:
    """Return how many folds there can be with a patient of every class in each."""
    if number < 2:
        raise UsageError("folds", f"Expected at least 2 folds, but got {number}; 5 is usual.")
    present = np.unique(targets)
    fewest = min(len(np.unique(patients[targets == target])) for target in present)
    if len(present) < 2 or fewest < 2:
        raise DataError(
            "too_few",
            f"Expected at least 2 of the {len(labels)} classes, each with images of at least 2 "
            f"patients, but got {len(present)} and {fewest}; add images or leave the class out.",
        )
    return min(number, fewest)


def _check_images(cases: Sequence[Case]) -> None:
    if not cases:
        raise DataError("no_images", "Expected at least one image, but got none; add images.")
