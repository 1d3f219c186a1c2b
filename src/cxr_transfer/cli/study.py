"""What `cxr study` does: the paper's four models, or a learning curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_transfer.cli.options import (
    ClusterWorkers,
    Device,
    MaxEpochs,
    OnCluster,
    Precision,
    TrainingSeed,
)
from cxr_transfer.cli.screen import SCREEN
from cxr_transfer.cli.terminal import choice, cluster_of, execution, log, program, study_bar, tell

if TYPE_CHECKING:
    from cxr_transfer.training.device import Execution

STUDY_EXAMPLES = (
    "Examples:\n\n"
    "cxr study  (generated images)\n\n"
    "cxr study --data ../data --out runs/study\n\n"
    "cxr study --data ../data --out runs/folds --folds 5\n\n"
    "cxr study --data ../data --out runs/image --split image --models model_1,model_3\n\n"
    "cxr study --data ../data --out runs/curve --learning-curve 10,20,50,100,200"
)


def study(
    data: Annotated[
        str, typer.Option(help="Folder with the archives; 'phantom' is generated images.")
    ] = "phantom",
    out: Annotated[Path, typer.Option(help="Study folder; resumes what stands there.")] = Path(
        "runs/study"
    ),
    models: Annotated[
        str | None,
        typer.Option(
            help="Which, with commas. Default: all four. For a learning curve any recipes, by "
            "name or TOML file; default: model_1,model_2,model_3,linear_probe."
        ),
    ] = None,
    learning_curve: Annotated[
        str | None,
        typer.Option(
            help="Images per class, with commas: train on ever more images, test on the same."
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, help="Random draws of each size of a learning curve. Default: 5."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="patient, or image as in the paper (leaks).")] = (
        "patient"
    ),
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate over so many parts (5 is usual).")
    ] = None,
    seed: TrainingSeed = 0,
    pretraining: Annotated[
        str | None,
        typer.Option(help="clean (default): Model_0 sees no patient of Dataset_1; paper: it does."),
    ] = None,
    model_0: Annotated[
        Path | None,
        typer.Option(
            "--model-0",
            "--from",
            help="A trained Model_0 (or another checkpoint that a recipe starts from) to transfer "
            "from, instead of training one.",
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="File with ResNet-50's weights.")] = None,
    max_epochs: MaxEpochs = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            min=48,
            max=2048,
            help="Height and width of the model input in pixels. Default: 224 as in the paper, "
            "112 for generated images.",
        ),
    ] = None,
    skip_unavailable: Annotated[
        bool, typer.Option(help="Leave Model_3 out where its weights cannot be had.")
    ] = False,
    skip_damaged: Annotated[
        bool,
        typer.Option(help="Leave out files that cannot be read; damaged.csv of a run lists them."),
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    cluster: OnCluster = None,
    workers: ClusterWorkers = None,
) -> None:
    """Run the paper's four models, or a learning curve: table, figures, intervals and tests."""
    from cxr_transfer.studies.refusals import check_options

    check_options(
        learning_curve=learning_curve,
        draws=draws,
        folds=folds,
        split=split,
        pretraining=pretraining,
        model_0=model_0,
        models=models,
    )
    spread = cluster_of(cluster, workers, "" if learning_curve else "--learning-curve")
    where = execution(device, precision, cluster=spread)
    common: dict[str, Any] = {
        "seed": seed,
        "max_epochs": max_epochs,
        "input_size": input_size,
        "skip_unavailable": skip_unavailable,
        "skip_damaged": skip_damaged,
    }
    if learning_curve is not None:
        sizes = learning_curve
        return _curve(data, out, sizes, models, draws, where, weights, model_0, common)
    common |= {
        "split": choice("--split", split, ("patient", "image")),
        "folds": folds,
        "pretraining": choice("--pretraining", pretraining or "clean", ("clean", "paper")),
    }
    return _paper(data, out, models, where, weights, model_0, common)


def _paper(
    data: str,
    out: Path,
    models: str | None,
    where: Execution,
    weights: Path | None,
    model_0: Path | None,
    asked: dict[str, Any],
) -> None:
    """Run the paper's study, and show its table."""
    import dataclasses

    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.studies.next_steps import next_steps
    from cxr_transfer.studies.paper import run_study
    from cxr_transfer.studies.plan import MODELS, Study, model_names

    study = Study(models=MODELS if models is None else model_names(models), **asked)
    with lock_folder(out), study_bar() as (say_above, show):
        report = run_study(
            data,
            out,
            study,
            # On a terminal one line shows the whole study: no line for each epoch beside it.
            execution=dataclasses.replace(where, say_epochs=not SCREEN.is_terminal),
            weights=weights,
            model_0=model_0,
            log=say_above,
            show=show,
        )
    _show_report(out, "\n## Model_")
    for line in next_steps(out, report, program()):
        log(line)


def _curve(
    data: str,
    out: Path,
    sizes: str,
    models: str | None,
    draws: int | None,
    where: Execution,
    weights: Path | None,
    start: Path | None,
    asked: dict[str, Any],
) -> None:
    """Measure a learning curve, and show its tables."""
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.studies.curve_plan import LearningCurve, read_sizes
    from cxr_transfer.studies.learning_curve import run_learning_curve
    from cxr_transfer.studies.next_steps import curve_files
    from cxr_transfer.studies.plan import model_names

    if models is not None:
        asked["models"] = model_names(models)
    if draws is not None:
        asked["draws"] = draws
    curve = LearningCurve(read_sizes(sizes), **asked)
    with lock_folder(out), study_bar() as (say_above, show):
        run_learning_curve(
            data,
            out,
            curve,
            execution=where,
            weights=weights,
            start=start,
            log=say_above,
            show=show,
        )
    _show_report(out, "\n## How it was done")
    for line in curve_files(out):
        log(line)


def _show_report(out: Path, end: str) -> None:
    """Write a report to standard output, up to a heading."""
    text = (out / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    tell(text.partition(end)[0])
