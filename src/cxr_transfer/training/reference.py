"""A checkpoint and the images it was trained on become its `TrainingReference`.

It holds what the training images look like to the network. By that an unfamiliar image is known,
and the nearest training cases are named. It holds the temperature at which scores mean what they
say, too. A training ends with it, on images that are still in memory; `fit_reference` reads them
once more, for a checkpoint that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.manifest import PARTS_FILE, read_manifest
from cxr_transfer.datasets.several_findings import present_words
from cxr_transfer.errors import DataError, ModelError, UsageError
from cxr_transfer.labels import MOST_LABELS
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.forward import scores_of
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.statistics.findings import (
    FindingScores,
    findings_temperature,
    findings_thresholds,
)
from cxr_transfer.statistics.score_errors import ScoreBand, count_errors
from cxr_transfer.statistics.temperature import (
    TemperatureCheck,
    choose_temperature,
    confidence_threshold,
)
from cxr_transfer.text import for_terminal
from cxr_transfer.training.frozen_features import activations, part_of
from cxr_transfer.training.tensors import ImageTensors, load_tensors

Floats = npt.NDArray[np.float32]

_DIRECTIONS = 64
_IMAGES = 4000
_LEAST_REST = 1e-3  # of all variance
_UNUSUAL_SHARE = 0.05  # of held-out good images that are to lie beyond
_EDGE_SHARE, _BEYOND_EDGE = 0.01, 1.25


def fit_reference(
    checkpoint_path: Path,
    *,
    manifest: Path | None = None,
    device: str = "cpu",
    on_image: Callable[[], None] = lambda: None,
) -> TrainingReference:
    """Look at the training and validation images of a checkpoint once more.

    Args:
        checkpoint_path: Run folder, weights file or card.
        manifest: Manifest with parts; None is the ``split.csv`` of the run folder.
        device: Device as torch names it.
        on_image: Function that is called after every image.

    Raises:
        UsageError: ``no_manifest`` without a manifest.
        DataError: ``empty_part`` without training or validation images; what reading them raises.
        ModelError: What `load_checkpoint` raises.
    """
    card, network = load_checkpoint(checkpoint_path)
    manifest = manifest or checkpoint_files(checkpoint_path)[0].parent / PARTS_FILE
    if not manifest.is_file():
        raise UsageError(
            "no_manifest",
            f"Expected the images that {card.name} was trained on in {manifest}, but there is no "
            "such file; give their manifest with --data.",
        )
    cases = read_manifest(manifest)

    def part(name: str) -> tuple[list[Case], ImageTensors]:
        of_part = [case for case in cases if case.split == name]
        if not of_part:
            raise DataError(
                "empty_part",
                f"Expected images in the part '{name}' of {manifest}, but there are none.",
            )
        return of_part, load_tensors(of_part, card.preprocessing, card.label_set, on_image=on_image)

    return reference_of(card, network, part("train"), part("validation"), device=device)


def reference_of(
    card: Checkpoint,
    network: nn.Sequential,
    train: tuple[Sequence[Case], ImageTensors],
    validation: tuple[Sequence[Case], ImageTensors],
    *,
    device: str = "cpu",
    on_image: Callable[[int], None] = lambda images: None,
) -> TrainingReference:
    """Return the reference of a network and the decoded images that it was trained on.

    Args:
        card: Card of the network.
        network: Network with the weights that the card names.
        train: Cases and decoded images of the training part, in one order.
        validation: Cases and decoded images of the validation part, in one order.
        device: Device as torch names it.
        on_image: Function that is called with the number of images after every batch.

    Raises:
        DataError: ``unknown_label`` for a validation image of another class; ``features``, as
            `learn_reference`.
    """
    cases = train[0]
    targets = validation[1].targets.numpy()
    exclusive = card.label_set.exclusive
    foreign = int((targets < 0).sum()) if exclusive else 0
    if foreign:
        raise DataError(
            "unknown_label",
            f"Expected validation images of the classes {', '.join(card.labels)}, but {foreign} of "
            f"{len(targets)} have another label; give the manifest of the training.",
        )
    body = part_of(network, 0, len(network) - 1)
    of_train, of_validation = (
        activations(body, tensors.images, device=device, on_image=on_image).flatten(1).numpy()
        for _, tensors in (train, validation)
    )
    scored = _scored(network, of_validation, exclusive)
    check: TemperatureCheck | None
    if exclusive:
        patients = [case.patient for case in validation[0]]
        temperature, check = choose_temperature(scored, targets, patients)
        words = [case.label for case in cases]
    else:
        findings = FindingScores.of(card.label_set, targets, scored, validation[0])
        temperature, check = findings_temperature(findings)
        words = present_words(cases, MOST_LABELS)
    reference = learn_reference(
        of_train,
        labels=words,
        sources=[case.source for case in cases],
        held_out=of_validation,
        temperature=temperature,
        temperature_check=check,
        weights_sha256=card.weights_sha256,
    )
    if not exclusive:
        reference = replace(reference, thresholds=())
        # In float32, as a prediction is compared with them.
        given_scores = reference.calibrate(scored.astype(np.float32))
        findings = FindingScores.of(card.label_set, targets, given_scores, validation[0])
        return replace(reference, thresholds=findings_thresholds(findings))
    # In float32, as a prediction is compared with them.
    given_scores = reference.calibrate(scored.astype(np.float32))
    reference = replace(reference, score_errors=_score_errors(given_scores, targets, validation[0]))
    coverage = card.recipe.get("coverage")
    if coverage is None:
        return reference
    least = confidence_threshold(given_scores, coverage)
    return replace(reference, confidence_threshold=least, coverage=float(coverage))


def learn_reference(
    features: Floats,
    *,
    labels: Sequence[str],
    sources: Sequence[str],
    held_out: Floats,
    weights_sha256: str,
    temperature: float | None = None,
    temperature_check: TemperatureCheck | None = None,
) -> TrainingReference:
    """Learn from training images what is near, and from others what is far.

    Args:
        features: Features (N, F) of training images. Of more than 4000 images every k-th is kept
            as a neighbour; all take part in everything else.
        labels: Classes of the N images.
        sources: Collections of the N images.
        held_out: Features (M, F) of good images that the network was not trained on.
        weights_sha256: SHA-256 of the weights that gave the features.
        temperature: Temperature that was fitted elsewhere, or None; it is carried along.
        temperature_check: Check of that temperature; it is carried along.

    Raises:
        DataError: ``features`` unless there are 2 training images and 1 held-out image of one
            width, all finite, with a label and a source each.
    """
    _check(features, held_out, labels, sources)
    centre = features.mean(axis=0, dtype=np.float64)
    _, spread, directions = np.linalg.svd(features - centre, full_matrices=False)
    variances = spread**2 / (len(features) - 1)
    kept = int(min(_DIRECTIONS, (variances > 1e-6 * variances.sum()).sum()))
    # Dead features have no variance at all; the directions' rounding must not weigh in theirs.
    others = features.shape[1] - kept
    left = max(float(variances[kept:].sum()), _LEAST_REST * float(variances.sum()))
    other_deviation = float(np.sqrt(left / others)) if others else 0.0
    # From here on as it is stored, so that limits hold for what is loaded.
    some = slice(None, None, -(-len(features) // _IMAGES))
    # A name that a terminal would act on is kept as it is shown there.
    shown = [for_terminal(name) for name in sources[some]]
    reference = TrainingReference(
        weights_sha256=weights_sha256,
        labels=tuple(sorted(set(labels))),
        sources=tuple(sorted(set(shown))),
        centre=centre.astype(np.float32),
        directions=_stored(directions[:kept]),
        deviations=np.sqrt(variances[:kept]).astype(np.float32),
        rest=other_deviation,
        images=np.empty((0, kept), np.float32),
        label_of=np.empty(0, np.int64),
        source_of=np.empty(0, np.int64),
        far_distance=0.0,
        ood_distance=0.0,
        temperature=temperature,
        temperature_check=temperature_check,
    )
    label_of = {name: at for at, name in enumerate(reference.labels)}
    source_of = {name: at for at, name in enumerate(reference.sources)}
    far = reference.distances(held_out)
    far_distance, edge = np.quantile(far, (1 - _UNUSUAL_SHARE, 1 - _EDGE_SHARE))
    return replace(
        reference,
        images=_stored(reference.places(features[some])),
        label_of=np.array([label_of[name] for name in labels[some]], np.int64),
        source_of=np.array([source_of[name] for name in shown], np.int64),
        far_distance=float(far_distance),
        ood_distance=float(_BEYOND_EDGE * edge),
    )


def has_reference(folder: Path, card: Checkpoint) -> bool:
    """Tell whether ``folder`` holds a whole reference of the checkpoint with this card."""
    try:
        reference = TrainingReference.load(folder, weights_sha256=card.weights_sha256)
    except ModelError:
        return False
    same_kind = (reference.thresholds is None) == card.label_set.exclusive
    return same_kind and reference.coverage == card.recipe.get("coverage")


@torch.inference_mode()
def _scored(
    network: nn.Sequential, seen: npt.NDArray[np.float32], exclusive: bool
) -> npt.NDArray[np.float64]:
    """Return the scores (N, C) of images (N, F), as the network's head sees them."""
    logits = network[-1].cpu()(torch.from_numpy(seen))
    # In float64: a temperature is fitted to the logarithms of small scores, too.
    scores: npt.NDArray[np.float64] = scores_of(logits.double(), exclusive).numpy()
    return scores


def _score_errors(
    given_scores: Floats, targets: npt.NDArray[np.int64], cases: Sequence[Case]
) -> tuple[ScoreBand, ...]:
    """Return how many validation images are wrong, by their highest score as it is given."""
    patients = [case.patient for case in cases]
    return count_errors(
        given_scores, targets, patients, [for_terminal(case.source) for case in cases]
    )


def _stored(values: npt.NDArray[Any]) -> Floats:
    """Return ``values`` rounded as the file has them."""
    return values.astype(np.float16).astype(np.float32)


def _check(
    features: Floats, held_out: Floats, labels: Sequence[str], sources: Sequence[str]
) -> None:
    tensors = len(features)
    shapes = features.ndim == held_out.ndim == 2 and features.shape[1:] == held_out.shape[1:]
    if not shapes or tensors < 2 or not len(held_out) or not tensors == len(labels) == len(sources):
        raise DataError(
            "features",
            "Expected features (N, F) of 2 or more training images with N labels and sources, and "
            f"(M, F) of held-out images, but got {features.shape} with {len(labels)} and "
            f"{len(sources)}, and {held_out.shape}; compute both with the same network.",
        )
    if not (np.isfinite(features).all() and np.isfinite(held_out).all()):
        raise DataError(
            "features",
            "Expected finite features, but got NaN or infinity; check the weights.",
        )
