"""The tutorials run from their first cell to the last, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parent.parent.parent / "docs/tutorials"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stays"),
    [("own-images", False), ("choosing-a-recipe", False), ("reading-the-study", True)],
    ids=["own-images", "choosing-a-recipe", "reading-the-study"],
)
def test_a_tutorial_runs(name, stays, tmp_path):
    """``stays``: it reads the results beside it, and writes nothing."""
    cells = json.loads((TUTORIALS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "code")
    before = sorted(TUTORIALS.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TUTORIALS if stays else tmp_path,
        env=os.environ | {"CXR_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert sorted(TUTORIALS.iterdir()) == before
