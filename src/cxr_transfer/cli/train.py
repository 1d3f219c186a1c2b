"""What `cxr train` does: one recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.terminal import (
    DEVICE_HELP,
    PRECISION_HELP,
    choice,
    execution,
    no_steps,
    say,
    silent,
    steps,
)

TRAIN_EXAMPLES = (
    "Examples:\n\n"
    "cxr train model_1 --data ../data --out runs/mine\n\n"
    "cxr train model_2 --data films.csv --from runs/study/model_0\n\n"
    "cxr train multi_source --data ../data --add-source clinic_a=films/clinic_a\n\n"
    "cxr train my_recipe.toml --data ../data --devices 2"
)


def train(
    recipe: Annotated[
        str, typer.Argument(help="model_0 .. model_3, multi_source, or a TOML file.")
    ],
    data: Annotated[Path, typer.Option(help="Archives, a manifest (.csv), or a folder per class.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder, resumed when it is there. Default: a new runs/RECIPE/TIME."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Checkpoint that the recipe starts from.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="File with ResNet-50's weights.")] = None,
    add_source: Annotated[
        list[str] | None,
        typer.Option(help="For multi_source: NAME=DIR, films of your own; may be repeated."),
    ] = None,
    split: Annotated[str, typer.Option(help="patient, or image as in the paper.")] = "patient",
    pretraining: Annotated[str, typer.Option(help="For model_0: clean or paper.")] = "clean",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of split, weights, order and dropout.")
    ] = 0,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Cut every stage short.")] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes on each machine (DDP).")] = 1,
    num_nodes: Annotated[int, typer.Option(min=1, help="Machines (DDP).")] = 1,
) -> None:
    """Train one recipe; the same command goes on with a run that was stopped."""
    import os

    from cxr_transfer.collections.multi_source import added_source
    from cxr_transfer.collections.opening import open_dataset
    from cxr_transfer.collections.splits import split as draw
    from cxr_transfer.models.reference import REFERENCE
    from cxr_transfer.provenance import stamp
    from cxr_transfer.training.execution import is_main_process
    from cxr_transfer.training.films import load_films
    from cxr_transfer.training.recipe import load_recipe
    from cxr_transfer.training.run import run_recipe

    by = choice("--split", split, ("patient", "image"))
    clean = choice("--pretraining", pretraining, ("clean", "paper"))
    run = load_recipe(recipe).limited(max_epochs)
    # The processes of a distributed run are this command again: they inherit the folder's name,
    # and only the first of them speaks.
    named = os.environ.setdefault("CXR_RUN_FOLDER", f"runs/{run.name}/{stamp()}")
    folder = out or Path(named)
    tell, bar = (say, steps) if is_main_process() else (silent, no_steps)
    added = [case for source in add_source or () for case in added_source(source)]
    with bar("reading films", 0) as step:
        dataset = open_dataset(
            data,
            run.dataset,
            pretraining=clean,  # type: ignore[arg-type]
            added=added,
            each=step,
        )
    dataset = draw(dataset, by=by, seed=seed)  # type: ignore[arg-type]
    with bar("decoding films", len(dataset.cases)) as step:
        films = load_films(dataset.cases, run.preprocessing, dataset.labels, each=step)
    run_recipe(
        run,
        dataset,
        films,
        folder,
        seed=seed,
        execution=execution(device, precision, devices, num_nodes),
        start=start,
        weights=weights,
        say=tell,
    )
    if is_main_process() and not (folder / REFERENCE).is_file():
        from cxr_transfer.inference.fitting import fit_reference

        # What the training films look like to the network: by it a stranger among films is known.
        with bar("looking at the training films once more", 0) as step:
            fit_reference(folder, each=step).save(folder)
    tell(f"checkpoint: {folder}")
