"""Row 45 of the bad inputs: what was killed ends where the uninterrupted run ends, bit for bit."""

import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("interrupted.py")


def start(folder, *words, largest_file=resource.RLIM_INFINITY):
    path = os.pathsep.join(filter(None, (str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY)
        ),
    )


def finish(folder, *words):
    process = start(folder, *words)
    lines = process.communicate(timeout=300)[0].splitlines()
    assert process.returncode == 0, lines
    return lines


def kill_after(folder, line_start, *words):
    """Start, and kill -9 as soon as a line that starts so is printed."""
    process = start(folder, *words)
    for line in process.stdout:
        if line.startswith(line_start):
            process.kill()
            process.communicate()
            return
    raise AssertionError(f"ended before {line_start!r} was printed")


def test_a_killed_run_ends_bit_equal_to_the_uninterrupted_one(tmp_path):
    whole = finish(tmp_path / "whole")
    # In an epoch of the first stage, of the second, and between the last epoch and the end.
    for line in ("law · head: epoch 2", "law · all: epoch 1", "law · all: epoch 3"):
        kill_after(tmp_path / "killed", line)
    lines = finish(tmp_path / "killed")
    assert lines[-1] == whole[-1]
    epochs = [line for line in lines if "epoch" in line]
    assert len(epochs) < 4, "went on, instead of starting again"


def test_a_run_killed_behind_a_fitted_head_ends_bit_equal(tmp_path):
    whole = finish(tmp_path / "whole", "fitted")
    folder = tmp_path / "killed"
    # Between the stages, as near as a line tells, and in the first epoch that is resumed.
    for line in ("law · head: epoch 1", "law · all: epoch 1"):
        kill_after(folder, line, "fitted")
    assert (folder / "partial" / "head.safetensors").is_file()
    lines = finish(folder, "fitted")
    assert lines[-1] == whole[-1]
    assert not any(line.startswith("law · head") for line in lines), "fitted a second time"


def test_a_run_killed_in_a_stage_that_goes_back_ends_bit_equal(tmp_path):
    whole = finish(tmp_path / "whole", "back")
    assert any(line.endswith("the weights before it are kept") for line in whole)
    folder = tmp_path / "killed"
    for line in ("law · all: epoch 2", "law · all: epoch 4", "law · all: no epoch"):
        kill_after(folder, line, "back")
    lines = finish(folder, "back")
    assert lines[-1] == whole[-1]
    assert not any(line.startswith("law · head") for line in lines)


def test_a_full_disk_is_named_and_what_was_there_is_intact(tmp_path):
    whole = finish(tmp_path / "whole")
    folder = tmp_path / "full"
    kill_after(folder, "law · all: epoch 2")
    before = {path: path.read_bytes() for path in (folder / "partial").iterdir()}
    process = start(folder, largest_file=100_000)  # room for a history, not for weights
    errors = process.communicate(timeout=300)[1]
    assert process.returncode != 0
    assert "Expected room for" in errors
    assert {path: path.read_bytes() for path in (folder / "partial").iterdir()} == before
    assert finish(folder)[-1] == whole[-1]


def test_a_resume_file_that_carries_code_is_not_run(tmp_path):
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self):
            return (open, (str(canary), "w"))

    folder = tmp_path / "run"
    kill_after(folder, "law · head: epoch 2")
    (resume,) = (folder / "partial").glob("*.resume")
    resume.write_bytes(pickle.dumps(Payload()))
    process = start(folder)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert not canary.exists()
