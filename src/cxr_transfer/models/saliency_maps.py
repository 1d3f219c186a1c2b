"""Where on an image a network's score comes from, and how far such a map may be trusted.

In come a network and images; out go HiResCAM maps, the share of them that lies in the lungs, and
how much they change when the network's weights are drawn anew. A map is a picture of what raised a
score, not a finding and no proof of one: it knows no labels, and a network that
reads the hospital from the chest wall has handsome maps too.

Sources: HiResCAM, Draelos & Carin 2020 (arXiv 2011.08891). Where a network takes one mean over an
image, as ResNet-50 does, its map is that of Grad-CAM (Selvaraju et al. 2017, ICCV, 618); where
places count differently, Grad-CAM spreads what one adds over all of them. The randomisation check:
Adebayo et al. 2018 (NeurIPS 31, "Sanity checks for saliency maps").
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from cxr_transfer import forks
from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.heat_maps import Maps, Masks, quotient
from cxr_transfer.models.heat_maps import lung_share as lung_share  # audits take it from here
from cxr_transfer.models.occlusion import occlusion_maps

Floats = npt.NDArray[np.float64]

PLACES_END = ("flatten", "avg_pool")
"""Children that turn a map into a vector: the child before is the last that knows places."""

STAGES = ("head", "last block", "all layers")
"""Layers whose weights are drawn anew: from the head down to the named layer, together."""

DRAWS = 4
"""New weights per stage: a draw of the head may leave no map of any image."""

BATCH = 20


def heat_maps(
    network: nn.Sequential,
    images: Tensor | npt.NDArray[np.uint8],
    *,
    target: Sequence[int] | None = None,
    device: str = "cpu",
) -> Maps:
    """Return where the score of a class comes from, by HiResCAM at the last layer with places.

    The layer is the child before `PLACES_END`: ``conv5_block3`` (7 x 7 for an image of 224 x 224),
    ``relu4`` (12 x 12) or ``both_sides`` (28 x 28). Each place has what it adds to the score, to
    first order; where only means and a linear head follow, exactly that. Maps are enlarged
    bilinearly, so their borders are no finer than the layer. A network without such a child has
    maps by covering parts of the image (`occlusion`).

    Args:
        network: Network of `models.registry`; frozen or not, its weights, gradients and modes are
            left as they are. It is moved to ``device``.
        images: Images, (N, 1, H, W) uint8.
        target: The class to explain of each image; None is the one with the highest score.
        device: Device as torch names it.

    Returns:
        (N, H, W) in [0, 1], the largest value of each image 1; all 0 where nothing on an image
        raised the score.

    Raises:
        DataError: ``not_a_model_input`` unless the images are (N, 1, H, W) of uint8; ``targets``
            unless there is a class of the network for each.
    """
    stored = as_images(images)
    if not len(stored):
        return np.zeros((0, *stored.shape[2:]), np.float32)
    if not has_places(network):
        return _covered(network, stored, target, device)
    at_places, after = places(network, stored, device=device)
    return maps_of_places(after, at_places, stored.shape[2:], target=target, device=device)


def has_places(network: nn.Sequential) -> bool:
    """Tell whether a network has a child at which places end, so that its maps are HiResCAM's."""
    return any(name in PLACES_END for name, _ in network.named_children())


def _covered(
    network: nn.Sequential, images: Tensor, target: Sequence[int] | None, device: str
) -> Maps:
    """Return maps by covering parts of each image in turn."""
    with _judging(network, device):

        def score(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            scores: npt.NDArray[np.float32] = probabilities(
                network, torch.from_numpy(batch), device=device
            ).numpy()
            return scores

        stored = images.numpy()
        named = score(stored).argmax(axis=1).tolist() if target is None else list(target)
        return occlusion_maps(score, stored, named)


def places(
    network: nn.Sequential, images: Tensor | npt.NDArray[np.uint8], *, device: str = "cpu"
) -> tuple[Tensor, nn.Sequential]:
    """Run a network as far as activations have places: most of its work, for scores and maps.

    Args:
        network: Network as in `heat_maps`.
        images: Images, one or more, (N, 1, H, W) uint8.
        device: Device as torch names it.

    Returns:
        Activations of the last layer with places, (N, C, h, w), and the layers after it, which make
        logits of them.

    Raises:
        DataError, ModelError: What `heat_maps` raises.
    """
    stored, end = as_images(images), _end(network)
    with _judging(network, device):
        return _through(_part(network, 0, end), stored, device), _part(network, end)


def maps_of_places(
    after: nn.Sequential,
    at_places: Tensor,
    size: Sequence[int],
    *,
    target: Sequence[int] | None = None,
    device: str = "cpu",
) -> Maps:
    """Return `heat_maps` of images that went through `places` before.

    Args:
        after: Layers after the places.
        at_places: Activations before them, (N, C, h, w).
        size: Height and width of the images.
        target: Target as in `heat_maps`.
        device: Device as torch names it.

    Raises:
        DataError: ``targets``, as `heat_maps`.
    """
    with _judging(after, device):
        coarse, _ = _maps(after, at_places, target, device)
    large = functional.interpolate(
        coarse[:, None], size=tuple(size), mode="bilinear", align_corners=False
    )[:, 0]
    highest = large.amax(dim=(1, 2), keepdim=True)
    # Divided by its maximum, not stretched from its minimum: an even map is even evidence, and
    # none is none.
    maps: Maps = torch.where(highest > 0, large / highest, 0).numpy()
    return maps


def enrichment(maps: Maps, masks: Masks) -> Floats:
    """Return the share of each map in its mask over the mask's share of the image.

    1 is what an even map has: below, the lungs got less than their area. NaN of an empty map or an
    empty mask.

    >>> even = np.ones((1, 2, 2), dtype=np.float32)
    >>> enrichment(even, np.array([[[True, True], [True, False]]]))
    array([1.])

    Raises:
        DataError: ``other_shape`` unless maps and masks are of one shape (N, H, W).
    """
    return quotient(lung_share(maps, masks), masks.mean(axis=(1, 2), dtype=np.float64))


def rank_correlation(maps: npt.ArrayLike, others: npt.ArrayLike) -> Floats:
    """Return Spearman's correlation of two maps of each image, both (N, h, w).

    NaN where either is the same everywhere: it has no order to compare.

    >>> rank_correlation([[[0.0, 1.0, 2.0]]], [[[0.1, 0.2, 0.9]]]).round(3)
    array([1.])
    """
    ranks, other_ranks = (
        rankdata(flat, axis=1) - (flat.shape[1] + 1) / 2
        for flat in (
            np.reshape(flat_map, (len(flat_map), -1))
            for flat_map in map(np.asarray, (maps, others))
        )
    )
    spread, other_spread = (ranks**2).sum(axis=1), (other_ranks**2).sum(axis=1)
    return quotient((ranks * other_ranks).sum(axis=1), np.sqrt(spread * other_spread))


def randomised_correlation(
    network: nn.Sequential,
    images: Tensor | npt.NDArray[np.uint8],
    *,
    seed: int = 0,
    draws: int = DRAWS,
    device: str = "cpu",
    on_draw: Callable[[], None] = lambda: None,
) -> dict[str, Floats]:
    """Return how alike each image's map is before and after the network forgets.

    The cascade of Adebayo et al. 2018 draws weights anew as before training. It begins with the
    head, goes on from the head down to the last block with a map, and ends with all layers. A map
    that stays the same does not depend on what was learnt: it is an outline of the image, and
    explains nothing.

    Compared is the rank correlation (Spearman) of the maps of the class that the trained network
    names, at the size of their layer. About half of new heads leave no map: such draws are left
    out, or a map that cannot change would look as if it did.

    Args:
        network: Network as in `heat_maps`; the new weights are a copy's.
        images: Images, (N, 1, H, W) uint8.
        seed: Random seed; the same seed gives the same weights, whatever torch's generator is at.
        draws: New weights per stage, over which an image's correlations are averaged.
        device: Device as torch names it.
        on_draw: Function that is called after every draw of new weights.

    Returns:
        By `STAGES`, (N,) correlations from -1 to 1; NaN where the trained network's map is the
        same everywhere, or that of every draw; and of a network without places.

    Raises:
        DataError, ModelError: What `heat_maps` raises.
    """
    stored = as_images(images)
    if not has_places(network):
        # Covering each image for every draw would take hours, and a cascade needs layers in order.
        return {stage: np.full(len(stored), np.nan) for stage in STAGES}
    generator = torch.Generator().manual_seed(seed)
    with _judging(network, device):
        end = _end(network)
        block = max(i for i in range(end) if list(network[i].parameters()) or i == 0)
        correlations: dict[str, Floats] = {}
        # What comes before the first new weight stays the same, and is computed once.
        before, named = _maps(network, stored, None, device)
        at_block = _through(_part(network, 0, block), stored, device)
        starts = {"head": len(network) - 1, "last block": block, "all layers": 0}
        for stage, first in starts.items():
            start = min(first, block)
            inputs = at_block if start else stored
            alike = []
            for _ in range(draws):
                forgetful = copy.deepcopy(_part(network, start))
                _redraw(_part(forgetful, first - start), generator)
                after, _ = _maps(forgetful, inputs, named, device)
                alike.append(rank_correlation(before.numpy(), after.numpy()))
                on_draw()
            is_defined = ~np.isnan(alike)
            correlations[stage] = quotient(
                np.where(is_defined, alike, 0).sum(axis=0), is_defined.sum(axis=0)
            )
    return correlations


def as_images(images: Tensor | npt.NDArray[np.uint8]) -> Tensor:
    """Return model inputs (N, 1, H, W), uint8, as a tensor.

    Raises:
        DataError: ``not_a_model_input`` for another shape or type.
    """
    stored = torch.as_tensor(images)
    if stored.ndim != 4 or stored.shape[1] != 1 or stored.dtype != torch.uint8:
        raise DataError(
            "not_a_model_input",
            f"Expected images, (N, 1, H, W) of uint8, but got {tuple(stored.shape)} of "
            f"{stored.dtype}; prepare images with Preprocessing.apply.",
        )
    return stored


@contextmanager
def _judging(network: nn.Sequential, device: str) -> Iterator[None]:
    """Put a network into inference mode, and each of its modules back into its own."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval().to(device)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _end(network: nn.Sequential) -> int:
    """Return the number of the child at which places end."""
    for number, (name, _) in enumerate(network.named_children()):
        if name in PLACES_END:
            return number
    raise ModelError(
        "no_places",
        f"Expected a network with a child {' or '.join(PLACES_END)}, before which images still "
        f"have places, but got {', '.join(name for name, _ in network.named_children())}; a heat "
        "map cannot be made of it.",
    )


def _part(network: nn.Sequential, start: int, end: int | None = None) -> nn.Sequential:
    """Return the children from ``start`` to before ``end``, the same modules."""
    return nn.Sequential(OrderedDict(list(network.named_children())[start:end]))


@torch.no_grad()
def _through(layers: nn.Sequential, inputs: Tensor, device: str) -> Tensor:
    forks.use("torch")
    return torch.cat([layers(batch.to(device)).cpu() for batch in torch.split(inputs, BATCH)])


def _maps(
    network: nn.Sequential, inputs: Tensor, target: Sequence[int] | Tensor | None, device: str
) -> tuple[Tensor, Tensor]:
    """Return maps (N, h, w), not negative, at their layer's size, and the class of each.

    Args:
        network: Network in inference mode, or the end of one from a child that still knows places.
        inputs: Inputs of its first child.
        target: Class of each image; None is the one with the highest score.
        device: Device that the network is on.
    """
    end = _end(network)
    features = _through(_part(network, 0, end), inputs, device)
    # A tail of its own: a gradient is needed only from the logits to the map, be what lies before
    # frozen or not, and the network's own weights keep theirs.
    tail = copy.deepcopy(_part(network, end)).requires_grad_(False)
    logits = _through(tail, features, device)
    classes = logits.argmax(dim=1) if target is None else torch.as_tensor(target)
    if classes.shape != logits.shape[:1] or ((classes < 0) | (classes >= logits.shape[1])).any():
        raise DataError(
            "targets",
            f"Expected a class below {logits.shape[1]} for each of {len(features)} images, but got "
            f"{classes.tolist()[:5]}; give indices of the network's labels.",
        )
    maps = torch.zeros((len(features), *features.shape[2:]))
    for rows in torch.split(torch.arange(len(features)), BATCH):
        batch = features[rows].to(device).requires_grad_()
        with torch.enable_grad():
            scores = tail(batch).gather(1, classes[rows].to(device)[:, None])
        # The sum over images: no image's score depends on another's map.
        (slope,) = torch.autograd.grad(scores.sum(), batch)
        maps[rows] = (slope * batch).sum(dim=1).relu().detach().cpu()
    return maps, classes


def _redraw(layers: nn.Sequential, generator: torch.Generator) -> None:
    """Draw the weights anew as the networks do before training."""
    for module in layers.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = torch.empty(module.weight.shape)
            nn.init.xavier_uniform_(weight, generator=generator)
            module.weight.data.copy_(weight)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
