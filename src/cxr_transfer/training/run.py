"""One execution of a recipe: a data set with its split in, a run folder with a checkpoint out.

The folder holds ``recipe.toml``, ``split.csv``, ``history.csv``, ``log.txt``, the class scores
of the validation films, the checkpoint, and what its training films look like to it
(``reference.safetensors``).
What can be refused is refused before a film is decoded, and such a run leaves its folder free. A
run that was interrupted goes on where it stopped; one that is done is left as it is; a folder of
another run is refused. Knows nothing of archives, metrics or other models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from cxr_transfer import provenance
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import DAMAGED_FILE, write_damaged
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.manifest import PARTS, PARTS_FILE, write_manifest
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import CxrError, DataError, MachineError, ModelError, UsageError
from cxr_transfer.files import append_line, owned, remove_own, write_json, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.checkpoint import load_checkpoint, save_checkpoint
from cxr_transfer.models.metadata import CARD, WEIGHTS, fingerprint
from cxr_transfer.models.pretrained import imagenet_weights
from cxr_transfer.models.registry import build, load_pretrained, probabilities
from cxr_transfer.models.resnet50 import EPSILON
from cxr_transfer.runs.validation_scores import FILE, write_validation
from cxr_transfer.text import for_terminal
from cxr_transfer.training.device import (
    DEFAULT,
    Execution,
    check_processes,
    is_main_process,
    resolve_device,
    resolve_precision,
)
from cxr_transfer.training.frozen_features import freeze
from cxr_transfer.training.kept_weights import Outcome
from cxr_transfer.training.recipe import NO_CHECKPOINT, Recipe, nearest, shipped_recipes
from cxr_transfer.training.reference import has_reference, reference_of
from cxr_transfer.training.stage import seed_of
from cxr_transfer.training.tensors import Films, load_films, select
from cxr_transfer.training.trainer import train_stages

SETTINGS = "run.json"

_NAMING = frozenset({SETTINGS, ".lock", "recipe.toml", PARTS_FILE, "log.txt", DAMAGED_FILE})
"""What a run writes before it has done anything."""


@dataclass(frozen=True)
class Start:
    """What a network starts from.

    Attributes:
        network: With its initial weights and a head for the label set.
        epsilon: Of its batch normalisation.
        origin: In words, for the card.
        sha256: Of the weights it starts from; "" for random ones.
        seen: What its earlier training saw (`Checkpoint.seen`).
    """

    network: nn.Sequential
    epsilon: float
    origin: str
    sha256: str
    seen: dict[str, list[str]]


def run_recipe(
    recipe: Recipe,
    dataset: Dataset,
    films: Films | None,
    folder: Path,
    *,
    seed: int = 0,
    execution: Execution = DEFAULT,
    start: Path | None = None,
    weights: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train ``recipe`` into ``folder``.

    Args:
        recipe: What is run.
        dataset: Indexed cases, each with its part.
        films: Decoded films of ``dataset.cases``, in their order; None decodes them here, once
            all else is known to be right.
        folder: Run folder; held while the run lasts.
        seed: Fixes initial weights, order, dropout, and which films exchange surroundings.
        execution: Device, processes, progress.
        start: Checkpoint to start from, where the recipe wants one.
        weights: ImageNet weights file, where the recipe wants them and they are not at hand.
        say: Is told what happens, a line at a time.

    Returns:
        ``folder``, now with its checkpoint and its reference.

    Raises:
        UsageError: ``other_run`` when the folder holds a run with other settings; what `check_run`
            raises.
        DataError: ``empty``, ``classes`` where nothing can be learnt from a part.
        ModelError, MachineError: as `check_run` and `train_stages`.
    """
    provenance.commit()  # Asked now and kept: the source may change while this process runs.
    # What cannot be run is found out before the folder is taken.
    begun = check_run(
        recipe, dataset.labels, seed=seed, execution=execution, start=start, weights=weights
    )
    _check_parts(recipe, dataset)
    device = resolve_device(execution.device)
    settings = {
        "precision": resolve_precision(execution.precision, device),
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
        "labels": list(dataset.labels),
        "data_hash": data_hash(dataset.cases),
        "split_hash": split_hash(dataset.cases),
        "start": begun.sha256,
    }
    if any(stage.exchange for stage in recipe.stages):
        settings["sources"] = _sources_hash(dataset.cases)
    # Of a distributed run the first process owns the folder; the others only compute.
    with (
        owned(folder) if is_main_process() else nullcontext(),
        claimed(folder, settings) as begun_before,
    ):
        done = begun_before and (folder / CARD).is_file() and (folder / WEIGHTS).is_file()
        if films is None:
            films = load_films(dataset.cases, recipe.preprocessing, dataset.labels)
        if done:
            say(f"{recipe.name}: done before, taken from {folder}")
        else:
            _train(recipe, dataset, films, folder, begun, settings, execution, say)
        if is_main_process():
            _complete(dataset, films, folder, execution, say)
            _tidy(recipe, folder)
    return folder


def check_run(
    recipe: Recipe,
    labels: LabelSet,
    *,
    seed: int = 0,
    execution: Execution = DEFAULT,
    start: Path | None = None,
    weights: Path | None = None,
) -> Start:
    """Find out, before any film is decoded, whether ``recipe`` can be run on these classes.

    Args:
        recipe: What is to be run.
        labels: Classes of the data.
        seed: Fixes initial weights.
        execution: Device, processes, precision.
        start: Checkpoint to start from.
        weights: ImageNet weights file.

    Returns:
        The network as the run begins with it.

    Raises:
        UsageError: ``unknown_initial``, ``no_start``, ``unused_option``, ``unknown_module``,
            ``nothing_learns``, ``batch_not_divisible``, ``unknown_precision``.
        ModelError: ``other_network``, ``other_labels``; what `load_checkpoint` and
            `imagenet_weights` raise.
        MachineError: ``no_device``; what `imagenet_weights` raises.
    """
    # A head that is fitted takes all films at once: its stage has no batches, and one process.
    batches = [stage.batch_size for stage in recipe.stages if stage.fit != "logistic"]
    if execution.processes > 1 and not batches:
        raise UsageError(
            "unused_option",
            f"Expected one process, since {recipe.name} fits a head and trains nothing, but got "
            f"{execution.processes}; leave --devices and --num-nodes out.",
        )
    check_processes(execution, batches)
    resolve_precision(execution.precision, resolve_device(execution.device))
    begun = initial(recipe, labels, seed=seed, start=start, weights=weights)
    for stage in recipe.stages:
        freeze(begun.network, stage.train)
    return begun


def _check_parts(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse parts from which nothing can be learnt.

    Raises:
        DataError: ``empty`` without training or validation films; ``classes`` where a head is to
            be fitted to films of one class.
    """
    for part in ("train", "validation"):
        if not any(case.split == part for case in dataset.cases):
            raise DataError(
                "empty",
                f"Expected films in the part {part!r} of {dataset.name}, but got none; give that "
                "part some films.",
            )
    learnt = {case.label for case in dataset.cases if case.split == "train"}
    if len(learnt) < 2 and any(stage.fit == "logistic" for stage in recipe.stages):
        raise DataError(
            "classes",
            f"Expected training films of at least two classes to fit a head, but all are "
            f"{', '.join(learnt)}; give the training part films of another.",
        )


def _train(
    recipe: Recipe,
    dataset: Dataset,
    films: Films,
    folder: Path,
    begun: Start,
    settings: dict[str, Any],
    execution: Execution,
    say: Callable[[str], None],
) -> None:
    """Train from what was begun to the checkpoint."""
    if is_main_process():
        write_text(folder / "recipe.toml", recipe.to_toml())
        write_manifest(folder / PARTS_FILE, dataset.cases)
        write_damaged(folder, dataset.damaged)

    def log(line: str) -> None:
        say(line)
        if is_main_process():
            append_line(folder / "log.txt", f"{provenance.now()} {for_terminal(line)}")

    cases, learnt = select(dataset, films, "train")
    trained = train_stages(
        recipe,
        begun.network,
        learnt,
        select(dataset, films, "validation")[1],
        sources=[case.source for case in cases],
        folder=folder,
        seed=settings["seed"],
        execution=execution,
        say=log,
    )
    if is_main_process():
        _keep_validation(begun.network, dataset, films, folder, execution)
        card = _card(recipe, dataset, begun, settings, execution, trained.outcomes)
        save_checkpoint(folder, begun.network, card)


def _complete(
    dataset: Dataset,
    films: Films,
    folder: Path,
    execution: Execution,
    say: Callable[[str], None],
) -> None:
    """Add to a finished run what it lacks: an earlier version did not keep all of it."""
    card, network = load_checkpoint(folder)
    if not (folder / FILE).is_file():
        _keep_validation(network, dataset, films, folder, execution)
    if not has_reference(folder, card):
        say(f"{card.name}: fitting its reference to the training and validation images")
        train, validation = (select(dataset, films, part) for part in ("train", "validation"))
        # On the processor, whatever the run's device: there predictions are compared with it.
        reference_of(card, network, train, validation).save(folder)


def _keep_validation(
    network: nn.Sequential, dataset: Dataset, films: Films, folder: Path, execution: Execution
) -> None:
    cases, validation = select(dataset, films, "validation")
    device = resolve_device(execution.device)
    scores = probabilities(network, validation.images, device=device)
    write_validation(folder, cases, scores.numpy(), dataset.labels)
    network.cpu()


@contextmanager
def claimed(folder: Path, settings: dict[str, Any]) -> Iterator[bool]:
    """`claim`, given back where what follows is refused before it left anything in the folder.

    Args:
        folder: Run or report folder.
        settings: JSON's kinds of values.

    Yields:
        What `claim` returns.
    """
    there = claim(folder, settings)
    try:
        yield there
    except MachineError:
        raise  # The same command may go on elsewhere, or with more room.
    except CxrError:
        left = {path.name for path in folder.iterdir() if path.name != "partial"}
        left |= {path.name for path in folder.glob("partial/*")}
        if not there and is_main_process() and left <= _NAMING:
            for name in _NAMING - {".lock"}:
                (folder / name).unlink(missing_ok=True)
        raise


def _tidy(recipe: Recipe, folder: Path) -> None:
    """Delete what the stages left behind for a run that goes on."""
    names = [f"{stage.name}{end}" for stage in recipe.stages for end in (".resume", ".safetensors")]
    remove_own(folder / "partial", names)


def claim(folder: Path, settings: dict[str, Any]) -> bool:
    """Write the settings of a run into its folder, or check that they are the same.

    The recipe of an earlier run is read as recipes are: a key that came later has its default.

    Args:
        folder: Run folder.
        settings: JSON's kinds of values; the recipe under "recipe".

    Returns:
        Whether they stood there before.

    Raises:
        UsageError: ``other_run``, naming what differs.
    """
    path = folder / SETTINGS
    if not path.is_file():
        if is_main_process():
            write_json(path, settings)
        return False
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        earlier = {}
    earlier = earlier if isinstance(earlier, dict) else {}
    earlier |= {"recipe": _completed(earlier.get("recipe"))}
    different = [
        line for key, value in settings.items() for line in _different(key, earlier.get(key), value)
    ]
    if different:
        raise UsageError(
            "other_run",
            f"Expected to go on with the run in {folder}, but it is another one: "
            f"{'; '.join(different)}; choose another --out.",
        )
    return True


def initial(
    recipe: Recipe,
    labels: LabelSet,
    *,
    seed: int,
    start: Path | None = None,
    weights: Path | None = None,
) -> Start:
    """Build the network of ``recipe`` with what it starts from.

    Raises:
        UsageError: ``no_start`` when the recipe starts from a checkpoint and none is given,
            ``unknown_initial`` when no recipe has the name either; ``unused_option`` for a
            checkpoint or weights that the recipe does not start from.
        ModelError: ``other_network`` or ``other_labels`` when that checkpoint does not fit.
    """
    if recipe.initial in NO_CHECKPOINT and start is not None:
        raise UsageError(
            "unused_option",
            f"Expected no checkpoint, since {recipe.name} starts from "
            f"{NO_CHECKPOINT[recipe.initial]}, but got {start}; leave --from out, or choose a "
            "recipe that starts from one.",
        )
    if recipe.initial != "imagenet" and weights is not None:
        raise UsageError(
            "unused_option",
            f"Expected no weights file, since {recipe.name} does not start from ImageNet, but got "
            f"{weights}; leave --weights out.",
        )
    torch.manual_seed(seed_of(seed, "weights", recipe.network))
    size = recipe.preprocessing.size
    if recipe.initial == "random":
        network = build(recipe.network, len(labels), size=size, epsilon=EPSILON)
        return Start(network, EPSILON, "random", "", {})
    if recipe.initial == "imagenet":
        found = imagenet_weights(weights)
        network = build(recipe.network, len(labels), size=size, epsilon=found.epsilon)
        load_pretrained(recipe.network, network, found.tensors)
        return Start(network, found.epsilon, f"ImageNet: {found.origin}", found.sha256, {})
    if start is None:
        raise _without_start(recipe)
    checkpoint, network = load_checkpoint(start)
    if (checkpoint.architecture, checkpoint.preprocessing) != (
        recipe.network,
        recipe.preprocessing,
    ):
        raise ModelError(
            "other_network",
            f"Expected a {recipe.network} with {recipe.preprocessing!r} to start from, but "
            f"{start} is a {checkpoint.architecture} with {checkpoint.preprocessing!r}.",
        )
    if recipe.new_head:
        fresh = build(recipe.network, len(labels), size=size, epsilon=checkpoint.epsilon)
        network.head = fresh.head
    elif checkpoint.labels != labels.names:
        raise ModelError(
            "other_labels",
            f"Expected the classes {', '.join(labels)} to start from, but {start} has "
            f"{', '.join(checkpoint.labels)}; set new_head = true in the recipe.",
        )
    origin = f"{checkpoint.name} {checkpoint.weights_sha256[:12]}"
    return Start(network, checkpoint.epsilon, origin, checkpoint.weights_sha256, checkpoint.seen)


def _without_start(recipe: Recipe) -> UsageError:
    shipped = shipped_recipes()
    if recipe.initial in shipped:
        return UsageError(
            "no_start",
            f"Expected a checkpoint, since {recipe.name} starts from {recipe.initial}; make one "
            f"with 'cxr train {recipe.initial} ...' and give it with --from.",
        )
    known = [*NO_CHECKPOINT, *shipped]
    return UsageError(
        "unknown_initial",
        f"Expected initial = {', '.join(known)} or another recipe, whose checkpoint is given with "
        f"--from, but {recipe.name} has {recipe.initial!r} and got no --from"
        f"{nearest(recipe.initial, known)}.",
    )


def split_hash(cases: tuple[Case, ...]) -> str:
    """Return one SHA-256 for who stands in which part."""
    lines = sorted(f"{case.split} {case.sha256}" for case in cases)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sources_hash(cases: tuple[Case, ...]) -> str:
    """Return one SHA-256 for where films are from, which some trainings depend on."""
    lines = sorted(f"{case.source} {case.sha256}" for case in cases)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


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
        "films": {fingerprint(case.pixels) for case in learnt},
        "patients": {fingerprint(case.patient) for case in learnt},
    }
    return {
        "name": recipe.name,
        "architecture": recipe.network,
        "labels": dataset.labels.names,
        "preprocessing": recipe.preprocessing,
        "epsilon": begun.epsilon,
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
            "films": {part: sum(case.split == part for case in dataset.cases) for part in PARTS},
            "left_out": {for_terminal(label): n for label, n in dataset.left_out.items()},
            "damaged": len(dataset.damaged),
        },
        "seen": {key: sorted(new | set(begun.seen.get(key, ()))) for key, new in seen.items()},
    }


def _completed(recipe: object) -> object:
    """A recipe that was written down, with every key of today; as it is where it is none."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValidationError:
        return recipe


def _different(key: str, there: object, now: object) -> list[str]:
    """What differs, named by its innermost key; nothing where nothing does."""
    inner = [_by_key(value) for value in (there, now)]
    if all(inner):
        names = dict.fromkeys([*inner[1], *inner[0]])  # in the order of today's
        return [
            line
            for name in names
            for line in _different(f"{key}.{name}", *(each.get(name) for each in inner))
        ]
    if there == now:
        return []
    texts = _short(there), _short(now)
    # Two long values may begin alike: the same text twice would tell nothing.
    return [key if texts[0] == texts[1] else f"{key} {texts[0]} there, {texts[1]} now"]


def _by_key(value: object) -> dict[Any, Any]:
    """What a table, or a list of tables, holds by key or number; else empty."""
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else {}


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
