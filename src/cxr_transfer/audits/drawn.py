"""Some of the images of an audit, drawn by chance, for checks that ask a model several times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

MOST = 300
"""Largest number of images of which a check asks several times."""

FEWEST = 20
"""Images of a class below which a class is left out."""


def drawn_evenly(
    targets: npt.NDArray[np.int64], rows: Rows, *, seed: int, most: int = MOST
) -> Rows:
    """Draw about as many images of each class, at most so many together.

    Args:
        targets: Classes of all images, (N,).
        rows: Rows to draw from.
        seed: Random seed.
        most: Largest number of images.

    Returns:
        Rows in rising order, of classes with at least `FEWEST`; empty where there are not two.
    """
    rng = np.random.default_rng(seed)
    classes = [rows[targets[rows] == target] for target in np.unique(targets[rows])]
    classes = [of_class for of_class in classes if len(of_class) >= FEWEST]
    if len(classes) < 2:
        return np.empty(0, np.int64)
    each = most // len(classes)
    return np.sort(np.concatenate([rng.permutation(of_class)[:each] for of_class in classes]))
