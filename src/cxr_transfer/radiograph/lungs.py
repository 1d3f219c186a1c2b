"""Where the lungs are on a frontal film, and films with the lungs, or all else, taken away.

In: model inputs, grey and of 8 bits. Out: masks of bool, or copies of the films in which a part is
replaced by one grey. An outline of both lungs is laid over the film at many places and sizes; those
that are darker inside than just around, at places where lungs usually are, decide. There is no
network and nothing to load.

The module does not know whether a film is a chest at all, or frontal: it gives a mask for any
picture. The outline has one shape, with the heart's left border and all disease inside it: a mask
says where to look for lungs, and its area or form is no measurement of anybody. It draws on the
film, the lungs too, so the place of the mask itself may tell a little of what was taken away.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import DataError, UsageError

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Plane = npt.NDArray[np.floating[Any]]

MARGIN = 0.03
"""Default dilation of the mask in widths of the film.

A test for shortcuts asks what a network can do without the lungs, so lung left visible makes the
answer wrong, and a strip of chest wall lost does not. Of the lungs' borders drawn by hand on real
films three quarters lie inside the outline or within this distance of it; to gain the next tenth
takes almost twice as much, and wider masks take the shoulders and the film's border as well.
"""

# The outline of one lung, mirrored for the other (so a mirrored film has the mirrored mask). Across
# from the midline (0) to the widest place (1), down from the apex (0) to the costophrenic angle
# (1). Rounded from the average of drawn masks: see benchmarks/lung_mask_dice.py.
_DOWN = (0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1)
_CHEST_WALL = (0.33, 0.5, 0.62, 0.76, 0.83, 0.9, 0.95, 0.985, 1)
_ACROSS = (0, 0.3, 0.55, 0.7, 0.8, 0.9, 1)
_DIAPHRAGM = (0.87, 0.88, 0.86, 0.87, 0.89, 0.93, 1)
_MEDIASTINUM = ((0, 0.7, 1), (0.15, 0.15, 0.2))

# Where lungs usually are and how that varies, in sizes of the exposed field: midline, half the
# width of both lungs together, top, height; and in how many deviations they are looked for.
_USUAL = np.array((0.5, 0.415, 0.1, 0.745))
_SPREAD = np.array((0.03, 0.05, 0.058, 0.115))
_STEPS = (
    np.linspace(-2, 2, 5),
    np.linspace(-2.4, 1.6, 6),
    np.linspace(-1.6, 2.6, 6),
    np.linspace(-2.6, 1.6, 7),
)
# On a film that `lung_box` cropped: the usual place again, as the box cuts it out.
_BOX_MARGIN = 0.05
_CROPPED = np.array(
    (
        0.5,
        _USUAL[1] / (2 * _USUAL[1] + 2 * _BOX_MARGIN),
        _BOX_MARGIN / (_USUAL[3] + 2 * _BOX_MARGIN),
        _USUAL[3] / (_USUAL[3] + 2 * _BOX_MARGIN),
    )
)
_CELLS = 48  # the film is searched at 48 x 48: a lung's border, not its ribs
_RING = 0.04  # how far around the outline "just around" reaches, in sizes of the outline
_UNUSUAL = 0.045  # the contrast that it takes to outweigh one squared deviation from the usual
_DECISION = 0.02  # contrasts closer than this are a tie: their places are averaged
_NO_CONTRAST = 0.15  # ranks, from -1 to 1; below it nothing on the film looks like lungs


class _Search(NamedTuple):
    """Every place and size that is tried."""

    places: Plane  # (K, 4): midline, half width, top, height
    weights: Plane  # (K, cells): times the film's ranks: how much brighter around than inside
    unusual: Plane  # (K,): what each has to outweigh


def _centres(cells: int) -> Plane:
    centres: Plane = (np.arange(cells) + 0.5) / cells
    return centres


def _outline(y: Plane, x: Plane, place: Plane) -> Mask:
    """Mark what of rows ``y`` and columns ``x`` (in fields) lies in the outline at ``place``."""
    midline, half, top, height = place
    across, down = np.abs(x - midline)[None] / half, (y - top)[:, None] / height
    inside: Mask = (down >= 0) & (down <= np.interp(across, _ACROSS, _DIAPHRAGM))
    inside &= across <= np.interp(down, _DOWN, _CHEST_WALL)
    inside &= across >= np.interp(down, *_MEDIASTINUM)
    return inside


@functools.cache
def _search() -> _Search:
    deviations = np.array(list(itertools.product(*_STEPS)))
    places = _USUAL + _SPREAD * deviations
    fine, cells = _centres(3 * _CELLS), _centres(_CELLS)
    weights = np.empty((len(places), _CELLS * _CELLS), np.float32)
    for row, place in zip(weights, places, strict=True):
        midline, half, top, height = place
        inside = _outline(fine, fine, place).reshape(_CELLS, 3, _CELLS, 3).mean((1, 3))
        rows = (cells > top - _RING * height) & (cells < top + (1 + _RING / 2) * height)
        columns = np.abs(cells - midline) < (1 + _RING) * half
        around = np.clip((rows[:, None] & columns[None]) - inside, 0, 1)
        row[:] = (around / around.sum() - inside / inside.sum()).ravel()
    return _Search(places, weights, (deviations**2).sum(axis=1))


def _exposed(image: Grey) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the film without black bands beside it."""
    height, width = image.shape
    dark, bright = float(image.min()), float(np.percentile(image, 99))
    lit = image > dark + 0.1 * (bright - dark)
    # A letter or a speck in a band is no film: a tenth of the row or the column has to be lit.
    rows, columns = (np.flatnonzero(lit.mean(axis=axis) > 0.1) for axis in (1, 0))
    if len(rows) < 0.3 * height or len(columns) < 0.3 * width:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _ranks(values: Plane) -> Plane:
    """Return the place of each value among all, from -1 to 1; equal values share theirs.

    Exposure, contrast and gamma of a film differ between hospitals; its ranks do not.
    """
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - 0.5 * counts
    ranks: Plane = (2 * middle / values.size - 1)[index].astype(np.float32)
    return ranks.ravel()


def _find(image: Grey) -> tuple[tuple[int, int, int, int], Plane]:
    """Return the exposed field in pixels and the place of the lungs in it."""
    field, search = _exposed(image), _search()
    film = Image.fromarray(image.astype(np.float32))
    small = film.resize((_CELLS, _CELLS), Image.Resampling.BILINEAR, box=field)
    # Not "@": BLAS would start threads, and its sums depend on their number.
    contrast = np.einsum("kp,p->k", search.weights, _ranks(np.asarray(small)))
    score = contrast - _UNUSUAL * search.unusual
    if contrast[score.argmax()] < _NO_CONTRAST:
        return (0, 0, image.shape[1], image.shape[0]), _USUAL
    share = np.exp((score - score.max()) / _DECISION)
    place: Plane = (share[:, None] * search.places).sum(axis=0) / share.sum()
    return field, place


def lung_mask(image: Grey, *, margin: float = MARGIN, cropped: bool = False) -> Mask:
    """Find both lungs on one frontal film.

    An outline of fixed shape is placed by the film's grey values and by where lungs usually are:
    the idea of active shape models (van Ginneken, Stegmann & Loog, Medical Image Analysis 10, 2006,
    19-40), with four numbers for the shape and an exhaustive search. Lung that disease has made
    white and lung behind the heart are inside; films of a chest that fills less than about half of
    the exposed field, or that lies on its side, are beyond it.

    Args:
        image: The film, (H, W) uint8, bright = dense.
        margin: By how much the mask is dilated, in widths of the film; 0 gives the outline itself.
        cropped: Whether `lung_box` cropped the film: where the lungs are is known then.

    Returns:
        (H, W) bool, true in the lungs. Where nothing on the film looks like lungs (blank, noise):
        the outline at its usual place.

    Raises:
        DataError: ``not_a_model_input`` unless the image is (H, W) of uint8.
        UsageError: ``bad_margin`` for a margin below 0 or above 0.5.
    """
    _require_film(image)
    if not 0 <= margin <= 0.5:
        message = f"Expected a margin of 0 to 0.5 widths, but got {margin}; choose one of these."
        raise UsageError("bad_margin", message)
    height, width = image.shape
    (left, top, right, bottom), place = (
        ((0, 0, width, height), _CROPPED) if cropped else _find(image)
    )
    y = (np.arange(height) + 0.5 - top) / (bottom - top)
    x = (np.arange(width) + 0.5 - left) / (right - left)
    mask = _outline(y, x, place)
    if margin == 0 or not mask.any():  # a film of very few pixels may fall between the lungs
        return mask
    from scipy import ndimage  # for masks alone: whoever crops films does without it

    near: Mask = ndimage.distance_transform_edt(~mask) <= margin * width
    return near


def lung_box(image: Grey, *, margin: float = _BOX_MARGIN) -> tuple[float, float, float, float]:
    """Find the box around both lungs on one frontal film.

    Args:
        image: The film, (H, W) uint8, bright = dense.
        margin: By how much the box is wider on each side, in sizes of the exposed field.

    Returns:
        Left, top, right, bottom in shares of the film's width and height, within the film. Where
        nothing on the film looks like lungs: the box at its usual place.

    Raises:
        DataError: ``not_a_model_input`` unless the image is (H, W) of uint8.
    """
    _require_film(image)
    (left, top, right, bottom), (midline, half, apex, height) = _find(image)
    across, down = (right - left) / image.shape[1], (bottom - top) / image.shape[0]
    return (
        max(0.0, left / image.shape[1] + across * float(midline - half - margin)),
        max(0.0, top / image.shape[0] + down * float(apex - margin)),
        min(1.0, left / image.shape[1] + across * float(midline + half + margin)),
        min(1.0, top / image.shape[0] + down * float(apex + height + margin)),
    )


def lungs_blacked(images: Grey, *, margin: float = MARGIN, cropped: bool = False) -> Grey:
    """Take the lungs away: what a network still knows, it knows from elsewhere.

    The test of Maguolo & Nanni (Information Fusion 76, 2021, 1-7), who blackened the centre.

    Args:
        images: Films, (N, 1, H, W) uint8.
        margin: By how much each mask is dilated, in widths of the film.
        cropped: Whether `lung_box` cropped the films.

    Returns:
        New films of the same shape; `lungs_only` keeps exactly what is replaced here.

    Raises:
        DataError: ``not_a_model_input`` unless the films are (N, 1, H, W) of uint8.
        UsageError: ``bad_margin`` for a margin below 0 or above 0.5.
    """
    return _kept(images, ~_masks(images, margin, cropped))


def lungs_only(images: Grey, *, margin: float = MARGIN, cropped: bool = False) -> Grey:
    """Take everything but the lungs away.

    Args:
        images: Films, (N, 1, H, W) uint8.
        margin: By how much each mask is dilated, in widths of the film.
        cropped: Whether `lung_box` cropped the films.

    Returns:
        New films of the same shape.

    Raises:
        DataError: ``not_a_model_input`` unless the films are (N, 1, H, W) of uint8.
        UsageError: ``bad_margin`` for a margin below 0 or above 0.5.
    """
    return _kept(images, _masks(images, margin, cropped))


def border_only(images: Grey, share: float = 0.12) -> Grey:
    """Take away all but a frame along the border, where letters, collimation and limbs are.

    Args:
        images: Films, (N, 1, H, W) uint8.
        share: How deep the frame is on each side, in heights (above, below) and widths (beside).

    Returns:
        New films of the same shape.

    Raises:
        DataError: ``not_a_model_input`` unless the films are (N, 1, H, W) of uint8.
        UsageError: ``bad_share`` unless the share lies between 0 and 0.5.
    """
    _require_films(images)
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
        "prepare films with Preprocessing.apply."
    )
    return DataError("not_a_model_input", message)


def _require_film(image: Grey) -> None:
    if image.ndim != 2 or image.dtype != np.uint8 or image.size == 0:
        raise _not_an_input("one grey film, (H, W) of uint8", image)


def _require_films(images: Grey) -> None:
    if images.ndim != 4 or images.shape[1] != 1 or images.dtype != np.uint8:
        raise _not_an_input("films, (N, 1, H, W) of uint8", images)


def _masks(images: Grey, margin: float, cropped: bool) -> Mask:
    _require_films(images)
    masks = np.empty(images.shape, np.bool_)
    for mask, image in zip(masks, images, strict=True):
        mask[0] = lung_mask(image[0], margin=margin, cropped=cropped)
    return masks


def _kept(images: Grey, keep: Mask) -> Grey:
    """Replace what is not kept by one grey per film."""
    # The grey is the mean of what is kept. The mean of the whole film would tell how white the
    # part was that is gone; black would be a contrast that no network has met, and would tell
    # bright films from dark ones at the edge.
    films = images.copy()
    for film, kept in zip(films, keep, strict=True):
        grey = film[kept].mean() if kept.any() else 0
        film[~kept] = np.uint8(np.rint(grey))
    return films
