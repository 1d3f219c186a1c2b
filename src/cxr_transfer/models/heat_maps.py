"""Where on an image a score comes from, of a converted network: no gradients, and no torch.

The map is HiResCAM's, as that of `models.saliency_maps`, which audits take of a torch network. Here
the slope of a score is written out: behind the last layer with places every network of the table
has a mean or one dense layer, and a linear head. A test compares the two.

It says what raised a score. It is no outline of a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.models.architecture import BehindPlaces
from cxr_transfer.models.engine import OUTPUTS, Engine
from cxr_transfer.openvino_runtime import extended_graph

Floats = npt.NDArray[np.float32]
Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]
Shares = npt.NDArray[np.float64]

PLACES = "places"
BANDS = 3
"""Horizontal bands over which the early layers of ResNet-50 are averaged, one by one."""


class HeatMapEngine:
    """A compiled network that also puts out what its last layer with places gives.

    Args:
        graph: Graph (.xml) of a float32 conversion, with its ``.bin`` beside it.
        child: Child of the network whose output is the last that has places.
        behind: Layer between that child and the linear head.

    Raises:
        ModelError: ``no_places`` for a graph without such a layer, and what `Engine` raises.
        MachineError: ``forked``.
    """

    method = "HiResCAM"

    def __init__(self, graph: Path, child: str, behind: BehindPlaces) -> None:
        extended, matrices = extended_graph(graph, f"__module.body.{child}", PLACES)
        if extended is None:
            raise ModelError(
                "no_places",
                f"Expected a graph with the layer {child}, before which images still have places, "
                f"but {graph} has none; convert its checkpoint anew.",
            )
        self._engine = Engine(extended, outputs=(*OUTPUTS, PLACES))
        # Dense layers in the order of the data; the head is the last.
        self._matrices = matrices
        self._slope = _SLOPES[behind]

    def answer(self, images: npt.NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
        """Return scores (N, C), features (N, F) and what is at places (N, K, h, w).

        Args:
            images: Model inputs, (N, 1, H, W).

        Raises:
            MachineError: ``forked``.
        """
        scores, features, at_places = self._engine.outputs(images)
        return scores, features, at_places

    def maps(
        self, features: Floats, at_places: npt.NDArray[Any], target: int, size: tuple[int, int]
    ) -> Maps:
        """Return where the score of one class comes from, on each image.

        Args:
            features: Features of `answer`.
            at_places: Values at places of `answer`.
            target: Index of the class.
            size: Height and width of the maps.

        Returns:
            (N, H, W) in [0, 1], the largest value of each map 1; all 0 where nothing on an image
            raised the score.
        """
        slope = self._slope(self._matrices, features, at_places.shape[1:], target)
        coarse = np.maximum((slope * at_places).sum(axis=1), 0).astype(np.float32)
        return np.stack([enlarged(coarse_map, size) for coarse_map in coarse])


def lung_share(maps: Maps, masks: Masks) -> Shares:
    """Return how much of each map (N, H, W) lies in its mask, from 0 to 1; NaN of an empty map.

    >>> map = np.array([[[1.0, 0.5], [0.5, 0.0]]], dtype=np.float32)
    >>> lung_share(map, np.array([[[True, True], [False, False]]]))
    array([0.75])

    Raises:
        DataError: ``other_shape`` unless maps and masks are of one shape (N, H, W).
    """
    if maps.shape != masks.shape or maps.ndim != 3:
        raise DataError(
            "other_shape",
            f"Expected maps and masks of one shape (N, H, W), but got {maps.shape} and "
            f"{masks.shape}; take the masks of the same model inputs.",
        )
    inside = (maps * masks).sum(axis=(1, 2), dtype=np.float64)
    return quotient(inside, maps.sum(axis=(1, 2), dtype=np.float64))


def quotient(above: Shares, below: npt.NDArray[Any]) -> Shares:
    """Return ``above / below``, NaN where that is 0."""
    quotients: Shares = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return quotients


def _of_mean(
    matrices: Sequence[Floats], features: Floats, shape: tuple[int, ...], target: int
) -> Floats:
    """Return the slope of a score behind one mean over all places, (1, K, 1, 1)."""
    _, height, width = shape
    slope: Floats = matrices[-1][target] / np.float32(height * width)
    return slope[None, :, None, None]


def _of_bands(
    matrices: Sequence[Floats], features: Floats, shape: tuple[int, ...], target: int
) -> Floats:
    """Return the slope of a score behind a mean over each of some bands, (1, K, h, 1)."""
    channels, height, width = shape
    weights = matrices[-1][target].reshape(BANDS, channels)
    edges = [round(band * height / BANDS) for band in range(BANDS + 1)]
    rows = np.diff(edges)
    band_weights = weights / (rows[:, None] * width).astype(np.float32)
    return np.repeat(band_weights, rows, axis=0).T[None, :, :, None]


def _of_dense(
    matrices: Sequence[Floats], features: Floats, shape: tuple[int, ...], target: int
) -> Floats:
    """Return the slope of a score behind a dense layer with ReLU, (N, K, h, w)."""
    dense, head = matrices
    # What the head sees is what the dense layer gives: where that is 0, nothing passes.
    passed = np.where(features > 0, head[target], 0).astype(np.float32)
    slope: Floats = (passed @ dense).reshape(len(features), *shape)
    return slope


_SLOPES: dict[BehindPlaces, Callable[[Sequence[Floats], Floats, tuple[int, ...], int], Floats]] = {
    "mean": _of_mean,
    "bands": _of_bands,
    "dense": _of_dense,
}


def enlarged(coarse: Floats, size: tuple[int, int]) -> Floats:
    """Return a map (h, w) at a size (height, width), bilinearly, its largest value 1."""
    large = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BILINEAR))
    highest = large.max()
    # Divided by its maximum, not stretched from its minimum: an even map is even evidence, and
    # none is none.
    return large / highest if highest > 0 else np.zeros(size, np.float32)
