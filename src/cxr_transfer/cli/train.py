"""What `cxr train` does: one recipe."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_transfer.cli.options import (
    LOGGER_HELP,
    ClusterWorkers,
    Device,
    MaxEpochs,
    OnCluster,
    Overrides,
    Precision,
    SkipDamaged,
    Start,
    TrainingSeed,
    Weights,
)
from cxr_transfer.cli.screen import SCREEN
from cxr_transfer.cli.terminal import (
    choice,
    cluster_of,
    execution,
    log,
    phases,
    program,
    silent,
    study_bar,
    tell,
)
from cxr_transfer.progress import tell_nobody

if TYPE_CHECKING:
    from cxr_transfer.studies.one_recipe import TrainingPlan

TRAIN_EXAMPLES = (
    "Examples:\n\n"
    "cxr train model_1 --data ../data --out runs/mine\n\n"
    "cxr train transfer --data images.csv -o train.learning_rate=3e-4 -o augmentation.rotation=5"
    "\n\n"
    "cxr train model_2 --data images.csv --from runs/study/model_0\n\n"
    "cxr train multi_source --data ../data --add-source clinic_a=images/clinic_a\n\n"
    "cxr train my_recipe.toml --data ../data --devices 2\n\n"
    "cxr train model_1 --data images.csv --logger tensorboard,mlflow\n\n"
    "cxr train model_1 --data images.csv --folds 5 --seeds 3 --out runs/cv\n\n"
    "cxr train model_1 --choose my_recipe.toml --data images.csv --folds 5"
)


def train(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe ('cxr recipe list'), or a TOML file.")
    ],
    data: Annotated[Path, typer.Option(help="Archives, a manifest (.csv), or a folder per class.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder, resumed when it is there. Default: a new runs/RECIPE/TIME."),
    ] = None,
    start: Start = None,
    weights: Weights = None,
    add_source: Annotated[
        list[str] | None,
        typer.Option(
            help="For multi_source: NAME=DIR, images of your own; may be repeated. The recipe is "
            "trained a second time without each of them, to tell what it brings."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=CLASS: what a label of the data counts as; LABEL= leaves its images out, "
            "'*=' all that is not named. May be repeated. A recipe may have the same as [labels]."
        ),
    ] = None,
    skip_damaged: SkipDamaged = False,
    split: Annotated[
        str | None,
        typer.Option(help="patient (default), or image as in the paper; not for parts given."),
    ] = None,
    pretraining: Annotated[
        str | None, typer.Option(help="For Dataset_0 of the archives: clean (default) or paper.")
    ] = None,
    seed: TrainingSeed = 0,
    folds: Annotated[
        int | None,
        typer.Option(help="Cross-validate by patient over so many folds (5 is usual)."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="With --folds: runs of each fold, with --seed and the seeds after it. Their mean "
            "is evaluated as an ensemble, and each seed alone.",
        ),
    ] = None,
    choose: Annotated[
        list[str] | None,
        typer.Option(
            help="With --folds: another recipe. In each fold the validation part chooses among "
            "them, and the test part is scored by the chosen one alone. -o leaves it as it is. May "
            "be repeated."
        ),
    ] = None,
    max_epochs: MaxEpochs = None,
    override: Overrides = None,
    device: Device = "auto",
    precision: Precision = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes on each machine (DDP).")] = 1,
    num_nodes: Annotated[int, typer.Option(min=1, help="Machines (DDP).")] = 1,
    logger: Annotated[str | None, typer.Option(help=LOGGER_HELP)] = None,
    cluster: OnCluster = None,
    workers: ClusterWorkers = None,
) -> None:
    """Train one recipe, or cross-validate it; the same command goes on where it was stopped."""
    import dataclasses
    import os
    import time

    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.datasets.multi_source import added_source
    from cxr_transfer.errors import UsageError
    from cxr_transfer.own_folder import check_folder
    from cxr_transfer.provenance import stamp
    from cxr_transfer.studies.one_recipe import TrainingPlan, train_recipe
    from cxr_transfer.training.device import is_main_process
    from cxr_transfer.training.recipe_files import load_recipe, parse_overrides

    if folds is None and (seeds or choose):
        raise UsageError(
            "unused_option",
            "Expected --seeds and --choose only with --folds, but got no --folds; add --folds 5, "
            "or leave them out.",
        )
    spread = cluster_of(cluster, workers, "--folds" if folds is None else "")
    by = choice("--split", split or "patient", ("patient", "image"))
    if pretraining is not None:
        choice("--pretraining", pretraining, ("clean", "paper"))
    mapping = read_mapping(label or ())
    own = load_recipe(recipe, parse_overrides(override or ())).limited(max_epochs)
    # The processes of a distributed run are this command again: they inherit the folder's name,
    # and only the first of them speaks.
    named = os.environ.setdefault("CXR_RUN_FOLDER", f"runs/{own.name}/{stamp()}")
    folder = out or Path(named)
    if is_main_process():
        check_folder(folder)
    say, shown = (log, phases()) if is_main_process() else (silent, nullcontext(tell_nobody))
    began = time.monotonic()
    plan = TrainingPlan(
        recipe=own,
        mapping=mapping,
        sources=tuple(added_source(source) for source in add_source or ()),
        split_by=by,  # type: ignore[arg-type]
        is_split_asked=split is not None,
        pretraining=pretraining,  # type: ignore[arg-type]
        skip_damaged=skip_damaged,
        seed=seed,
        execution=execution(device, precision, devices, num_nodes, logger, spread),
        start=start,
        weights=weights,
    )
    if folds is not None:
        _cross_validate(plan, data, folder, folds, seeds or 1, choose or (), max_epochs)
        return
    with shown as tell_phase:
        with_progress = dataclasses.replace(plan.execution, progress=tell_phase)
        plan = dataclasses.replace(plan, execution=with_progress)
        for gain in train_recipe(plan, data, folder, log=say):
            for line in _brought(gain):
                say(line)
    for line in _ended(folder, data, time.monotonic() - began):
        say(line)


def _cross_validate(
    plan: TrainingPlan,
    data: Path,
    out: Path,
    folds: int,
    seeds: int,
    choose: Sequence[str],
    max_epochs: int | None,
) -> None:
    """Cross-validate a plan, and say what came out."""
    import dataclasses

    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.studies.cross_validation import Protocol, cross_validate
    from cxr_transfer.training.recipe_files import load_recipe

    others = tuple(load_recipe(name).limited(max_epochs) for name in choose)
    protocol = Protocol(folds=folds, seeds=seeds, others=others)
    # On a terminal one line shows all of it: no line for each epoch beside it.
    quiet = dataclasses.replace(plan.execution, say_epochs=not SCREEN.is_terminal)
    plan = dataclasses.replace(plan, execution=quiet)
    with lock_folder(out), study_bar() as (say_above, show):
        cross_validate(plan, protocol, data, out, log=say_above, show=show)
    text = (out / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    tell(text.partition("\n## Class by class")[0])
    log(f"report: {out / 'report.md'}, predictions: {out / 'predictions.csv'}")
    log(f"next: {program()} compare {shlex.quote(str(out))} ANOTHER")


def _ended(folder: Path, data: Path, seconds: float) -> list[str]:
    """Say how long a training took, and what may be done next."""
    from cxr_transfer.progress import duration
    from cxr_transfer.studies.next_steps import next_of_run
    from cxr_transfer.training.summary import seconds_of

    epochs, whole = duration(seconds_of(folder)), duration(seconds)
    took = f"took {whole}; all epochs of the run together took {epochs}"
    return [took, *next_of_run(folder, data, program())]


def _brought(contribution: dict[str, Any]) -> list[str]:
    """Say in lines what a source brought, on its own test images."""
    from cxr_transfer.statistics.intervals import Estimate

    def estimate(of_label: dict[str, Any]) -> str:
        return Estimate.from_dict(of_label).written(2)

    number_met = contribution["met_in_training"]
    left_out = f"; {number_met} left out, met in training" if number_met else ""
    lines = [
        f"{contribution['source']}: {contribution['images']} test images of "
        f"{contribution['patients']} patients{left_out}"
    ]
    for label, of_label in contribution["auroc"].items():
        lines.append(
            f"  {label} against the rest, AUROC: too few images"
            if of_label is None
            else f"  {label} against the rest, AUROC: {estimate(of_label['without'])} without it, "
            f"{estimate(of_label['with'])} with it, difference {estimate(of_label['difference'])}, "
            f"p {max(of_label['p'], 0.001):.3f}{' or less' if of_label['p'] < 0.001 else ''}"
        )
    if contribution["accuracy"]:
        without, with_it = (estimate(contribution["accuracy"][key]) for key in ("without", "with"))
        lines.append(f"  accuracy: {without} without it, {with_it} with it")
    return lines
