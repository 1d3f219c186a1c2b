"""A person with a checkpoint and images: export, predict, and what is started for it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_transfer.inference.predictor import Predictor

CXR = Path(sys.executable).with_name("cxr")


@pytest.fixture(scope="module")
def run(cxr, archives, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "run"
    words = ("--data", archives, "--out", folder, "--max-epochs", "1", "--seed", "3")
    cxr("train", "model_1", *words)
    return folder


def test_images_are_answered_and_what_is_no_image_is_named(cxr, run, archives, tmp_path):
    (tmp_path / "note.txt").write_text("no image")
    (tmp_path / "image.png").write_text("no image")
    radiograph = next(archives.rglob("*.jpeg"))
    done = cxr("predict", radiograph, tmp_path, "--model", run, "--json", expect=1)
    good, bad = map(json.loads, done.stdout.splitlines())
    assert bad["file"] == str(tmp_path / "image.png")
    assert f"left out: 1 file that is no image ({tmp_path / 'note.txt'})" in done.stderr
    assert good["status"] == "ok"
    # Training looked at its images once more, and its few validation images set no temperature.
    assert (good["calibrated"], good["temperature"]) == (False, None)
    assert "Scores are not calibrated: there are fewer than 100 validation images" in done.stderr
    assert bad["code"] == "unsupported_format"
    assert "Not a medical device" in done.stderr
    spoken = cxr("predict", radiograph, "--model", run).stdout
    assert good["label"] in spoken


def test_an_int8_export_answers_like_its_checkpoint(cxr, run, archives, tmp_path):
    pytest.importorskip("nncf")
    out = tmp_path / "int8.xml"
    said = cxr("export", run, "--precision", "int8", "--out", out).stderr
    assert "compared with the checkpoint on" in said
    assert "generated" not in said, "the run's own validation images are at hand"
    images = sorted(archives.rglob("*.jpeg"))[:6]
    rows = []
    for model in (run, out):
        done = cxr("predict", *images, "--model", model, "--json")
        rows.append([json.loads(line)["probabilities"] for line in done.stdout.splitlines()])
    for exact, rounded in zip(*rows, strict=True):
        assert rounded == pytest.approx(exact, abs=0.1)


def test_a_converted_network_answers_without_torch(cxr, run, archives, tmp_path):
    out = tmp_path / "model.xml"
    cxr("export", run, "--out", out)
    radiograph = next(archives.rglob("*.jpeg"))
    script = (
        "import sys; from cxr_transfer.cli import app; "
        f"app(['predict', {str(radiograph)!r}, '--model', {str(out)!r}], standalone_mode=False); "
        "print({'torch', 'lightning', 'scipy', 'openvino_telemetry'} & "
        "{name for name, module in sys.modules.items() if module})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.endswith("set()\n"), done.stderr


def test_a_table_for_a_program_holds_the_very_names(cxr, run, tmp_path):
    names = {"\x1b[31mred.png", "two\nlines.png", "zero\u200bwidth.png"}
    for name in names:
        (tmp_path / name).write_bytes(b"no image")
    done = cxr("predict", tmp_path, "--model", run, "--csv", expect=1)
    rows = csv.DictReader(done.stdout.splitlines(keepends=True))
    assert {Path(row["file"]).name for row in rows} == names


def test_what_is_no_model_is_named(cxr, archives, tmp_path):
    radiograph = next(archives.rglob("*.jpeg"))
    assert "no_model" in cxr("predict", radiograph, "--model", tmp_path / "x.xml", expect=4).stderr
    assert "no_checkpoint" in cxr("predict", radiograph, "--model", tmp_path, expect=4).stderr


def test_every_door_gives_one_image_the_same_scores(cxr, run, archives, tmp_path):
    radiograph = next(archives.rglob("*.jpeg"))
    python = Predictor.open(run).predict(radiograph)
    line = json.loads(cxr("predict", radiograph, "--model", run, "--json").stdout)
    with radiograph.open("rb") as handle:
        piped = subprocess.run(
            [CXR, "predict", "-", "--model", run, "--json"],
            stdin=handle,
            capture_output=True,
            check=True,
        )
    cxr("predict", radiograph, "--model", run, "--out", tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    listed = cxr(
        "predict", radiograph.parent / "*.jpeg", "--model", run, "--json"
    ).stdout.splitlines()
    among_others = next(
        found for found in map(json.loads, listed) if found["file"] == str(radiograph)
    )
    for scores in (
        line["probabilities"],
        json.loads(piped.stdout)["probabilities"],
        among_others["probabilities"],
        {label: float(row[f"score_{label}"]) for label in python.probabilities},
    ):
        assert scores == pytest.approx(python.probabilities, abs=2e-6)


def test_an_image_is_explained_and_a_map_is_drawn_for_every_class_given(
    cxr, run, archives, tmp_path
):
    radiograph = next(archives.rglob("*.jpeg"))
    said = cxr("explain", radiograph, "--model", run, "--out", tmp_path / "why").stdout
    assert "; not calibrated)" in said
    assert "like a training image of" in said
    assert (tmp_path / "why" / f"{radiograph.stem}.png").is_file()
    (tmp_path / "note.txt").write_text("no image")
    words = ("--model", run, "--heatmaps", tmp_path / "maps")
    cxr("predict", radiograph, tmp_path / "note.txt", *words, expect=1)
    assert [path.name for path in sorted((tmp_path / "maps").glob("*.png"))] == [
        f"{radiograph.stem}.png"
    ]


def test_nothing_to_answer_for_is_said(cxr, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no_images" in cxr("predict", tmp_path / "empty", expect=2).stderr
    (tmp_path / "empty" / "note.txt").write_text("no image")
    said = cxr("predict", tmp_path / "empty", expect=2).stderr
    assert "no_images" in said
    assert "1 file that is no image" in said
