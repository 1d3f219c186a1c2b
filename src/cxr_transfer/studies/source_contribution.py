"""What a source of one's own brings: the same recipe without it, on that source's test images.

In come a finished run and the images that it had; out go figures within the one source, before and
after, where to know the source tells nothing. Images that either network has met are left out. The
run without it is a run folder like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.evaluated import seen_in_training
from cxr_transfer.evaluation.scoring import score
from cxr_transfer.files import write_json
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.reference import temperature_of
from cxr_transfer.statistics.comparison import paired_difference
from cxr_transfer.statistics.delong import delong
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.subgroups import TOO_FEW_TO_RANK
from cxr_transfer.statistics.temperature import score_scale
from cxr_transfer.training.device import DEFAULT, Execution, resolve_device
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.tensors import ImageTensors


def source_contribution(
    source: str,
    recipe: Recipe,
    dataset: Dataset,
    tensors: ImageTensors,
    folder: Path,
    *,
    seed: int = 0,
    execution: Execution = DEFAULT,
    start: Path | None = None,
    weights: Path | None = None,
    resamples: int = 2000,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train ``recipe`` once more without ``source``; compare both on the source's test images.

    Args:
        source: Name of the source.
        recipe: Recipe of the run.
        dataset: Data set of the run, with its parts.
        tensors: Decoded images of ``dataset.cases``, in their order.
        folder: Folder of the finished run; ``without_SOURCE/`` and ``added_SOURCE.json`` are
            written here.
        seed: Random seed of the run.
        execution: Execution of the run.
        start: Start of the run.
        weights: Weights of the run.
        resamples: Number of resamples of the bootstrap by patient.
        log: Function that gets a line on what happens.

    Returns:
        ``tensors`` and ``patients`` of the source's test part that are scored; ``met_in_training``,
        images of it that are not, since one of the two networks knows them or their patient from
        training or validation; ``score_scale`` and ``accuracy``, each ``without`` and ``with``,
        None without images; ``auroc``, by class ``without``, ``with`` and ``difference``,
        `Estimate` as dicts, by patient, and ``p``, DeLong's, by patient too; None where the class
        or the others have fewer than `TOO_FEW_TO_RANK` images or 2 patients.

    Raises:
        DataError, ModelError, MachineError: What `run_recipe` and `scored_run` raise.
    """
    others = np.array([case.source != source for case in dataset.cases])
    remaining = dataclasses.replace(
        dataset,
        cases=tuple(case for case, other in zip(dataset.cases, others, strict=True) if other),
    )
    log(f"once more without {source}, to see what it brings")
    before = run_recipe(
        recipe,
        remaining,
        tensors.only(others),
        folder / f"without_{source}",
        seed=seed,
        execution=execution,
        start=start,
        weights=weights,
        log=log,
    )
    of_source = [
        row
        for row, case in enumerate(dataset.cases)
        if case.source == source and case.split == "test"
    ]
    runs = [(*load_checkpoint(run), temperature_of(run)) for run in (before, folder)]
    # Parts drawn by image share patients, and what the recipe starts from has images of its own.
    met = np.zeros(len(of_source), dtype=np.bool_)
    for checkpoint, _, _ in runs:
        met |= np.array(
            seen_in_training(checkpoint, [dataset.cases[row] for row in of_source]), dtype=np.bool_
        )
    tested = np.array(of_source, dtype=np.int64)[~met]
    cases = [dataset.cases[row] for row in tested]
    content: dict[str, Any] = {
        "intended_use": INTENDED_USE,
        "source": source,
        "images": len(cases),
        "patients": len({case.patient for case in cases}),
        "met_in_training": int(met.sum()),
        "accuracy": None,
        "auroc": {},
        "score_scale": None,
        "seed": seed,
        "commit": provenance.commit(),
        "time": provenance.now(),
        "machine": provenance.machine(),
    }
    if cases:
        part, device = tensors.only(tested), resolve_device(execution.device)
        without, with_it = (
            score(network, part, cases, dataset.labels, temperature=heat, device=device)
            for _, network, heat in runs
        )
        scales = (score_scale(heat) for _, _, heat in runs)
        content["score_scale"] = dict(zip(("without", "with"), scales, strict=True))
        content |= _compared(without, with_it, resamples, seed)
    write_json(folder / f"added_{source}.json", content)
    return content


def _compared(without: Scores, with_it: Scores, resamples: int, seed: int) -> dict[str, Any]:
    evaluations = [
        evaluate(scores, resamples=resamples, seed=seed) for scores in (without, with_it)
    ]
    areas: dict[str, Any] = {}
    for label in without.labels:
        number = int((without.targets == without.labels.target(label)).sum())
        areas[label] = None
        if min(number, len(without.files) - number) < TOO_FEW_TO_RANK:
            continue
        try:
            test = delong(without, with_it, label)
        except DataError:  # all of one patient
            continue
        difference = paired_difference(
            without, with_it, "auroc", label=label, resamples=resamples, seed=seed
        )
        areas[label] = {
            "without": evaluations[0].per_class[label]["auroc"].as_dict(),
            "with": evaluations[1].per_class[label]["auroc"].as_dict(),
            "difference": difference.as_dict(),
            "p": test.p,
        }
    accuracy = {
        name: evaluation.accuracy.as_dict()
        for name, evaluation in zip(("without", "with"), evaluations, strict=True)
    }
    return {"accuracy": accuracy, "auroc": areas}
