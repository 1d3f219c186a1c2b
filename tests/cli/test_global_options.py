"""``--quiet``, ``--verbose`` and ``--log-file``, before the command and behind it."""

import subprocess
import sys

import pytest

from cxr_transfer.cli.global_options import command_of, globals_first
from made import write_image


def cxr(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "cxr_transfer.cli", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=120,
    )


def test_what_stands_behind_two_dashes_stays():
    assert globals_first(["predict", "--", "--quiet"]) == ["predict", "--", "--quiet"]
    assert globals_first(["predict", "--log-file"]) == ["--log-file", "predict"]


@pytest.mark.parametrize("words", [["--log-file=a", "train"], ["--quiet", "train"], ["train"]])
def test_the_command_is_found_behind_them(words):
    assert command_of(words) == "train"


@pytest.mark.slow
def test_a_quiet_prediction_and_its_log_file(tmp_path):
    write_image(tmp_path / "image.png")
    done = cxr(
        "predict", "image.png", "--model", "model_2", "--quiet", "--log-file", "a.log", cwd=tmp_path
    )
    assert done.stdout.startswith("image.png")
    notices = ("Research use only", "Scores are not calibrated")
    assert all(line.startswith(notices) for line in done.stderr.splitlines())
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert "cxr --quiet --log-file a.log predict image.png --model model_2" in lines[0]
    assert any(line.endswith("predicting 1 image") for line in lines)
    assert any("taken from the cache" in line or "put together" in line for line in lines)


@pytest.mark.slow
def test_an_error_stands_in_the_log_file_too(tmp_path):
    done = cxr("--log-file", "a.log", "predict", "none.png", "--model", "nothing", cwd=tmp_path)
    said = done.stderr.splitlines()[-1]
    assert said.startswith("cxr: Expected")
    assert said.removeprefix("cxr: ") in (tmp_path / "a.log").read_text()


def test_a_log_file_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path):
    done = cxr("--log-file", "none/a.log", "doctor", cwd=tmp_path)
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].endswith("[not_writable]")
    assert done.stdout == ""


@pytest.mark.slow
def test_quiet_and_verbose_contradict_each_other(tmp_path):
    done = cxr("--quiet", "doctor", "--verbose", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose one of --quiet and --verbose" in done.stderr
