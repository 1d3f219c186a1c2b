"""Images whose surroundings were swapped: the lungs of one image, all else of another source's.

What such an image is called stays with its lungs. A head is fitted to them as well as to the images
as they were. It then gains less from what lies around the lungs, which tells of the hospital first.
The images have to be crops of the lungs (`Preprocessing.crop`), so that lungs come to lie on lungs.

After the backgrounds drawn at random ("Mixed-Rand") of Xiao et al. 2021 ("Noise or Signal: The
Role of Image Backgrounds in Object Recognition", ICLR), but never from an image's own source: there
surroundings would go on telling the class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr_transfer.datasets.lung_masks import LungMasks

_EDGE = 4 / 224
"""Standard deviation of the soft edge in widths of the image: a hard one would be a mark itself."""


def draw_partners(sources: Sequence[str], *, seed: int) -> npt.NDArray[np.int64]:
    """Draw for every image an image of another source.

    Every other source is as likely as the next, however many images it has, and so is every image
    of the one that is drawn.

    Args:
        sources: Sources of the images.
        seed: Random seed of the draw.

    Returns:
        (N,) rows; empty where there are not two sources.

    >>> draw_partners(["a", "a", "b"], seed=0)[:2]
    array([2, 2])
    """
    of = np.array(sources)
    names = np.unique(of)
    if len(names) < 2:
        return np.empty(0, np.int64)
    generator = np.random.default_rng(seed)
    own = np.searchsorted(names, of)
    other = (own + generator.integers(1, len(names), len(of))) % len(names)
    partners = np.empty(len(of), np.int64)
    for number, name in enumerate(names):
        these = np.flatnonzero(other == number)
        partners[these] = generator.choice(np.flatnonzero(of == name), len(these))
    return partners


def swap_backgrounds(images: Tensor, partners: npt.NDArray[np.int64], lungs: LungMasks) -> Tensor:
    """Return every image's lungs in the surroundings of its partner.

    Args:
        images: Crops of the lungs, (N, 1, H, W) uint8.
        partners: (N,) rows of ``images``.
        lungs: Lung masks of the same images.

    Returns:
        (N, 1, H, W) uint8.
    """
    from scipy import ndimage

    planes = images.numpy()
    mixed = np.empty_like(planes)
    # Image by image: all of them as float32 would take four times the memory.
    for row, partner in enumerate(partners):
        mask = lungs.mask(row).astype(np.float32)
        mask = ndimage.gaussian_filter(mask, _EDGE * planes.shape[3])
        mixed[row, 0] = np.rint(mask * planes[row, 0] + (1 - mask) * planes[partner, 0])
    return torch.from_numpy(mixed)
