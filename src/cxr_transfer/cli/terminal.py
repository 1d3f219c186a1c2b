"""How the commands speak: lines on standard error, bars with the time left, choices checked.

Standard output is for answers, so that it can be piped.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from cxr_transfer.errors import LISTED
from cxr_transfer.text import for_terminal

if TYPE_CHECKING:
    from cxr_transfer.studies.progress import Progress
    from cxr_transfer.training.device import Execution

CHECKPOINT_HELP = "Run folder, .safetensors, its .json, or the name of a released model."
DEVICE_HELP = "auto, cpu, cuda or mps."
LABEL_HELP = (
    "LABEL=CLASS: what a label of the data counts as; LABEL= leaves its images out, '*=' all that "
    "is not named. May be repeated. What the recipe's [labels] say holds as in training."
)
SOURCE_HELP = "Keep the images of this source alone, such as nih. May be repeated."
FRONTAL_HELP = "Leave out lateral views; an image whose view is not known stays."
DATA_LABEL_HELP = (
    "LABEL=CLASS: what a label of the data counts as; LABEL= leaves its images out. * stands for "
    "any letters: '*=' leaves out all that is not named. May be repeated."
)
NO_LABELS_HELP = "The folders are no classes: an export of DICOM files, for example."
SKIP_DAMAGED_HELP = "Leave out files that cannot be read; damaged.csv in --out lists them."
SUBGROUP_HELP = (
    "Column of the manifest that forms groups, beside source, view, sex and age. May be repeated."
)
OVERRIDE_HELP = (
    "KEY=VALUE: another value of a key of the recipe, such as train.learning_rate=3e-4 (all "
    "stages), head.max_epochs=5 (one stage), augmentation.rotation=10 or input_size=320. May be "
    "repeated."
)
PRECISION_HELP = "auto, float32, or bfloat16 (auto: where the processor has units for it)."


def execution(device: str, precision: str, devices: int = 1, num_nodes: int = 1) -> Execution:
    """Return how a training is carried out, with a bar where somebody looks."""
    import importlib.util

    from cxr_transfer.training.device import Execution

    return Execution(
        device=device,
        precision=precision,
        devices=devices,
        num_nodes=num_nodes,
        bar=sys.stderr.isatty(),
        tensorboard=importlib.util.find_spec("tensorboard") is not None,
    )


def choice(option: str, given: str, known: tuple[str, ...]) -> str:
    """Return ``given`` when it is among ``known``; else a usage error."""
    if given not in known:
        raise typer.BadParameter(
            f"expected one of {', '.join(known)}, but got {given!r}", param_hint=option
        )
    return given


def log(line: str) -> None:
    """Write a line for a person, on standard error, whatever names stand in it."""
    typer.echo(for_terminal(line), err=True)


def tell(text: str) -> None:
    """Write lines for a person, on standard output, whatever names stand in them."""
    typer.echo(for_terminal(text, lines=True))


def silent(line: str) -> None:
    """Say nothing: one process of a distributed run speaks, the others do not."""


def counted(table: dict[str, int]) -> str:
    """Return numbers with their names; of many the first, and how many more there are."""
    # A collection of joined findings has hundreds of labels.
    shown = [f"{number} {name}" for name, number in list(table.items())[:LISTED]]
    more = len(table) - LISTED
    return ", ".join([*shown, *([f"{more} more"] if more > 0 else [])])


def program() -> str:
    """Return how this command is typed here: its name, or its path where no name leads to it."""
    return "cxr" if shutil.which("cxr") else os.path.relpath(sys.argv[0])


@contextmanager
def no_progress(_title: str, _total: int) -> Iterator[Callable[[], None]]:
    """Show nothing, as `silent`."""
    yield lambda: None


@contextmanager
def study_bar() -> Iterator[tuple[Callable[[str], None], Callable[[Progress], None]]]:
    """Show one line for a whole study, with the time left; lines that are said go above it.

    Where no terminal is, a line tells of each thing that begins.

    Yields:
        What says a line, and what is given where the study stands.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield log, _each_beginning()
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.share, description=_where(progress))

        yield lambda line: bar.console.print(Text(for_terminal(line)), soft_wrap=True), show


def _each_beginning() -> Callable[[Progress], None]:
    """Return what says a line whenever something else runs."""
    last = ""

    def show(progress: Progress) -> None:
        nonlocal last
        title = progress.title.partition(" · ")[0]
        if title != last:
            last = title
            log(f"{progress.share:.0%} done, {_where(dataclasses.replace(progress, title=title))}")

    return show


def _where(progress: Progress) -> str:
    """Say what runs, and how long the rest takes."""
    title = for_terminal(progress.title)
    if progress.seconds_left is None:
        return title
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    return f"{title}, about {f'{minutes} min {seconds:02d} s' if minutes else f'{seconds} s'} left"


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the time left on a terminal, one line elsewhere."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        log(f"{title}: {total} images" if total else title)
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(escape(for_terminal(title)), total=total or None)
        yield lambda: progress.advance(task)
