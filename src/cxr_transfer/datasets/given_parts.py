"""Parts that cases name themselves: whole, no patient in two of them, and what is lacking drawn.

In come cases of a manifest or of a collection with official parts. Goes out: what is wrong with
them, all of it, each as an error. No image is opened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.manifest import PARTS
from cxr_transfer.errors import DataError, listing


def lacking_parts(cases: Sequence[Case]) -> list[str]:
    """Return the parts that no case names, in the order in which they are drawn from training.

    Official splits often name two parts: NIH ChestX-ray14 has no validation part of its own,
    CheXpert no public test part. Without a training part there is nothing to draw from.
    """
    parts = {case.split for case in cases}
    return [part for part in reversed(PARTS) if part not in parts] if "train" in parts else []


def drawn_lines(cases: Sequence[Case]) -> tuple[str, ...]:
    """Return the line that tells which parts are drawn beside those that are given."""
    lacking = lacking_parts(cases)
    if not lacking:
        return ()
    return (
        f"the data give no part {' and no part '.join(lacking)}: drawn from the training part, by "
        "patient",
    )


def check_consistent(cases: Sequence[Case]) -> None:
    """Refuse a given split that leaks or is not whole; no image is opened.

    Raises:
        DataError: The first of `inconsistencies`.
    """
    for error in inconsistencies(cases):
        raise error


def inconsistencies(cases: Sequence[Case]) -> Iterator[DataError]:
    """Yield what is wrong with the parts that cases name: all of it, each as an error.

    Yields:
        ``split_incomplete`` when only some rows name a part, ``patient_overlap`` when a patient
        stands in two parts.
    """
    counts = Counter(case.split for case in cases)
    if counts.get("") and len(counts) > 1:
        yield DataError(
            "split_incomplete",
            f"Expected a part (train, validation, test) in every row or in none, but {counts['']} "
            f"of {len(cases)} rows have none.",
        )
    parts: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.split:
            parts[case.patient].add(case.split)
    twice = sorted(patient for patient, where in parts.items() if len(where) > 1)
    if twice:
        yield DataError(
            "patient_overlap",
            f"Expected every patient in one part, but {len(twice)} stand in several: "
            f"{listing(twice)}",
        )
