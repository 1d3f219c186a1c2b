"""Where on an image a score comes from, of any network: parts of the image are covered in turn.

Needs no layer with places and no gradients, only scores: for networks of other libraries whose
layers cannot be told apart. A map is coarser than HiResCAM's, and takes a hundred answers of the
network. Source: Zeiler & Fergus 2014 (ECCV, 818).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.models.engine import Engine
from cxr_transfer.models.heat_maps import Floats, HeatMapEngine, Maps, enlarged
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.models.registry import architecture

CELLS = 10
"""Places along a side at which an image is covered."""

SPAN = 2
"""Cells along a side of what is covered at once: neighbours share a half, so that nothing lies on
a border only."""

BATCH = 25

Score = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.floating[Any]]]
"""Function that returns class scores (N, C) of images (N, 1, H, W)."""


def occlusion_maps(score: Score, images: npt.NDArray[np.uint8], targets: list[int]) -> Maps:
    """Return how much the score of a class falls where an image is covered.

    A square is covered with the image's mean. What the logarithm of the class's score loses by it
    is given to the cells of the square; a cell has the mean of the squares that cover it.

    Args:
        score: Scores of the network.
        images: Model inputs, (N, 1, H, W) uint8.
        targets: Class to explain for each image.

    Returns:
        (N, H, W) in [0, 1], the largest value of each map 1; all 0 where covering lowers no score.
    """
    height, width = images.shape[2:]
    maps = np.zeros((len(images), height, width), np.float32)
    places = [(i, j) for i in range(CELLS - SPAN + 1) for j in range(CELLS - SPAN + 1)]
    rows, columns = (
        np.linspace(0, side, CELLS + 1).round().astype(int) for side in (height, width)
    )
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        covered = np.repeat(image[None], len(places), axis=0)
        for covered_image, (i, j) in zip(covered, places, strict=True):
            covered_image[0, rows[i] : rows[i + SPAN], columns[j] : columns[j + SPAN]] = round(
                image.mean()
            )
        before = _logarithm(score(image[None]))[0, target]
        after = np.concatenate(
            [
                _logarithm(score(covered[start : start + BATCH]))[:, target]
                for start in range(0, len(covered), BATCH)
            ]
        )
        lost, times = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
        for (i, j), loss in zip(places, np.maximum(before - after, 0), strict=True):
            lost[i : i + SPAN, j : j + SPAN] += loss
            times[i : i + SPAN, j : j + SPAN] += 1
        maps[number] = enlarged((lost / times).astype(np.float32), (height, width))
    return maps


def _logarithm(scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    logarithms: npt.NDArray[np.float64] = np.log(np.maximum(scores.astype(np.float64), 1e-12))
    return logarithms


class OcclusionEngine:
    """A compiled network whose heat maps are made by covering; it answers as `HeatMapEngine`.

    Args:
        graph: Graph (.xml) of a float32 conversion, with its ``.bin`` beside it.

    Raises:
        ModelError, MachineError: What `Engine` raises.
    """

    method = "occlusion"

    def __init__(self, graph: Path) -> None:
        self._engine = Engine(graph)

    def answer(self, images: npt.NDArray[np.uint8]) -> tuple[Floats, Floats, npt.NDArray[np.uint8]]:
        """Return scores (N, C), features (N, F) and the images themselves, (N, 1, H, W).

        Args:
            images: Model inputs, (N, 1, H, W).

        Raises:
            MachineError: ``forked``.
        """
        return *self._engine.answer(images), images

    def maps(
        self,
        features: Floats,
        at_places: npt.NDArray[Any],
        target: int,
        size: tuple[int, int],
    ) -> Maps:
        """Return where the score of one class comes from, on each image, as `occlusion_maps` does.

        Args:
            features: Features of `answer`; not needed here.
            at_places: Images of `answer`.
            target: Index of the class.
            size: Height and width of the maps: those of the images.
        """
        return occlusion_maps(self._engine.scores, at_places, [target] * len(at_places))


def heat_map_engine(graph: Path, card: Checkpoint) -> HeatMapEngine | OcclusionEngine:
    """Open a converted network for heat maps: exact ones where its layers are known.

    Args:
        graph: Graph (.xml) of a float32 conversion, with its ``.bin`` beside it.
        card: Card of the checkpoint.

    Raises:
        ModelError, MachineError: What `HeatMapEngine` and `Engine` raise.
    """
    row = architecture(card.architecture)
    child = row.last_with_places or card.last_with_places
    if not child:
        return OcclusionEngine(graph)
    return HeatMapEngine(graph, child, row.behind_places)
