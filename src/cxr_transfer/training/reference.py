"""A checkpoint and the films it was trained on become its `Reference`.

What the training films look like to the network, by which an unfamiliar film is known and the
nearest training cases are named, and the temperature at which scores mean what they say. A training
ends with it, on films that are still in memory; `fit_reference` reads them once more, for a
checkpoint that has none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.manifest import PARTS_FILE, read_manifest
from cxr_transfer.errors import DataError, ModelError, UsageError
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files
from cxr_transfer.models.reference import Reference
from cxr_transfer.models.registry import features
from cxr_transfer.statistics.temperature import choose_temperature, least_score
from cxr_transfer.training.tensors import Films, load_films


def fit_reference(
    checkpoint_path: Path,
    *,
    manifest: Path | None = None,
    device: str = "cpu",
    each: Callable[[], None] = lambda: None,
) -> Reference:
    """Look at the training and validation films of a checkpoint once more.

    Args:
        checkpoint_path: Run folder, weights file or card.
        manifest: With parts; None is the ``split.csv`` of the run folder.
        device: Where the network runs.
        each: Called after every film.

    Raises:
        UsageError: ``no_manifest`` without a manifest.
        DataError: ``empty_part`` without training or validation films; what reading them raises.
        ModelError: What `load_checkpoint` raises.
    """
    card, network = load_checkpoint(checkpoint_path)
    manifest = manifest or checkpoint_files(checkpoint_path)[0].parent / PARTS_FILE
    if not manifest.is_file():
        raise UsageError(
            "no_manifest",
            f"Expected the films that {card.name} was trained on in {manifest}, but there is no "
            "such file; give their manifest with --data.",
        )
    cases = read_manifest(manifest)

    def part(name: str) -> tuple[list[Case], Films]:
        of_part = [case for case in cases if case.split == name]
        if not of_part:
            raise DataError(
                "empty_part",
                f"Expected films in the part '{name}' of {manifest}, but there are none.",
            )
        return of_part, load_films(of_part, card.preprocessing, card.label_set, each=each)

    return reference_of(card, network, part("train"), part("validation"), device=device)


def reference_of(
    card: Checkpoint,
    network: nn.Sequential,
    train: tuple[Sequence[Case], Films],
    validation: tuple[Sequence[Case], Films],
    *,
    device: str = "cpu",
) -> Reference:
    """Return the reference of a network and the decoded films that it was trained on.

    Args:
        card: Card of the network.
        network: Network with the weights that the card names.
        train: Cases and decoded films of the training part, in one order.
        validation: Cases and decoded films of the validation part, in one order.
        device: Where the network runs.

    Raises:
        DataError: ``unknown_label`` for a validation film of another class; ``features``, as
            `Reference.fit`.
    """
    cases = train[0]
    targets = validation[1].targets.numpy()
    foreign = int((targets < 0).sum())
    if foreign:
        raise DataError(
            "unknown_label",
            f"Expected validation films of the classes {', '.join(card.labels)}, but {foreign} of "
            f"{len(targets)} have another label; give the manifest of the training.",
        )
    of_train, of_validation = (
        features(network, films.images, device=device).numpy() for _, films in (train, validation)
    )
    scored = _scored(network, of_validation)
    patients = [case.patient for case in validation[0]]
    temperature, check = choose_temperature(scored, targets, patients)
    reference = Reference.fit(
        of_train,
        labels=[case.label for case in cases],
        sources=[case.source for case in cases],
        held_out=of_validation,
        temperature=temperature,
        temperature_check=check,
        weights_sha256=card.weights_sha256,
    )
    coverage = card.recipe.get("coverage")
    if coverage is None:
        return reference
    # In float32, as a prediction is compared with it.
    least = least_score(reference.calibrate(scored.astype(np.float32)), coverage)
    return dataclasses.replace(reference, least_score=least, coverage=float(coverage))


def has_reference(folder: Path, card: Checkpoint) -> bool:
    """Tell whether ``folder`` holds a whole reference of the checkpoint with this card."""
    try:
        found = Reference.load(folder, weights_sha256=card.weights_sha256)
    except ModelError:
        return False
    return found.coverage == card.recipe.get("coverage")


@torch.inference_mode()
def _scored(network: nn.Sequential, seen: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the class scores (N, C) of films (N, F), as the network's head sees them."""
    logits = network[-1].cpu()(torch.from_numpy(seen))
    # In float64: a temperature is fitted to the logarithms of small scores, too.
    scores: npt.NDArray[np.float64] = logits.double().softmax(dim=1).numpy()
    return scores
