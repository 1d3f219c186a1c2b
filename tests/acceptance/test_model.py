"""A model from its images to a record, and the answers that it gives later."""

import csv
import json

import pytest
from typer.testing import CliRunner

import cxr_transfer as cxr
from cxr_transfer.cli.commands import app
from cxr_transfer.errors import CxrError
from cxr_transfer.studies.one_recipe import train_recipe
from made_sources import plan_of, write_sources

SOURCES = {"north": (30, 30), "south": (16, 16)}
CRITERIA = 'positive = "cloudy"\n[sensitivity]\nminimum = 0.6\nmargin = 0.3\n'


def run(*words, expect=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == expect, (done.output, done.exception)
    return done.output


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Images of two sources, and a run that was trained on one of them."""
    root = tmp_path_factory.mktemp("model")
    lines = write_sources(root, SOURCES).read_text().splitlines()
    for source in SOURCES:
        kept = [line for line in lines if line.endswith((",source", f",{source}"))]
        (root / f"{source}.csv").write_text("\n".join(kept) + "\n")
    list(train_recipe(plan_of(), root / "north.csv", root / "run", log=lambda line: None))
    (root / "criteria.toml").write_text(CRITERIA)
    return root


@pytest.fixture(scope="module")
def record(root):
    return cxr.accept(
        root / "run",
        root / "south.csv",
        criteria=root / "criteria.toml",
        out=root / "accepted",
        device="cpu",
    )


def test_the_threshold_is_that_of_the_validation_part(root, record):
    with (root / "run" / "validation.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert record["threshold"]["from"] == "the model's own validation images"
    assert record["threshold"]["images"] == len(rows)
    assert record["data"]["images"] == 32
    assert record["data"]["met_in_training"] == 0
    assert set(record.to_frame()["which"]) >= {"as it is"}
    assert record["subject"]["sha256"][0] in (root / "accepted/acceptance.html").read_text()
    assert run("accept", "verify", root / "accepted").startswith("unchanged\n")
    (root / "accepted" / "images.csv").write_text("")
    assert "images.csv is changed" in run("accept", "verify", root / "accepted", expect=1)


def test_images_of_the_training_are_left_out_or_refused(root, tmp_path):
    words = {"criteria": root / "criteria.toml", "device": "cpu"}
    record = cxr.accept(root / "run", root / "images.csv", out=tmp_path / "all", **words)
    with (root / "run" / "split.csv").open(newline="") as handle:
        learnt = sum(row["split"] != "test" for row in csv.DictReader(handle))
    assert record["data"]["met_in_training"] == learnt
    assert record["data"]["images"] == 92 - learnt
    with pytest.raises(CxrError) as error:
        cxr.accept(
            root / "run", root / "south.csv", out=tmp_path / "met", saw=root / "south.csv", **words
        )
    assert error.value.code == "seen_images"
    (tmp_path / "other.toml").write_text(CRITERIA.replace("cloudy", "cloud"))
    words["criteria"] = tmp_path / "other.toml"
    with pytest.raises(CxrError) as error:
        cxr.accept(root / "run", root / "south.csv", out=tmp_path / "no", **words)
    assert error.value.code == "unknown_class"


def test_later_answers_of_the_same_images_have_not_drifted(root, record, tmp_path):
    with (root / "south.csv").open(newline="") as handle:
        images = [root / row["path"] for row in csv.DictReader(handle)]
    answers = cxr.Predictor.open(root / "run").predict_many(images)
    lines = [json.dumps(answer.as_dict()) for answer in answers]
    table = tmp_path / "2026-03-02.jsonl"
    table.write_text("\n".join(lines) + "\n")
    report = cxr.monitor([table], root / "accepted", out=tmp_path / "watch")
    (week,) = report["weeks"]
    assert week["is_over"]
    assert week["stability_index"] == pytest.approx(0, abs=1e-9)
    assert week["p"]["scores"] > 0.99
    assert len(report.to_frame()) == 1
    own = cxr.monitor([table], root / "run", out=tmp_path / "own", positive=["cloudy"])
    assert own["performance"] is None
    assert own["weeks"][0]["scored"] == 32
    name = answers[0].model
    table.write_text("\n".join(lines).replace(name, "other 0123456789ab"))
    with pytest.raises(CxrError) as error:
        cxr.monitor([table], root / "accepted", out=tmp_path / "other")
    assert error.value.code == "other_model"


def test_the_plan_is_printed_and_writes_criteria(tmp_path):
    path = tmp_path / "criteria.toml"
    words = ("accept", "plan", "--sensitivity", 0.9, "--margin", 0.1, "--write-criteria", path)
    text = run(*words, "--positive", "cloudy")
    report = cxr.plan_acceptance(0.9, 0.1)
    assert text.startswith(f"{report['positives']['images']} positives")
    assert 'positive = "cloudy"' in path.read_text()
    assert json.loads(run("accept", "plan", "--sensitivity", 0.9, "--json"))["level"] == 0.95
