"""What `cxr validate` does: a recipe, or any model, in sources that it never met."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_transfer.cli.options import (
    PRECISION_HELP,
    ClusterWorkers,
    Describing,
    Device,
    MaxEpochs,
    OnCluster,
    Overrides,
    PerSecond,
    Saw,
    SkipDamaged,
    Start,
    Weights,
)
from cxr_transfer.cli.screen import SCREEN
from cxr_transfer.cli.terminal import cluster_of, execution, log, phases, program, study_bar, tell

if TYPE_CHECKING:
    from cxr_transfer.studies.one_recipe import TrainingPlan

VALIDATE_EXAMPLES = (
    "Examples:\n\n"
    "cxr validate multi_source --data ../data --out runs/next_hospital\n\n"
    "cxr validate transfer --data images.csv --out runs/next_hospital -o train.max_epochs=10\n\n"
    "cxr validate multi_source --data ../data --add-source clinic_a=images/clinic_a --out runs/a"
    "\n\n"
    "cxr validate transfer --data images.csv --local clinic_a --curve 0,25,50,100 --out runs/local"
    "\n\n"
    "cxr validate runs/mine --data images.csv --out runs/mine_elsewhere\n\n"
    "cxr validate scores.csv --saw trained_on.csv --data images.csv --out runs/theirs"
)


def validate(
    model: Annotated[
        str,
        typer.Argument(
            help="Name of a recipe ('cxr recipe list'), or a TOML file: it is trained without each "
            "source. Or a model as it is, or a table of its scores, as 'cxr audit' takes it; a "
            "released one as released:NAME."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Archives, a manifest (.csv), or a folder per class.")],
    out: Annotated[Path, typer.Option(help="Report folder, gone on with when it is there.")],
    start: Start = None,
    weights: Weights = None,
    add_source: Annotated[
        list[str] | None,
        typer.Option(
            help="For multi_source: NAME=DIR, images of your own, a source like the others. May be "
            "repeated."
        ),
    ] = None,
    saw: Saw = None,
    description: Describing = None,
    per_second: PerSecond = 0.0,
    curve: Annotated[
        str | None,
        typer.Option(
            help="For a recipe: numbers of images of one source, such as 0,25,50,100,200. What so "
            "many of them bring on that source's other images, beside all other sources."
        ),
    ] = None,
    local: Annotated[
        str | None,
        typer.Option(help="With --curve: the source. Default: the one of --add-source."),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="With --curve: draws of each number. Default: 3."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=CLASS: what a label of the data counts as; LABEL= leaves its images out, "
            "'*=' all that is not named. May be repeated."
        ),
    ] = None,
    skip_damaged: SkipDamaged = False,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**32 - 1, help="Random seed of split, weights, order and bootstrap."
        ),
    ] = 0,
    resamples: Annotated[
        int, typer.Option(min=1, max=100_000, help="Resamples of the bootstrap by patient.")
    ] = 2000,
    max_epochs: MaxEpochs = None,
    override: Overrides = None,
    device: Device = "auto",
    precision: Annotated[
        str | None, typer.Option(help=f"{PRECISION_HELP} Default: auto. For a recipe.")
    ] = None,
    cluster: OnCluster = None,
    workers: ClusterWorkers = None,
) -> None:
    """Judge a recipe or a model at the next hospital: in each source that holds two classes.

    A recipe is trained without each source in turn, and then meets it. AUROC within the source,
    thresholds set elsewhere, calibration, images without a class. The worst source comes first.
    """
    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.studies.external_model import ModelValidation, validate_model
    from cxr_transfer.studies.refusals import check_validated, kind_validated

    kind = kind_validated(model)
    options = {
        "--from": start,
        "--weights": weights,
        "--add-source": add_source,
        "--saw": saw,
        "--description": description,
        "--per-second": per_second,
        "--max-epochs": max_epochs,
        "-o": override,
        "--precision": precision,
        "--curve": curve,
        "--local": local,
        "--draws": draws,
        "--cluster": cluster_of(cluster, workers),
    }
    check_validated(kind, options)
    mapping = read_mapping(label or ())
    if kind == "recipe":
        plan = _plan(model, options, mapping, skip_damaged, seed, device)
        if curve is not None:
            _measure_curve(plan, data, out, resamples, options)
            return
        _validate_recipe(plan, data, out, resamples)
    else:
        asked = ModelValidation(
            model=model,
            data=data,
            mapping=mapping,
            saw=saw,
            skip_damaged=skip_damaged,
            device=device,
            description=description,
            per_second=per_second,
            resamples=resamples,
            seed=seed,
        )
        with lock_folder(out), phases() as tell_phase:
            validate_model(asked, out, log=log, progress=tell_phase)
    _ended(out)


def _plan(
    recipe: str,
    options: dict[str, Any],
    mapping: dict[str, str],
    skip_damaged: bool,
    seed: int,
    device: str,
) -> TrainingPlan:
    """Return how the recipe is trained without each source."""
    import dataclasses

    from cxr_transfer.datasets.multi_source import added_source
    from cxr_transfer.studies.one_recipe import TrainingPlan
    from cxr_transfer.training.recipe_files import load_recipe, parse_overrides

    own = load_recipe(recipe, parse_overrides(options["-o"] or ()))
    how = execution(device, options["--precision"] or "auto", cluster=options["--cluster"])
    return TrainingPlan(
        recipe=own.limited(options["--max-epochs"]),
        mapping=mapping,
        sources=tuple(added_source(source) for source in options["--add-source"] or ()),
        skip_damaged=skip_damaged,
        seed=seed,
        # On a terminal one line shows all of it: no line for each epoch beside it.
        execution=dataclasses.replace(how, say_epochs=not SCREEN.is_terminal, loggers=()),
        start=options["--from"],
        weights=options["--weights"],
    )


def _validate_recipe(plan: TrainingPlan, data: Path, out: Path, resamples: int) -> None:
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.studies.external_validation import validate_recipe

    with lock_folder(out), study_bar() as (say_above, show):
        validate_recipe(plan, data, out, resamples=resamples, log=say_above, show=show)


def _measure_curve(
    plan: TrainingPlan, data: Path, out: Path, resamples: int, options: dict[str, Any]
) -> None:
    """Measure what local images bring, and show it."""
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.studies.local_curve import (
        LocalCurve,
        local_source,
        measure_local_curve,
        read_local_sizes,
    )

    added = sorted({case.source for case in plan.added})
    curve = LocalCurve(
        local=local_source(options["--local"], added),
        sizes=read_local_sizes(options["--curve"]),
        draws=options["--draws"] or 3,
        resamples=resamples,
    )
    with lock_folder(out), study_bar() as (say_above, show):
        measure_local_curve(plan, curve, data, out, log=say_above, show=show)
    text = (out / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    tell(text.partition("\n## What else is here")[0])
    log(f"report: {out / 'report.md'}, numbers: {out / 'local_curve.csv'}")
    last = out / f"images_{curve.sizes[-1]}" / "draw_1"
    log(f"next: {program()} card {shlex.quote(str(last))}")


def _ended(out: Path) -> None:
    """Show the summary, and say where the rest is and what may be done next."""
    from cxr_transfer.studies.external_report import DETAILS

    text = (out / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    tell(text.partition(DETAILS)[0])
    log(f"report: {out / 'report.md'}, predictions: {out / 'predictions.csv'}")
    predictions = shlex.quote(str(out / "predictions.csv"))
    log(f"next: {program()} compare {predictions} ANOTHER/predictions.csv")
