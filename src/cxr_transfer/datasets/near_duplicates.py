"""Images that are copies of one another though no byte agrees: saved anew, resized, mirrored.

In come model inputs, all of one size; out go pairs of positions. This module does not know where an
image was read from, or what its copy would spoil, and decides nothing: a pair is for a person to
look at.

Two steps, the second on few pairs: `hashes` and `near_duplicates` compare outlines (fast, all
pairs), `confirmed` compares the details of the pairs so found.
"""

from __future__ import annotations

from collections.abc import Sequence

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import DataError, UsageError

ImageTensors = npt.NDArray[np.uint8]
Pair = tuple[int, int, int, bool]
"""Positions i < j of two images, the distance of their hashes in bits, whether one is mirrored."""

# Chosen on real images. All chests look alike, so different patients come close: of 1.9 million
# pairs of Kermany et al.'s children 3 lie within 2 bits, 19 within 4, 177 within 6 and 1092 within
# 8 (distances are even: half of the bits are set). Of copies, JPEG of quality 30 and half the
# size move no image by more than 4 bits, a brighter or darker copy 2 to 14 % of the images; what 6
# would add to that costs ten times the false pairs. Cutting 5 % off every border moves nearly all
# images by more, as it does the distances between patients: no distance finds that.
DISTANCE = 4
"""Bits, of 64, that the hashes of near-duplicates differ in at most."""

# Of those 19 pairs 18 have details with a correlation below 0.7. In Cohen et al.'s collection the
# copies under two patients' names have 0.81 (contrast), 0.82 (written on) and 0.99 to 1.
LIKENESS = 0.75
"""Least correlation of the details of two images that show the same."""

BLOCK = 128
"""Rows compared at a time: for 20,000 images 20 MB of exclusive-ors instead of 3 GB."""

_DETAIL = 64  # pixels a side at which details are compared: finer ones do not survive resizing
_SMOOTH = 3  # of these pixels: what is coarser is common to all chests


def hashes(images: ImageTensors) -> npt.NDArray[np.uint64]:
    """Return the perceptual hash of every image and of its mirror image.

    A hash says which of the 64 slowest cosine waves of the image, at 32 x 32 pixels, are stronger
    than their median; compression, size and brightness hardly change that.

    Source: Krawetz 2011, "Looks like it", hackerfactor.com/blog, as ImageHash computes it.

    Args:
        images: (N, H, W) uint8.

    Returns:
        (N, 2) uint64: as it is, and mirrored left to right.

    Raises:
        DataError: ``images`` for another shape or type.
    """
    _check_images(images)
    image_hashes = np.empty((len(images), 2), dtype=np.uint64)
    for row, radiograph in enumerate(images):
        image_hashes[row] = _hash(radiograph), _hash(radiograph[:, ::-1])
    return image_hashes


def near_duplicates(
    hashes: npt.NDArray[np.uint64], *, distance: int = DISTANCE, block: int = BLOCK
) -> list[Pair]:
    """Return all pairs of images whose hashes differ in at most ``distance`` bits.

    Chests resemble each other: expect false pairs, about ten in a million pairs at the default
    distance, and give the pairs to `confirmed`.

    Args:
        hashes: (N, 2) uint64, as `hashes` returns them.
        distance: Bits, 0 to 64.
        block: Images compared with all others at a time; changes memory and nothing else.

    Returns:
        (i, j, bits, mirrored) with i < j, in this order; "mirrored" where j's mirror image is
        nearer to i than j itself, and the bits are those of the nearer one.

    Raises:
        DataError: ``hashes`` for another shape or type.
        UsageError: ``distance`` outside 0 to 64.

    >>> near_duplicates(np.array([[0, 255], [1, 7], [255, 0]], dtype=np.uint64), distance=1)
    [(0, 1, 1, False), (0, 2, 0, True), (1, 2, 1, True)]
    """
    if hashes.ndim != 2 or hashes.shape[1:] != (2,) or hashes.dtype != np.uint64:
        raise DataError(
            "hashes",
            f"Expected (images, 2) hashes of uint64, but got {hashes.shape} of {hashes.dtype}; "
            "compute them with hashes().",
        )
    if not 0 <= distance <= 64:
        raise UsageError(
            "distance", f"Expected a distance of 0 to 64 bits, but got {distance}; 4 is usual."
        )
    pairs: list[Pair] = []
    for start in range(0, len(hashes), block):
        block_hashes = hashes[start : start + block, 0, None]
        plain = np.bitwise_count(block_hashes ^ hashes[None, start:, 0])
        mirror = np.bitwise_count(block_hashes ^ hashes[None, start:, 1])
        nearer = np.minimum(plain, mirror)
        rows, columns = np.nonzero(np.triu(nearer <= distance, k=1))
        pairs += [
            (start + row, start + column, int(nearer[row, column]), bool(mirrored))
            for row, column, mirrored in zip(
                rows.tolist(), columns.tolist(), (mirror < plain)[rows, columns], strict=True
            )
        ]
    return pairs


def confirmed(
    images: ImageTensors, pairs: Sequence[Pair], *, likeness: float = LIKENESS
) -> list[tuple[Pair, float]]:
    """Return those pairs whose images agree in detail too, each with how much.

    Args:
        images: (N, H, W) uint8, those that were hashed.
        pairs: Pairs of near-duplicates among them.
        likeness: Least correlation, -1 to 1, of what is finer than a tenth of the image or so.

    Returns:
        The pairs in their order, each with its correlation.

    Raises:
        DataError: ``images`` for another shape or type.
    """
    _check_images(images)
    details: dict[tuple[int, bool], npt.NDArray[np.float32]] = {}

    def detail(radiograph: int, mirrored: bool) -> npt.NDArray[np.float32]:
        if (radiograph, mirrored) not in details:
            details[radiograph, mirrored] = _detail(
                images[radiograph][:, ::-1] if mirrored else images[radiograph]
            )
        return details[radiograph, mirrored]

    agreeing = []
    for pair in pairs:
        first, second, _, mirrored = pair
        agreement = float(detail(first, False) @ detail(second, mirrored))
        if agreement >= likeness:
            agreeing.append((pair, agreement))
    return agreeing


def _check_images(images: ImageTensors) -> None:
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            "images",
            f"Expected model inputs (images, height, width) of uint8, but got {images.shape} of "
            f"{images.dtype}; preprocess the images first.",
        )


def _hash(radiograph: ImageTensors) -> np.uint64:
    image = Image.fromarray(np.ascontiguousarray(radiograph))
    bits = np.asarray(imagehash.phash(image).hash, dtype=np.bool_)
    return np.uint64(int.from_bytes(np.packbits(bits).tobytes()))


def _detail(radiograph: ImageTensors) -> npt.NDArray[np.float32]:
    """Return what is fine in an image as a vector of length 1 (0 where nothing is)."""
    from scipy.ndimage import gaussian_filter  # slow to import, and most have no pair to confirm

    image = Image.fromarray(np.ascontiguousarray(radiograph))
    small = np.asarray(
        image.resize((_DETAIL, _DETAIL), Image.Resampling.BILINEAR), dtype=np.float32
    )
    # At the border the smoothing has only one side to go by.
    fine = (small - gaussian_filter(small, _SMOOTH))[_SMOOTH:-_SMOOTH, _SMOOTH:-_SMOOTH].ravel()
    fine -= fine.mean()
    length = np.linalg.norm(fine)
    vector: npt.NDArray[np.float32] = fine / length if length else fine
    return vector
