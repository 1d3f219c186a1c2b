"""What is wrong with a command line is said in one line that moves no cursor, with exit code 2."""

import subprocess
import sys

import pytest

ESCAPE = "\x1b[31m"


def typed(*words):
    """What the command itself says, through Click's own errors too."""
    program = [sys.executable, "-m", "cxr_transfer.cli"]
    return subprocess.run([*program, *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("train", "model_1", "--data", "png", "--split", ESCAPE),
        ("train", "model_1", "--data", "png", "--seed", f"1{ESCAPE}"),
        ("predict", f"--bad{ESCAPE}"),
        ("predict", f"-{ESCAPE}"),
        ("predict", "a.png", f"--json={ESCAPE}"),
        (f"predict{ESCAPE}",),
        ("data", f"check\n{ESCAPE}"),
        ("serve", "--port", ESCAPE),
    ],
)
def test_a_usage_error_is_inert(words):
    done = typed(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    line = done.stderr.removesuffix("\n")
    assert line.isprintable(), line
    assert line.startswith("cxr: ")
    assert line.endswith(". [usage]")


@pytest.mark.slow
def test_a_file_whose_name_looks_like_an_option_is_named_inertly():
    done = typed("predict", "--", f"-{ESCAPE}.png")
    assert done.returncode == 1
    assert done.stdout.startswith(r"-\x1b[31m.png: error: ")


def test_without_words_the_help_is_shown():
    done = typed()
    assert done.returncode == 2
    assert "Usage: " in done.stdout + done.stderr
    assert "[usage]" not in done.stderr
