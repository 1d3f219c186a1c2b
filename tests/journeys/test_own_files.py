"""A person with files as they lie on a hospital's disk: no endings, links, outputs in between."""

import csv
import json
import shutil

import pytest

from made import chest, write_image
from made_dicom import dicom

RECIPE = """
name = "mine"
title = "a linear model on random features"
network = "simple_cnn"
dataset = "dataset_1"

[preprocessing]
height = 48
width = 48

[[stages]]
name = "all"
train = ["*"]
max_epochs = 1
batch_size = 10
"""
PATIENTS = 12
"""Of each class, with 4 images each."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    return {"CXR_CONFIG": str(folder), "CXR_CACHE": str(folder / "cache")}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder per class of DICOM files without endings; one class is behind a link."""
    root = tmp_path_factory.mktemp("own")
    for label, place in (("clear", "images/clear"), ("cloudy", "store/cloudy")):
        for patient in range(PATIENTS):
            for image in range(4):
                folder = root / place / f"{patient:02}"
                folder.mkdir(parents=True, exist_ok=True)
                said = {"PatientID": f"Secret-{label}-{patient}", "PatientAge": "045Y"}
                content = dicom(chest(4 * patient + image + 100 * (label == "clear")), **said)
                (folder / f"IM{image:04}").write_bytes(content)
    (root / "images" / "cloudy").symlink_to(root / "store" / "cloudy")
    (root / "images" / "cloudy" / "00" / "gone").symlink_to("nowhere")
    (root / "images" / "clear" / "up").symlink_to("../..")
    (root / "images" / "clear" / "notes.txt").write_text("x")
    (root / "mine.toml").write_text(RECIPE)
    return root / "images"


@pytest.fixture(scope="module")
def run(images, cxr, settings):
    """The run folder lies among the images."""
    words = ("train", images.parent / "mine.toml", "--data", images, "--out", images / "run")
    return images / "run", cxr(*words, **settings)


def rows(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_files_without_endings_and_behind_links_are_trained_on_by_patient(images, run):
    folder, done = run
    parts = rows(folder / "split.csv")
    assert len(parts) == 2 * 4 * PATIENTS
    where = {}
    for row in parts:
        where.setdefault(row["patient"], set()).add(row["split"])
    assert len(where) == 2 * PATIENTS
    assert all(len(found) == 1 for found in where.values())
    assert {row["age"] for row in parts} == {"45"}
    said = done.stderr
    assert "96 of 96 images name their patient in the DICOM header; patients: 24" in said
    assert "1 file that is no image (clear/notes.txt)" in said
    assert "1 broken link (cloudy/00/gone)" in said
    assert "1 link to a folder that is read anyway (clear/up)" in said
    assert said.count("left out:") == 1


def test_nothing_that_was_written_or_said_holds_a_patients_number(images, run, settings):
    folder, done = run
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert b"ecret-" not in path.read_bytes(), path
        assert b"Doe^Jane" not in path.read_bytes(), path
    assert "ecret" not in done.stdout + done.stderr


def test_the_same_command_goes_on_though_its_folder_lies_among_the_images(
    images, run, cxr, settings
):
    words = ("train", images.parent / "mine.toml", "--data", images, "--out", images / "run")
    said = cxr(*words, **settings).stderr
    assert "done before" in said
    assert "1 written by this program (run)" in said


def test_an_evaluation_among_the_images_names_files_as_the_manifest_does(
    images, run, cxr, settings
):
    words = ("--data", images / "run" / "split.csv", "--out", images / "evaluation")
    for _ in range(2):
        cxr("evaluate", images / "run", *words, **settings)
    tested = [row for row in rows(images / "run" / "split.csv") if row["split"] == "test"]
    told = rows(images / "evaluation" / "predictions.csv")
    for key, name in (("path", "file"), ("patient",) * 2, ("sha256",) * 2, ("split",) * 2):
        assert [row[name] for row in told] == [row[key] for row in tested]
    assert len({row["file"] for row in told}) == len(told), "many files are called IM0000"
    validation = rows(images / "run" / "validation.csv")
    assert {row["split"] for row in validation} == {"validation"}
    assert all((images / row["file"]).is_file() for row in validation)
    words = ("--data", images, "--out", images / "second")
    said = cxr("evaluate", images / "run", *words, expect=3, **settings).stderr
    assert "[seen_images]" in said, "patients of DICOM headers are known again"


def test_a_table_among_the_images_is_no_image(images, run, cxr, settings):
    out = images / "answers.csv"
    words = ("predict", images, "--model", images / "run", "--out", out)
    cxr(*words, expect=1, **settings)
    told = rows(out)
    broken = [row["file"] for row in told if row["code"] == "missing_file"]
    assert len(told) == 96 + 1
    assert broken == [str(images / "cloudy" / "00" / "gone")]
    out.unlink()
    shutil.copytree(images / "evaluation", images / "clear" / "copied")
    cxr(*words, expect=1, **settings)
    assert [row["file"] for row in rows(out)] == [row["file"] for row in told]


def test_maps_among_the_images_are_no_images(run, images, cxr, settings, tmp_path):
    for number in range(2):
        write_image(tmp_path / f"{number}.png", number)
    for maps in (("--heatmaps", tmp_path / "maps"), ("--heatmaps", tmp_path / "maps"), ()):
        done = cxr("predict", tmp_path, "--model", images / "run", "--json", *maps, **settings)
        found = [json.loads(line)["file"] for line in done.stdout.splitlines()]
        assert found == [str(tmp_path / "0.png"), str(tmp_path / "1.png")]
    assert "2 written by this program" in done.stderr


def test_a_manifest_is_checked_and_each_of_its_files_told(images, cxr, settings, tmp_path):
    for number in range(3):
        write_image(tmp_path / "images" / str(number % 2) / "1.png", number)
    (tmp_path / "images" / "0" / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "images.csv").write_text(
        "path,label,patient,age\nimages/0/1.png,Normal,p1,12.0\nimages/1/1.png,normal,nan,NaN\n"
        "images/0/half.png,sick,p2,\n"
    )
    words = ("data", "check", tmp_path / "images.csv", "--table", tmp_path / "table.csv")
    said = cxr(*words, expect=1, **settings).stdout
    assert "manifest (" in said
    assert "2 Normal" in said
    assert "note     labels that differ in spelling alone are one: 'normal' (1)" in said
    assert "no patient is known of 1 of 3 images" in said
    assert "images/0/half.png (patient p2, SHA-256 4c4b6a3be1314ab8" in said
    told = rows(tmp_path / "table.csv")
    assert [row["file"] for row in told] == [
        "images/0/1.png",
        "images/1/1.png",
        "images/0/half.png",
    ]
    assert [row["status"] for row in told][:2] == ["ok", "ok"]


def test_what_stands_for_no_class_is_refused_by_its_line_before_any_training(
    images, cxr, settings, tmp_path
):
    write_image(tmp_path / "1.png")
    (tmp_path / "images.csv").write_text("path,label,age\n1.png,None,54\n1.png,normal,-5\n")
    words = ("--data", tmp_path / "images.csv", "--out", tmp_path / "run")
    said = cxr("train", images.parent / "mine.toml", *words, expect=3, **settings).stderr
    assert "line 2: label must name a class, but is 'None'" in said
    assert "line 3: age must be years" in said
    assert not (tmp_path / "run").exists()


def test_a_home_that_cannot_be_written_stops_no_prediction(images, run, cxr, settings, tmp_path):
    (tmp_path / "home").touch()
    nowhere = {"HOME": str(tmp_path / "home"), "CXR_CACHE": "", "XDG_CACHE_HOME": ""}
    write_image(tmp_path / "1.png")
    words = ("predict", tmp_path / "1.png", "--model", images / "run", "--json")
    done = cxr(*words, **(settings | nowhere))
    assert json.loads(done.stdout)["status"] == "ok"
    assert f"the cache {tmp_path / 'home' / '.cache' / 'cxr-transfer'} cannot be written" in (
        done.stderr
    )
    assert "CXR_CACHE" in done.stderr
