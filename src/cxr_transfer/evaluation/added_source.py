"""What a source of one's own brings: the same recipe without it, on that source's test films.

In come a finished run and the films that it had; out go figures within the one source, before and
after, where to know the source tells nothing. The run without it is a run folder like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.collections.datasets import Dataset
from cxr_transfer.evaluation.delong import delong
from cxr_transfer.evaluation.metrics import Scores, evaluate
from cxr_transfer.evaluation.scoring import score
from cxr_transfer.evaluation.subgroups import TOO_FEW_TO_RANK
from cxr_transfer.files import write_json
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.training.execution import DEFAULT, Execution, resolve_device
from cxr_transfer.training.films import Films
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.run import run_recipe


def what_it_brings(
    source: str,
    recipe: Recipe,
    dataset: Dataset,
    films: Films,
    folder: Path,
    *,
    seed: int = 0,
    execution: Execution = DEFAULT,
    start: Path | None = None,
    weights: Path | None = None,
    resamples: int = 2000,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train ``recipe`` once more without ``source``; compare both on the source's test films.

    Args:
        source: Its name.
        recipe: Of the run.
        dataset: Of the run, with its parts.
        films: The decoded films of ``dataset.cases``, in their order.
        folder: Of the finished run; ``without_SOURCE/`` and ``added_SOURCE.json`` are written here.
        seed: Of the run.
        execution: Of the run.
        start: Of the run.
        weights: Of the run.
        resamples: Of the bootstrap by patient.
        say: Is told what happens.

    Returns:
        ``films`` and ``patients`` of the source's test part; ``accuracy``, ``without`` and
        ``with``, `Estimate` as dicts; ``auroc``, by class ``without``, ``with``, ``difference``
        (`Estimate` as dicts) and DeLong's ``p``; None where the class or the others have fewer than
        `TOO_FEW_TO_RANK` films.

    Raises:
        DataError, ModelError, MachineError: What training and scoring raise.
    """
    others = np.array([case.source != source for case in dataset.cases])
    rest = dataclasses.replace(
        dataset,
        cases=tuple(case for case, other in zip(dataset.cases, others, strict=True) if other),
    )
    say(f"once more without {source}, to see what it brings")
    before = run_recipe(
        recipe,
        rest,
        _only(films, others),
        folder / f"without_{source}",
        seed=seed,
        execution=execution,
        start=start,
        weights=weights,
        say=say,
    )
    tested = np.array([case.source == source and case.split == "test" for case in dataset.cases])
    cases = [case for case, one in zip(dataset.cases, tested, strict=True) if one]
    content: dict[str, Any] = {
        "intended_use": INTENDED_USE,
        "source": source,
        "films": len(cases),
        "patients": len({case.patient for case in cases}),
        "accuracy": None,
        "auroc": {},
        "seed": seed,
        "commit": provenance.commit(),
        "time": provenance.now(),
        "machine": provenance.machine(),
    }
    if cases:
        part, device = _only(films, tested), resolve_device(execution.device)
        without, with_it = (
            score(load_checkpoint(run)[1], part, cases, dataset.labels, device=device)
            for run in (before, folder)
        )
        content |= _compared(without, with_it, resamples, seed)
    write_json(folder / f"added_{source}.json", content)
    return content


def _compared(without: Scores, with_it: Scores, resamples: int, seed: int) -> dict[str, Any]:
    found = [evaluate(scores, resamples=resamples, seed=seed) for scores in (without, with_it)]
    areas: dict[str, Any] = {}
    for label in without.labels:
        number = int((without.targets == without.labels.target(label)).sum())
        if min(number, len(without.files) - number) < TOO_FEW_TO_RANK:
            areas[label] = None
            continue
        test = delong(without, with_it, label)
        areas[label] = {
            "without": found[0].per_class[label]["auroc"].as_dict(),
            "with": found[1].per_class[label]["auroc"].as_dict(),
            "difference": test.difference.as_dict(),
            "p": test.p,
        }
    accuracy = {
        name: one.accuracy.as_dict() for name, one in zip(("without", "with"), found, strict=True)
    }
    return {"accuracy": accuracy, "auroc": areas}


def _only(films: Films, kept: npt.NDArray[np.bool_]) -> Films:
    rows = np.flatnonzero(kept)
    return Films(films.images[rows], films.targets[rows])
