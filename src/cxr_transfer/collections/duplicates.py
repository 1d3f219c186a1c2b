"""Films that are copies of one another though no byte agrees: saved anew, resized, mirrored.

In come model inputs, all of one size; out go pairs of positions, and which of them join what must
stay apart (training and test, two patients, two labels). This module does not know where a film
was read from, and decides nothing: a pair is for a person to look at.

Three steps, each on fewer pairs than the last: `hashes` and `near_duplicates` compare outlines
(fast, all pairs), `confirmed` compares the details of the pairs so found, `across` says what for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.collections.case import Case
from cxr_transfer.errors import DataError, UsageError

Films = npt.NDArray[np.uint8]
Pair = tuple[int, int, int, bool]
"""Positions i < j of two films, the distance of their hashes in bits, whether one is mirrored."""

# Chosen on real films. All chests look alike, so different patients come close: of 1.9 million
# pairs of Kermany et al.'s children 3 lie within 2 bits, 19 within 4, 177 within 6 and 1092 within
# 8 (distances are even: half of the bits are set). Of copies, JPEG of quality 30 and half the
# size move no film by more than 4 bits, a brighter or darker copy 2 to 14 % of the films; what 6
# would add to that costs ten times the false pairs. Cutting 5 % off every border moves nearly all
# films by more, as it does the distances between patients: no distance finds that.
DISTANCE = 4
"""Bits, of 64, that the hashes of near-duplicates differ in at most."""

# Of those 19 pairs 18 have details with a correlation below 0.7. In Cohen et al.'s collection the
# copies under two patients' names have 0.81 (contrast), 0.82 (written on) and 0.99 to 1.
LIKENESS = 0.75
"""Least correlation of the details of two films that show the same."""

BLOCK = 128
"""Rows compared at a time: for 20,000 films 20 MB of exclusive-ors instead of 3 GB."""

_DETAIL = 64  # pixels a side at which details are compared: finer ones do not survive resizing
_SMOOTH = 3  # of these pixels: what is coarser is common to all chests


@dataclass(frozen=True, slots=True)
class Crossing:
    """Two near-duplicates that stand where one film must not stand twice.

    Attributes:
        first: The case at the pair's first position.
        second: That at its second.
        distance: Of the hashes, in bits.
        mirrored: Whether one shows the other's mirror image.
        differs: What differs (``split``, ``collection``, ``label``, ``patient``), and both values.
    """

    first: Case
    second: Case
    distance: int
    mirrored: bool
    differs: dict[str, tuple[str, str]]

    def as_dict(self) -> dict[str, Any]:
        """Return what a report holds: file names without their folders."""
        return {
            "files": [self.first.path.name, self.second.path.name],
            "distance": self.distance,
            "mirrored": self.mirrored,
            "differs": {what: list(values) for what, values in self.differs.items()},
        }


def hashes(films: Films) -> npt.NDArray[np.uint64]:
    """Return the perceptual hash of every film and of its mirror image.

    A hash says which of the 64 slowest cosine waves of the film, at 32 x 32 pixels, are stronger
    than their median; compression, size and brightness hardly change that.

    Source: Krawetz 2011, "Looks like it", hackerfactor.com/blog, as ImageHash computes it.

    Args:
        films: (N, H, W) uint8.

    Returns:
        (N, 2) uint64: as it is, and mirrored left to right.

    Raises:
        DataError: ``films`` for another shape or type.
    """
    _check_films(films)
    found = np.empty((len(films), 2), dtype=np.uint64)
    for row, film in enumerate(films):
        found[row] = _hash(film), _hash(film[:, ::-1])
    return found


def near_duplicates(
    hashes: npt.NDArray[np.uint64], *, distance: int = DISTANCE, block: int = BLOCK
) -> list[Pair]:
    """Return all pairs of films whose hashes differ in at most ``distance`` bits.

    Chests resemble each other: expect false pairs, about ten in a million pairs at the default
    distance, and give the pairs to `confirmed`.

    Args:
        hashes: (N, 2) uint64, as `hashes` returns them.
        distance: Bits, 0 to 64.
        block: Films compared with all others at a time; changes memory and nothing else.

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
            f"Expected (films, 2) hashes of uint64, but got {hashes.shape} of {hashes.dtype}; "
            "compute them with hashes().",
        )
    if not 0 <= distance <= 64:
        raise UsageError(
            "distance", f"Expected a distance of 0 to 64 bits, but got {distance}; 4 is usual."
        )
    pairs: list[Pair] = []
    for start in range(0, len(hashes), block):
        one = hashes[start : start + block, 0, None]
        plain = np.bitwise_count(one ^ hashes[None, start:, 0])
        mirror = np.bitwise_count(one ^ hashes[None, start:, 1])
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
    films: Films, pairs: Sequence[Pair], *, likeness: float = LIKENESS
) -> list[tuple[Pair, float]]:
    """Return those pairs whose films agree in detail too, each with how much.

    Args:
        films: (N, H, W) uint8, those that were hashed.
        pairs: Of near-duplicates among them.
        likeness: Least correlation, -1 to 1, of what is finer than a tenth of the film or so.

    Returns:
        The pairs in their order, each with its correlation.

    Raises:
        DataError: ``films`` for another shape or type.
    """
    _check_films(films)
    details: dict[tuple[int, bool], npt.NDArray[np.float32]] = {}

    def detail(film: int, mirrored: bool) -> npt.NDArray[np.float32]:
        if (film, mirrored) not in details:
            details[film, mirrored] = _detail(films[film][:, ::-1] if mirrored else films[film])
        return details[film, mirrored]

    found = []
    for pair in pairs:
        first, second, _, mirrored = pair
        agreement = float(detail(first, False) @ detail(second, mirrored))
        if agreement >= likeness:
            found.append((pair, agreement))
    return found


def across(cases: Sequence[Case], pairs: Sequence[Pair]) -> list[Crossing]:
    """Return the pairs that stand on both sides of a line, each with what differs.

    Copies in two splits leak; in two collections they count twice, and make a test on the other
    no outside test; under two patients they pass a split by patient; under two labels one of the
    labels is wrong. A split or collection that one of the two does not state is no difference.

    Args:
        cases: N films.
        pairs: Positions among them, as `near_duplicates` returns them.

    Returns:
        In the order of ``pairs``, without those that differ in nothing.

    >>> from pathlib import Path
    >>> one = Case(Path("1.png"), "normal", "ann", "a", split="train")
    >>> two = Case(Path("2.png"), "normal", "ann", "a", split="test")
    >>> [crossing] = across([one, two, one], [(0, 1, 2, False), (0, 2, 0, False)])
    >>> crossing.differs
    {'split': ('train', 'test')}
    """
    crossings = []
    for i, j, distance, mirrored in pairs:
        first, second = cases[i], cases[j]
        values = {
            "split": (first.split, second.split),
            "collection": (first.source, second.source),
            "label": (first.label, second.label),
            "patient": (first.patient, second.patient),
        }
        differs = {what: (a, b) for what, (a, b) in values.items() if a and b and a != b}
        if differs:
            crossings.append(Crossing(first, second, distance, mirrored, differs))
    return crossings


def _check_films(films: Films) -> None:
    if films.ndim != 3 or films.dtype != np.uint8:
        raise DataError(
            "films",
            f"Expected model inputs (films, height, width) of uint8, but got {films.shape} of "
            f"{films.dtype}; preprocess the films first.",
        )


def _hash(film: Films) -> np.uint64:
    image = Image.fromarray(np.ascontiguousarray(film))
    bits = np.asarray(imagehash.phash(image).hash, dtype=np.bool_)
    return np.uint64(int.from_bytes(np.packbits(bits).tobytes()))


def _detail(film: Films) -> npt.NDArray[np.float32]:
    """Return what is fine in a film as a vector of length 1 (0 where nothing is)."""
    from scipy.ndimage import gaussian_filter  # slow to import, and most have no pair to confirm

    image = Image.fromarray(np.ascontiguousarray(film))
    small = np.asarray(
        image.resize((_DETAIL, _DETAIL), Image.Resampling.BILINEAR), dtype=np.float32
    )
    # At the border the smoothing has only one side to go by.
    fine = (small - gaussian_filter(small, _SMOOTH))[_SMOOTH:-_SMOOTH, _SMOOTH:-_SMOOTH].ravel()
    fine -= fine.mean()
    length = np.linalg.norm(fine)
    vector: npt.NDArray[np.float32] = fine / length if length else fine
    return vector
