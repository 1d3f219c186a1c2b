"""One line with the time left on a terminal; elsewhere the same words, a line now and then."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from cxr_transfer.cli.screen import SCREEN, Screen
from cxr_transfer.cli.terminal import study_bar
from cxr_transfer.errors import MachineError, Notice
from cxr_transfer.progress import Progress

WAY = [
    Progress("reading dataset_1", 0.0, None),
    Progress("reading dataset_1", 0.1, 90.0),
    Progress("model_1", 0.2, 80.0),
    Progress("model_1 · training all", 0.5, 61.0),
    Progress("writing the report", 0.9, 4.0),
]


@pytest.fixture(autouse=True)
def _as_before():
    """What modules log goes to no file of a test that is over."""
    yield
    SCREEN.set_up(quiet=False, verbose=False, log_file=None)


@pytest.fixture
def shown(monkeypatch, capsys):
    def run(**settings):
        for name in ("TTY_COMPATIBLE", "FORCE_COLOR", "NO_COLOR", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with study_bar() as (log, show):
            for progress in WAY:
                show(progress)
            log("a [bold]line[/bold] \x1b[31mas it is")
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return run


def test_without_a_terminal_a_line_tells_what_begins(shown):
    assert shown().splitlines() == [
        "reading dataset_1",
        "model_1: 20%, about 1 min 20 s left",
        "writing the report: 90%, about 4 s left",
        r"a [bold]line[/bold] \x1b[31mas it is",
    ]


def test_on_a_terminal_one_line_is_written_over_and_over(shown):
    written = shown(TTY_COMPATIBLE="1", COLUMNS="100", NO_COLOR="1", TERM="xterm")
    assert "90%, about 4 s left" in written
    assert "[bold]line[/bold]" in written
    assert "\x1b[31m" not in written


def test_a_long_phase_gets_a_line_now_and_then(capsys):
    hand = [0.0]
    with Screen(lambda: hand[0]).showing() as show:
        for second, share in enumerate((0.0, 0.2, 0.21, 0.33, 0.34, 0.35)):
            hand[0] = second * 1.5
            show(Progress("predicting", share, None))
        hand[0] = 40.0
        show(Progress("predicting", 0.36, 70.0))
    assert capsys.readouterr().err.splitlines() == [
        "predicting",
        "predicting: 21%",  # not sooner than after two seconds
        "predicting: 34%",
        "predicting: 36%, about 1 min 10 s left",  # after half a minute in any case
    ]


def test_quiet_keeps_answers_and_notices_and_the_file_gets_every_line(tmp_path, capsys):
    quiet, file = Screen(), tmp_path / "a.log"
    quiet.set_up(quiet=True, verbose=False, log_file=file)
    quiet.say("checkpoint: runs/mine")
    quiet.say(Notice("left out: 1 file \x1b]0;x\x07"))
    quiet.detail("on cpu")
    with quiet.showing() as show:
        show(Progress("reading", 0.0, None))
        quiet.answer("covid19")
    out, err = capsys.readouterr()
    assert out == "covid19\n"
    assert err == "left out: 1 file \\x1b]0;x\\x07\n"
    lines = [line.partition("+00:00 ")[2] for line in file.read_text().splitlines()]
    assert lines[:4] == [
        "checkpoint: runs/mine",
        "left out: 1 file \\x1b]0;x\\x07",
        "on cpu",
        "reading",
    ]
    assert re.fullmatch(r"reading: \d+\.\d s", lines[4])


def test_verbose_shows_details_and_how_long_each_phase_took(capsys):
    hand = [0.0]
    verbose = Screen(lambda: hand[0])
    verbose.set_up(quiet=False, verbose=True, log_file=None)
    with verbose.showing() as show:
        show(Progress("reading", 0.0, None))
        hand[0] = 3.0
        show(Progress("training", 0.0, None))
        verbose.detail("on cpu")
    assert capsys.readouterr().err.splitlines() == [
        "reading",
        "reading: 3.0 s",
        "training",
        "on cpu",
        "training: 0.0 s",
    ]


def test_a_log_file_that_cannot_be_written_is_an_error(tmp_path):
    plain = Screen()
    plain.set_up(quiet=False, verbose=False, log_file=tmp_path / "none" / "a.log")
    with pytest.raises(MachineError) as error:
        plain.say("a line")
    assert error.value.code == "not_writable"


# Every phase of a command takes some time here, so that lines are drawn.
COMMAND = """
import sys, time
from cxr_transfer.cli.terminal import log, phases, tell
from cxr_transfer.progress import counting
with phases() as tell_phase:
    step = counting(tell_phase, sys.argv[1], 12)
    for number in range(12):
        time.sleep(0.15)
        step()
        if number == 6:
            log("a line of a log that is longer than eighty columns, " * 3)
            tell("an answer")
"""


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 40])
def test_no_line_of_progress_is_wider_than_the_terminal(columns):
    title = "reading the images of a collection whose name is long " + "\u80ba" * 40
    written, code = on_a_terminal([sys.executable, "-c", COMMAND, title], columns)
    assert code == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written))
    bars = [line for line in lines if "\u2501" in line]
    assert len(bars) > 3
    assert all(cells(line) <= columns for line in bars)
    assert any(re.search(r"\d+%, about \d+ s left", line) for line in bars)
    assert "an answer" in lines
    assert "\n\n" not in written.replace("\r", ""), "nothing is left of the line"


def cells(line):
    from rich.cells import cell_len

    return cell_len(line)


def on_a_terminal(command, columns):
    """Run a command on a pseudo-terminal; return what it wrote and how it ended."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    dropped = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    settings = {name: value for name, value in os.environ.items() if name not in dropped}
    with subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        env=settings | {"TERM": "xterm"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        os.close(its)
        written = b""
        while True:
            try:
                more = os.read(mine, 65536)
            except OSError:  # its end was closed
                break
            if not more:
                break
            written += more
    os.close(mine)
    return written.decode(), process.returncode


@pytest.mark.slow
def test_answers_go_where_they_are_sent_while_the_line_is_on_a_terminal(tmp_path):
    table = tmp_path / "answers"
    command = f'{sys.executable} -c "$0" reading > {table}'
    written, code = on_a_terminal(["sh", "-c", command, COMMAND], 80)
    assert code == 0
    assert table.read_text() == "an answer\n"
    assert "an answer" not in written
