"""What the guide for programs shows does what it says, against a server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.asking import as_bytes, phantom, running

GUIDE = Path(__file__).parents[2] / "docs/guides/http-client.md"
BLOCKS = re.findall(
    r"^```(bash|python)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S
)
SHOWN = {
    "image/png": '"answers":',
    "heat_map=true": "data:image/png;base64",
    "/heatmap": '"kept_s":',
    'x-ndjson" -F': '"end": true',
    "report.pdf": '"kept_s":',
    "JOB=": '"end": true',
    "is_genuine": "genuine: False",
    "predict_each": "now image.png",
    "submit": "2 of 2 done, 0.0 s left\nimage.png ok",
    "for answer in client.predict([": "absent.png error missing_file",
    'model="none"': "unknown_model Expected a model",
    "client.upload": "random ",
    "AsyncClient": " ",
}
"""What a block says, by a part of the block."""


@pytest.fixture(scope="module")
def keeping(checkpoint, predictor, tmp_path_factory):
    """A server that keeps jobs."""
    with running(checkpoint, CXR_SERVE_JOBS=str(tmp_path_factory.mktemp("jobs"))) as server:
        yield server


@pytest.mark.parametrize(("kind", "text"), BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_does_what_it_says(keeping, tmp_path, kind, text):
    for number, name in enumerate(("image.png", "second.png")):
        (tmp_path / name).write_bytes(as_bytes(phantom(number)))
    text = text.replace("http://127.0.0.1:8000", keeping.url)
    program = ["bash", "-euc", text] if kind == "bash" else [sys.executable, "-c", text]
    done = subprocess.run(program, cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (expected,) = [said for part, said in SHOWN.items() if part in text]
    assert expected in done.stdout
    if "heat_map.png" in text:
        assert (tmp_path / "heat_map.png").read_bytes().startswith(b"\x89PNG")
    if "report.pdf" in text:
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    if kind == "bash" and not re.search("SHA256=|x-ndjson", text):
        assert all(answer["status"] == "ok" for answer in json.loads(done.stdout)["answers"])


def test_every_kind_of_example_is_there():
    assert [kind for kind, _ in BLOCKS].count("bash") == 6
    assert len(BLOCKS) == len(SHOWN)
