"""Commands that answer for films, and that hand a network on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_transfer import INTENDED_USE
from cxr_transfer.cli.terminal import choice, say, steps

if TYPE_CHECKING:
    from cxr_transfer.inference.predictor import Prediction


PREDICT_EXAMPLES = (
    "Examples:\n\n"
    "cxr predict film.png --model runs/study/model_3\n\n"
    "cxr predict films/ --model runs/study/model_3 --json > answers.jsonl\n\n"
    "cxr predict films/ --model model_3-int8.xml --csv > answers.csv"
)


def predict(
    files: Annotated[list[Path], typer.Argument(help="Films, or folders of them.")],
    model: Annotated[Path, typer.Option(help="Run folder, checkpoint, or exported .xml.")],
    json: Annotated[bool, typer.Option("--json", help="A line of JSON per film.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A row of CSV per film.")] = False,
    precision: Annotated[
        str, typer.Option(help="float32 (the same scores everywhere), or bfloat16 (faster).")
    ] = "float32",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Decoding threads; default: processors + 1.")
    ] = None,
) -> None:
    """Answer for films, one line each; a film that cannot be read never stops the others."""
    from cxr_transfer.inference.answers import as_csv, as_json, as_lines
    from cxr_transfer.inference.predictor import Predictor, films_in

    if json and csv:
        raise typer.BadParameter("choose one of --json and --csv")
    found = list(films_in(files))
    say(INTENDED_USE)
    predictor = Predictor.open(model, precision=precision)
    written = as_json if json else as_csv if csv else as_lines
    failed = 0
    with steps("predicting", len(found)) as step:

        def told() -> Iterator[Prediction]:
            nonlocal failed
            for answer in predictor.predict_files(found, workers=workers):
                failed += answer.status != "ok"
                step()
                yield answer

        for line in written(told(), predictor.card.labels):
            typer.echo(line)
    if failed:
        raise typer.Exit(1)


EXPORT_EXAMPLES = (
    "Examples:\n\n"
    "cxr export runs/study/model_3 --out model_3.xml\n\n"
    "cxr export runs/study/model_3 --precision int8 --out model_3-int8.xml"
)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, .safetensors or its .json.")],
    out: Annotated[Path, typer.Option(help="NAME.xml; .bin and .json come to lie beside it.")],
    precision: Annotated[str, typer.Option(help="float32 or int8.")] = "float32",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Manifest whose training part calibrates int8 and whose validation part is "
            "compared. Default: split.csv of the run folder."
        ),
    ] = None,
) -> None:
    """Convert a checkpoint to OpenVINO, checked against the checkpoint before it is kept."""
    from cxr_transfer.inference.conversion import convert
    from cxr_transfer.inference.material import calibration_and_check

    chosen = choice("--precision", precision, ("float32", "int8"))
    calibration, check = calibration_and_check(checkpoint, data)
    done = convert(
        checkpoint,
        out,
        precision=chosen,  # type: ignore[arg-type]
        calibration=calibration,
        check=check,
    ).check
    films = "generated films" if done["drawn"] else "films"
    say(
        f"{out}: compared with the checkpoint on {done['films']} {films}: largest difference of a "
        f"score {done['largest_difference']:.2g}, the same class on {done['same_class']:.1%}"
    )
