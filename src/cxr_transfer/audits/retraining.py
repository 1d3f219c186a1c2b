"""A checkpoint's own recipe trained again: what it learns where a source is missing.

In come the checkpoint and images that are decoded already; out go the scores of networks that never
met what they are tested on, and figures of them. Every retraining is a run folder like any other,
so that one which was stopped goes on. This judges the recipe, not the checkpoint's own weights.

Leave-one-source-out: Zech et al. 2018 (PLoS Med. 15:e1002683); DeGrave et al. 2021 (Nat. Mach.
Intell. 3:610).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.leakage import unparted
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.splits import MIN_GROUPS, SplitBy, split
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.evaluation.evaluate import groups
from cxr_transfer.evaluation.evaluated import seen_in_training
from cxr_transfer.evaluation.scoring import score
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files, fingerprint, read_card
from cxr_transfer.models.pretrained import imagenet_weights
from cxr_transfer.models.reference import temperature_of
from cxr_transfer.statistics.metrics import Evaluation, evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.subgroups import TOO_FEW_TO_RANK
from cxr_transfer.training.device import DEFAULT, Execution, resolve_device
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.tensors import ImageTensors, select

MOST = 12
"""Largest number of sets of sources that are left out: each costs a training."""


@dataclass(frozen=True)
class Retraining:
    """Settings that every retraining of one audit shares.

    Attributes:
        recipe: Recipe of the checkpoint.
        checkpoint: Card of the checkpoint.
        start: Checkpoint from which the recipe starts; None where it starts from none.
        weights: ImageNet weights file, where they are not at hand.
        out: Folder that holds the run folders.
        execution: Settings of device and precision.
        seed: Random seed of the parts and of every run.
        resamples: Number of resamples of the bootstrap by patient.
        log: Function that gets a line on what happens.
    """

    recipe: Recipe
    checkpoint: Checkpoint
    start: Path | None
    weights: Path | None
    out: Path
    execution: Execution = DEFAULT
    seed: int = 0
    resamples: int = 1000
    log: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        if self.recipe.initial not in ("random", "imagenet") and self.start is None:
            raise UsageError(
                "no_start",
                f"Expected the {self.recipe.initial} from which {self.recipe.name} started beside "
                "its run folder, since it is retrained from there, but there is none with those "
                "weights; audit without --retrain.",
            )

    @classmethod
    def of(
        cls,
        checkpoint_path: Path,
        out: Path,
        *,
        weights: Path | None = None,
        execution: Execution = DEFAULT,
        seed: int = 0,
        resamples: int = 1000,
        log: Callable[[str], None] = lambda line: None,
    ) -> Retraining:
        """Read the recipe out of a checkpoint's card, and find what it starts from.

        Raises:
            UsageError: ``bad_recipe``; ``no_start``; ``unused_option`` for weights that the recipe
                does not start from.
            ModelError: What `checkpoint_files`, `read_card` and `imagenet_weights` raise.
            MachineError: What `imagenet_weights` raises.
        """
        card_path = checkpoint_files(checkpoint_path)[0]
        checkpoint = read_card(card_path)
        recipe = parse_recipe(checkpoint.recipe, origin=card_path.name)
        start = _start(checkpoint, recipe, card_path.parent)
        if weights and recipe.initial != "imagenet":
            raise UsageError(
                "unused_option",
                f"Expected --weights only where a recipe starts from ImageNet, but {recipe.name} "
                f"starts from {recipe.initial}; leave it out.",
            )
        if recipe.initial == "imagenet":
            imagenet_weights(weights)  # What is missing is said now, not after the scoring.
        return cls(
            recipe, checkpoint, start, weights, out, execution, seed, resamples=resamples, log=log
        )


def leave_sources_out(
    retraining: Retraining, cases: Sequence[Case], tensors: ImageTensors
) -> dict[str, Any]:
    """Train without a source, or two, and test on them; for every set that can be left out.

    A source that holds two classes is left out alone; sources of one class in pairs that hold two,
    and alone where no such pair is. A set can be left out if every class keeps at least 10 patients
    to learn from.

    Args:
        retraining: Recipe and settings of the training.
        cases: Indexed images of the network's labels, of every source at hand.
        tensors: Decoded images of the cases, in the same order.

    Returns:
        ``left_out``: for each set ``sources``; ``images`` tested; ``auroc``, by label with 10
        images and 10 others among them one against the rest, `Estimate` as a dict, else null;
        ``groups``, what the images of each source and label are called, as `assessment.groups`;
        ``inside``, the macro AUROC on the test part of the sources that were kept.
        ``not_possible``: sets that cannot be left out, with ``sources`` and ``why``.

    Raises:
        CxrError: What `run_recipe` raises.
    """
    labels = retraining.checkpoint.label_set
    measured: dict[str, Any] = {"left_out": [], "not_possible": []}
    for sources in _sets(cases):
        gone = np.array([case.source in sources for case in cases])
        lacking = _lacking([c for c, out in zip(cases, gone, strict=True) if not out], labels)
        if lacking or len(measured["left_out"]) == MOST:
            why = (
                f"too few patients of {', '.join(lacking)} are left"
                if lacking
                else f"more than {MOST} sets"
            )
            measured["not_possible"].append({"sources": list(sources), "why": why})
            continue
        slug = re.sub(r"[^a-z0-9]+", "_", "_".join(sources).lower()).strip("_")
        # Names of sources may differ in nothing that a folder's name can hold.
        name = f"without_{slug[:40]}_{fingerprint(' '.join(sources))[:6]}"
        retraining.log(f"retraining without {' and '.join(sources)}")
        try:
            inside, folder = _retrained(retraining, cases, tensors, np.flatnonzero(~gone), name)
        except DataError as error:  # Parts cannot be drawn from what is left.
            measured["not_possible"].append({"sources": list(sources), "why": error.message})
            continue
        left = _tested(retraining, folder, cases, tensors, np.flatnonzero(gone))
        if left is None:
            why = "training met all of its images"
            measured["not_possible"].append({"sources": list(sources), "why": why})
            continue
        macro = _evaluated(retraining, inside).auroc_macro.as_dict()
        measured["left_out"].append({"sources": list(sources)} | left | {"inside": macro})
    return measured


def both_splits(
    retraining: Retraining, cases: Sequence[Case], tensors: ImageTensors
) -> dict[str, Any]:
    """Train on the same images parted by patient and by image: what the leak is worth (TRUST, 1).

    Args:
        retraining: Recipe and settings of the training.
        cases: Indexed images of the sources that the checkpoint was trained on.
        tensors: Decoded images of the cases, in the same order.

    Returns:
        By ``patient`` and ``image``: ``accuracy`` and ``auroc_macro`` on the test part, `Estimate`
        as a dict, and ``tensors``.

    Raises:
        CxrError: What `split` and `run_recipe` raise.
    """
    measured: dict[str, Any] = {}
    by: SplitBy
    for by in ("patient", "image"):
        retraining.log(f"retraining with parts drawn by {by}")
        rows = np.arange(len(cases))
        scores, _ = _retrained(retraining, cases, tensors, rows, f"by_{by}", by=by)
        evaluation = _evaluated(retraining, scores)
        measured[by] = {
            "accuracy": evaluation.accuracy.as_dict(),
            "auroc_macro": evaluation.auroc_macro.as_dict(),
            "images": evaluation.images,
        }
    return measured


def _retrained(
    retraining: Retraining,
    cases: Sequence[Case],
    tensors: ImageTensors,
    rows: npt.NDArray[np.int64],
    name: str,
    *,
    by: SplitBy = "patient",
) -> tuple[Scores, Path]:
    """Train on these rows; return the scores of their test part, and the run folder."""
    labels = retraining.checkpoint.label_set
    dataset = unparted(name, labels, [cases[row] for row in rows])
    dataset = split(dataset, by=by, seed=retraining.seed)
    chosen = tensors.only(rows)
    folder = run_recipe(
        retraining.recipe,
        dataset,
        chosen,
        retraining.out / name,
        seed=retraining.seed,
        execution=retraining.execution,
        start=retraining.start,
        weights=retraining.weights,
        log=retraining.log,
    )
    tested, part = select(dataset, chosen, "test")
    network, heat = load_checkpoint(folder)[1], temperature_of(folder)
    device = resolve_device(retraining.execution.device)
    return score(network, part, tested, labels, temperature=heat, device=device), folder


def _tested(
    retraining: Retraining,
    folder: Path,
    cases: Sequence[Case],
    tensors: ImageTensors,
    rows: npt.NDArray[np.int64],
) -> dict[str, Any] | None:
    """Return how the network in ``folder`` scores these rows; None where it has met all of them."""
    checkpoint, network = load_checkpoint(folder)
    # Copies in other sources, a patient of two sources, and what its start was trained on.
    seen = seen_in_training(checkpoint, [cases[row] for row in rows])
    rows = rows[~np.array(seen)]
    if not len(rows):
        return None
    tested = [cases[row] for row in rows]
    device = resolve_device(retraining.execution.device)
    scores = score(
        network,
        tensors.only(rows),
        tested,
        checkpoint.label_set,
        temperature=temperature_of(folder),
        device=device,
    )
    per_class = _evaluated(retraining, scores).per_class
    return {
        "images": len(tested),
        "met_in_training": sum(seen),
        "auroc": {
            label: of_class["auroc"].as_dict()
            if min(of_class["images"], len(tested) - of_class["images"]) >= TOO_FEW_TO_RANK
            else None
            for label, of_class in per_class.items()
        },
        "groups": groups(checkpoint.label_set, scores.probabilities, tested),
    }


def _evaluated(retraining: Retraining, scores: Scores) -> Evaluation:
    return evaluate(scores, resamples=retraining.resamples, seed=retraining.seed)


def _sets(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Return sets of sources to leave out, those that can rank two classes first."""
    holds: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        holds[case.source].add(case.label)
    mixed = [(source,) for source in sorted(holds) if len(holds[source]) > 1]
    single = [source for source in sorted(holds) if len(holds[source]) == 1]
    pairs = [pair for pair in combinations(single, 2) if holds[pair[0]] != holds[pair[1]]]
    return [*mixed, *pairs, *((source,) for source in single)]


def _lacking(cases: Sequence[Case], labels: LabelSet) -> list[str]:
    patients: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        patients[case.label].add(case.patient)
    return [label for label in labels if len(patients[label]) < MIN_GROUPS]


def _start(checkpoint: Checkpoint, recipe: Recipe, folder: Path) -> Path | None:
    """Return the checkpoint that a study leaves beside this one, if this one started from it."""
    path = folder.parent / recipe.initial
    if recipe.initial in ("random", "imagenet") or not path.is_dir():
        return None
    weights_sha256 = read_card(checkpoint_files(path)[0]).weights_sha256
    origin = str(checkpoint.provenance.get("initial", ""))
    return path if origin.endswith(weights_sha256[:12]) else None
