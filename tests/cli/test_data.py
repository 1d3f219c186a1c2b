"""`cxr data check` and `cxr data prepare` of everything that can be data."""

import csv
import json

import pytest
from typer.testing import CliRunner

from cxr_transfer.cli.commands import app
from cxr_transfer.datasets.loading import open_dataset
from cxr_transfer.datasets.manifest import read_manifest
from cxr_transfer.errors import CxrError
from cxr_transfer.own_folder import DATA_RECORD
from made import write_image
from made_collections import COLLECTIONS, dcm, nih, png


def cxr(*words, expect=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == expect, (done.output, done.exception)
    return done.output


def refusal(*words):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert isinstance(done.exception, CxrError), (done.exception, done.output)
    return done.exception


@pytest.fixture
def adult(tmp_path):
    """The adult images in miniature: two sources, of which one has two classes."""
    root = tmp_path / "adult"
    lines = ["filename,label,source"]
    for number in range(20):
        name = f"nih/{number:08}_000.png"
        lines.append(f"{name},{('normal', 'pneumonia')[number % 2]},nih")
        write_image(root / name, number)
    lines.append("rsna/Normal-1.png,normal,rsna")
    write_image(root / "rsna" / "Normal-1.png", 77)
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def test_one_source_of_an_archive_becomes_images_of_ones_own(adult, tmp_path):
    told = cxr("data", "check", adult, "--source", "nih")
    assert "sources  20 nih" in told
    cxr("data", "prepare", adult, "--source", "nih", "--out", tmp_path / "nih")
    dataset = open_dataset(tmp_path / "nih" / "images.csv", "dataset_1")
    assert dataset.counts() == {"normal": 10, "pneumonia": 10}
    assert {case.patient.partition(":")[0] for case in dataset.cases} == {"nih"}
    assert all(case.sha256 for case in read_manifest(tmp_path / "nih" / "images.csv"))
    summary = json.loads((tmp_path / "nih" / DATA_RECORD).read_text())
    assert summary["images"]["classes"] == {"normal": 10, "pneumonia": 10}


def test_training_on_a_mere_archive_names_the_way_out(adult, tmp_path):
    error = refusal("train", "model_1", "--data", adult, "--out", tmp_path / "run")
    assert error.code == "collection_absent"
    assert "cxr data prepare" in error.message


@pytest.mark.parametrize("name", COLLECTIONS)
def test_every_collection_is_checked_and_prepared(tmp_path, name):
    root = COLLECTIONS[name](tmp_path / "downloads")
    told = cxr("data", "check", root, expect=1)
    assert told.splitlines()[-1] == "damaged images: 0"
    assert "refused by training" in told, "so few images cannot be trained on"
    prepared = cxr("data", "prepare", tmp_path / "downloads", "--out", tmp_path / "out")
    read = read_manifest(tmp_path / "out" / "images.csv")
    assert f"images: {len(read)} images" in prepared
    parts = {case.split for case in read}
    assert parts == {"nih": {"train", "test"}, "chexpert": {"train", "validation"}}.get(name, {""})


def test_a_task_of_two_classes_is_made_of_a_collection_in_one_command(tmp_path):
    words = ("--label", "No Finding=normal", "--label", "Pneumonia=pneumonia", "--label", "*=")
    root = nih(tmp_path / "downloads")
    cxr("data", "prepare", root, *words, "--without-parts", "--out", tmp_path / "out")
    read = read_manifest(tmp_path / "out" / "images.csv")
    assert [(case.label, case.finding, case.split) for case in read] == [
        ("normal", "No Finding", ""),
        ("pneumonia", "Pneumonia", ""),
        ("normal", "No Finding", ""),
    ]


def test_an_export_becomes_a_manifest_to_fill_in(tmp_path):
    for number in range(3):
        dcm(tmp_path / "export" / f"P{number}" / "IM1", number, PatientID=f"H{number}")
    told = cxr("data", "check", tmp_path / "export", "--no-labels", expect=1)
    assert "3 images of 3 patients" in told
    assert "missing_label" in told
    done = cxr("data", "prepare", tmp_path / "export", "--no-labels", "--out", tmp_path / "out")
    assert "images: 3 images (3 not stated)" in done
    with (tmp_path / "out" / "images.csv").open(newline="") as handle:
        assert {row["label"] for row in csv.DictReader(handle)} == {""}


def test_further_columns_are_counted_and_come_out_again(tmp_path):
    lines = ["path,label,scanner"]
    for number in range(4):
        png(tmp_path / f"{number}.png", number)
        lines.append(f"{number}.png,{'ab'[number % 2]},{('old', 'new', 'new', '')[number]}")
    (tmp_path / "images.csv").write_text("\n".join(lines) + "\n")
    told = cxr("data", "check", tmp_path / "images.csv", expect=1)
    assert "  column   scanner: 2 new, 1 old, 1 not stated" in told
    cxr("data", "prepare", tmp_path / "images.csv", "--out", tmp_path / "out")
    read = read_manifest(tmp_path / "out" / "images.csv")
    assert [dict(case.extra)["scanner"] for case in read] == ["old", "new", "new", ""]


@pytest.mark.slow
def test_a_sheet_is_drawn_and_what_is_doubtful_on_it_told(adult, tmp_path):
    (adult / "nih" / "00000000_000.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    told = cxr("data", "check", adult, "--sheet", tmp_path / "sheet.png", expect=1)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "on the sheet: 13 images" in told
    assert "nih/00000000_000.png: " in told.partition("on the sheet")[2]


def test_a_sheet_that_is_there_is_refused_before_an_image_is_read(adult, tmp_path):
    for path in adult.rglob("*.png"):
        path.write_text("no image")
    (tmp_path / "sheet.png").touch()
    for name, code in (("sheet.png", "out_exists"), ("sheet.jpg", "bad_sheet")):
        assert refusal("data", "check", adult, "--sheet", tmp_path / name).code == code


def test_a_folder_per_class_is_prepared_as_it_is(tmp_path):
    write_image(tmp_path / "images" / "sick" / "1.png")
    write_image(tmp_path / "images" / "well" / "1.png", 1)
    cxr("data", "prepare", tmp_path / "images", "--out", tmp_path / "out")
    read = read_manifest(tmp_path / "out" / "images.csv")
    assert [(case.label, case.source) for case in read] == [("sick", "images"), ("well", "images")]
