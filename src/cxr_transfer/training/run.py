"""One execution of a recipe: a data set with its split in, a run folder with a checkpoint out.

The folder holds ``recipe.toml``, ``split.csv``, ``history.csv`` and ``log.txt``. It holds the class
scores of the validation images and the checkpoint. ``reference.safetensors`` has what the training
images look like to it. What can be refused is refused before an image is decoded, and such a run
leaves its folder free. A run that was interrupted goes on where it stopped; one that is done is
left as it is; a folder of another run is refused. Knows nothing of archives, metrics or other
models.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cxr_transfer import provenance
from cxr_transfer.datasets.damaged import write_damaged
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.manifest import PARTS, PARTS_FILE, write_manifest
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.several_findings import check_findings
from cxr_transfer.errors import DataError
from cxr_transfer.files import LOG, append_line, remove_own, write_text
from cxr_transfer.models.adapter import places_of
from cxr_transfer.models.backbones import library_version
from cxr_transfer.models.checkpoint import load_checkpoint, save_checkpoint
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.metadata import CARD, WEIGHTS, fingerprint
from cxr_transfer.models.registry import architecture
from cxr_transfer.own_folder import lock_folder
from cxr_transfer.progress import counting
from cxr_transfer.runs.validation_scores import FILE, write_validation
from cxr_transfer.text import for_terminal
from cxr_transfer.training.device import (
    DEFAULT,
    REFERENCE,
    Execution,
    is_main_process,
    resolve_device,
    resolve_precision,
)
from cxr_transfer.training.frozen_features import ACTIVATIONS, KeptActivations
from cxr_transfer.training.kept_weights import Outcome
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.reference import has_reference, reference_of
from cxr_transfer.training.settings import settings_checked, sources_hash, split_hash
from cxr_transfer.training.start import Start, check_run
from cxr_transfer.training.strata import check_sources
from cxr_transfer.training.summary import summary_line, summary_lines
from cxr_transfer.training.tensors import ImageTensors, load_tensors, select

_log = logging.getLogger(__name__)


def run_recipe(
    recipe: Recipe,
    dataset: Dataset,
    tensors: ImageTensors | None,
    folder: Path,
    *,
    seed: int = 0,
    execution: Execution = DEFAULT,
    start: Path | None = None,
    weights: Path | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train ``recipe`` into ``folder``.

    Args:
        recipe: Recipe to run.
        dataset: Indexed cases, each with its part.
        tensors: Decoded images of ``dataset.cases``, in their order; None decodes them here, once
            all else is known to be right.
        folder: Run folder; held while the run lasts.
        seed: Random seed of initial weights, order, dropout, and exchanged surroundings.
        execution: Settings of device, processes and progress.
        start: Checkpoint to start from, where the recipe wants one.
        weights: ImageNet weights file, where the recipe wants them and they are not at hand.
        log: Function that gets a line on what happens.

    Returns:
        ``folder``, now with its checkpoint and its reference.

    Raises:
        UsageError: ``other_run`` when the folder holds a run with other settings; what `check_run`
            raises.
        DataError: ``empty``, ``classes``, ``strata``, ``one_source`` where nothing can be learnt
            from a part.
        ModelError, MachineError: as `check_run` and `train_stages`.
    """
    provenance.commit()  # Asked now and kept: the source may change while this process runs.
    # What cannot be run is found out before the folder is taken.
    begun = check_run(
        recipe, dataset.labels, seed=seed, execution=execution, start=start, weights=weights
    )
    _check_parts(recipe, dataset)
    device = resolve_device(execution.device)
    precision = resolve_precision(execution.precision, device)
    settings = {
        "precision": precision,
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
        "labels": list(dataset.labels),
        "data_hash": data_hash(dataset.cases),
        "split_hash": split_hash(dataset.cases),
        "start": begun.sha256,
    }
    if recipe.needs_sources:
        settings["sources"] = sources_hash(dataset.cases)
    # Of a distributed run the first process owns the folder; the others only compute.
    with (
        lock_folder(folder) if is_main_process() else nullcontext(),
        settings_checked(folder, settings) as begun_before,
    ):
        done = begun_before and (folder / CARD).is_file() and (folder / WEIGHTS).is_file()
        if tensors is None:
            tensors = load_tensors(dataset.cases, recipe.preprocessing, dataset.labels)
        if done:
            log(f"{recipe.name}: done before, taken from {folder}")
        else:
            for line in begun.notices:
                log(f"{recipe.name}: {line}")
            _log_where(recipe, precision, device)
            _train(recipe, dataset, tensors, folder, begun, settings, execution, log)
        if is_main_process():
            _complete(dataset, tensors, folder, execution, log)
            remove_partial(recipe, folder)
            if not done:
                _say_the_end(folder, execution, log)
    return folder


def _log_where(recipe: Recipe, precision: str, device: str) -> None:
    """Log for whoever wants details what a run is computed with."""
    threads = f" with {torch.get_num_threads()} threads" if device == "cpu" else ""
    _log.debug("%s: training on %s in %s%s", recipe.name, device, precision, threads)


def _check_parts(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse parts from which nothing can be learnt.

    Raises:
        DataError: ``empty`` without training or validation images; ``classes`` where a head is to
            be fitted to images of one class, or where all or no images have a finding; ``strata``
            where classes cannot be compared within sources, ``one_source`` where two are needed.
    """
    for part in ("train", "validation"):
        if not any(case.split == part for case in dataset.cases):
            raise DataError(
                "empty",
                f"Expected images in the part {part!r} of {dataset.name}, but got none; give that "
                "part some images.",
            )
    training = [case for case in dataset.cases if case.split == "train"]
    if not dataset.labels.exclusive:
        for part in ("train", "validation"):
            of_part = [case for case in dataset.cases if case.split == part]
            check_findings(dataset.labels, of_part, f"the part {part!r} of {dataset.name}")
        return
    learnt = {case.label for case in training}
    if len(learnt) < 2 and any(stage.fit == "logistic" for stage in recipe.stages):
        raise DataError(
            "classes",
            f"Expected training images of at least two classes to fit a head, but all are "
            f"{', '.join(learnt)}; give the training part images of another.",
        )
    if recipe.source_keys:
        labels, sources = zip(*((case.label, case.source) for case in training), strict=True)
        check_sources(recipe.source_keys, labels, sources, is_stratified=recipe.is_stratified)


def _train(
    recipe: Recipe,
    dataset: Dataset,
    tensors: ImageTensors,
    folder: Path,
    begun: Start,
    settings: dict[str, Any],
    execution: Execution,
    log: Callable[[str], None],
) -> None:
    """Train from what was begun to the checkpoint."""
    if is_main_process():
        write_text(folder / "recipe.toml", recipe.to_toml())
        write_manifest(folder / PARTS_FILE, dataset.cases)
        write_damaged(folder, dataset.damaged)

    def note(line: str) -> None:
        if is_main_process():
            append_line(folder / LOG, f"{provenance.now()} {for_terminal(line)}")

    def log_line(line: str) -> None:
        log(line)
        note(line)

    cases, learnt = select(dataset, tensors, "train")
    _, held_out = select(dataset, tensors, "validation")
    # Lightning takes seconds to import: who is refused, or only scores, does not wait for it.
    from cxr_transfer.training.trainer import train_stages

    trained = train_stages(
        recipe,
        begun.network,
        learnt,
        held_out,
        sources=[case.source for case in cases],
        folder=folder,
        seed=settings["seed"],
        execution=execution,
        kept=_kept(begun, folder, (learnt, held_out), settings["precision"], execution),
        log=log_line,
        say_epoch=log_line if execution.say_epochs else note,
    )
    if is_main_process():
        _keep_validation(begun.network, dataset, tensors, folder, execution)
        card = _card(recipe, dataset, begun, settings, execution, trained.outcomes)
        save_checkpoint(folder, begun.network, card)


def _kept(
    begun: Start,
    folder: Path,
    parts: Sequence[ImageTensors],
    precision: str,
    execution: Execution,
) -> list[KeptActivations]:
    """Return where frozen activations are kept for a run that goes on.

    A GPU computes them faster than a disk takes them; of several processes each has its own part.
    """
    if resolve_device(execution.device) != "cpu" or execution.processes > 1:
        return []
    partial = folder / "partial"
    return [
        KeptActivations(partial, begun.network, part.images, precision=precision) for part in parts
    ]


def _complete(
    dataset: Dataset,
    tensors: ImageTensors,
    folder: Path,
    execution: Execution,
    log: Callable[[str], None],
) -> None:
    """Add to a finished run what it lacks: an earlier version did not keep all of it."""
    card, network = load_checkpoint(folder)
    if not (folder / FILE).is_file():
        _keep_validation(network, dataset, tensors, folder, execution)
    if not has_reference(folder, card):
        log(f"{card.name}: fitting its reference to the training and validation images")
        learnt = sum(case.split in ("train", "validation") for case in dataset.cases)
        count = counting(execution.progress, REFERENCE, learnt)
        train, validation = (select(dataset, tensors, part) for part in ("train", "validation"))
        # On the processor, whatever the run's device: there predictions are compared with it.
        reference_of(card, network, train, validation, on_image=count).save(folder)


def _say_the_end(folder: Path, execution: Execution, log: Callable[[str], None]) -> None:
    """Say how a run ended: stage by stage, or in one line where it is one of many."""
    lines = [summary_line(folder)] if execution.is_one_of_many else summary_lines(folder)
    for line in lines:
        log(line)
        append_line(folder / LOG, f"{provenance.now()} {for_terminal(line)}")


def _keep_validation(
    network: nn.Sequential,
    dataset: Dataset,
    tensors: ImageTensors,
    folder: Path,
    execution: Execution,
) -> None:
    cases, validation = select(dataset, tensors, "validation")
    device = resolve_device(execution.device)
    exclusive = dataset.labels.exclusive
    scores = probabilities(network, validation.images, device=device, exclusive=exclusive)
    write_validation(folder, cases, scores.numpy(), dataset.labels)
    network.cpu()


def remove_partial(recipe: Recipe, folder: Path) -> None:
    """Delete what the stages of a finished run left behind for one that goes on."""
    partial = folder / "partial"
    names = [f"{stage.name}{end}" for stage in recipe.stages for end in (".resume", ".safetensors")]
    remove_own(partial, [*names, *(path.name for path in partial.glob(f"*{ACTIVATIONS}"))])


def _described(name: str, network: nn.Sequential) -> dict[str, Any]:
    """Return what a card says of a network beside its name."""
    row = architecture(name)
    return {
        "title": row.title,
        "licence": row.licence,
        "library": row.library,
        "version": library_version(row.library) if row.library else "",
        "last_with_places": row.last_with_places or places_of(network),
        "weights": sum(weight.numel() for weight in network.parameters()),
    }


def _card(
    recipe: Recipe,
    dataset: Dataset,
    begun: Start,
    settings: dict[str, Any],
    execution: Execution,
    outcomes: Sequence[Outcome],
) -> dict[str, Any]:
    learnt = [case for case in dataset.cases if case.split in ("train", "validation")]
    seen = {
        "images": {fingerprint(case.pixels) for case in learnt},
        "patients": {fingerprint(case.patient) for case in learnt},
    }
    return {
        "name": recipe.name,
        "architecture": recipe.network,
        "labels": dataset.labels.names,
        "task": dataset.labels.task,
        "preprocessing": recipe.preprocessing,
        "epsilon": begun.epsilon,
        "network": _described(recipe.network, begun.network),
        "recipe": settings["recipe"],
        "provenance": {
            "time": provenance.now(),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "device": resolve_device(execution.device),
            "precision": settings["precision"],
            "processes": execution.processes,
            "seed": settings["seed"],
            "initial": begun.origin,
            "stages": [asdict(outcome) for outcome in outcomes],
        },
        "data": {
            "name": for_terminal(dataset.name),
            "data_hash": settings["data_hash"],
            "split_by": dataset.split_by,
            "split_hash": settings["split_hash"],
            "images": {part: sum(case.split == part for case in dataset.cases) for part in PARTS},
            "left_out": {for_terminal(label): n for label, n in dataset.left_out.items()},
            "damaged": len(dataset.damaged),
        },
        "seen": {key: sorted(new | set(begun.seen.get(key, ()))) for key, new in seen.items()},
    }
