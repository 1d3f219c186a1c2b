"""The leaderboard: an entry a command, the same figures when it is run again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_transfer.training.recipe_files import load_recipe
from made_sources import recipe, write_sources

HOME = Path(__file__).parent.parent.parent
SCRIPT = HOME / "benchmarks" / "next_hospital.py"


def run(*words, expect=0):
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("next")
    write_sources(root, {"north": (40, 40), "south": (40, 40), "east": (0, 12)})
    for name, height in (("small", 48), ("smaller", 56)):
        own = recipe(name=name, preprocessing={"height": height, "width": height})
        (root / f"{name}.toml").write_text(own.to_toml())
    return root


def test_an_entry_is_run_kept_and_comes_out_the_same(root):
    words = ("--data", root / "images.csv", "--out", root / "board", "--resamples", "50")
    run(root / "small.toml", *words, "--runs", root / "runs")
    board = json.loads((root / "board" / "next-hospital.json").read_text())
    entry = board["entries"]["small"]
    assert entry["sources"].keys() == {"north", "south"}
    assert entry["skipped"].keys() == {"east"}
    assert entry["minutes"] >= 0
    # In other run folders: nothing is taken over, and every figure is the same.
    assert "small: the same" in run(
        root / "small.toml", *words, "--runs", root / "again", "--check"
    )
    run(root / "smaller.toml", *words, "--runs", root / "runs")
    both = json.loads((root / "board" / "next-hospital.json").read_text())["entries"]
    assert both.keys() == {"small", "smaller"}
    assert both["small"] == entry
    page = (root / "board" / "next-hospital.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| small")]
    worst = [
        both[row.split(":")[0].removeprefix("| ")]["summary"]["worst"]["auroc_macro"]["value"]
        for row in rows
    ]
    assert len(worst) == 2
    assert worst == sorted(worst, reverse=True)
    changed = both | {"small": entry | {"predictions_sha256": "0"}}
    (root / "board" / "next-hospital.json").write_text(json.dumps({"entries": changed}))
    said = run(root / "small.toml", *words, "--runs", root / "runs", "--check", expect=1)
    assert "small: other predictions_sha256" in said


@pytest.mark.parametrize("path", sorted((HOME / "benchmarks/next_hospital").glob("*.toml")))
def test_entries_are_recipes_for_all_sources(path):
    own = load_recipe(str(path))
    assert own.dataset == "multi_source"
    # Entries are compared on the same images: all take in and leave out what ours does.
    assert own.labels == load_recipe("multi_source").labels == load_recipe("conv3_tuned").labels
    assert own.coverage
