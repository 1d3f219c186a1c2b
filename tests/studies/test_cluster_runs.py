"""Runs of a study on a cluster leave what one process leaves: the same bits, and one try counts.

Ray runs in a process of its own: what it leaves open is not this one's affair. One thread each, as
a worker has.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from made import write_image

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

RECIPE = """
name = "small"
network = "simple_cnn"
[preprocessing]
height = 48
width = 48
[[stages]]
name = "all"
train = ["*"]
max_epochs = 2
"""

CXR = [sys.executable, "-m", "cxr_transfer.cli"]
ALONE = os.environ | {"OMP_NUM_THREADS": "1"}


def run(*words, expect=0):
    done = subprocess.run([*CXR, *map(str, words)], env=ALONE, capture_output=True, text=True)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("cluster")
    lines = ["path,label,patient,source"]
    for source in ("north", "south"):
        for target, label in enumerate(("clear", "cloudy")):
            for row in range(20):
                name = f"{source}/{label}/{row:02}.png"
                write_image(root / name, seed=2 * row + target + 100 * (source == "south"))
                lines.append(f"{name},{label},{source}{label}{row},{source}")
    (root / "images.csv").write_text("\n".join(lines) + "\n")
    (root / "small.toml").write_text(RECIPE)
    return root


def same(one: Path, other: Path, *patterns):
    """Both folders hold the same files of these names, with the same bytes."""
    for pattern in patterns:
        names = sorted(path.relative_to(one) for path in one.rglob(pattern))
        assert names == sorted(path.relative_to(other) for path in other.rglob(pattern))
        assert names, pattern
        for name in names:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_folds_are_the_same_on_a_cluster(folder):
    asked = ("train", folder / "small.toml", "--data", folder / "images.csv", "--folds", 3)
    run(*asked, "--out", folder / "here")
    told = run(*asked, "--out", folder / "there", "--cluster", "local", "--workers", 2)
    same(folder / "here", folder / "there", "*.safetensors", "predictions.csv", "validation.csv")
    assert "fold 3 of 3" in told


def test_a_validation_is_the_same_on_a_cluster(folder):
    asked = ("validate", folder / "small.toml", "--data", folder / "images.csv")
    run(*asked, "--resamples", 50, "--out", folder / "v_here")
    run(*asked, "--resamples", 50, "--out", folder / "v_there", "--cluster", "local")
    same(folder / "v_here", folder / "v_there", "*.safetensors", "predictions.csv")


def test_a_learning_curve_is_the_same_on_a_cluster(folder):
    asked = ("study", "--data", folder / "images.csv", "--learning-curve", "4,8", "--draws", 2)
    asked = (*asked, "--models", folder / "small.toml")
    run(*asked, "--out", folder / "c_here")
    run(*asked, "--out", folder / "c_there", "--cluster", "local")
    same(folder / "c_here", folder / "c_there", "test_scores.csv", "learning_curve.csv")


def test_what_a_lost_worker_did_is_done_again(folder):
    asked = ("train", folder / "small.toml", "--data", folder / "images.csv", "--folds", 3)
    out = folder / "lost"
    words = [*CXR, *map(str, (*asked, "--out", out, "--cluster", "local"))]
    with (folder / "told").open("w") as told:
        working = subprocess.Popen(words, env=ALONE, stderr=told)
        try:
            killed = _kill_one(working, out)
            assert working.wait(600) == 0, (folder / "told").read_text()
        finally:
            working.kill()
    assert killed, "or this shows nothing"
    if not (folder / "here").exists():
        run(*asked, "--out", folder / "here")
    same(folder / "here", out, "*.safetensors", "predictions.csv")


def _kill_one(working, out):
    """Kill a worker that has begun a run."""
    until = time.monotonic() + 300
    while time.monotonic() < until and working.poll() is None:
        if list(out.glob("fold_*/small/seed_0/recipe.toml")):
            for pid in _descendants(working.pid, "ray::_Worker"):
                os.kill(pid, signal.SIGKILL)
                return True
        time.sleep(0.05)
    return False


def _descendants(ancestor, name):
    """Give the processes of this name that a process, or one of its own, has started."""
    parents, named = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
            if (folder / "cmdline").read_text().startswith(name):
                named.append(int(folder.name))
        except OSError:
            continue  # It has ended meanwhile.
    for pid in named:
        above = pid
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor:
            yield pid


def test_what_a_run_refuses_is_told_in_one_line(folder, tmp_path):
    # The second run's folder is somebody else's: it is refused where it is begun.
    other = tmp_path / "out" / "fold_2" / "small" / "seed_0"
    other.mkdir(parents=True)
    (other / "letters.txt").write_text("mine")
    asked = ("train", folder / "small.toml", "--data", folder / "images.csv", "--folds", 3)
    told = run(*asked, "--out", tmp_path / "out", "--cluster", "local", expect=2)
    assert "Traceback" not in told
    assert told.strip().splitlines()[-1].startswith("cxr: Expected")


def test_one_run_is_not_spread(folder, tmp_path):
    asked = ("train", folder / "small.toml", "--data", folder / "images.csv")
    told = run(*asked, "--out", tmp_path / "out", "--cluster", "local", expect=2)
    assert "Expected --cluster only with --folds" in told
    told = run(*asked, "--out", tmp_path / "out", "--workers", 3, expect=2)
    assert "Expected --workers only with --cluster" in told
