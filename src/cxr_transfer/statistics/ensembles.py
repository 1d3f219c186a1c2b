"""Scores of several models become one: their mean on the same images, or one after the other.

In come `Scores` or `FindingScores`; out go the same. Knows no model, no fold and no seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from cxr_transfer.errors import DataError
from cxr_transfer.statistics.comparison import check_same_images
from cxr_transfer.statistics.findings import FindingScores
from cxr_transfer.statistics.scores import Scores

S = TypeVar("S", Scores, FindingScores)


def mean_scores(members: Sequence[S]) -> S:
    """Return the scores of an ensemble: the mean of its members' probabilities, image by image.

    Args:
        members: Scores of the same images in the same order, each on its own model's scale.

    Raises:
        DataError: ``no_images`` without a member; ``not_paired`` unless all have the same images.

    >>> from cxr_transfer.labels import LabelSet
    >>> labels, names = LabelSet(("normal", "covid19")), ("1.png",)
    >>> def scores(ill):
    ...     return Scores(labels, np.array([1]), np.array([[1 - ill, ill]]), names, names)
    >>> mean_scores([scores(0.75), scores(0.25)]).probabilities
    array([[0.5, 0.5]])
    """
    _check_any(members)
    for other in members[1:]:
        check_same_images(members[0], other)
    mean = np.mean([member.probabilities for member in members], axis=0)
    return dataclasses.replace(members[0], probabilities=mean)


def pooled_scores(parts: Sequence[S]) -> S:
    """Return the scores of all parts, one after the other.

    Args:
        parts: Scores of different images, of the same classes.

    Raises:
        DataError: ``no_images`` without a part; ``not_paired`` for parts of other classes.
    """
    _check_any(parts)
    labels = parts[0].labels
    if any(part.labels != labels for part in parts):
        raise DataError(
            "not_paired",
            "Expected the same labels in all parts, but got others; pool models of the same "
            "classes.",
        )
    return dataclasses.replace(
        parts[0],
        targets=np.concatenate([part.targets for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        patients=tuple(patient for part in parts for patient in part.patients),
        files=tuple(file for part in parts for file in part.files),
    )


def _check_any(members: Sequence[object]) -> None:
    if not members:
        raise DataError(
            "no_images", "Expected the scores of at least one model, but got none; score one."
        )
