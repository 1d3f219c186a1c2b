"""Training images changed at random, a batch at a time: uint8 in, uint8 out, on any device.

What is drawn follows from the generator alone, in the order of the table: the same seed, stage,
epoch and batch give the same images, also in a run that was interrupted. A batch goes through one
resampling for all that moves it, so that five small moves blur no more than one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cxr_transfer.training.augmentation import AUGMENTATIONS

Draw = Callable[[], Tensor]
"""Function that draws a number from -1 to 1 for each image of a batch, (N,) float32."""

TILES, CLIP = 8, 2.0
"""Tiles a side, and the bound of a histogram's bins as a multiple of their mean (CLAHE)."""


def augmented(images: Tensor, strengths: Mapping[str, float], *, seed: int) -> Tensor:
    """Return images changed at random.

    Args:
        images: Model inputs, (N, 1, H, W) uint8.
        strengths: Name in `AUGMENTATIONS` to its strength, as `checked_augmentation` returns them.
        seed: Random seed of this batch.

    Returns:
        (N, 1, H, W) uint8.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        # Drawn on the processor whatever the device: a seed gives the same numbers everywhere.
        return torch.rand(len(images), generator=generator) * 2 - 1

    moves = [
        _MOVES[name](draw, strength)
        for name, strength in strengths.items()
        if AUGMENTATIONS[name].kind == "geometry"
    ]
    changed = images.float()
    if moves:
        changed = _moved(changed, moves)
    for name, strength in strengths.items():
        if AUGMENTATIONS[name].kind == "grey":
            changed = _CHANGES[name](changed, draw, strength, generator)
    return changed.round().clamp(0, 255).to(torch.uint8)


def mixed(images: Tensor, *, alpha: float, seed: int) -> tuple[Tensor, Tensor, float]:
    """Mix each image of a batch with another one (mixup).

    Args:
        images: Model inputs, (N, 1, H, W).
        alpha: Parameter of the Beta distribution from which the share is drawn.
        seed: Random seed of this batch.

    Returns:
        The mixed images, float32; the row of each image's partner, (N,); and the share of the
        image itself, one for the batch.
    """
    rng = np.random.default_rng(seed)
    share = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(images)))
    first = images.float()
    return share * first + (1 - share) * first[partners.to(images.device)], partners, share


def _moved(images: Tensor, moves: list[Tensor]) -> Tensor:
    """Resample images once by the product of their moves, (N, 3, 3) each."""
    matrix = moves[0]
    for move in moves[1:]:
        matrix = matrix @ move
    height, width = images.shape[2:]
    # In units of pixels, not of half a side each: a turn of a wide image must not shear it.
    aspect = width / height
    matrix = matrix.clone()
    matrix[:, 0, 1] /= aspect
    matrix[:, 1, 0] *= aspect
    grid = functional.affine_grid(
        matrix[:, :2].to(images.device), list(images.shape), align_corners=False
    )
    # The border goes on outwards: a black wedge would be a mark that no radiograph has.
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _matrix(draw: Tensor, entries: Mapping[tuple[int, int], Tensor]) -> Tensor:
    matrix = torch.eye(3).repeat(len(draw), 1, 1)
    for (row, column), values in entries.items():
        matrix[:, row, column] = values
    return matrix


def _flip(draw: Draw, probability: float) -> Tensor:
    drawn = draw()
    return _matrix(drawn, {(0, 0): torch.where((drawn + 1) / 2 < probability, -1.0, 1.0)})


def _rotation(draw: Draw, degrees: float) -> Tensor:
    angle = draw() * math.radians(degrees)
    cosine, sine = angle.cos(), angle.sin()
    return _matrix(angle, {(0, 0): cosine, (0, 1): -sine, (1, 0): sine, (1, 1): cosine})


def _translation(draw: Draw, share: float) -> Tensor:
    across, down = draw(), draw()
    # The grid runs from -1 to 1: a share of a side is twice as much.
    return _matrix(across, {(0, 2): across * 2 * share, (1, 2): down * 2 * share})


def _scale(draw: Draw, change: float) -> Tensor:
    factor = 1 / (1 + draw() * change)
    return _matrix(factor, {(0, 0): factor, (1, 1): factor})


def _shear(draw: Draw, degrees: float) -> Tensor:
    slope = (draw() * math.radians(degrees)).tan()
    return _matrix(slope, {(0, 1): slope})


_MOVES: dict[str, Callable[[Draw, float], Tensor]] = {
    "flip": _flip,
    "rotation": _rotation,
    "translation": _translation,
    "scale": _scale,
    "shear": _shear,
}


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """Return a number for each image, (N,), in a shape that goes with (N, 1, H, W)."""
    return values.to(like.device).view(-1, 1, 1, 1)


def _gamma(images: Tensor, draw: Draw, strength: float, _: torch.Generator) -> Tensor:
    power = _spread((draw() * strength).exp(), images)
    changed: Tensor = (images / 255).clamp(0, 1) ** power * 255
    return changed


def _contrast(images: Tensor, draw: Draw, strength: float, _: torch.Generator) -> Tensor:
    mean = images.mean(dim=(2, 3), keepdim=True)
    changed: Tensor = mean + (images - mean) * _spread(1 + draw() * strength, images)
    return changed


def _clahe(images: Tensor, draw: Draw, strength: float, _: torch.Generator) -> Tensor:
    return _one_by_one(images, (draw() + 1) / 2 < strength, lambda image, _: equalised(image))


def _blur(images: Tensor, draw: Draw, strength: float, _: torch.Generator) -> Tensor:
    # A kernel of its own for each image: the batch stands where channels do.
    sigma = ((draw() + 1) / 2 * strength).clamp(min=1e-3).to(images.device)
    half = max(1, math.ceil(3 * strength))
    half = min(half, min(images.shape[2:]) - 1)
    steps = torch.arange(-half, half + 1, device=images.device, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (steps[None] / sigma[:, None]) ** 2)
    kernels = kernels / kernels.sum(dim=1, keepdim=True)
    across = functional.pad(images.transpose(0, 1), (half, half, half, half), mode="reflect")
    across = functional.conv2d(across, kernels[:, None, None, :], groups=len(images))
    down = functional.conv2d(across, kernels[:, None, :, None], groups=len(images))
    return down.transpose(0, 1)


def _noise(images: Tensor, draw: Draw, strength: float, generator: torch.Generator) -> Tensor:
    level = _spread((draw() + 1) / 2 * strength, images)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return images + level * noise


def _jpeg(images: Tensor, draw: Draw, strength: float, _: torch.Generator) -> Tensor:
    quality = 100 - (draw() + 1) / 2 * strength

    def stored(image: npt.NDArray[np.uint8], row: int) -> npt.NDArray[np.uint8]:
        content = io.BytesIO()
        Image.fromarray(image).save(content, "JPEG", quality=max(1, int(quality[row])))
        return np.asarray(Image.open(content))

    return _one_by_one(images, torch.ones(len(images), dtype=torch.bool), stored)


def _cutout(images: Tensor, draw: Draw, strength: float, _: torch.Generator) -> Tensor:
    share = (draw() + 1) / 2 * strength
    centres = [(draw() + 1) / 2 for _ in range(2)]
    covered = torch.ones(len(images), 1, *images.shape[2:], dtype=torch.bool)
    for axis, (side, centre) in enumerate(zip(images.shape[2:], centres, strict=True)):
        places = (torch.arange(side) + 0.5) / side
        inside = (places[None] - centre[:, None]).abs() < share[:, None] / 2
        covered &= inside[:, None, :, None] if axis == 0 else inside[:, None, None, :]
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.where(covered.to(images.device), mean, images)


_CHANGES: dict[str, Callable[[Tensor, Draw, float, torch.Generator], Tensor]] = {
    "gamma": _gamma,
    "contrast": _contrast,
    "clahe": _clahe,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "cutout": _cutout,
}


def _one_by_one(
    images: Tensor,
    wanted: Tensor,
    change: Callable[[npt.NDArray[np.uint8], int], npt.NDArray[np.uint8]],
) -> Tensor:
    """Change images that a library takes one at a time, as 8-bit arrays."""
    arrays = images.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    changed = [
        change(array[0], row) if is_wanted else array[0]
        for row, (array, is_wanted) in enumerate(zip(arrays, wanted.tolist(), strict=True))
    ]
    return torch.from_numpy(np.stack(changed)[:, None]).float().to(images.device)


def equalised(
    image: npt.NDArray[np.uint8], *, tiles: int = TILES, clip: float = CLIP
) -> npt.NDArray[np.uint8]:
    """Return an image with its contrast equalised tile by tile (CLAHE).

    Each tile has a table from grey value to its rank there; what a histogram has above its bound
    is spread over all values. Between the centres of tiles the tables are mixed linearly. Source:
    Zuiderveld 1994 (Graphics Gems IV, 474).

    Args:
        image: (H, W) uint8.
        tiles: Tiles a side.
        clip: Bound of a bin, as a multiple of the mean bin; the higher, the more contrast.
    """
    height, width = image.shape
    tables = np.empty((tiles, tiles, 256), np.float32)
    rows = np.linspace(0, height, tiles + 1).astype(int)
    columns = np.linspace(0, width, tiles + 1).astype(int)
    for i in range(tiles):
        for j in range(tiles):
            tile = image[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            counts = np.bincount(tile.ravel(), minlength=256).astype(np.float64)
            bound = clip * counts.sum() / 256
            excess = np.maximum(counts - bound, 0).sum()
            tables[i, j] = 255 * (np.minimum(counts, bound) + excess / 256).cumsum() / counts.sum()
    down, down_share = _between(height, tiles)
    across, across_share = _between(width, tiles)
    mixed_values = np.zeros(image.shape, np.float32)
    for step_down in (0, 1):
        for step_across in (0, 1):
            table = tables[
                np.minimum(down + step_down, tiles - 1)[:, None],
                np.minimum(across + step_across, tiles - 1)[None],
                image,
            ]
            share_down = down_share if step_down else 1 - down_share
            share_across = across_share if step_across else 1 - across_share
            mixed_values += table * share_down[:, None] * share_across[None]
    result: npt.NDArray[np.uint8] = np.rint(mixed_values).clip(0, 255).astype(np.uint8)
    return result


def _between(side: int, tiles: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the tile whose centre lies before each pixel, and how far on the next one it is."""
    place = ((np.arange(side) + 0.5) / side * tiles - 0.5).clip(0, tiles - 1)
    first = place.astype(np.int64)
    return first, (place - first).astype(np.float32)
