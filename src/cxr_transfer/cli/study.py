"""What `cxr study` does: the paper's four models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.terminal import (
    DEVICE_HELP,
    PRECISION_HELP,
    choice,
    execution,
    log,
    program,
    study_bar,
    tell,
)

STUDY_EXAMPLES = (
    "Examples:\n\n"
    "cxr study  (generated images)\n\n"
    "cxr study --data ../data --out runs/study\n\n"
    "cxr study --data ../data --out runs/folds --folds 5\n\n"
    "cxr study --data ../data --out runs/image --split image --models model_1,model_3"
)


def study(
    data: Annotated[
        str, typer.Option(help="Folder with the archives; 'phantom' is generated images.")
    ] = "phantom",
    out: Annotated[Path, typer.Option(help="Study folder; resumes what stands there.")] = Path(
        "runs/study"
    ),
    models: Annotated[
        str | None, typer.Option(help="Which, with commas. Default: all four.")
    ] = None,
    split: Annotated[str, typer.Option(help="patient, or image as in the paper (leaks).")] = (
        "patient"
    ),
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate over so many parts (5 is usual).")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**32 - 1, help="Random seed of split, weights, order and dropout."
        ),
    ] = 0,
    pretraining: Annotated[
        str | None,
        typer.Option(help="clean (default): Model_0 sees no patient of Dataset_1; paper: it does."),
    ] = None,
    model_0: Annotated[
        Path | None,
        typer.Option(
            "--model-0", help="A trained Model_0 to transfer from, instead of training one."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="File with ResNet-50's weights.")] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Cut every stage short.")] = None,
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
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "auto",
) -> None:
    """Run the paper's four models: table, figures, intervals and tests."""
    import dataclasses

    from cxr_transfer.errors import UsageError
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.studies.next_steps import next_steps
    from cxr_transfer.studies.paper import run_study
    from cxr_transfer.studies.plan import MODELS, Study, model_names

    asked_for = MODELS if models is None else model_names(models)
    if pretraining and not {"model_0", "model_2"} & set(asked_for):
        raise UsageError(
            "unused_option",
            "Expected --pretraining only with model_0 or model_2, but the models are "
            f"{', '.join(asked_for)}; leave it out.",
        )
    if model_0 and models is not None and "model_0" in asked_for:
        raise UsageError(
            "unused_option",
            "Expected model_0 to be trained or given, but got it in --models and with --model-0; "
            "leave out one of them.",
        )
    asked = Study(
        models=asked_for,
        split=choice("--split", split, ("patient", "image")),  # type: ignore[arg-type]
        folds=folds,
        seed=seed,
        pretraining=choice("--pretraining", pretraining or "clean", ("clean", "paper")),  # type: ignore[arg-type]
        max_epochs=max_epochs,
        input_size=input_size,
        skip_unavailable=skip_unavailable,
        skip_damaged=skip_damaged,
    )
    where = execution(device, precision)
    with lock_folder(out), study_bar() as (say_above, show):
        report = run_study(
            data,
            out,
            asked,
            # One line shows the whole study: no bar and no line for each epoch beside it.
            execution=dataclasses.replace(where, bar=False, say_epochs=not where.bar),
            weights=weights,
            model_0=model_0,
            log=say_above,
            show=show,
        )
    tell(
        (out / "report.md")
        .read_text(encoding="utf-8", errors="surrogateescape")
        .partition("\n## Model_")[0]
    )
    for line in next_steps(out, report, program()):
        log(line)
