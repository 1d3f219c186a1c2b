"""Strata: what a source adds to the scores of all its images, told apart from what images show.

Where a class comes from some hospitals and another class from others, a model learns the hospital.
In a stratified logistic regression every source has an intercept of its own for each class. What
all images of a source have in common is explained by that intercept, not by features: features
answer for differences within a source alone. With intercepts that are hardly penalised this comes
close to the conditional likelihood, in which a source of one class has no part.

Source: Breslow & Day 1980 ("Statistical Methods in Cancer Research I", IARC 32), chapters 6 and 7:
stratified and conditional logistic regression. Knows nothing of networks or images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import DisjointSet

from cxr_transfer.errors import DataError, listing

_RIDGE = 1e-9
"""Penalty that keeps an intercept at 0 which no image informs; too small to move any other."""

_NAMED = 5
"""Largest number of sources that a line names; of more it has the number."""


def source_codes(sources: Sequence[str], images: int) -> npt.NDArray[np.int64]:
    """Return the number of each image's source, (N,), from 0, in the order of their names.

    Args:
        sources: Source of each image.
        images: Number of images.

    Raises:
        ValueError: Where there is not a source for each image.

    >>> source_codes(["b", "a", "b"], 3)
    array([1, 0, 1])
    """
    if len(sources) != images:
        raise ValueError(f"expected a source for each of {images} images, got {len(sources)}")
    codes: npt.NDArray[np.int64] = np.unique(np.array(sources, dtype=str), return_inverse=True)[1]
    return codes.astype(np.int64)


def check_sources(
    keys: Sequence[str], labels: Sequence[str], sources: Sequence[str], *, is_stratified: bool
) -> list[str]:
    """Refuse images whose sources cannot give what a recipe asks of them.

    Args:
        keys: Keys of the recipe that ask for several sources, as it has them.
        labels: Label of each training image.
        sources: Source of each training image.
        is_stratified: Whether images are compared within their sources.

    Returns:
        Sources that hold one class, where images are compared within sources: they take next to
        no part.

    Raises:
        DataError: ``one_source`` where there is no second source; ``strata`` where images are
            compared within sources, and no chain of sources that hold two classes leads from one
            class to all others.
    """
    held: dict[str, set[str]] = {}
    for label, source in zip(labels, sources, strict=True):
        held.setdefault(source, set()).add(label)
    if keys and len(held) < 2:
        raise DataError(
            "one_source",
            f"Expected training images of at least two sources for {keys[0]}, but all are of "
            f"{listing(list(held))}; leave that key out.",
        )
    if not is_stratified:
        return []
    linked = DisjointSet(sorted(set(labels)))
    for first, *others in held.values():
        for other in others:
            linked.merge(first, other)
    if linked.n_subsets > 1:
        parts = [" and ".join(group) for group in sorted(map(sorted, linked.subsets()))]
        raise DataError(
            "strata",
            'Expected sources that hold two classes for strata = "source", but none compares '
            f"{' with '.join(parts)}; add images of both from one source, or leave strata out.",
        )
    return sorted(source for source, classes in held.items() if len(classes) == 1)


def line_of_strata(alone: Sequence[str]) -> str | None:
    """Return what is said of sources that hold one class; None where there are none.

    >>> line_of_strata(["a", "b"])
    'strata: a, b hold one class each; they teach next to nothing'
    """
    if not alone:
        return None
    if len(alone) == 1:
        return f"strata: {alone[0]} holds one class; it teaches next to nothing"
    names = ", ".join(alone) if len(alone) <= _NAMED else f"{len(alone)} sources"
    return f"strata: {names} hold one class each; they teach next to nothing"


def strata_columns(codes: npt.NDArray[np.int64], *, scale: float) -> npt.NDArray[np.float64]:
    """Return a column for each source, ``scale`` in the rows of its images, else 0.

    A weight v on such a column is an intercept of ``scale`` times v. Under one quadratic penalty p
    for all weights, the intercept's own penalty is p / ``scale`` squared.

    Args:
        codes: Number of each image's source, (N,).
        scale: Value of the column.

    Returns:
        (N, sources).
    """
    columns = np.zeros((len(codes), int(codes.max()) + 1))
    columns[np.arange(len(codes)), codes] = scale
    return columns


def shared_intercept(
    logits: npt.NDArray[np.float64],
    targets: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the intercepts that one head is given in place of those of the sources.

    The intercepts alone are fitted, with the slopes as they are: every image is asked which of the
    classes that its own source holds it shows, each class of a source counts the same, and so does
    each source. So it is the intercept of a hospital whose classes are equally frequent, and which
    differs from those of training as they differ from each other. An average of the sources' own
    intercepts would not do: they hold how frequent classes were, and for a class that a source
    lacks they run away as far as their penalty lets them.

    That sources count the same follows from how much they differ: by about one logit, more than
    sampling moves any source with a few images of each class, and then a random-effects mean gives
    all about the same weight (DerSimonian & Laird 1986, Controlled Clinical Trials 7).

    Args:
        logits: Scores without the sources' intercepts, (N, classes).
        targets: Class of each image, (N,).
        codes: Number of each image's source, (N,).

    Returns:
        (classes,), with a mean of 0; finite, also where classes are told apart without an error.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax, softmax

    counts = np.zeros((int(codes.max()) + 1, logits.shape[1]))
    np.add.at(counts, (codes, targets), 1)
    held = counts > 0
    classes = held.sum(axis=1)[codes]
    # A source of one class compares nothing.
    weights = np.where(classes > 1, 1 / (classes * counts[codes, targets]), 0.0)
    weights /= max(weights.sum(), 1.0)
    compared = np.where(held[codes], logits, -np.inf)
    rows = np.arange(len(targets))
    wanted = np.bincount(targets, weights, logits.shape[1])

    def loss(level: npt.NDArray[np.float64]) -> float:
        logs = log_softmax(compared + level, axis=1)[rows, targets]
        return float(_RIDGE / 2 * level @ level - weights @ logs)

    def gradient(level: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shares = softmax(compared + level, axis=1)
        slope: npt.NDArray[np.float64] = weights @ shares - wanted + _RIDGE * level
        return slope

    def curvature(level: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shares = softmax(compared + level, axis=1)
        bent: npt.NDArray[np.float64] = np.diag(weights @ shares + _RIDGE)
        bent -= (shares * weights[:, None]).T @ shares
        return bent

    start = np.zeros(logits.shape[1])
    best = minimize(loss, start, jac=gradient, hess=curvature, method="trust-exact", tol=1e-8)
    level: npt.NDArray[np.float64] = best.x - best.x.mean()
    return level
