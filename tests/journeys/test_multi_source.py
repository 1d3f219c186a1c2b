"""All sources at once, and one of one's own: from images to a model that abstains."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.phantom import PhantomSize, draw_radiograph, write_phantom

RECIPE = """
name = "sources"
title = "a head on random features"
network = "resnet50_early"
dataset = "multi_source"
coverage = 0.8

[preprocessing]
height = 64
width = 64
crop = "lungs"
detail = 48
equalise = true

[[stages]]
name = "head"
fit = "logistic"
background_swap = 0.1
train = ["head"]

[[stages]]
name = "spoilt"
learning_rate = 1.0
max_epochs = 1
train = ["head"]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cxr):
    root = tmp_path_factory.mktemp("sources")
    size = PhantomSize(normal=24, bacterial=24, viral=4, covid19=24)
    write_phantom(root / "archives", seed=2, size=size)
    rng = np.random.default_rng(7)
    for label, finding in (("normal", "normal"), ("covid19", "covid19")):
        (root / "clinic" / label).mkdir(parents=True)
        for number in range(60):
            image = draw_radiograph(finding, rng=rng, pixels=160)
            Image.fromarray(image).save(root / "clinic" / label / f"{number}.png")
    (root / "sources.toml").write_text(RECIPE)
    done = cxr(
        *("train", root / "sources.toml", "--data", root / "archives", "--out", root / "run"),
        *("--add-source", f"clinic={root / 'clinic'}"),
    )
    return root, done.stdout + done.stderr


def test_the_run_tells_what_the_added_source_brings(trained):
    root, said = trained
    found = json.loads((root / "run" / "added_clinic.json").read_text())
    with (root / "run" / "split.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["source"] == "clinic"]
    tested = [row for row in rows if row["split"] == "test"]
    assert "around the lungs between sources" in (root / "run" / "log.txt").read_text()
    assert len(rows) == 120
    assert found["images"] == len(tested) > 20
    area = found["auroc"]["covid19"]
    assert 0 <= area["p"] <= 1
    assert found["met_in_training"] == 0
    assert area["with"]["value"] > 0.6, "its own images were learnt from"
    assert found["auroc"]["other_pneumonia"] is None, "the clinic has none"
    assert "covid19 against the rest, AUROC" in said
    assert ", p " in said
    without = json.loads((root / "run" / "without_clinic" / "checkpoint.json").read_text())
    whole = json.loads((root / "run" / "checkpoint.json").read_text())
    clinics = sum(row["split"] == "train" for row in rows)
    assert whole["data"]["images"]["train"] - without["data"]["images"]["train"] == clinics


def test_a_last_stage_that_spoils_all_is_said_and_the_weights_before_it_are_kept(trained, cxr):
    root, said = trained
    line = "sources · spoilt: no epoch has a lower validation loss"
    assert line in said
    assert line in (root / "run" / "log.txt").read_text()
    card = json.loads((root / "run" / "checkpoint.json").read_text())
    assert [stage["kept_epoch"] for stage in card["provenance"]["stages"]] == [1, None]
    assert (
        "those before it, since none of its 1 epochs was better" in cxr("card", root / "run").stdout
    )


def test_what_belongs_to_none_of_the_classes_is_said_and_stands_in_the_card(trained, cxr):
    root, said = trained
    assert "none of the classes: 4 images of unknown" in said
    for run in (root / "run", root / "run" / "without_clinic"):
        card = json.loads((run / "checkpoint.json").read_text())
        assert card["data"]["left_out"] == {"unknown": 4}
    assert "4 images of unknown" in cxr("card", root / "run").stdout


def test_the_run_without_the_source_has_its_reference_too(trained, cxr):
    root, _ = trained
    image = next((root / "clinic" / "normal").iterdir())
    done = cxr("predict", image, "--model", root / "run" / "without_clinic", "--json", expect=None)
    assert "nothing is known of the images" not in done.stderr


def test_with_several_processes_it_is_said_that_nothing_is_compared(trained, cxr):
    root, _ = trained
    done = cxr(
        *("train", root / "sources.toml", "--data", root / "archives", "--out", root / "run"),
        *("--add-source", f"clinic={root / 'clinic'}", "--devices", 2, "--device", "cpu"),
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert "not measured what clinic brings" in said
    assert "AUROC" not in said


def test_what_it_is_not_sure_of_it_does_not_judge(trained, cxr):
    root, _ = trained
    done = cxr("predict", root / "clinic", "--model", root / "run", "--csv", expect=1)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == 120
    codes = {row["code"] for row in rows}
    assert "not_sure" in codes
    told = [row for row in rows if row["status"] == "ok"]
    assert told
    assert all(row["label"] for row in told)
    unsure = [row for row in rows if row["code"] == "not_sure"]
    assert not any(row["label"] for row in unsure)
    assert all(0 < float(row["score_covid19"]) < 1 for row in unsure)


def test_its_audit_takes_the_archives_and_goes_with_its_weights(trained, cxr):
    root, _ = trained
    words = ("--data", root / "archives", "--out", root / "audit", "--device", "cpu")
    cxr("audit", root / "run", *words)
    found = json.loads((root / "audit" / "audit.json").read_text())
    images = found["images"]
    assert images["elsewhere"] == 0, "every label is one of the model's"
    assert images["seen_in_training"] + images["scored"] == images["all"] > 50
    (by_source,) = (one for one in found["checks"] if one["name"] == "source_by_class")
    counts = by_source["measured"]["counts"]
    assert counts["kermany"]["other_pneumonia"] == 12  # half of the bacterial images
    # Another network, whose folder and recipe have the same names.
    shutil.copytree(root / "run" / "without_clinic", root / "other" / "run")
    done = cxr("audit", root / "other" / "run", *words, expect=2)
    assert "audit_of" in done.stderr
