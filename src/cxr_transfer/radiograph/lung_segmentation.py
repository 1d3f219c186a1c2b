"""Where the lungs are on a frontal image, and images with the lungs, or all else, taken away.

In: model inputs, grey and of 8 bits. Out: masks of bool, boxes, or copies of the images in which a
part is replaced by one grey. A small network looks at a thumbnail's ranks (``lung_network.py``); of
what it takes for lung the one or two largest pieces are kept.

The module does not know whether an image is a chest at all, or frontal: it gives a mask for any
picture. Lungs were drawn as a radiologist outlines the chest, white lung and lung behind the heart
inside; a mask says where to look for lungs, and its area or form is no measurement of anybody. The
image decides where it lies, the lungs too, so its place may tell a little of what was taken away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.radiograph.lung_network import CELLS, shares
from cxr_transfer.radiograph.ranks import ranks

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Plane = npt.NDArray[np.floating[Any]]

MARGIN = 0.03
"""Default dilation of the mask in widths of the image.

A test for shortcuts asks what a network can do without the lungs, so lung left visible makes the
answer wrong, and a strip of chest wall lost does not.
"""

BOX_MARGIN = 0.1
"""Default distance of the box from the lungs, on each side, in sizes of the box of the lungs."""

_SECOND = 0.15  # of the larger piece: a smaller one is gas in the bowel or a letter
_LEAST = 0.04  # of the image: less is no pair of lungs
_USUAL = (0.17, 0.13, 0.83, 0.83)  # left, top, right, bottom: where most images have the lungs


def _centres(cells: int) -> Plane:
    centres: Plane = (np.arange(cells) + 0.5) / cells
    return centres


def _usual() -> Plane:
    """Return two ellipses where most images have lungs, for a picture on which none are found."""
    left, top, right, bottom = _USUAL
    at = _centres(CELLS)
    across = (np.abs(at - (left + right) / 2) / ((right - left) / 2))[None]
    down = ((at - (top + bottom) / 2) / ((bottom - top) / 2))[:, None]
    ellipses: Plane = (((across - 0.6) / 0.4) ** 2 + down**2 <= 1).astype(np.float32)
    return ellipses


def _pieces(cells: Mask) -> list[list[int]]:
    """Return the pieces of a mask that hang together, the largest first, as places in its rows.

    The outermost cells have to be empty.
    """
    # Not scipy's: prediction does without it.
    pending, row = set(np.flatnonzero(cells).tolist()), cells.shape[1]
    pieces = []
    while pending:
        piece = [pending.pop()]
        for place in piece:
            for near in (place - row, place - 1, place + 1, place + row):
                if near in pending:
                    pending.remove(near)
                    piece.append(near)
        pieces.append(piece)
    return sorted(pieces, key=len, reverse=True)


def _find(image: Grey) -> Plane:
    """Return the share of lung in each of 64 x 64 cells, of one or two lungs and nothing else."""
    small = Image.fromarray(image).resize((CELLS, CELLS), Image.Resampling.BILINEAR)
    lung_shares = shares(ranks(np.asarray(small)))
    pieces = _pieces(np.pad(lung_shares > 0.5, 1))
    lungs = [piece for piece in pieces[:2] if len(piece) >= _SECOND * len(pieces[0])]
    if sum(map(len, lungs)) < _LEAST * CELLS * CELLS:
        return _usual()
    kept = np.zeros((CELLS + 2, CELLS + 2), np.bool_)
    kept.flat[[place for piece in lungs for place in piece]] = True
    # With the cells around, whose shares say where between two cells the border is.
    for axis in (0, 1):
        kept |= np.roll(kept, 1, axis) | np.roll(kept, -1, axis)
    return np.where(kept[1:-1, 1:-1], lung_shares, 0)


def lung_mask(image: Grey, *, margin: float = MARGIN) -> Mask:
    """Find both lungs on one frontal image, or on a part of it.

    Args:
        image: Image, (H, W) uint8, bright = dense.
        margin: Width by which the mask is dilated, in widths of the image; 0 gives the outline.

    Returns:
        (H, W) bool, true in the lungs. Where nothing on the image looks like lungs (blank, noise):
        two ellipses at their usual place.

    Raises:
        DataError: ``not_a_model_input`` unless the image is (H, W) of uint8.
        UsageError: ``bad_margin`` for a margin below 0 or above 0.5.
    """
    _require_image(image)
    if not 0 <= margin <= 0.5:
        message = f"Expected a margin of 0 to 0.5 widths, but got {margin}; choose one of these."
        raise UsageError("bad_margin", message)
    height, width = image.shape
    cells = Image.fromarray(_find(image).astype(np.float32))
    mask: Mask = np.asarray(cells.resize((width, height), Image.Resampling.BILINEAR)) > 0.5
    if margin == 0 or not mask.any():  # an image of very few pixels may fall between the lungs
        return mask
    return _grown(mask, margin * width)


def _grown(mask: Mask, radius: float) -> Mask:
    """Return a mask (H, W) with all that lies within a radius of it, in pixels."""
    height = len(mask)
    grown = np.zeros_like(mask)
    reach = min(int(radius), height - 1)
    across = np.arange(int(radius) + 1)
    for down in range(reach + 1):
        half = int((np.sqrt(across**2 + down**2) <= radius).sum()) - 1
        # How many of the mask's pixels lie up to each column: what a window holds is a difference.
        upto = np.cumsum(np.pad(mask, ((0, 0), (half + 1, half))), axis=1)
        near = upto[:, 2 * half + 1 :] > upto[:, : -2 * half - 1]
        grown[down:] |= near[: height - down]
        grown[: height - down] |= near[down:]
    return grown


def lung_box(image: Grey, *, margin: float = BOX_MARGIN) -> tuple[float, float, float, float]:
    """Find the box around both lungs on one frontal image.

    Args:
        image: Image, (H, W) uint8, bright = dense.
        margin: Distance of the box from the lungs on each side, in their width and height.

    Returns:
        Left, top, right, bottom in shares of the image's width and height, within the image. Where
        nothing on the image looks like lungs: the box around their usual place.

    Raises:
        DataError: ``not_a_model_input`` unless the image is (H, W) of uint8.
    """
    _require_image(image)
    lung_shares = _find(image)
    (left, right), (top, bottom) = (_edges(lung_shares.max(axis=axis)) for axis in (0, 1))
    across, down = margin * (right - left), margin * (bottom - top)
    return (
        max(0.0, left - across),
        max(0.0, top - down),
        min(1.0, right + across),
        min(1.0, bottom + down),
    )


def _edges(profile: Plane) -> tuple[float, float]:
    """Return where a profile over 64 cells first and last crosses one half, from 0 to 1."""

    def rising(values: Plane) -> float:
        first = int(np.argmax(values > 0.5))
        below = float(values[first - 1]) if first else 0.0
        return (first - 0.5 + (0.5 - below) / (float(values[first]) - below)) / CELLS

    return max(0.0, rising(profile)), min(1.0, 1 - rising(profile[::-1]))


def lungs_blacked(images: Grey, masks: Mask | None = None, *, margin: float = MARGIN) -> Grey:
    """Take the lungs away: what a network still knows, it knows from elsewhere.

    The test of Maguolo & Nanni (Information Fusion 76, 2021, 1-7), who blackened the centre.

    Args:
        images: Images, (N, 1, H, W) uint8.
        masks: Masks of the lungs, (N, 1, H, W) bool; None looks for them.
        margin: Width by which each mask that is looked for is dilated, in widths of the image.

    Returns:
        New images of the same shape; `lungs_only` keeps exactly what is replaced here.

    Raises:
        DataError: ``not_a_model_input`` unless the images are (N, 1, H, W) of uint8.
        UsageError: ``bad_margin`` for a margin below 0 or above 0.5.
    """
    return _kept(images, ~(_masks(images, margin) if masks is None else masks))


def lungs_only(images: Grey, masks: Mask | None = None, *, margin: float = MARGIN) -> Grey:
    """Take everything but the lungs away.

    Args:
        images: Images, (N, 1, H, W) uint8.
        masks: Masks of the lungs, (N, 1, H, W) bool; None looks for them.
        margin: Width by which each mask that is looked for is dilated, in widths of the image.

    Returns:
        New images of the same shape.

    Raises:
        DataError: ``not_a_model_input`` unless the images are (N, 1, H, W) of uint8.
        UsageError: ``bad_margin`` for a margin below 0 or above 0.5.
    """
    return _kept(images, _masks(images, margin) if masks is None else masks)


def border_only(images: Grey, share: float = 0.12) -> Grey:
    """Take away all but a frame along the border, where letters, collimation and limbs are.

    Args:
        images: Images, (N, 1, H, W) uint8.
        share: Depth of the frame on each side, in heights (above, below) and widths (beside).

    Returns:
        New images of the same shape.

    Raises:
        DataError: ``not_a_model_input`` unless the images are (N, 1, H, W) of uint8.
        UsageError: ``bad_share`` unless the share lies between 0 and 0.5.
    """
    _require_images(images)
    if not 0 < share < 0.5:
        message = f"Expected a share between 0 and 0.5, but got {share}; choose one in between."
        raise UsageError("bad_share", message)
    y, x = (np.minimum(at := _centres(size), 1 - at) < share for size in images.shape[2:])
    return _kept(images, np.broadcast_to(y[:, None] | x[None], images.shape))


def dice(a: Mask, b: Mask) -> float:
    """Return the overlap of two masks, 2 |a and b| / (|a| + |b|) (Dice, Ecology 26, 1945, 297-302).

    Args:
        a: A mask, bool.
        b: A mask of the same shape.

    Returns:
        From 0 (apart) to 1 (equal); 1 for two empty masks.

    Raises:
        DataError: ``other_shape`` for masks of different shapes.

    >>> dice(np.array([True, True, False]), np.array([False, True, False]))
    0.6666666666666666
    """
    if a.shape != b.shape:
        message = f"Expected masks of one shape, but got {a.shape} and {b.shape}; resize one."
        raise DataError("other_shape", message)
    both = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / both if both else 1.0


def _not_an_input(expected: str, images: npt.NDArray[Any]) -> DataError:
    message = (
        f"Expected {expected}, but got {images.shape} of {images.dtype}; "
        "prepare images with Preprocessing.apply."
    )
    return DataError("not_a_model_input", message)


def _require_image(image: Grey) -> None:
    if image.ndim != 2 or image.dtype != np.uint8 or image.size == 0:
        raise _not_an_input("one grey image, (H, W) of uint8", image)


def _require_images(images: Grey) -> None:
    if images.ndim != 4 or images.shape[1] != 1 or images.dtype != np.uint8:
        raise _not_an_input("images, (N, 1, H, W) of uint8", images)


def _masks(images: Grey, margin: float) -> Mask:
    _require_images(images)
    masks = np.empty(images.shape, np.bool_)
    for mask, image in zip(masks, images, strict=True):
        mask[0] = lung_mask(image[0], margin=margin)
    return masks


def _kept(images: Grey, keep: Mask) -> Grey:
    """Replace what is not kept by one grey per image."""
    # The grey is the mean of what is kept. The mean of the whole image would tell how white the
    # part was that is gone; black would be a contrast that no network has met, and would tell
    # bright images from dark ones at the edge.
    planes = images.copy()
    for radiograph, kept in zip(planes, keep, strict=True):
        grey = radiograph[kept].mean() if kept.any() else 0
        radiograph[~kept] = np.uint8(np.rint(grey))
    return planes
