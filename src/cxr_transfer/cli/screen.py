"""What a command says, and where: a terminal, a pipe, a file of its log.

One line with the time left is written over and over on a terminal; elsewhere the same words come as
a line when a phase begins, and now and then while it lasts. ``--quiet`` keeps answers, notices and
errors alone, ``--verbose`` adds what is computed where, and ``--log-file`` gets all lines.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cxr_transfer.errors import CxrError, Notice
from cxr_transfer.progress import Progress, Show, duration
from cxr_transfer.text import for_terminal

if TYPE_CHECKING:
    from rich.console import Console

STEP, LEAST_S, MOST_S = 0.1, 2.0, 30.0
"""A phase gets another line after so large a share of it, but not sooner than after 2 s; and after
30 s in any case."""


class Screen:
    """Screen and log file, to which lines of one command go.

    Attributes:
        is_quiet: Whether answers, notices and errors alone are shown.
        is_verbose: Whether details are shown.
        log_file: File that gets all lines, with the time; None for none.

    Args:
        clock: Function that returns the seconds since some moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.is_quiet = self.is_verbose = False
        self.log_file: Path | None = None
        self._console: Console | None = None
        self._show: Show | None = None
        self._logged = _Logged(self.say, self.detail)

    def set_up(self, *, quiet: bool, verbose: bool, log_file: Path | None) -> None:
        """Begin a command.

        Raises:
            MachineError: The log file cannot be written.
        """
        self.is_quiet, self.is_verbose, self.log_file = quiet, verbose, log_file
        logger = logging.getLogger("cxr_transfer")
        for earlier in [handler for handler in logger.handlers if isinstance(handler, _Logged)]:
            logger.removeHandler(earlier)
        logger.addHandler(self._logged)
        logger.setLevel(logging.DEBUG if verbose or log_file else logging.INFO)
        logger.propagate = False  # The server's log, and libraries', are others.

    @property
    def is_terminal(self) -> bool:
        """Whether standard error is a terminal, on which a line can be written over."""
        from rich.console import Console

        return Console(stderr=True).is_terminal

    def say(self, line: str) -> None:
        """Write a line for a person, on standard error, whatever names stand in it."""
        self.record(line)
        if not self.is_quiet or isinstance(line, Notice):
            self._write(line, err=True)

    def detail(self, line: str) -> None:
        """Write a line for a person who asked for details."""
        self.record(line)
        if self.is_verbose:
            self._write(line, err=True)

    def answer(self, text: str) -> None:
        """Write an answer on standard output, as it is."""
        self._write(text, err=False)

    def record(self, line: str) -> None:
        """Write a line into the log file alone.

        Raises:
            MachineError: The log file cannot be written.
        """
        if self.log_file:
            from cxr_transfer.files import append_line
            from cxr_transfer.provenance import now

            append_line(self.log_file, f"{now()} {for_terminal(line)}")

    @contextmanager
    def showing(self) -> Iterator[Show]:
        """Show how far work is while a block lasts; within another such block, in its line.

        Yields:
            Function that is given where the work stands.
        """
        if self._show:
            yield self._show
            return
        seconds = _Seconds(self.detail, self._clock)
        is_line = not self.is_quiet and self.is_terminal
        say = self.record if self.is_quiet else self.say
        with _line() if is_line else nullcontext(_Lines(say, self._clock).show) as show:
            also = _Lines(self.record, self._clock) if is_line else None

            def show_all(progress: Progress) -> None:
                seconds.phase(progress.title)
                show(progress)
                if also:
                    also.show(progress)

            self._show, self._console = show_all, getattr(show, "console", None)
            try:
                yield show_all
            finally:
                self._show = self._console = None
        seconds.phase("")

    def _write(self, text: str, *, err: bool) -> None:
        # Above the line that is written over and over, where both are on one terminal.
        if self._console and (err or sys.stdout.isatty()):
            from rich.text import Text

            shown = for_terminal(text) if err else text
            self._console.print(Text(shown), soft_wrap=True)
        else:
            # As it is: Click would take what looks like a colour out of a file's name.
            typer.echo(for_terminal(text) if err else text, err=err, color=True)


class _Logged(logging.Handler):
    """Hands on what modules log: to everybody, or as a detail below the level INFO."""

    def __init__(self, say: Callable[[str], None], detail: Callable[[str], None]) -> None:
        super().__init__()
        self._say, self._detail = say, detail

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on the message of a record."""
        try:
            hand_on = self._say if record.levelno >= logging.INFO else self._detail
            hand_on(record.getMessage())
        except CxrError:
            raise
        except Exception:
            self.handleError(record)


class _Seconds:
    """Tells how long each phase took, once it is over."""

    def __init__(self, detail: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._detail, self._clock = detail, clock
        self._title, self._began = "", 0.0

    def phase(self, title: str) -> None:
        """Note which phase runs; "" ends the last one."""
        if title != self._title:
            now = self._clock()
            if self._title:
                self._detail(f"{self._title}: {now - self._began:.1f} s")
            self._title, self._began = title, now


class _Lines:
    """A line when a phase begins, and now and then while it lasts."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say, self._clock = say, clock
        self._phase, self._share, self._at = "", 0.0, 0.0

    def show(self, progress: Progress) -> None:
        """Say a line where it is time for one."""
        phase, now = progress.title.partition(" · ")[0], self._clock()
        since, more = now - self._at, progress.share - self._share
        if phase == self._phase and since < MOST_S and (more < STEP or since < LEAST_S):
            return
        title = phase if phase != self._phase else progress.title
        self._phase, self._share, self._at = phase, progress.share, now
        self._say(in_words(title, progress))


class _Line:
    """One line of a terminal, written over and over."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        self.console = console
        title = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.bar = Bar(
            BarColumn(bar_width=16),
            TextColumn("{task.description}", markup=False, table_column=title),
            TextColumn("{task.fields[rest]}", table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
            transient=True,
            redirect_stdout=False,  # answers may go elsewhere
        )
        self._task = self.bar.add_task("", total=1.0, rest="", visible=False)

    def __call__(self, progress: Progress) -> None:
        """Show where the work stands."""
        self.bar.update(
            self._task,
            completed=progress.share,
            description=for_terminal(progress.title),
            rest=_rest(progress),
            visible=True,
        )


@contextmanager
def _line() -> Iterator[Show]:
    from rich.console import Console

    line = _Line(Console(stderr=True))
    with line.bar:
        yield line


def in_words(title: str, progress: Progress) -> str:
    """Say what runs, how much of it is done, and how long the rest takes."""
    how_far = _rest(progress)
    return f"{title}: {how_far}" if how_far else title


def _rest(progress: Progress) -> str:
    if not progress.share:
        return ""
    left = progress.seconds_left
    return f"{progress.share:.0%}" + ("" if left is None else f", about {duration(left)} left")


SCREEN = Screen()
"""Screen of the command that this process runs."""
