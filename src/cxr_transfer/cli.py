"""The command ``cxr``: the only place that prints and exits.

Everything that needs tensors is imported inside its command, so that ``cxr --help`` is instant.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_transfer import INTENDED_USE, __version__
from cxr_transfer.errors import CxrError

if TYPE_CHECKING:
    from cxr_transfer.training.trainer import Execution

app = typer.Typer(
    name="cxr",
    help=f"Transfer learning on chest radiographs, and how far to trust it.\n\n{INTENDED_USE}",
    epilog="Exit codes: 0 done; 1 done, some inputs failed; 2 usage; 3 data; 4 model; 5 machine.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(no_args_is_help=True, help="Look at archives, and write their manifests.")
app.add_typer(data_app, name="data")

DEVICE_HELP = "auto, cpu, cuda or mps."


def main() -> None:
    """Run ``cxr``; every error of ours is one line on standard error and an exit code."""
    import os

    try:
        app()
    except CxrError as error:
        sys.stderr.write(f"cxr: {error.message} [{error.code}]\n")
        sys.exit(error.exit_code)
    except MemoryError:
        sys.stderr.write("cxr: Expected more memory than there is; use fewer films. [memory]\n")
        sys.exit(5)
    except KeyboardInterrupt:
        sys.stderr.write("cxr: stopped; the same command goes on where it was.\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has seen enough: nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cxr-transfer {__version__}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Examples:\n\n"
    "cxr study  (generated films)\n\n"
    "cxr study --data ../data --out runs/study\n\n"
    "cxr study --data ../data --out runs/image --split image --models model_1,model_3"
)
def study(
    data: Annotated[
        str, typer.Option(help="Folder with the archives; 'phantom' is generated films.")
    ] = "phantom",
    out: Annotated[Path, typer.Option(help="Study folder; resumes what stands there.")] = Path(
        "runs/study"
    ),
    models: Annotated[
        str, typer.Option(help="Which, with commas.")
    ] = "model_0,model_1,model_2,model_3",
    split: Annotated[str, typer.Option(help="patient, or image as in the paper (leaks).")] = (
        "patient"
    ),
    seed: Annotated[int, typer.Option(help="Of split, weights, order and dropout.")] = 0,
    pretraining: Annotated[
        str, typer.Option(help="clean: Model_0 sees no patient of Dataset_1; paper: it does.")
    ] = "clean",
    model_0: Annotated[
        Path | None, typer.Option("--model-0", help="A trained Model_0 to transfer from.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="File with ResNet-50's weights.")] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Cut every stage short.")] = None,
    skip_unavailable: Annotated[
        bool, typer.Option(help="Leave Model_3 out where its weights cannot be had.")
    ] = False,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
) -> None:
    """Run the paper's four models: table, figures, intervals and tests."""
    from cxr_transfer.evaluation.study import Study, model_names, run_study
    from cxr_transfer.files import owned

    asked = Study(
        models=model_names(models),
        split=_choice("--split", split, ("patient", "image")),  # type: ignore[arg-type]
        seed=seed,
        pretraining=_choice("--pretraining", pretraining, ("clean", "paper")),  # type: ignore[arg-type]
        max_epochs=max_epochs,
        skip_unavailable=skip_unavailable,
    )
    with owned(out):
        run_study(
            data,
            out,
            asked,
            execution=_execution(device),
            weights=weights,
            model_0=model_0,
            say=_say,
            steps=_steps,
        )
    typer.echo((out / "report.md").read_text(encoding="utf-8").partition("\n## Model_")[0])
    _say(f"report: {out / 'report.md'}")


def _execution(device: str, devices: int = 1, num_nodes: int = 1) -> Execution:
    import importlib.util

    from cxr_transfer.training.trainer import Execution

    return Execution(
        device=device,
        devices=devices,
        num_nodes=num_nodes,
        bar=sys.stderr.isatty(),
        tensorboard=importlib.util.find_spec("tensorboard") is not None,
    )


def _choice(option: str, given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        raise typer.BadParameter(
            f"expected one of {', '.join(known)}, but got {given!r}", param_hint=option
        )
    return given


def _say(line: str) -> None:
    typer.echo(line, err=True)


@contextmanager
def _steps(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the time left on a terminal, one line elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        _say(f"{title}: {total} films")
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


if __name__ == "__main__":
    main()
