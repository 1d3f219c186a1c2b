"""Grey values in, their places among all grey values of the picture out.

Exposure, contrast and gamma of an image differ between hospitals; its ranks do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ranks(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the place of each value among all, from -1 to 1; equal values share theirs.

    >>> ranks(np.array([7, 7, 90, 200], np.uint8))
    array([-0.5 , -0.5 ,  0.25,  0.75], dtype=float32)
    """
    counts = np.bincount(values.ravel(), minlength=256)
    middle = np.cumsum(counts) - 0.5 * counts
    places: npt.NDArray[np.float32] = (2 * middle / values.size - 1).astype(np.float32)[values]
    return places
