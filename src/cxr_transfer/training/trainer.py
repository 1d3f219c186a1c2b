"""Stages in order: a network and images in, the same network with its best weights out.

It decides what a stage trains, and what is kept of the frozen part. A run that was killed goes on
with the first stage that is not done. Knows nothing of archives, recipes' origins or reports.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from cxr_transfer.errors import ModelError, Notice
from cxr_transfer.files import write_bytes, write_csv
from cxr_transfer.models.checkpoint import fit_weights
from cxr_transfer.progress import Tell
from cxr_transfer.training import callbacks
from cxr_transfer.training.background_swap import draw_partners, swap_backgrounds
from cxr_transfer.training.device import (
    DEFAULT,
    Execution,
    check_processes,
    is_main_process,
    resolve_device,
    resolve_precision,
    training_phase,
)
from cxr_transfer.training.frozen_features import (
    KeptActivations,
    cut,
    freeze,
    part_of,
)
from cxr_transfer.training.kept_weights import (
    KEPT,
    Outcome,
    line_of,
    marked,
    outcome_of,
)
from cxr_transfer.training.linear_probe import fit_head
from cxr_transfer.training.memory import keep_freed_memory
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.resume_files import damaged
from cxr_transfer.training.seeds import seed_of
from cxr_transfer.training.stage import Stored, run_stage
from cxr_transfer.training.stage_inputs import (
    StageInputs,
    changes_images,
    keeping,
    material_of,
)
from cxr_transfer.training.stage_recipe import Stage
from cxr_transfer.training.strata import check_sources, line_of_strata, source_codes
from cxr_transfer.training.tensors import ImageTensors


def history_columns(recipe: Recipe) -> tuple[str, ...]:
    """Return the columns of a run's ``history.csv``."""
    monitored = {stage.monitor for stage in recipe.stages} - set(callbacks.HISTORY)
    return (*callbacks.HISTORY, *sorted(monitored), "seconds", KEPT)


@dataclass(frozen=True)
class Trained:
    """Results that the stages of a run leave beside the weights.

    Attributes:
        history: A row per epoch over all stages.
        outcomes: Ends of the stages, in order.
    """

    history: list[dict[str, Any]]
    outcomes: list[Outcome]


def train_stages(
    recipe: Recipe,
    network: nn.Sequential,
    training: ImageTensors,
    validation: ImageTensors,
    *,
    sources: Sequence[str] = (),
    folder: Path,
    seed: int,
    execution: Execution = DEFAULT,
    kept: Sequence[KeptActivations] = (),
    log: Callable[[str], None] = lambda line: None,
    say_epoch: Callable[[str], None] | None = None,
) -> Trained:
    """Run the stages of ``recipe`` on ``network``, in place.

    What stands under ``folder/partial`` from an earlier, interrupted call with the same arguments
    is taken up; the caller removes it when its own files are written.

    Args:
        recipe: Recipe whose stages are run; its name is for log and errors alone.
        network: Flat sequence of named children; ends with the weights that the stages keep.
        training: Images that are learnt from.
        validation: Images that decide when to stop and which weights are kept.
        sources: Sources of the training images, where the result depends on them
            (`Recipe.needs_sources`).
        folder: Run folder; ``history.csv`` and ``partial/`` are written here.
        seed: Random seed of order, dropout, and exchanged surroundings.
        execution: Settings of device, processes and progress.
        kept: Activations that are kept on disk, for other trainings on these images from the same
            weights, or for a run that goes on; what is in none of them is computed here.
        log: Function that gets a line on what happens, such as a stage that never improved.
        say_epoch: Function that is told a line per epoch; None is ``log``.

    Raises:
        UsageError: ``unknown_module``, ``batch_not_divisible``.
        DataError: ``classes``, ``empty``, where a head is fitted; ``strata`` where classes cannot
            be compared within sources; ``one_source`` where a stage needs two.
        ModelError: ``loss_not_finite``.
        MachineError: ``no_device``, ``disk_full``, ``not_writable``.
        KeyboardInterrupt: As it came; what was done stands in ``folder/partial``.
    """
    check_processes(execution, recipe.batch_sizes)
    codes = _sources_of(recipe, training, sources, log)
    keep_freed_memory()
    device = resolve_device(execution.device)
    precision = resolve_precision(execution.precision, device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    history, outcomes, pending = _resumed(recipe, network, folder)
    # What is frozen in all stages to come is computed once for all of them.
    base = min((len(_frozen(network, stage)) for stage in pending), default=0)
    if base and not (kept and all(disk.is_kept(part_of(network, 0, base)) for disk in kept)):
        log(f"{recipe.name}: keeping the activations of the frozen part")
    keep = keeping(folder / "partial", device, precision, execution, kept)
    changed = [changes_images(recipe, stage) for stage in pending]
    classes = int(network.get_submodule("head").out_features)  # type: ignore[arg-type]
    fed = functools.partial(material_of, recipe, training.targets, sources, classes=classes)
    inputs = StageInputs(
        *(keep, part_of(network, 0, base), training, validation, all(changed)),
        execution.progress,
        sources=codes,
    )
    for stage, is_changed in zip(pending, changed, strict=True):
        before = outcomes[-1] if outcomes else None
        frozen_part = _frozen(network, stage)
        trained_part = part_of(network, len(frozen_part))
        stored = inputs.of(frozen_part, is_changed=is_changed)
        tell = _teller(folder, recipe, stage, list(history), say_epoch or log, execution.progress)
        if is_main_process():
            execution.progress(training_phase(stage.name), 0.0)
        # What a stage may go back to. A first one has nothing to go back to.
        beginning = _copied(network) if stage.keep == "best_overall" and outcomes else None
        if stage.fit == "logistic":
            swapped = _swapped(stage, training, sources, seed, recipe.name, log)
            behind = None if swapped is None else keep(frozen_part, swapped)
            rows = _fit_head(stage, trained_part, stored, behind, log)
            tell(rows)
        else:
            rows = run_stage(
                stage,
                trained_part,
                *stored,
                folder=folder,
                seed=seed,
                device=device,
                precision=precision,
                execution=execution,
                tell=tell,
                material=fed(frozen_part if is_changed else None),
            )
        network.cpu()
        outcome = outcome_of(stage, rows, before)
        if beginning is not None and outcome.goes_back:
            network.load_state_dict(beginning)
        if line := line_of(recipe.name, stage, outcome, before):
            log(Notice(line))
        outcomes.append(outcome)
        history += marked(rows, outcome)
        if is_main_process():
            _keep_stage(recipe, network, folder, stage, rows, history)
    network.requires_grad_(False).eval()
    return Trained(history, outcomes)


def _resumed(
    recipe: Recipe, network: nn.Sequential, folder: Path
) -> tuple[list[dict[str, Any]], list[Outcome], list[Stage]]:
    """Take up the stages that an earlier call finished; return what is left to do."""
    history: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    pending: list[Stage] = []
    for stage in recipe.stages:
        done = folder / "partial" / f"{stage.name}.safetensors"
        if done.is_file() and not pending:
            rows = _take_up(network, done)
            outcomes.append(outcome_of(stage, rows, (outcomes[-1] if outcomes else None)))
            history += marked(rows, outcomes[-1])
        else:
            pending.append(stage)
    return history, outcomes, pending


def _keep_stage(
    recipe: Recipe,
    network: nn.Sequential,
    folder: Path,
    stage: Stage,
    rows: list[dict[str, Any]],
    history: list[dict[str, Any]],
) -> None:
    """Keep what a finished stage made, for a run that goes on."""
    write_csv(folder / "history.csv", history_columns(recipe), history)
    _put_down(network, folder / "partial" / f"{stage.name}.safetensors", rows)
    (folder / "partial" / f"{stage.name}.resume").unlink(missing_ok=True)


def _sources_of(
    recipe: Recipe, training: ImageTensors, sources: Sequence[str], log: Callable[[str], None]
) -> Tensor | None:
    """Return the number of each training image's source, where a stage depends on them."""
    if not recipe.needs_sources:
        return None
    codes = torch.from_numpy(source_codes(sources, len(training)))
    if recipe.source_keys:
        labels = [f"class {target}" for target in training.targets.tolist()]
        keys, is_stratified = recipe.source_keys, recipe.is_stratified
        alone = check_sources(keys, labels, sources, is_stratified=is_stratified)
        if line := line_of_strata(alone):
            log(f"{recipe.name}: {line}")
    return codes


def _fit_head(
    stage: Stage,
    trained_part: nn.Sequential,
    stored: tuple[Stored, Stored],
    swapped: Tensor | None,
    log: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Fit the head of a stage without epochs; return its one row of history."""
    training, validation = stored
    return fit_head(
        trained_part,
        training,
        validation,
        swapped=None if swapped is None else Stored(swapped, training.targets, training.sources),
        swapped_weight=stage.background_swap,
        penalty=stage.penalty,
        strata_penalty=stage.strata_penalty if stage.is_stratified else None,
        balance=stage.balance,
        stage=stage.name,
        log=log,
    )


def _copied(network: nn.Sequential) -> dict[str, Tensor]:
    return {name: tensor.to("cpu", copy=True) for name, tensor in network.state_dict().items()}


def _swapped(
    stage: Stage,
    training: ImageTensors,
    sources: Sequence[str],
    seed: int,
    name: str,
    log: Callable[[str], None],
) -> Tensor | None:
    """Return each image's lungs in the surroundings of another source's, where a stage wants it."""
    if not stage.background_swap:
        return None
    partners = draw_partners(sources, seed=seed_of(seed, "exchange", stage.name))
    if not len(partners):
        log(f"{name}: nothing is exchanged, since all training images are of one source")
        return None
    log(f"{name}: exchanging what lies around the lungs between sources")
    return swap_backgrounds(training.images, partners, training.lungs)


def _frozen(network: nn.Sequential, stage: Stage) -> nn.Sequential:
    """Let only what ``stage`` trains learn, and return what stands before it."""
    freeze(network, stage.train)
    return cut(network)


def _teller(
    folder: Path,
    recipe: Recipe,
    stage: Stage,
    earlier: list[dict[str, Any]],
    log: Callable[[str], None],
    progress: Tell,
) -> Callable[[list[dict[str, Any]]], None]:
    """Return what writes the history and says a line after every epoch of a stage."""
    columns, title = history_columns(recipe), f"{recipe.name} · {stage.name}"

    def tell(rows: list[dict[str, Any]]) -> None:
        if not is_main_process():
            return
        row = rows[-1]
        write_csv(folder / "history.csv", columns, earlier + rows)
        log(
            f"{title}: epoch {row['epoch']}, loss {row['loss']:.4f}, validation loss "
            f"{row['val_loss']:.4f}, accuracy {row['val_accuracy']:.4f}, {row['seconds']:.1f} s"
        )
        progress(training_phase(stage.name), min(row["epoch"] / stage.max_epochs, 1.0))

    return tell


def _put_down(network: nn.Sequential, path: Path, rows: list[dict[str, Any]]) -> None:
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    content = safetensors.torch.save(weights, metadata={"history": json.dumps(rows)})
    write_bytes(path, content)


def _take_up(network: nn.Sequential, path: Path) -> list[dict[str, Any]]:
    """Put the weights that a finished stage left into ``network``; return its history."""
    try:
        with safetensors.safe_open(str(path), framework="pt") as stored:
            rows: list[dict[str, Any]] = json.loads(stored.metadata()["history"])
        fit_weights(network, safetensors.torch.load_file(path), origin=str(path))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, ModelError) as error:
        raise damaged(path) from error
    return rows
