"""The archives that are handed out, installed into empty environments and used: no torch there."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from cxr_transfer.datasets.phantom import draw_radiograph
from made import encoded

pytestmark = pytest.mark.slow

HOME = Path(__file__).parents[2]
HEAVY = ("torch", "lightning", "matplotlib", "scipy", "sklearn")
MOST_BYTES = 25_000_000
NEEDS_MORE = (
    "train model_1 --data images --out out",
    "study --data images --out out",
    "evaluate model_2 --data images --out out",
    "audit model_2 --data images --out out",
    "card model_2",
    "data check images",
    "export model_2 --out out.onnx",
)
NO_INDEX = re.compile(
    r"No matching distribution|Could not find a version|Connection|Temporary failure|timed out"
)


def run(*words, folder=None, codes=(0,), **environment):
    """Run a program of another environment: nothing of this one leads into it."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=own | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode in codes, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def pip(python, *words):
    try:
        return run(python, "-m", "pip", "install", "--quiet", *words)
    except AssertionError as error:
        if NO_INDEX.search(str(error)):
            pytest.skip(f"no package index can be reached: {str(error)[-300:]}")
        raise


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The wheel and the source archive of this checkout."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("archives")
    try:
        run(sys.executable, "-m", "build", "--outdir", folder, HOME)
    except AssertionError as error:
        if NO_INDEX.search(str(error)):
            pytest.skip("no package index can be reached: the archives' build tool cannot be had")
        raise
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def environment(folder, wheel, extra):
    """The programs of an environment with the wheel and one extra, and nothing else."""
    run(sys.executable, "-m", "venv", folder)
    constraints = ("--constraint", HOME / "constraints.txt")
    pip(folder / "bin/python", *constraints, f"cxr-transfer[{extra}] @ {wheel.as_uri()}")
    return folder / "bin"


@pytest.fixture(scope="module")
def core(archives, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("core"), archives[0], "serve")


@pytest.fixture(scope="module")
def beside_an_archive(archives, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("pacs"), archives[0], "pacs")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images, and a cache of its own."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "images").mkdir()
    for seed in range(2):
        radiograph = draw_radiograph("covid19", rng=np.random.default_rng(seed))
        (folder / "images" / f"{seed}.png").write_bytes(encoded(radiograph))
    return folder


@pytest.fixture(scope="module")
def cxr(core, place):
    def run_cxr(command, codes=(0,)):
        words = (core / "cxr", *command.split())
        return run(*words, folder=place, codes=codes, CXR_CACHE=str(place / "cache"))

    return run_cxr


def test_the_archives_are_small(archives):
    for archive in archives:
        assert archive.stat().st_size < MOST_BYTES


def test_nothing_heavy_comes_along(core):
    script = f"import importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])"
    assert run(core / "python", "-c", script).stdout == "[]\n"


def test_a_node_needs_pacs_alone(beside_an_archive, place):
    """A generated image goes the whole way, without [train] and [serve]."""
    missing = (*HEAVY, "fastapi", "uvicorn")
    script = f"import importlib.util as u; print([n for n in {missing} if u.find_spec(n)])"
    assert run(beside_an_archive / "python", "-c", script).stdout == "[]\n"
    cache = {"CXR_CACHE": str(place / "pacs-cache")}
    done = run(beside_an_archive / "cxr", "pacs", "doctor", "--json", folder=place, **cache)
    examined = json.loads(done.stdout)
    assert examined["works"]
    assert {step["step"] for step in examined["steps"]} >= {"C-STORE", "answers", "same study"}


def test_the_source_archive_installs_to_the_same_package(archives, core, tmp_path):
    _, source = archives
    run(sys.executable, "-m", "venv", tmp_path / "environment")
    python = tmp_path / "environment/bin/python"
    pip(python, "--no-deps", source)
    script = (
        "import hashlib, importlib.util as u, pathlib\n"
        "home = pathlib.Path(u.find_spec('cxr_transfer').origin).parent\n"
        "files = [p for p in sorted(home.rglob('*')) if p.is_file() and p.suffix != '.pyc']\n"
        "for p in files: print(p.relative_to(home), hashlib.sha256(p.read_bytes()).hexdigest())"
    )
    one, other = (run(each, "-c", script).stdout for each in (python, core / "python"))
    assert one == other
    assert "graph.layout.json" in one


def test_it_predicts_and_explains_offline(cxr, place):
    for model in ("multi_source", "model_2"):
        lines = cxr(f"predict images --model {model} --json", codes=(0, 1)).stdout.splitlines()
        assert [json.loads(line)["file"] for line in lines] == ["images/0.png", "images/1.png"]
        assert {json.loads(line)["status"] for line in lines} <= {"ok", "cannot_assess"}
    cxr("explain images/0.png --model model_2 --label covid19 --out why")
    assert (place / "why" / "0.png").read_bytes().startswith(b"\x89PNG")
    cxr("export model_2 --out network.xml")
    assert cxr("predict images --model network.xml --json", codes=(0, 1)).stdout


def test_it_helps_and_says_what_is_there(cxr):
    assert "predict" in cxr("--help").stdout
    said = cxr("doctor").stdout
    assert 'missing: pip install "cxr-transfer[train]"' in said
    assert re.search(r"^serve +installed$", said, re.MULTILINE)


@pytest.mark.parametrize("command", NEEDS_MORE)
def test_what_needs_more_says_so_in_one_line(command, cxr, place):
    done = cxr(command, codes=(5,))
    assert re.fullmatch(
        r"cxr: Expected \w+ for .+, but it is not installed: pip install "
        r"'cxr-transfer\[train\]'\. \[missing_package\]",
        done.stderr.strip().splitlines()[-1],
    )
    assert "Traceback" not in done.stderr
    assert not (place / "out").exists()


def test_the_public_functions_say_so_too(core):
    script = "import cxr_transfer\ntry: cxr_transfer.train\nexcept Exception as e: print(e)"
    said = run(core / "python", "-c", script).stdout
    assert "pip install 'cxr-transfer[train]'" in said


def test_it_serves_an_explained_answer_and_a_report(core, place):
    radiograph = (place / "images" / "0.png").read_bytes()
    form = b'--x\r\nContent-Disposition: form-data; name="heat_map"\r\n\r\ntrue\r\n'
    body = form + (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="0.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + radiograph + b"\r\n--x--\r\n"
    )
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log = (place / "log").open("w+")
    server = subprocess.Popen(
        [core / "cxr", "serve", "--model", "model_2", "--port", "0"],
        stdout=log,
        stderr=log,
        env=own | {"CXR_CACHE": str(place / "cache")},
    )

    def port():
        found = re.search(r'"port": (\d+)', (place / "log").read_text())
        return found and found[1]

    def send(path):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port()}{path}",
            data=body,
            headers={"Content-Type": "multipart/form-data; boundary=x"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()

    try:
        while '"event": "ready"' not in (place / "log").read_text():
            assert server.poll() is None, (place / "log").read_text()
            time.sleep(0.2)
        (answer,) = json.loads(send("/v1/predict"))["answers"]
        assert answer["status"] in ("ok", "cannot_assess")
        if answer["status"] == "ok":
            assert answer["heat_map"].startswith("data:image/png")
        body = body.replace(form, b"")
        assert send("/v1/report").startswith(b"%PDF")
    finally:
        server.terminate()
        server.wait()
        log.close()
