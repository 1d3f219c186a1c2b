"""A package of somebody else adds an architecture, a collection and a check, and all are used."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_transfer.datasets.phantom import PhantomSize, write_phantom

EXAMPLE = Path(__file__).parents[2] / "examples" / "cxr-transfer-example"
RECIPE = """
name = "mine"
title = "A network of two convolutions"
network = "tiny_cnn"
dataset = "multi_source"
preprocessing = { height = 96, width = 96 }

[[stages]]
name = "all"
train = ["*"]
max_epochs = 2
"""

pytestmark = pytest.mark.slow


def test_a_package_that_adds_all_three_is_short():
    files = [*EXAMPLE.rglob("*.py"), EXAMPLE / "pyproject.toml"]
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) < 120


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, installed where nothing else is."""
    folder = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    done = subprocess.run([*install, str(folder), str(EXAMPLE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Generated images as the example's collection has them: two classes, a patient each."""
    root = tmp_path_factory.mktemp("example")
    write_phantom(
        root / "drawn", seed=2, size=PhantomSize(normal=30, bacterial=30, viral=0, covid19=1)
    )
    rows = []
    for number, path in enumerate(sorted((root / "drawn").rglob("*.jpeg"))):
        if "cohen" in str(path) or "covid" in str(path):
            continue
        diagnosis = "healthy" if "NORMAL" in path.parent.name.upper() else "pneumonia"
        rows.append({"file": f"{number}.jpeg", "diagnosis": diagnosis, "subject": f"p{number}"})
        (root / "collection").mkdir(exist_ok=True)
        path.rename(root / "collection" / f"{number}.jpeg")
    with (root / "collection" / "example_index.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, ["file", "diagnosis", "subject"])
        writer.writeheader()
        writer.writerows(rows)
    return root / "collection"


def test_a_package_adds_an_architecture_a_collection_and_a_check(installed, images, cxr, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE.replace('"multi_source"', '"dataset_1"'))
    run = tmp_path / "run"
    refused = cxr("train", recipe, "--data", images, "--out", run, expect=2)
    assert "tiny_cnn" in refused.stderr
    assert "simple_cnn" in refused.stderr
    cxr("train", recipe, "--data", images, "--out", run, PYTHONPATH=installed)
    card = json.loads((run / "checkpoint.json").read_text())
    assert card["architecture"] == "tiny_cnn"
    assert card["labels"] == ["healthy", "pneumonia"]
    audit = tmp_path / "audit"
    cxr("audit", run, "--data", images, "--out", audit, PYTHONPATH=installed, expect=None)
    checks = json.loads((audit / "audit.json").read_text())["checks"]
    assert checks[-1]["name"] == "rarest_class"
    assert "Images of the rarest class" in (audit / "audit.md").read_text()
    answer = cxr("predict", "--model", run, next(images.glob("*.jpeg")), PYTHONPATH=installed)
    assert "healthy" in answer.stdout or "cannot" in answer.stdout
    without = cxr("predict", "--model", run, next(images.glob("*.jpeg")), expect=4)
    assert "tiny_cnn" in without.stderr
