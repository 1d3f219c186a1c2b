"""A person with a checkpoint and films: export, predict, and what is started for it."""

import json
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def run(cxr, archives, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "run"
    words = ("--data", archives, "--out", folder, "--max-epochs", "1", "--seed", "3")
    cxr("train", "model_1", *words)
    return folder


def test_films_are_answered_and_what_is_no_film_is_named(cxr, run, archives, tmp_path):
    (tmp_path / "note.txt").write_text("no film")
    film = next(archives.rglob("*.jpeg"))
    done = cxr("predict", film, tmp_path, "--model", run, "--json", expect=1)
    good, bad = map(json.loads, done.stdout.splitlines())
    assert good["status"] == "ok"
    assert good["calibrated"], "training looked at its films once more"
    assert bad["code"] == "unsupported_format"
    assert "Not a medical device" in done.stderr
    spoken = cxr("predict", film, "--model", run).stdout
    assert good["label"] in spoken


def test_an_int8_export_answers_like_its_checkpoint(cxr, run, archives, tmp_path):
    pytest.importorskip("nncf")
    out = tmp_path / "int8.xml"
    said = cxr("export", run, "--precision", "int8", "--out", out).stderr
    assert "compared with the checkpoint on" in said
    assert "generated" not in said, "the run's own validation films are at hand"
    films = sorted(archives.rglob("*.jpeg"))[:6]
    rows = []
    for model in (run, out):
        done = cxr("predict", *films, "--model", model, "--json")
        rows.append([json.loads(line)["probabilities"] for line in done.stdout.splitlines()])
    for exact, rounded in zip(*rows, strict=True):
        assert rounded == pytest.approx(exact, abs=0.1)


def test_a_converted_network_answers_without_torch(cxr, run, archives, tmp_path):
    out = tmp_path / "model.xml"
    cxr("export", run, "--out", out)
    film = next(archives.rglob("*.jpeg"))
    script = (
        "import sys; from cxr_transfer.cli import app; "
        f"app(['predict', {str(film)!r}, '--model', {str(out)!r}], standalone_mode=False); "
        "print({'torch', 'lightning', 'scipy', 'openvino_telemetry'} & "
        "{name for name, module in sys.modules.items() if module})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.endswith("set()\n"), done.stderr


def test_what_is_no_model_is_named(cxr, archives, tmp_path):
    film = next(archives.rglob("*.jpeg"))
    assert "no_model" in cxr("predict", film, "--model", tmp_path / "x.xml", expect=4).stderr
    assert "no_checkpoint" in cxr("predict", film, "--model", tmp_path, expect=4).stderr
