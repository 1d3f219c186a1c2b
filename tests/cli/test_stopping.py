"""Ctrl-C ends every command with 130 and one line, wherever it comes and whatever is made of it."""

import os
import signal
import subprocess
import sys

import pytest

from made import write_image

# As a person starts it: a test runner in the background may ignore Ctrl-C, and so all it starts.
FIRST = """
import os, signal, sys, time
{before}
from cxr_transfer.cli import main
{after}
sys.argv = ["cxr", *{words}]
main()
"""
AT_AN_IMPORT = """
class Stop:
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(Stop)
            os.kill(os.getpid(), signal.SIGINT)
            {then}
sys.meta_path.insert(0, Stop)
"""
IN_THE_COMMAND = """
import cxr_transfer.cli.commands as commands
from cxr_transfer.errors import ModelError
def app(standalone_mode):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        {then}
commands.app = app
"""


def ended(before="", after="", words=(), handling=signal.SIG_DFL):
    return subprocess.run(
        [sys.executable, "-c", FIRST.format(before=before, after=after, words=list(words))],
        preexec_fn=lambda: signal.signal(signal.SIGINT, handling),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def was_stopped(done, said="Stopped."):
    assert (done.returncode, done.stderr) == (130, f"cxr: {said} [stopped]\n")
    return True


@pytest.mark.parametrize("name", ["typer", "cxr_transfer.cli.predict", "cxr_transfer.inference"])
@pytest.mark.parametrize("then", ["pass", "raise ImportError"])
def test_while_a_command_is_being_imported(name, then):
    # The signal arrives at a library's import, which may make of it what it likes.
    before = AT_AN_IMPORT.format(name=name, then=then)
    assert was_stopped(ended(before, words=["predict", "image.png"]))


@pytest.mark.parametrize(
    "then",
    [
        "raise",
        "raise ModelError('bad_card', 'Expected a card.')",
        "raise ValueError",
        "sys.excepthook(*sys.exc_info()); raise ModelError('bad_card', 'Expected a card.')",
        "sys.exit(1)",
        "time.sleep(60)",
    ],
)
def test_where_a_library_makes_something_else_of_it(then):
    assert was_stopped(ended(after=IN_THE_COMMAND.format(then=then)))


def test_what_was_done_before_it_could_be_stopped_is_not_called_stopped():
    done = ended(after=IN_THE_COMMAND.format(then="return None"))
    assert was_stopped(done, "Done before it could be stopped.")


def test_a_command_that_is_told_to_ignore_it_does():
    after = IN_THE_COMMAND.format(then="pass").replace("time.sleep(60)", "return 0")
    done = ended(after=after, handling=signal.SIG_IGN)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [((), "Stopped."), (("--out", "table.csv"), "Stopped; the same command goes on.")],
)
def test_a_command_at_work_stops_and_says_whether_it_goes_on(tmp_path, words, said):
    write_image(tmp_path / "image.png")
    names = "image.png\n" * 3000
    with subprocess.Popen(
        [sys.executable, "-m", "cxr_transfer.cli", "predict", "-", "--model", "model_2", *words],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        process.stdin.write(names)
        process.stdin.close()
        for line in process.stderr:
            if line.startswith("predicting 3000 images"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert rest.splitlines()[-1] == f"cxr: {said} [stopped]"
    assert "Traceback" not in rest
