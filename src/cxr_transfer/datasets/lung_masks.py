"""Lung masks of images after preprocessing: each is looked for when it is first asked for, once.

A mask is kept as bits: those of 20,000 images of 224 x 224 take 125 MB. Knows no network but the
one that finds the lungs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from cxr_transfer.radiograph.lung_segmentation import lung_mask

Rows = npt.NDArray[np.int64]


class LungMasks:
    """Lung masks of images, row for row.

    Args:
        images: Images, (N, 1, H, W) uint8.
    """

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self._images = images
        self._bits: dict[int, npt.NDArray[np.uint8]] = {}
        self._rows: Rows = np.arange(len(images))

    def __len__(self) -> int:
        return len(self._rows)

    def only(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> LungMasks:
        """Return the masks of these rows alone; what is found through them is kept for all.

        Args:
            rows: Rows by number, or a flag for each row.
        """
        part = LungMasks(self._images)
        part._bits, part._rows = self._bits, self._rows[rows]
        return part

    def mask(self, row: int) -> npt.NDArray[np.bool_]:
        """Return the mask (H, W) of one row."""
        row = int(self._rows[row])
        shape = self._images.shape[2:]
        if row not in self._bits:
            self._bits[row] = np.packbits(lung_mask(self._images[row, 0]))
        bits = np.unpackbits(self._bits[row], count=shape[0] * shape[1])
        return bits.astype(np.bool_).reshape(shape)

    def masks(self, rows: Iterable[int] | None = None) -> npt.NDArray[np.bool_]:
        """Return the masks (M, 1, H, W) of these rows; None is all of them."""
        wanted = range(len(self)) if rows is None else list(rows)
        masks = np.empty((len(wanted), *self._images.shape[1:]), np.bool_)
        for place, row in enumerate(wanted):
            masks[place, 0] = self.mask(row)
        return masks
