"""How the commands speak: lines on standard error, bars with the time left, choices checked.

Standard output is for answers, so that it can be piped.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from cxr_transfer.cli.screen import SCREEN
from cxr_transfer.errors import LISTED, Notice
from cxr_transfer.progress import Clock, Show, Tell, counting, of_images
from cxr_transfer.text import for_terminal

if TYPE_CHECKING:
    from cxr_transfer.training.device import Cluster, Execution


def execution(
    device: str,
    precision: str,
    devices: int = 1,
    num_nodes: int = 1,
    logger: str | None = None,
    cluster: Cluster | None = None,
) -> Execution:
    """Return how a training is carried out."""
    from cxr_transfer.training.device import Execution
    from cxr_transfer.training.loggers import chosen_loggers

    return Execution(
        device=device,
        precision=precision,
        devices=devices,
        num_nodes=num_nodes,
        loggers=chosen_loggers(logger),
        cluster=cluster,
    )


def cluster_of(address: str | None, workers: int | None, needs: str = "") -> Cluster | None:
    """Return the cluster of --cluster and --workers; None without one.

    Args:
        address: Value of --cluster.
        workers: Value of --workers.
        needs: Option without which there is one run alone, where it was not given; else "".

    Raises:
        UsageError: ``unused_option``.
    """
    from cxr_transfer.errors import UsageError
    from cxr_transfer.training.device import Cluster

    if address is None:
        if workers is not None:
            raise UsageError(
                "unused_option",
                f"Expected --workers only with --cluster, but got {workers} without it; leave it "
                "out, or add --cluster local.",
            )
        return None
    if needs:
        raise UsageError(
            "unused_option",
            f"Expected --cluster only with {needs}, since one run is not spread over machines; "
            f"leave it out, or add {needs}.",
        )
    return Cluster.named(address, workers or 2)


def choice(option: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return ``value`` when it is among ``allowed``; else a usage error."""
    if value not in allowed:
        raise typer.BadParameter(
            f"expected one of {', '.join(allowed)}, but got {value!r}", param_hint=option
        )
    return value


def log(line: str) -> None:
    """Write a line for a person, on standard error, whatever names stand in it."""
    SCREEN.say(line)


def warn(line: str) -> None:
    """Write a line for a person, as `log`, also where they asked for quiet."""
    SCREEN.say(Notice(line))


def tell(text: str) -> None:
    """Write lines for a person, on standard output, whatever names stand in them."""
    SCREEN.answer(for_terminal(text, lines=True))


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
    if shutil.which("cxr"):
        return "cxr"
    started = sys.argv[0]
    return "python -m cxr_transfer.cli" if started.endswith(".py") else os.path.relpath(started)


@contextmanager
def study_bar() -> Iterator[tuple[Callable[[str], None], Show]]:
    """Show one line for a whole study, with the time left; lines that are said go above it.

    Yields:
        What says a line, and what is given where the study stands.
    """
    with SCREEN.showing() as show:
        yield log, show


@contextmanager
def phases() -> Iterator[Tell]:
    """Show one line for phase after phase, each with the time left of it.

    Yields:
        Function that is called with the name of a phase and the share of it that is done.
    """
    with SCREEN.showing() as show:
        yield Clock(show).tell


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a phase that goes image by image.

    Args:
        title: Name of the work, such as "reading".
        total: Number of images.
    """
    with phases() as tell_phase:
        yield counting(tell_phase, of_images(title, total), total)
