"""Whom a model serves worse: its figures by source, view, sex, age, or any column of a manifest.

In come the `Scores` of a model and the cases they were computed from; out go plain dicts for
``report.json``. This module does not know the images or the model, and draws no verdict: a group
with too few images gets no figure, and a gap is printed beside the groups it came from.

Every figure is that of `metrics.evaluate` on the group's images alone: the patients drawn again are
those of the group, so that a group that holds all images has the figures of the whole report.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.statistics.metrics import aurocs, evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.tables import nearest

TOO_FEW = 20
"""Fewer images than this get no proportion: at 20, Wilson's interval is up to 40 points wide."""

TOO_FEW_TO_RANK = 10
"""Fewer images of the class, or of the others, than this get no AUROC."""

NOT_STATED = "not stated"
"""The group of images of which the collection does not say."""

ONE_CLASS_ONLY = "one class only: nothing to compare"
"""Why a source has no AUROC of its own."""

_BANDS = ("0-17", "18-39", "40-59", "60-79", "80+")
_FIRST_YEARS = (18, 40, 60, 80)


def age_band(age: float | None) -> str:
    """Return the band of an age in years; unknown, infinite or negative is "not stated".

    >>> [age_band(age) for age in (0, 17.9, 18, 79, 80, None)]
    ['0-17', '0-17', '18-39', '60-79', '80+', 'not stated']
    """
    if age is None or not math.isfinite(age) or age < 0:
        return NOT_STATED
    return _BANDS[bisect.bisect_right(_FIRST_YEARS, age)]


AXES: Mapping[str, Callable[[Case], str]] = {
    "source": lambda case: case.source or NOT_STATED,
    "view": lambda case: case.view or NOT_STATED,
    "sex": lambda case: case.sex or NOT_STATED,
    "age": lambda case: age_band(case.age),
}
"""What images are grouped by, and the name of an image's group."""


MOST_GROUPS = 50
"""Largest number of values of a column: more make no groups, but a list of images."""


def check_columns(columns: Sequence[str], cases: Sequence[Case]) -> tuple[str, ...]:
    """Return columns of a user's table, as it spells them, by which images are to be grouped.

    Args:
        columns: Names of columns as a person typed them, in any case.
        cases: Cases with what the table says of them (`Case.extra`).

    Raises:
        UsageError: ``unknown_subgroup`` for a column that no case has; ``bad_subgroup`` for one
            with more than `MOST_GROUPS` values; ``unused_option`` for what is reported anyway.
    """
    spelled = {name.casefold(): name for case in cases for name, _ in case.extra}
    checked = []
    for column in columns:
        name = spelled.get(column.strip().casefold())
        if name is None and column.strip().casefold() in AXES:
            raise UsageError(
                "unused_option",
                f"Expected --subgroup with a column beside {', '.join(AXES)}, whose groups are "
                f"always reported, but got {column!r}; leave it out.",
            )
        if name is None:
            there = f"one of the columns {', '.join(spelled.values())}" if spelled else "a column"
            raise UsageError(
                "unknown_subgroup",
                f"Expected {there} of the manifest to form groups by, but got {column!r}"
                f"{nearest(column, list(spelled.values()))}; add the column to the manifest.",
            )
        values = {dict(case.extra).get(name, "") for case in cases}
        if len(values) > MOST_GROUPS:
            raise UsageError(
                "bad_subgroup",
                f"Expected a column of at most {MOST_GROUPS} different values to form groups by, "
                f"but {name!r} has {len(values)}; put them into fewer groups first.",
            )
        checked.append(name)
    return tuple(dict.fromkeys(checked))


def large_groups(
    cases: Sequence[Case], group_of: Callable[[Case], str]
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the rows of each group of at least `TOO_FEW` images; what is not stated is none."""
    return {
        name: np.array(rows)
        for name, rows in rows_by_group(cases, group_of).items()
        if name != NOT_STATED and len(rows) >= TOO_FEW
    }


def axes(columns: Sequence[str] = ()) -> dict[str, Callable[[Case], str]]:
    """Return what images are grouped by: `AXES`, and columns of a user's table."""

    def group_of(name: str) -> Callable[[Case], str]:
        return lambda case: dict(case.extra).get(name, "") or NOT_STATED

    return {**AXES, **{name: group_of(name) for name in columns}}


def subgroups(
    scores: Scores,
    cases: Sequence[Case],
    *,
    columns: Sequence[str] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Return accuracy and recall in every group of each of `AXES`, with intervals by patient.

    Args:
        scores: Scores of N images.
        cases: Cases of the same N images, in the same order.
        columns: Columns of a user's table, checked by `check_columns`, that form groups, too.
        resamples: Number of resamples of the bootstrap by patient, within each group.
        seed: Random seed; the same seed, scores and cases give the same intervals.

    Returns:
        By axis, the groups in the order of their names, "not stated" last. Each group has

        - ``group``, ``images``, ``patients``;
        - ``too_few``: fewer images than `TOO_FEW`;
        - ``accuracy``: `Estimate` as a dict, proportion in [0, 1]; None where too few;
        - ``recall``: for each label with an image in the group, ``images`` and ``too_few`` of that
          class and ``recall`` as ``accuracy``.

    Raises:
        DataError: ``not_paired`` unless ``cases`` are the images of ``scores``, row for row.
        UsageError: ``resamples`` below 1.
    """
    _check_paired(scores, cases)
    return {
        axis: [
            _group(name, scores.only(rows), resamples, seed)
            for name, rows in rows_by_group(cases, group_of).items()
        ]
        for axis, group_of in axes(columns).items()
    }


def gaps(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any] | None]:
    """Return per axis how far the accuracy of the best group lies above that of the worst.

    The gap is that of the images at hand and never negative: groups that a model serves equally
    well show one too, the wider the smaller they are. Read it beside their intervals.

    Args:
        groups: Result of `subgroups`.

    Returns:
        By axis ``worst`` and ``best``, the names of the groups, and ``gap``, their difference in
        accuracy in [0, 1]. "not stated" is a group like any other. None where fewer than two
        groups have an accuracy. Of groups with equal accuracy the first counts as the worst and
        the last as the best.

    >>> def group(name, accuracy):
    ...     return {"group": name, "too_few": accuracy is None, "accuracy": accuracy}
    >>> sexes = [group("F", {"value": 0.75}), group("M", {"value": 0.5}), group("X", None)]
    >>> gaps({"sex": sexes, "age": sexes[1:]})
    {'sex': {'worst': 'M', 'best': 'F', 'gap': 0.25}, 'age': None}
    """
    return {axis: _gap(groups_of_axis) for axis, groups_of_axis in groups.items()}


def within_sources(scores: Scores, cases: Sequence[Case]) -> dict[str, list[dict[str, Any]]]:
    """Return how well each class is told from the others among the images of one source.

    Where classes come from different sources, a network can tell the sources apart and never look
    at the disease; within one source it cannot (Zech et al. 2018, PLoS Med. 15:e1002683;
    DeGrave et al. 2021, Nat. Mach. Intell. 3:610).

    Args:
        scores: Scores of N images.
        cases: Cases of the same N images, in the same order.

    Returns:
        ``compared``: the sources with images of at least two classes, each with ``source``,
        ``images``, ``patients`` and ``classes``: for each label in it its ``images``, the images of
        the ``others`` in it, ``too_few`` (either below `TOO_FEW_TO_RANK`) and ``auroc``, one
        against the rest, `Estimate` as a dict; None where too few. ``one_class_only``: the other
        sources with their ``label``, ``images``, ``patients`` and a ``note``.

    Raises:
        DataError: ``not_paired`` unless ``cases`` are the images of ``scores``, row for row.
    """
    _check_paired(scores, cases)
    compared, one_class_only = [], []
    for source, rows in rows_by_group(cases, AXES["source"]).items():
        part = scores.only(rows)
        counts = _images_by_class(part)
        head = {"source": source, "images": len(part.files), "patients": len(set(part.patients))}
        if len(counts) > 1:
            compared.append(head | {"classes": _ranked(part, counts)})
        else:
            one_class_only.append(head | {"label": next(iter(counts)), "note": ONE_CLASS_ONLY})
    return {"compared": compared, "one_class_only": one_class_only}


def _group(name: str, scores: Scores, resamples: int, seed: int) -> dict[str, Any]:
    images, counts = len(scores.files), _images_by_class(scores)
    too_few = images < TOO_FEW
    # No class has 20 images where the group has not: without an evaluation there is no recall.
    evaluation = None if too_few else evaluate(scores, resamples=resamples, seed=seed)
    return {
        "group": name,
        "images": images,
        "patients": len(set(scores.patients)),
        "too_few": too_few,
        "accuracy": evaluation.accuracy.as_dict() if evaluation else None,
        "recall": {
            label: {
                "images": number,
                "too_few": number < TOO_FEW,
                "recall": evaluation.per_class[label]["recall"].as_dict()
                if evaluation and number >= TOO_FEW
                else None,
            }
            for label, number in counts.items()
        },
    }


def _gap(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    ranked = sorted(
        (group for group in groups if not group["too_few"]),
        key=lambda group: float(group["accuracy"]["value"]),
    )
    if len(ranked) < 2:
        return None
    worst, best = ranked[0], ranked[-1]
    return {
        "worst": worst["group"],
        "best": best["group"],
        "gap": best["accuracy"]["value"] - worst["accuracy"]["value"],
    }


def _ranked(scores: Scores, counts: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    images = len(scores.files)
    too_few = {label: min(n, images - n) < TOO_FEW_TO_RANK for label, n in counts.items()}
    areas = dict(zip(scores.labels, aurocs(scores)[0], strict=True))
    return {
        label: {
            "images": number,
            "others": images - number,
            "too_few": too_few[label],
            "auroc": None if too_few[label] else areas[label].as_dict(),
        }
        for label, number in counts.items()
    }


def rows_by_group(cases: Sequence[Case], group_of: Callable[[Case], str]) -> dict[str, list[int]]:
    """Return the rows of each group, by name; "not stated" is no name and stands last."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, case in enumerate(cases):
        rows[group_of(case)].append(row)
    return {name: rows[name] for name in sorted(rows, key=lambda name: (name == NOT_STATED, name))}


def _images_by_class(scores: Scores) -> dict[str, int]:
    """Return how many images each class has, in the order of the label set; none, no entry."""
    images = np.bincount(scores.targets, minlength=len(scores.labels))
    return {label: int(n) for label, n in zip(scores.labels, images, strict=True) if n}


def _check_paired(scores: Scores, cases: Sequence[Case]) -> None:
    """Refuse a case beside another image's score: it would put a figure in the wrong group."""
    remedy = "give the cases that were scored, in the order of the scores"
    if len(cases) != len(scores.files):
        raise DataError(
            "not_paired",
            f"Expected one case for each of {len(scores.files)} scored images, but got "
            f"{len(cases)}; {remedy}.",
        )
    for row, case in enumerate(cases):
        label = scores.labels.names[scores.targets[row]]
        if (case.label, case.patient) != (label, scores.patients[row]):
            # The position, not the content: a patient's name has no place in a message.
            raise DataError(
                "not_paired",
                f"Expected the label and patient of the scored image at position {row + 1}, but "
                f"got others; {remedy}.",
            )
