"""One execution of a recipe: a data set with its split in, a run folder with a checkpoint out.

The folder holds ``recipe.toml``, ``split.csv``, ``history.csv``, ``log.txt``, the class scores
of the validation films, and the checkpoint.
A run that was interrupted goes on where it stopped; one that is done is left as it is; a folder of
another run is refused. Knows nothing of archives, metrics or other models.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from cxr_transfer import provenance
from cxr_transfer.collections.case import Case
from cxr_transfer.collections.datasets import Dataset
from cxr_transfer.collections.index import data_hash
from cxr_transfer.collections.manifest import PARTS, PARTS_FILE, write_manifest
from cxr_transfer.errors import ModelError, UsageError
from cxr_transfer.files import owned, write_json, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.card import CARD, WEIGHTS, fingerprint
from cxr_transfer.models.checkpoint import load_checkpoint, save_checkpoint
from cxr_transfer.models.networks import build, load_pretrained
from cxr_transfer.models.pretrained import imagenet_weights
from cxr_transfer.models.resnet50 import EPSILON
from cxr_transfer.training.execution import (
    DEFAULT,
    Execution,
    is_main_process,
    resolve_device,
    resolve_precision,
)
from cxr_transfer.training.films import Films, select
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.stage import seed_of
from cxr_transfer.training.trainer import train_stages
from cxr_transfer.training.validation import FILE, write_validation

SETTINGS = "run.json"


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
    films: Films,
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
        films: The decoded films of ``dataset.cases``, in their order.
        folder: Run folder; held while the run lasts.
        seed: Fixes initial weights, order, dropout, and which films exchange surroundings.
        execution: Device, processes, progress.
        start: Checkpoint to start from, where the recipe wants one.
        weights: ImageNet weights file, where the recipe wants them and they are not at hand.
        say: Is told what happens, a line at a time.

    Returns:
        ``folder``, now with its checkpoint.

    Raises:
        UsageError: ``other_run`` when the folder holds a run with other settings.
        ModelError, MachineError: as `train_stages`, `load_checkpoint`, `imagenet_weights`.
    """
    provenance.commit()  # Asked now and kept: the source may change while this process runs.
    # What cannot be run is found out before the folder is taken.
    begun = initial(recipe, dataset.labels, seed=seed, start=start, weights=weights)
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
    with owned(folder) if is_main_process() else nullcontext():
        return _run(recipe, dataset, films, folder, begun, settings, execution, say)


def _run(
    recipe: Recipe,
    dataset: Dataset,
    films: Films,
    folder: Path,
    begun: Start,
    settings: dict[str, Any],
    execution: Execution,
    say: Callable[[str], None],
) -> Path:
    done = claim(folder, settings) and (folder / CARD).is_file() and (folder / WEIGHTS).is_file()
    cases, validation = select(dataset, films, "validation")

    def keep_validation(network: nn.Sequential) -> None:
        device = resolve_device(execution.device)
        write_validation(folder, network, cases, validation, dataset.labels, device=device)
        network.cpu()

    if done:
        if is_main_process() and not (folder / FILE).is_file():
            keep_validation(load_checkpoint(folder)[1])
        shutil.rmtree(folder / "partial", ignore_errors=True)
        say(f"{recipe.name}: done before, taken from {folder}")
        return folder
    if is_main_process():
        write_text(folder / "recipe.toml", recipe.to_toml())
        write_manifest(folder / PARTS_FILE, dataset.cases)

    def log(line: str) -> None:
        say(line)
        if is_main_process():
            with (folder / "log.txt").open("a", encoding="utf-8") as handle:
                handle.write(f"{provenance.now()} {line}\n")

    learnt_cases, learnt = select(dataset, films, "train")
    train_stages(
        recipe,
        begun.network,
        learnt,
        validation,
        sources=[case.source for case in learnt_cases],
        folder=folder,
        seed=settings["seed"],
        execution=execution,
        say=log,
    )
    if is_main_process():
        keep_validation(begun.network)
        save_checkpoint(folder, begun.network, _card(recipe, dataset, begun, settings, execution))
        shutil.rmtree(folder / "partial", ignore_errors=True)
    return folder


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
        UsageError: ``no_start`` when the recipe starts from a checkpoint and none is given.
        ModelError: ``other_network`` when that checkpoint does not fit.
    """
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
        raise UsageError(
            "no_start",
            f"Expected a checkpoint, since {recipe.name} starts from {recipe.initial}; make one "
            f"with 'cxr train {recipe.initial} ...' and give it with --from.",
        )
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
        },
        "data": {
            "name": dataset.name,
            "data_hash": settings["data_hash"],
            "split_by": dataset.split_by,
            "split_hash": settings["split_hash"],
            "films": {part: sum(case.split == part for case in dataset.cases) for part in PARTS},
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
