"""A part of the images drawn at random, by whole patients: the images of one point of a curve.

In come cases with a fixed test part; out goes the same data set with fewer images for training and
validation. A smaller draw is a part of a larger one of the same number: what differs between two
sizes is then what was added. Knows nothing of networks.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import groups_of
from cxr_transfer.errors import DataError

LEAST = 3
"""Images of a class of which some train, at least one validates, and more train than validate."""

_VALIDATION = 5
"""One image of so many is for validation."""


def most_per_class(dataset: Dataset) -> dict[str, int]:
    """Return how many images of each class are not in the test part.

    Args:
        dataset: Cases, each with its part.
    """
    return {
        label: sum(case.label == label and case.split != "test" for case in dataset.cases)
        for label in dataset.labels
    }


def check_sizes(dataset: Dataset, sizes: Sequence[int]) -> None:
    """Refuse sizes that the images outside the test part cannot give.

    Args:
        dataset: Cases, each with its part.
        sizes: Numbers of images per class.

    Raises:
        DataError: ``too_few_to_draw``.
    """
    most = most_per_class(dataset)
    largest = min(most.values())
    if max(sizes) > largest:
        few = ", ".join(f"{number} of {label}" for label, number in most.items())
        raise DataError(
            "too_few_to_draw",
            f"Expected {max(sizes)} images of each class outside the test part of "
            f"{dataset.name}, but there are {few}; the largest size is {largest}.",
        )


def draw(dataset: Dataset, size: int, number: int, *, seed: int = 0) -> Dataset:
    """Return ``dataset`` with about ``size`` images of each class for training and validation.

    Seed and number fix the order of the patients of each class. They are taken as long as that
    brings the images nearer to ``size``. Of a class's first two patients the one with more images
    trains and the other validates. Each later one validates where validation would not get more
    than about a fifth by that. So everything that was drawn for a size is drawn for each larger
    one, and stands in the same part.

    Args:
        dataset: Indexed cases, each with its part; "train" and "validation" are drawn from.
        size: Number of images per class, training and validation together; at least `LEAST`.
        number: Number of the draw, from 1.
        seed: Random seed.

    Returns:
        The drawn cases and those of the test part, in the order of ``dataset``.

    Raises:
        DataError: ``too_few_to_draw``, also where a class has fewer than two patients.
    """
    check_sizes(dataset, [size])
    pool = [case for case in dataset.cases if case.split != "test"]
    patients: dict[int, list[Case]] = defaultdict(list)
    for group, case in zip(groups_of(pool, "patient"), pool, strict=True):
        patients[int(group)].append(case)
    part_of: dict[int, str] = {}
    for target, label in enumerate(dataset.labels):
        of_class = [images for images in patients.values() if _label(images, dataset) == target]
        if len(of_class) < 2:
            raise DataError(
                "too_few_to_draw",
                f"Expected at least two patients of each class outside the test part, but "
                f"{label} has {len(of_class)}; add patients.",
            )
        order = np.random.default_rng([seed, number, target]).permutation(len(of_class))
        part_of |= _parts([of_class[place] for place in order], size)
    cases = (
        case if case.split == "test" else dataclasses.replace(case, split=part_of[id(case)])
        for case in dataset.cases
        if case.split == "test" or id(case) in part_of
    )
    return dataclasses.replace(dataset, cases=tuple(cases))


def _label(images: Sequence[Case], dataset: Dataset) -> int:
    """Return the class of most images of a patient; the first of equals."""
    counts = np.bincount([dataset.labels.target(case.label) for case in images])
    return int(counts.argmax())


def _parts(patients: Sequence[Sequence[Case]], size: int) -> dict[int, str]:
    """Return the part of each image that is drawn, by the identity of its case."""
    numbers = np.cumsum([len(images) for images in patients])
    # Two patients at least: one to learn from, one to validate.
    number_taken = max(2, 1 + int(np.abs(numbers - size).argmin()))
    first, second = (len(images) for images in patients[:2])
    parts = ["train", "validation"] if first >= second else ["validation", "train"]
    held_out = min(first, second)
    for images, number in zip(patients[2:number_taken], numbers[2:number_taken], strict=True):
        if _VALIDATION * (held_out + len(images) / 2) <= number:
            parts.append("validation")
            held_out += len(images)
        else:
            parts.append("train")
    return {
        id(case): part
        for images, part in zip(patients[:number_taken], parts, strict=True)
        for case in images
    }


def most_of_each(cases: Sequence[Case], most: int, seed: int) -> list[Case]:
    """Return at most so many images of each label in each source, drawn at random, in their order.

    Args:
        cases: Cases of any sources.
        most: Largest number of images.
        seed: Random seed.
    """
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, case in enumerate(cases):
        rows[case.source, case.label].append(row)
    rng = np.random.default_rng(seed)
    drawn = {
        own[place] for _, own in sorted(rows.items()) for place in rng.permutation(len(own))[:most]
    }
    return [cases[row] for row in sorted(drawn)]
