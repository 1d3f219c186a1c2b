"""What `cxr validate` does: a recipe, or any model, in sources that it never met."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.screen import SCREEN
from cxr_transfer.cli.terminal import (
    DEVICE_HELP,
    OVERRIDE_HELP,
    PRECISION_HELP,
    SKIP_DAMAGED_HELP,
    execution,
    log,
    program,
    study_bar,
    tell,
)

VALIDATE_EXAMPLES = (
    "Examples:\n\n"
    "cxr validate multi_source --data ../data --out runs/next_hospital\n\n"
    "cxr validate transfer --data images.csv --out runs/next_hospital -o train.max_epochs=10\n\n"
    "cxr validate multi_source --data ../data --add-source clinic_a=images/clinic_a --out runs/a"
)


def validate(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe ('cxr recipe list'), or a TOML file.")
    ],
    data: Annotated[Path, typer.Option(help="Archives, a manifest (.csv), or a folder per class.")],
    out: Annotated[Path, typer.Option(help="Report folder, gone on with when it is there.")],
    start: Annotated[
        Path | None, typer.Option("--from", help="Checkpoint that the recipe starts from.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="File with ResNet-50's ImageNet weights, or (initial = file) your own."),
    ] = None,
    add_source: Annotated[
        list[str] | None,
        typer.Option(
            help="For multi_source: NAME=DIR, images of your own, a source like the others. May be "
            "repeated."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=CLASS: what a label of the data counts as; LABEL= leaves its images out, "
            "'*=' all that is not named. May be repeated."
        ),
    ] = None,
    skip_damaged: Annotated[bool, typer.Option(help=SKIP_DAMAGED_HELP)] = False,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**32 - 1, help="Random seed of split, weights, order and bootstrap."
        ),
    ] = 0,
    resamples: Annotated[
        int, typer.Option(min=1, max=100_000, help="Resamples of the bootstrap by patient.")
    ] = 2000,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Cut every stage short.")] = None,
    override: Annotated[list[str] | None, typer.Option("-o", help=OVERRIDE_HELP)] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "auto",
) -> None:
    """Judge a recipe at the next hospital: each source in turn is left out, and then met.

    For every source that holds two classes: AUROC within it, thresholds set elsewhere, calibration,
    images without a class, what each class is called. The worst source comes first.
    """
    import dataclasses

    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.datasets.multi_source import added_source
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.studies.external_report import DETAILS
    from cxr_transfer.studies.external_validation import validate_recipe
    from cxr_transfer.studies.one_recipe import TrainingPlan
    from cxr_transfer.training.recipe_files import load_recipe, parse_overrides

    plan = TrainingPlan(
        recipe=load_recipe(recipe, parse_overrides(override or ())).limited(max_epochs),
        mapping=read_mapping(label or ()),
        sources=tuple(added_source(source) for source in add_source or ()),
        split_by="patient",
        is_split_asked=False,
        pretraining=None,
        skip_damaged=skip_damaged,
        seed=seed,
        execution=dataclasses.replace(
            execution(device, precision), say_epochs=not SCREEN.is_terminal, loggers=()
        ),
        start=start,
        weights=weights,
    )
    with lock_folder(out), study_bar() as (say_above, show):
        validate_recipe(plan, data, out, resamples=resamples, log=say_above, show=show)
    text = (out / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    tell(text.partition(DETAILS)[0])
    log(f"report: {out / 'report.md'}, predictions: {out / 'predictions.csv'}")
    predictions = shlex.quote(str(out / "predictions.csv"))
    log(f"next: {program()} compare {predictions} ANOTHER/predictions.csv")
