"""Two workers of a cluster answer as one process does: the same rows, in the same order.

Ray runs in a process of its own: what it leaves open is not this one's affair.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.inference import table
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.table import predict_into

pytest.importorskip("ray.data")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("checkpoint", ["simple_cnn"], indirect=True),
]

SCRIPT = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from cxr_transfer.errors import CxrError
from cxr_transfer.inference import table
from cxr_transfer.inference import ray_backend
from cxr_transfer.inference.predictor import Predictor

model, listed, out, most = sys.argv[1:]
table.CHUNK = 16
told = []

def each():
    told.append(1)
    if len(told) == int(most):
        os._exit(9)  # as if killed: nothing is tidied up

files = Path(listed).read_text().splitlines()
try:
    done = ray_backend.predict_on_cluster(model, files, Path(out), workers=2, on_image=each)
    print(json.dumps(asdict(done) | {"told": len(told)}))
except CxrError as error:
    print(json.dumps({"code": error.code, "message": error.message}))
"""


def run(model, files, out, most=0, **environment):
    listed = out.with_name("files.txt")
    listed.write_text("\n".join(map(str, files)))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model), str(listed), str(out), str(most)],
        capture_output=True,
        text=True,
        cwd=out.parent,
        env=os.environ | environment,
        timeout=500,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return done, json.loads(said[-1]) if said else None


def test_two_workers_give_the_rows_of_one_process_also_after_a_kill(
    checkpoint, tmp_path, monkeypatch
):
    """Fifty images, a damaged and an absent one, over four chunks; relative names stay as given."""
    for seed in range(12):
        image = draw_radiograph(("normal", "covid19")[seed % 2], rng=np.random.default_rng(seed))
        Image.fromarray(image).save(tmp_path / f"{seed:02}.png")
    (tmp_path / "03.png").write_bytes(b"no image at all")
    (tmp_path / "04.png").unlink()
    files = [f"{number % 12:02}.png" for number in range(52)]
    monkeypatch.setattr(table, "CHUNK", 16)
    monkeypatch.chdir(tmp_path)
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    alone = predict_into(Predictor.open(checkpoint), files, whole)

    # Short, for sockets have short names; what a kill leaves there goes with it.
    with tempfile.TemporaryDirectory(prefix="cxr", ignore_cleanup_errors=True) as left:
        done, _ = run(checkpoint, files, out, most=20, TMPDIR=left)
    assert done.returncode == 9, done.stderr
    assert list((tmp_path / "out.csv.partial").glob("*.jsonl"))
    done, summary = run(checkpoint, files, out)
    assert done.returncode == 0, done.stderr
    assert summary["resumed"] >= 16
    assert (summary["ok"], summary["error"]) == (alone.ok, alone.error)
    assert summary["told"] == 52
    assert out.read_text() == whole.read_text()
    said = [line for line in done.stderr.splitlines() if "Set ray log level" not in line]
    assert said == [], "Ray keeps its chatter to itself"


def test_a_cluster_that_is_not_there_is_a_machine_error(checkpoint, tmp_path):
    script = SCRIPT.replace("workers=2", "address='auto'")
    listed = tmp_path / "files.txt"
    listed.write_text("a.png\n")
    done = subprocess.run(
        [sys.executable, "-c", script, str(checkpoint), str(listed), str(tmp_path / "x.csv"), "0"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert json.loads(done.stdout.splitlines()[-1])["code"] == "no_cluster", done.stderr
