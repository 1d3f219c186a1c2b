"""How far a heat map may be trusted: its share in the lungs, and what random weights make of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxr_transfer.datasets.lung_masks import LungMasks
from cxr_transfer.errors import DataError
from cxr_transfer.models.heat_maps import Maps
from cxr_transfer.models.occlusion import Score, occlusion_maps
from cxr_transfer.models.saliency_maps import (
    DRAWS,
    STAGES,
    as_images,
    enrichment,
    has_places,
    heat_maps,
    lung_share,
    randomised_correlation,
)
from cxr_transfer.progress import Tell, counting, of_images, tell_nobody
from cxr_transfer.statistics.intervals import (
    NOT_DEFINED,
    Estimate,
    mean,
    share,
)

Floats = npt.NDArray[np.float64]

_STEPS = 2 + DRAWS * len(STAGES)
"""Lung masks, maps, and a map of every draw of new weights."""

COVERED = 20
"""Most images of which maps are made by covering their parts in turn."""


def saliency_evidence(
    network: nn.Sequential | Score,
    images: Tensor | npt.NDArray[np.uint8],
    patients: Sequence[str],
    *,
    lungs: LungMasks | None = None,
    seed: int = 0,
    limit: int = 100,
    resamples: int = 2000,
    device: str = "cpu",
    progress: Tell = tell_nobody,
) -> dict[str, Any]:
    """Return what an audit asks of a network's heat maps.

    Args:
        network: Network as in `heat_maps`; or a function that returns class scores of images, of
            which maps are made by covering, and whose weights cannot be drawn anew.
        images: Images, (N, 1, H, W) uint8.
        patients: The patient of each.
        lungs: Lung masks of the images; None looks for them here.
        seed: Random seed of the images' choice, the new weights and the bootstrap.
        limit: Largest number of images; of more, so many are chosen by chance. At most `COVERED`
            where a map takes a hundred answers of the network.
        resamples: Number of resamples of the bootstrap by patient.
        device: Device as torch names it.
        progress: Function that is told the phase and which share of it is done.

    Returns:
        - ``images``: how many were looked at; ``empty_maps``: of these, without a map;
        - ``lung_area``: mean share of the images that the lung masks take;
        - ``lung_share``: mean share of the maps that lies in the masks, `Estimate` as a dict;
        - ``enrichment``: mean of `enrichment`, `Estimate` as a dict;
        - ``below_area``: share of maps that lie in the lungs less than an even one would,
          `Estimate` as a dict;
        - ``randomised``: by `STAGES` (none of a function), mean of `randomised_correlation`,
          `Estimate` as a dict, and ``images``, of how many;
        - ``draws``: new weights per stage; ``seed``.

        Values are null where no image has a map.

    Raises:
        DataError: ``no_images`` without an image; ``table`` unless there is a patient for
            each image; what `heat_maps` raises.
        UsageError: ``resamples`` below 1.
        ModelError: What `heat_maps` raises.
    """
    images = as_images(images)
    if len(images) != len(patients):
        raise DataError(
            "table",
            f"Expected the patient of each of {len(images)} images, but got {len(patients)}; give "
            "those of the same images.",
        )
    if not len(images):
        raise DataError("no_images", "Expected at least one image, but got none; add images.")
    if lungs is None:
        lungs = LungMasks(images.numpy())
    is_network = isinstance(network, nn.Sequential)
    quick = isinstance(network, nn.Sequential) and has_places(network)
    limit = limit if quick else min(limit, COVERED)
    if len(images) > limit:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:limit])
        images = images[torch.from_numpy(chosen)]
        lungs = lungs.only(chosen)
        patients = [patients[row] for row in chosen]
    steps = _STEPS if is_network else 2
    step = counting(progress, f"heat maps of {of_images('', len(images)).strip()}", steps)
    masks = lungs.masks()[:, 0]
    step()
    maps = (
        heat_maps(network, images, device=device)
        if isinstance(network, nn.Sequential)
        else _by_covering(network, images.numpy())
    )
    step()
    rich = enrichment(maps, masks)
    is_defined = ~np.isnan(rich)
    bootstrap: dict[str, int] = {"resamples": resamples, "seed": seed}
    patients_defined = [
        patient for patient, defined in zip(patients, is_defined, strict=True) if defined
    ]
    below = (
        share(rich[is_defined] < 1, patients_defined, **bootstrap)
        if is_defined.any()
        else NOT_DEFINED
    )
    changed = (
        randomised_correlation(network, images, seed=seed, device=device, on_draw=step)
        if isinstance(network, nn.Sequential)
        else {}
    )
    return {
        "images": len(images),
        "empty_maps": int((maps.max(axis=(1, 2)) == 0).sum()),
        "lung_area": float(masks.mean()),
        "lung_share": _mean(lung_share(maps, masks), patients, **bootstrap).as_dict(),
        "enrichment": _mean(rich, patients, **bootstrap).as_dict(),
        "below_area": below.as_dict(),
        "randomised": {
            stage: _mean(alike, patients, **bootstrap).as_dict()
            | {"images": int((~np.isnan(alike)).sum())}
            for stage, alike in changed.items()
        },
        "draws": DRAWS,
        "seed": seed,
    }


def _by_covering(score: Score, images: npt.NDArray[np.uint8]) -> Maps:
    """Return maps of the class with the highest score of each image."""
    return occlusion_maps(score, images, score(images).argmax(axis=1).tolist())


def _mean(values: Floats, patients: Sequence[str], *, resamples: int, seed: int) -> Estimate:
    """Return the mean of what is defined, with its interval by patient."""
    is_defined = ~np.isnan(values)
    if not is_defined.any():
        return NOT_DEFINED
    patients_defined = [
        patient for patient, defined in zip(patients, is_defined, strict=True) if defined
    ]
    return mean(values[is_defined], patients_defined, resamples=resamples, seed=seed)
