"""A cluster answers as one process does: the same rows, in the same order, whatever is lost of it.

Ray runs in processes of its own: what it leaves open is not this one's affair.
"""

import json
import os
import signal
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
from made_cluster import made_cluster
from made_store import BUCKET, connected, made_store

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
    script = SCRIPT.replace("workers=2", "address='127.0.0.1:9'")
    listed = tmp_path / "files.txt"
    listed.write_text("a.png\n")
    done = subprocess.run(
        [sys.executable, "-c", script, str(checkpoint), str(listed), str(tmp_path / "x.csv"), "0"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert json.loads(done.stdout.splitlines()[-1])["code"] == "no_cluster", done.stderr


LOSSES = """
import json, sys
from dataclasses import asdict
from cxr_transfer.errors import CxrError
from cxr_transfer.inference import ray_backend, table

model, listed, out, address, tries = sys.argv[1:]
table.CHUNK = 16
ray_backend.TRIES = int(tries)
told = 0

def each():
    global told
    told += 1
    if told % 16 == 0:
        print(told, flush=True)

files = open(listed).read().splitlines()
try:
    done = ray_backend.predict_on_cluster(
        model, files, out, workers=4, address=address, on_image=each
    )
    print(json.dumps(asdict(done)), flush=True)
except CxrError as error:
    print(error.code, flush=True)
"""


def drive(checkpoint, listed, out, address, tries=10):
    return subprocess.Popen(
        [sys.executable, "-c", LOSSES, str(checkpoint), str(listed), out, address, str(tries)],
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(driver, number):
    """Wait until that many files have been told; returns what was said last."""
    for line in driver.stdout:
        if line.strip().isdigit() and int(line) >= number:
            return
    raise AssertionError("the driver ended before")


@pytest.mark.parametrize("tries", [10, 1])
def test_processes_a_driver_and_a_machine_are_lost_and_no_row_is(
    checkpoint, tmp_path, monkeypatch, tries
):
    """From a bucket into a bucket. With one try, all stages start again when a machine is lost."""
    for package in ("moto.server", "s3fs", "psutil"):
        pytest.importorskip(package)
    monkeypatch.setattr(table, "CHUNK", 16)
    with made_store() as store, connected(store.environment, monkeypatch):
        files = store.put_images("images", 12) * 16
        (tmp_path / "files.txt").write_text("\n".join(files))
        predict_into(Predictor.open(checkpoint), files, tmp_path / "whole.csv")
        given = checkpoint, tmp_path / "files.txt", f"s3://{BUCKET}/out.csv"
        with made_cluster() as cluster:
            driver = drive(*given, cluster.address)
            wait_for(driver, 16)
            assert cluster.lose("process Preparing") >= 1
            wait_for(driver, 32)
            assert cluster.lose("process Inferring") >= 1
            wait_for(driver, 48)
            driver.send_signal(signal.SIGKILL)
            driver.communicate()
            kept = len(store.keys("out.csv.partial")) - 1
            assert 3 <= kept < 12
            driver = drive(*given, cluster.address, tries)
            wait_for(driver, 16 * (kept + 1))
            assert cluster.lose("machine") == "done"
            summary = json.loads(driver.communicate(timeout=300)[0].splitlines()[-1])
        assert driver.returncode == 0
        assert summary["resumed"] == 16 * kept, "what was kept is not answered again"
        assert summary["error"] == 32
        assert store.get("out.csv") == (tmp_path / "whole.csv").read_bytes()
        assert store.keys("out.csv") == ["out.csv"]
