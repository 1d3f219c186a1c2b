"""One test from scores to record: each verdict, and what is refused."""

import csv
import json
import re

import numpy as np
import pytest
from scipy.stats import beta

from cxr_transfer.acceptance.criteria import read_criteria
from cxr_transfer.acceptance.local_images import LocalData, score_local
from cxr_transfer.acceptance.run import AcceptanceTest, measure, run_acceptance
from cxr_transfer.acceptance.tested_model import open_for_test
from cxr_transfer.errors import CxrError
from cxr_transfer.progress import tell_nobody
from cxr_transfer.subjects.opening import SubjectOptions
from made_acceptance import write_criteria, write_scores

HOST = re.compile(r"(?:src|href)=[\"'](?!data:)|url\(|@import", re.I)


def written(tmp_path, scores, criteria, **local):
    lines = []
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    asked = AcceptanceTest(str(scores), criteria, LocalData(None, **local))
    return run_acceptance(asked, out, log=lines.append), out, lines


def measured(scores, criteria_path):
    """The figures alone, without the files."""
    criteria, _ = read_criteria(criteria_path)
    subject = open_for_test(str(scores), SubjectOptions())
    local = score_local(subject, LocalData(None), lambda line: None, tell_nobody)
    return measure(local, criteria, 0.5, None)[0]


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def refusal(tmp_path, scores, criteria, **local):
    with pytest.raises(CxrError) as error:
        written(tmp_path, scores, criteria, **local)
    return error.value


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("accepted")
    scores = write_scores(tmp_path / "scores.csv", 400)
    return *written(tmp_path, scores, write_criteria(tmp_path / "criteria.toml")), scores


@pytest.mark.slow
def test_a_good_model_is_accepted_with_exact_bounds(accepted):
    record, _, _, scores = accepted
    assert record["verdict"] == "accept"
    rows = rows_of(scores)
    hits = sum(float(row["score_ill"]) >= 0.5 for row in rows if row["label"] == "ill")
    figure = record["as_it_is"]["sensitivity"]
    assert (figure["hits"], figure["images"]) == (hits, 200)
    assert figure["lower_bound"] == pytest.approx(beta.ppf(0.05, hits, 200 - hits + 1))
    assert figure["low"] == pytest.approx(beta.ppf(0.025, hits, 200 - hits + 1))
    assert "exact" in figure["method"]
    assert record["in_use"] == {"threshold": 0.5, "map": None}
    assert len(record["reasons"]) == 5
    assert {group["group"] for group in record["as_it_is"]["groups"]["sex"]} == {"F", "M"}
    assert len(record["watch"]["scores"]) == 400


def test_the_files_stand_for_themselves(accepted):
    record, out, _, _ = accepted
    page = (out / "acceptance.html").read_text()
    assert "Accept</p>" in page
    assert not HOST.search(page), "the page loads something"
    assert (out / "acceptance.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads((out / "acceptance.json").read_text()) == record
    assert set(record["files"]) == {
        "acceptance.html", "acceptance.pdf", "criteria.toml", "images.csv"
    }  # fmt: skip
    again = rows_of(out / "images.csv")
    assert len(again) == 400
    assert {row["answer"] for row in again} == {"answered"}


@pytest.mark.slow
def test_the_same_test_gives_the_same_figures_and_another_is_refused(accepted, tmp_path):
    record, _, _, scores = accepted
    path = write_criteria(tmp_path / "criteria.toml")
    again, _, _ = written(tmp_path, scores, path)
    fixed = ("as_it_is", "recalibrated", "verdict", "reasons", "watch", "criteria_sha256")
    assert all(again[name] == record[name] for name in fixed)
    path.write_text(path.read_text().replace("0.8", "0.7"))
    assert refusal(tmp_path, scores, path).code == "other_run"


def test_a_shifted_model_is_accepted_after_recalibration_alone(tmp_path):
    scores = write_scores(tmp_path / "scores.csv", 400, shift=-4.0)
    record = measured(scores, write_criteria(tmp_path / "c.toml"))
    assert record["verdict"] == "accept after recalibration"
    states = {row["criterion"]: row["state"] for row in record["as_it_is"]["findings"]}
    assert states["sensitivity"] == "not met"
    again = record["recalibrated"]
    assert record["in_use"] == {"threshold": again["threshold"]["value"], "map": again["map"]}
    assert again["threshold"]["value"] < 0.5
    assert again["method"] in ("platt", "isotonic", "prior", "temperature")
    after = again["figures"]["calibration"]["error"]
    assert after < record["as_it_is"]["calibration"]["error"]
    rows = rows_of(scores)
    found = [
        float(row["score_ill"]) >= again["threshold"]["value"]
        for row in rows
        if row["label"] == "ill"
    ]
    assert found.count(False) == again["threshold"]["allowed_misses"]


def test_a_useless_model_is_not_accepted(tmp_path):
    scores = write_scores(tmp_path / "scores.csv", 300, apart=0.5)
    record = measured(scores, write_criteria(tmp_path / "c.toml"))
    assert record["verdict"] == "not accept"
    assert any("specificity" in line for line in record["reasons"])
    assert record["in_use"]["map"] is None


def test_few_images_are_too_few_to_say(tmp_path):
    scores = write_scores(tmp_path / "scores.csv", 16)
    record = measured(scores, write_criteria(tmp_path / "c.toml", margin=0.05))
    assert record["verdict"] == "too few to say"
    assert record["recalibrated"] is None
    assert any("304 positives show a true 90 %" in line for line in record["reasons"])


def test_one_class_alone_says_nothing_of_the_other(tmp_path):
    scores = write_scores(tmp_path / "scores.csv", 60, label="ill")
    record = measured(scores, write_criteria(tmp_path / "c.toml"))
    assert record["verdict"] == "too few to say"
    assert record["as_it_is"]["auroc"]["value"] is None
    assert record["as_it_is"]["specificity"]["value"] is None
    states = {row["criterion"]: row["state"] for row in record["as_it_is"]["findings"]}
    assert states["specificity"] == states["calibration"] == "too few to say"


def test_several_images_of_a_patient_are_no_independent_images(tmp_path):
    scores = write_scores(tmp_path / "scores.csv", 200, copies=4)
    record = measured(scores, write_criteria(tmp_path / "c.toml"))
    figure = record["as_it_is"]["sensitivity"]
    assert "bootstrap by patient" in figure["method"]
    assert figure["patients"] < figure["images"]
    hits, images = figure["hits"], figure["images"]
    assert figure["lower_bound"] <= beta.ppf(0.05, hits, images - hits + 1) + 1e-12


@pytest.mark.slow
def test_the_transported_threshold_is_of_other_images(tmp_path):
    elsewhere = write_scores(tmp_path / "elsewhere.csv", 200, seed=9)
    path = write_criteria(tmp_path / "c.toml")
    text = path.read_text().replace(
        'rule = "value"\nvalue = 0.5', f'rule = "table"\ntable = "{elsewhere.name}"'
    )
    path.write_text(text)
    scores = write_scores(tmp_path / "scores.csv", 300)
    record, _, _ = written(tmp_path, scores, path)
    assert record["threshold"]["images"] == 200
    rows = rows_of(elsewhere)
    ill = np.array([float(row["score_ill"]) for row in rows if row["label"] == "ill"])
    assert (ill >= record["threshold"]["value"]).mean() == pytest.approx(0.9)


def test_where_no_image_gets_an_answer_nothing_but_that_is_said(tmp_path, criteria):
    scores = write_scores(tmp_path / "scores.csv", 30)
    first, *rows = scores.read_text().splitlines()
    unsure = [f"{first},answer", *(f"{row},not_sure" for row in rows)]
    scores.write_text("\n".join(unsure) + "\n")
    record, _, _ = written(tmp_path, scores, criteria)
    assert record["verdict"] == "not accept"
    assert record["as_it_is"]["abstention"]["hits"] == 30
    assert record["as_it_is"]["sensitivity"]["value"] is None
    assert record["as_it_is"]["all_scored"]["sensitivity"]["images"] == 15


def test_columns_are_found_in_any_spelling_and_classes_count_once(tmp_path, criteria):
    scores = write_scores(tmp_path / "scores.csv", 60)
    plain = measured(scores, criteria)
    text = criteria.read_text().replace('"scanner"', '"Scanner"').replace('"sex"', '" Sex"')
    criteria.write_text(text.replace('positive = "ill"', 'positive = ["ill", "ill"]'))
    again = measured(scores, criteria)
    assert again["as_it_is"] == plain["as_it_is"]
    assert {group["group"] for group in again["as_it_is"]["groups"]["scanner"]} == {"s0", "s1"}


def test_what_cannot_be_tested_is_refused(tmp_path, criteria):
    scores = write_scores(tmp_path / "scores.csv", 40)
    lines = scores.read_text().splitlines()
    for text, code in (
        ("", "bad_predictions"),
        (lines[0], "bad_predictions"),
        ("\n".join([*lines[:5], lines[5].rsplit(",", 1)[0] + ",nan"]), "bad_predictions"),
        ("\n".join(lines).replace("score_ill", "score_sick"), "unknown_class"),
        ("\n".join([*lines, lines[1]]), "repeated_images"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        assert refusal(tmp_path, tmp_path / "bad.csv", criteria).code == code
    criteria.write_text(criteria.read_text().replace('"scanner"', '"scaner"'))
    assert refusal(tmp_path, scores, criteria).code == "unknown_subgroup"
    criteria.write_text('positive = "ill"\n[sensitivity]\nminimum = 0.9\n')
    assert refusal(tmp_path, scores, criteria).code == "no_threshold"
    assert not (tmp_path / "out" / "acceptance.json").exists()
