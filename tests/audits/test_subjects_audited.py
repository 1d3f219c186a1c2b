"""Audits of models of other tools, and of tables of scores: the same checks, or why not."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import made_subjects as made
from cxr_transfer import audit, validate
from cxr_transfer.datasets.loading import open_all
from cxr_transfer.errors import CxrError
from cxr_transfer.labels import LabelSet

LABELS = LabelSet(made.LABELS)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return made.write_images(tmp_path_factory.mktemp("images"), each=20, sources=("a", "b"))


@pytest.fixture(scope="module")
def cases(images):
    return open_all(images, LABELS).cases


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    (folder / "theirs.toml").write_text(made.description("theirs"))
    return made.write_onnx(folder / "theirs.onnx")


@pytest.fixture(scope="module")
def audited(network, cases, tmp_path_factory):
    out = tmp_path_factory.mktemp("audited") / "audit"
    return audit(network, cases, out=out), out


def checks(report):
    return {check["name"]: check for check in report["checks"]}


def test_a_foreign_network_is_audited_as_far_as_it_can_be(audited):
    report, out = audited
    found = checks(report)
    assert report["subject"]["kind"] == "onnx"
    assert report["subject"]["description"]["labels"] == list(made.LABELS)
    assert report["auroc_macro"]["value"] > 0.95
    assert found["input"]["verdict"] == "pass"
    assert found["within_source"]["verdict"] == "pass"
    assert found["robustness"]["measured"]["fall"]["gamma 0.7"]["value"] > 0.1
    assert found["heat_maps"]["measured"]["randomised"] == {}
    assert found["overlap"]["verdict"] == "not done"
    assert "--saw" in found["overlap"]["reading"]
    for name in ("source_classifier", "parts"):
        assert found[name]["verdict"] == "not done"
        assert "this package" in found[name]["reading"]
    assert json.loads((out / "audit.json").read_text())["verdict"] == report["verdict"]
    assert "# Audit of theirs" in (out / "audit.md").read_text()


def test_a_wrong_range_is_noticed(network, cases, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(made.description("wrong", range="[0.0, 255.0]"))
    check = checks(audit(network, cases, description=path))["input"]
    assert check["verdict"] == "fail"
    assert "range 0 to 1" in check["reading"]


def test_a_table_of_scores_has_the_checks_of_scores(audited, network, cases, tmp_path):
    path = tmp_path / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("case", *made.LABELS))
        for case in cases:
            middle = abs(np.asarray(Image.open(case.path)).mean() / 255 - 0.55) < 0.1
            score = 0.9 if middle else 0.1
            writer.writerow((case.file, 1 - score, score))
    report = audit(path, cases)
    found = checks(report)
    assert report["subject"]["kind"] == "scores"
    assert report["images"]["scored"] == len(cases)
    assert found["worst_group"]["verdict"] == found["fairness"]["verdict"] == "pass"
    assert found["markers"]["measured"]["painted"] is None
    for name in ("occlusion", "robustness", "heat_maps", "counterfactual", "mask_shape",
                 "reencoding"):  # fmt: skip
        assert "table of scores" in found[name]["reading"]
    assert found["within_source"]["verdict"] == "pass"
    assert found["calibration"]["measured"]["ece"]["value"] == pytest.approx(0.1, abs=0.02)


def test_images_that_a_model_is_said_to_have_met_are_left_out(network, images, cases, tmp_path):
    saw = tmp_path / "saw.csv"
    saw.write_text("patient\nanormal0\nanormal1\nbnormal2\n")
    copy = tmp_path / "copy.jpg"
    Image.open(cases[0].path).save(copy, quality=97)
    copied = dataclasses.replace(cases[0], path=copy, patient="somebody else", written="")
    report = audit(network, [*cases, copied], saw=saw)
    assert report["images"]["seen_in_training"] == 3
    assert report["images"]["scored"] == len(cases) + 1 - 3
    overlap = checks(report)["overlap"]
    assert overlap["verdict"] == "warn"
    (pair,) = overlap["measured"]["near_duplicates"]
    assert (pair["seen"], pair["scored"]) == (cases[0].file, copied.file)


def test_a_foreign_network_is_validated_in_each_source(network, images, tmp_path):
    report = validate(network, images, out=tmp_path / "validation", resamples=50)
    assert {row["source"] for row in report["sources"]} == {"a", "b"}
    assert all(row["auroc_macro"]["value"] > 0.9 for row in report["sources"])


def test_what_needs_a_recipe_of_this_package_is_refused(network, cases, tmp_path):
    with pytest.raises(CxrError) as refused:
        audit(network, cases, out=tmp_path / "audit", retrain=True)
    assert refused.value.code == "no_recipe"


CODE = """
import numpy as np
def scores(images):
    mean = images.mean(axis=(1, 2, 3))
    # Of negative values there is no root, and of images of one grey value no spread.
    far = abs(np.sqrt(mean) ** 2 - 0.55) / (images.std(axis=(1, 2, 3)) > 0)
    return np.stack([far * 40, 4 - far * 40], axis=1)
"""


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_a_way_to_which_a_model_has_no_answer_ends_no_audit(cases, tmp_path, monkeypatch):
    (tmp_path / "own_audited_module.py").write_text(CODE)
    (tmp_path / "own.toml").write_text(made.description("own"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    report = audit("python:own_audited_module:scores", cases, description=tmp_path / "own.toml")
    measured = checks(report)["input"]["measured"]
    assert measured["greys"] == {}
    assert not measured["greys_as_sure"]
    titles = [variant["title"] for variant in measured["variants"]]
    assert "range 0 to 255" in titles
    assert "range -1 to 1" not in titles
