"""A checkpoint and the films it was trained on become its `Reference`.

What the training films look like to the network, by which an unfamiliar film is known and the
nearest training cases are named, and the temperature at which scores mean what they say. Needs
torch and the films; `cxr train` calls it once, and what it returns travels with the weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxr_transfer.collections.case import Case
from cxr_transfer.collections.manifest import PARTS_FILE, read_manifest
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.evaluation.calibration import temperature
from cxr_transfer.evaluation.metrics import Scores
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.card import checkpoint_files
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.networks import features
from cxr_transfer.models.reference import Reference
from cxr_transfer.training.films import load_films


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

    def seen(part: str) -> tuple[list[Case], npt.NDArray[np.float32]]:
        of_part = [case for case in cases if case.split == part]
        if not of_part:
            raise DataError(
                "empty_part",
                f"Expected films in the part '{part}' of {manifest}, but there are none.",
            )
        films = load_films(of_part, card.preprocessing, card.label_set, each=each)
        return of_part, features(network, films.images, device=device).numpy()

    train, of_train = seen("train")
    validation, of_validation = seen("validation")
    scored = _scored(network, of_validation)
    reference = Reference.fit(
        of_train,
        labels=[case.label for case in train],
        sources=[case.source for case in train],
        held_out=of_validation,
        temperature=_temperature(scored, validation, card.label_set),
        weights_sha256=card.weights_sha256,
    )
    coverage = card.recipe.get("coverage")
    if coverage is None:
        return reference
    # In float32, as a prediction is compared with it.
    highest = reference.calibrate(scored.astype(np.float32)).max(axis=1)
    least = float(np.quantile(highest, 1 - coverage, method="lower"))
    return dataclasses.replace(reference, least_score=least, coverage=float(coverage))


@torch.inference_mode()
def _scored(network: nn.Sequential, seen: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the class scores (N, C) of films (N, F), as the network's head sees them."""
    logits = network[-1].cpu()(torch.from_numpy(seen))
    # In float64: a temperature is fitted to the logarithms of small scores, too.
    scores: npt.NDArray[np.float64] = logits.double().softmax(dim=1).numpy()
    return scores


def _temperature(
    scored: npt.NDArray[np.float64], cases: Sequence[Case], labels: LabelSet
) -> float | None:
    """Return the temperature that fits films of these scores (N, C)."""
    targets = np.array([labels.target(case.label) for case in cases])
    names = tuple(case.patient for case in cases), tuple(case.file for case in cases)
    return temperature(Scores(labels, targets, scored, *names))
