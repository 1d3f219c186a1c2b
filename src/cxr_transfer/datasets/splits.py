"""Cases in, each with its part out: train 70 %, validation 10 %, test 20 % (paper, section 3.2).

Stratified by label (of findings, by each image's rarest one), seeded, and by default grouped by
patient: nobody's images stand in two parts. Images that are equal pixel for pixel stay together in
both ways, whatever patient they name.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import DisjointSet
from sklearn.model_selection import StratifiedGroupKFold

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.given_parts import check_consistent, inconsistencies, lacking_parts
from cxr_transfer.datasets.manifest import PARTS
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.several_findings import groups_by_label, strata
from cxr_transfer.errors import LISTED, DataError, UsageError, listing
from cxr_transfer.labels import JOINED, LabelSet
from cxr_transfer.text import for_terminal

SplitBy = Literal["patient", "image"]

MIN_GROUPS = 10
"""Patients (or images) of a class that are enough to draw all three parts from."""

_TEST_FOLDS = 5  # one fold of five: 20 %
_VALIDATION_FOLDS = 8  # one fold of eight of the rest: 12.5 %


def folds(
    dataset: Dataset, number: int, *, by: SplitBy = "patient", seed: int = 0
) -> tuple[Dataset, ...]:
    """Return ``number`` splits of ``dataset`` in which every case is tested exactly once.

    With five, the first is what `split` draws.

    Args:
        dataset: Indexed cases without parts of their own.
        number: Number of folds, from 2 to `MIN_GROUPS`.
        by: Way of drawing, as in `split`.
        seed: Random seed, as in `split`.

    Raises:
        UsageError: ``folds`` for a number out of range.
        DataError: ``parts_given`` when the cases have parts, and what `split` raises.
    """
    check_folds(dataset, number, by=by)
    return tuple(_drawn(dataset, by, seed, number, fold) for fold in range(number))


def check_folds(dataset: Dataset, number: int, *, by: SplitBy = "patient") -> None:
    """Refuse, as far as it can be told before an image is opened, what `folds` would refuse.

    Raises:
        UsageError: ``folds`` for a number out of range.
        DataError: ``parts_given`` when the cases have parts; ``too_few``.
    """
    check_number(number)
    if any(case.split for case in dataset.cases):
        raise DataError(
            "parts_given",
            "Expected images without parts for a cross-validation, but the manifest gives parts; "
            "remove its split column.",
        )
    _check_enough(dataset, groups_of(dataset.cases, by), by)


def check_number(number: int) -> None:
    """Refuse a number of folds that no cross-validation here can have.

    Raises:
        UsageError: ``folds``.
    """
    if not 2 <= number <= MIN_GROUPS:
        raise UsageError(
            "folds", f"Expected 2 to {MIN_GROUPS} folds, but got {number}; 5 is usual."
        )


def split(dataset: Dataset, *, by: SplitBy = "patient", seed: int = 0) -> Dataset:
    """Return ``dataset`` with every case's ``split`` set; a split that was given is kept.

    A part that was given to no case at all is drawn from the training part (`lacking_parts`), by
    patient; what was given as another part stays there.

    Args:
        dataset: Indexed cases (`index`), so that equal images are known.
        by: "patient" keeps a patient's images together; "image" is the paper's way and leaks.
        seed: Random seed of the parts.

    Raises:
        DataError: ``too_few`` when a class has fewer patients (images) than folds, and what
            `validate` raises.
    """
    if any(case.split for case in dataset.cases):
        check_consistent(dataset.cases)
        dataset = _completed(dataset, seed)
        validate(dataset, by="patient")
        return dataclasses.replace(dataset, split_by="given")
    return _drawn(dataset, by, seed, _TEST_FOLDS, 0)


def _completed(dataset: Dataset, seed: int) -> Dataset:
    """Return ``dataset`` with the parts that lack all images drawn from its training part."""
    for name in lacking_parts(dataset.cases):
        rows = np.array([row for row, case in enumerate(dataset.cases) if case.split == "train"])
        inside = [dataset.cases[row] for row in rows]
        targets = strata(dataset.labels, inside)
        number = _TEST_FOLDS if name == "test" else _VALIDATION_FOLDS
        groups = groups_of(inside, "patient")
        if min(_patients_by_label(dataset.labels, inside, groups).values()) < number:
            return dataset  # `validate` says which part has no image of which class.
        _, drawn = _fold(targets, groups, number, seed)
        chosen = set(rows[drawn].tolist())
        cases = tuple(
            dataclasses.replace(case, split=name) if row in chosen else case
            for row, case in enumerate(dataset.cases)
        )
        dataset = dataclasses.replace(dataset, cases=cases)
    return dataset


def _patients_by_label(
    labels: LabelSet, cases: Sequence[Case], groups: npt.NDArray[np.int64]
) -> dict[str, int]:
    """Count the patients with images of each class, or with and without each finding."""
    members = groups_by_label(labels, cases)
    return {name: len(np.unique(groups[rows])) for name, rows in members.items()}


def _drawn(dataset: Dataset, by: SplitBy, seed: int, number: int, fold: int) -> Dataset:
    targets = strata(dataset.labels, dataset.cases)
    groups = groups_of(dataset.cases, by)
    _check_enough(dataset, groups, by)
    part = np.full(len(targets), "train", dtype=object)
    remaining, test = _fold(targets, groups, number, seed, fold)
    part[test] = "test"
    parts = _validation_folds(targets[remaining], groups[remaining], number)
    _, validation = _fold(targets[remaining], groups[remaining], parts, seed)
    part[remaining[validation]] = "validation"
    cases = tuple(
        dataclasses.replace(case, split=str(name))
        for case, name in zip(dataset.cases, part, strict=True)
    )
    parted = dataclasses.replace(dataset, cases=cases, split_by=by)
    validate(parted, by=by)
    return parted


def _check_enough(dataset: Dataset, groups: npt.NDArray[np.int64], by: SplitBy) -> None:
    """Refuse a class with too few patients (or images) to draw parts from."""
    patients = _patients_by_label(dataset.labels, dataset.cases, groups)
    few = [f"{name} has {number}" for name, number in patients.items() if number < MIN_GROUPS]
    if few:
        # Few of a user's own classes, hundreds of a collection's joined findings.
        shortages = ", ".join(few) if len(few) <= LISTED else listing(few)
        raise DataError(
            "too_few",
            f"Expected at least {MIN_GROUPS} {by}s of each class, but {shortages}; add images, "
            "leave classes out (--label CLASS=) or give the parts yourself (a split column in the "
            f"manifest).{_hint(dataset)}",
        )


def _validation_folds(
    targets: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], number: int
) -> int:
    """Return the number of parts of which one is the validation part.

    Fewer than five folds leave fewer patients than that to a small class: it then gives one of
    those that it has, so that every part has the class.
    """
    if number >= _TEST_FOLDS:
        return _VALIDATION_FOLDS
    fewest = min(len(np.unique(groups[targets == target])) for target in np.unique(targets))
    return max(2, min(_VALIDATION_FOLDS, fewest))


def _hint(dataset: Dataset) -> str:
    """Return what may have been meant where labels that join findings are read as classes."""
    if not dataset.labels.exclusive or not any(JOINED in name for name in dataset.labels):
        return ""
    return ' Labels joined by "|" are several findings at once with -o task=multi_label.'


def _fold(
    targets: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    number: int,
    seed: int,
    fold: int = 0,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    folding = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class smaller than the number of folds is judged by `validate`, with our words.
        warnings.simplefilter("ignore", UserWarning)
        parts = folding.split(targets, targets, groups)
        return next(islice(parts, fold, None))  # type: ignore[no-any-return]


def groups_of(cases: Sequence[Case], by: SplitBy) -> npt.NDArray[np.int64]:
    """Return a group number per case: patients (or images) joined where an image is the same.

    Args:
        cases: N cases, indexed where equal images are to be joined.
        by: Unit of a group: "patient" or "image".

    Returns:
        (N,) numbers from 0, in the order in which groups first appear.
    """
    together = DisjointSet(range(len(cases)))
    first: dict[str, int] = {}
    for position, case in enumerate(cases):
        keys = [f"pixels {case.pixels}"] if case.pixels else []
        if by == "patient":
            keys.append(f"patient {case.patient}")
        for key in keys:
            together.merge(first.setdefault(key, position), position)
    # Numbered as they first appear: the same cases always get the same parts.
    numbers: dict[int, int] = {}
    members = (together[position] for position in range(len(cases)))
    return np.array([numbers.setdefault(root, len(numbers)) for root in members], dtype=np.int64)


def validate(dataset: Dataset, *, by: SplitBy = "patient") -> None:
    """Refuse a split that leaks or cannot be trained on.

    Raises:
        DataError: ``split_incomplete`` and ``patient_overlap`` (only for ``by="patient"``),
            ``two_labels``, ``image_overlap``, ``part_without_class``.
    """
    if by == "patient":
        check_consistent(dataset.cases)
    for error in _faults(dataset):
        raise error


def refusals(dataset: Dataset) -> list[DataError]:
    """Return all that `split`, by patient, would refuse ``dataset`` for, in the same words.

    Args:
        dataset: Indexed cases, with parts or without.
    """
    if any(case.split for case in dataset.cases):
        errors = [*inconsistencies(dataset.cases)]
        return [*errors, *_faults(dataset if errors else _completed(dataset, 0))]
    try:
        split(dataset)
    except DataError as error:
        return [error]
    return []


def _faults(dataset: Dataset) -> Iterator[DataError]:
    """Yield what makes parts unfit for training, whoever's images stand in them."""
    where: dict[str, set[str]] = defaultdict(set)
    labelled: dict[str, set[str]] = defaultdict(set)
    names: dict[str, list[str]] = defaultdict(list)
    for case in dataset.cases:
        if case.pixels:
            where[case.pixels].add(case.split)
            labelled[case.pixels].add(case.label)
            names[case.pixels].append(for_terminal(case.file))
    two_labels = sorted(
        listing(names[key], " = ") for key, labels in labelled.items() if len(labels) > 1
    )
    if two_labels:
        yield DataError(
            "two_labels",
            f"Expected one label per image, but {len(two_labels)} stand under two labels: "
            f"{listing(two_labels)}; keep the right one.",
        )
    twice = sorted(listing(names[key], " = ") for key, parts in where.items() if len(parts) > 1)
    if twice:
        yield DataError(
            "image_overlap",
            f"Expected every image in one part, but {len(twice)} stand in several under different "
            f"names: {listing(twice)}; give them one patient.",
        )
    part = np.array([case.split for case in dataset.cases], dtype=object)
    members = groups_by_label(dataset.labels, dataset.cases)
    empty = [
        f"{x}: {name}" for x in PARTS for name, rows in members.items() if not any(part[rows] == x)
    ]
    if empty:
        yield DataError(
            "part_without_class",
            f"Expected every class in every part, but these are empty: {listing(empty)}; add "
            "images or patients of that class.",
        )


def patient_overlap(dataset: Dataset) -> int:
    """Return how many patients stand in more than one part (0 by default, by construction)."""
    where: dict[str, set[str]] = defaultdict(set)
    for case in dataset.cases:
        where[case.patient].add(case.split)
    return sum(len(parts) > 1 for parts in where.values())
