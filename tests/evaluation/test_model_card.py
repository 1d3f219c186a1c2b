"""A model card says what is known, marks what is not, and never takes another model's figures."""

import copy
import json
import re

import numpy as np
import pytest

from cxr_transfer import INTENDED_USE
from cxr_transfer.collections.manifest import write_manifest
from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.evaluation.metrics import Scores, evaluate
from cxr_transfer.evaluation.model_card import model_card
from cxr_transfer.evaluation.run_folder import record_opening
from cxr_transfer.files import write_json
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.card import Checkpoint
from cxr_transfer.radiograph import Preprocessing
from made import case

LABELS = LabelSet(("normal", "covid19"))
WEIGHTS = "ab" * 32
PARTS = ("train",) * 14 + ("validation",) * 2 + ("test",) * 4
CASES = [
    case(f"{row}.png", LABELS.names[row % 2], split=part, sha256=f"{row:064x}", pixels=f"{row}",
         licence="CC BY 4.0" if row % 2 else "", age=40.0 + row, sex="F")
    for row, part in enumerate(PARTS)
]  # fmt: skip


def estimate(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def checkpoint(**changes):
    known = {
        "name": "small",
        "architecture": "simple_cnn",
        "labels": LABELS.names,
        "preprocessing": Preprocessing(),
        "epsilon": 1e-3,
        "weights_sha256": WEIGHTS,
        "recipe": {"title": "a small one", "stages": [
            {"name": "all", "train": ["*"], "learning_rate": 1e-3}]},
        "provenance": {"time": "2026-01-02T03:04:05+00:00", "commit": "0" * 40, "seed": 7,
                       "versions": {"torch": "2"}, "precision": "float32", "device": "cpu",
                       "initial": "random"},
        "data": {"name": "own", "data_hash": "cd" * 32, "split_hash": "ef" * 32,
                 "split_by": "patient", "films": {"train": 14, "validation": 2, "test": 4}},
    }  # fmt: skip
    return Checkpoint(**known | changes)


@pytest.fixture
def run(tmp_path):
    """A run folder of a study, without weights that anybody could load."""
    folder = tmp_path / "study" / "small"
    folder.mkdir(parents=True)
    write(folder, checkpoint())
    write_manifest(folder / "split.csv", CASES)
    return folder


def write(folder, card):
    (folder / "checkpoint.json").write_text(card.model_dump_json())
    (folder / "checkpoint.safetensors").write_bytes(b"")


def audit(weights=WEIGHTS, verdict="fail"):
    checks = [
        {"name": "occlusion", "title": "The score without the lungs", "verdict": "fail",
         "hard": True, "reading": "80 % of what the score tells does not need the lungs."},
        {"name": "heat_maps", "title": "Heat maps", "verdict": "pass", "hard": False,
         "reading": "The maps lie in the lungs."},
        {"name": "within_source", "title": "Within", "verdict": "not done", "hard": False,
         "reading": "Not done: no source holds two classes."},
    ]  # fmt: skip
    return {"checkpoint": {"weights_sha256": weights}, "verdict": verdict, "checks": checks,
            "accuracy": estimate(0.9), "auroc_macro": estimate(0.9), "films": {"scored": 4},
            "data_hash": "cd" * 32}  # fmt: skip


def metrics():
    table = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    files = tuple("abcd")
    scores = Scores(LABELS, np.array([0, 1, 0, 1]), table, files, files)
    return evaluate(scores, resamples=20).as_dict()


def evaluation(weights=WEIGHTS):
    calibration = {name: estimate(0.1) for name in ("ece", "brier")}
    point = {"threshold": 0.4, "sensitivity": estimate(0.9), "specificity": estimate(0.9)}
    worth = {
        "subgroups": {"sex": [
            {"group": "F", "films": 40, "too_few": False, "accuracy": estimate(0.8)},
            {"group": "M", "films": 3, "too_few": True, "accuracy": None}]},
        "calibration": {"before": calibration, "after": None, "temperature": None},
        "operating_points": {"covid19": {"sensitivity 0.95": point}},
    }  # fmt: skip
    return {"checkpoint": {"weights_sha256": weights}, "evaluation": metrics(), "worth": worth,
            "data_hash": "12" * 32, "time": "2026-01-03T00:00:00+00:00"}  # fmt: skip


def study(weights=WEIGHTS):
    pair = {"a": "other", "b": "small", "accuracy_b_minus_a": estimate(0.02),
            "p_mcnemar_exact": 0.2, "p_holm": 0.4}  # fmt: skip
    return {
        "models": {
            "small": metrics() | {"weights_sha256": weights},
            "other": metrics() | {"weights_sha256": "00" * 32},
        },
        "comparisons": [pair],
        "data_hash": "34" * 32,
        "time": "2026-01-04T00:00:00+00:00",
    }


def filled(page):
    """How many of how many entries the page says are filled, and how many it really marks."""
    said = re.search(r"(\d+) of (\d+) entries are filled \((\d+) %\)", page)
    done, entries, percent = map(int, said.groups())
    assert percent == round(100 * done / entries)
    return done, entries, page.count("*not done*")


def entry(page, title):
    return page.split(f"**{title}**", 1)[1].split("\n\n**", 1)[0].split("\n## ", 1)[0].strip(": \n")


def test_the_share_filled_is_that_of_the_page_and_grows_with_what_is_known(run):
    alone = filled(model_card(run))
    with_audit = filled(model_card(run, audit=audit()))
    with_all = filled(model_card(run, audit=audit(), evaluation=evaluation()))
    for done, entries, blank in (alone, with_audit, with_all):
        assert done + blank == entries
    assert alone[0] < with_audit[0] < with_all[0]


def test_what_the_run_knows_stands_in_it(run):
    page = model_card(run)
    assert page.startswith("# Model card: small\n")
    assert INTENDED_USE in page
    assert entry(page, "Name and title") == "small: a small one."
    assert "seed 7" in entry(page, "To repeat it")
    assert entry(page, "Parts") == "drawn by patient."
    table = entry(page, "Films by source, class and part")
    assert "| made | covid19 | 7 | 1 | 2 | 10 |" in table
    assert "not stated 10" in entry(page, "Licences")
    assert "40 to 59 years" in entry(page, "Ages and sexes")
    assert "*not done*" in entry(page, "Films that training has not seen")
    assert "*not done* (no audit is beside it)" in entry(page, "What the files alone tell")
    assert "All its films of normal come from one source (made)" in page
    assert "there is no audit" in page
    for word in ("diagnos", "probability of disease", "detects"):
        assert word not in page.replace(INTENDED_USE, "")


def test_what_is_done_to_films_and_when_it_gives_no_class_stand_in_it(run):
    page = model_card(run)
    assert "cropped" not in entry(page, "Network")
    assert entry(page, "Abstention") == "none: every film that it may judge gets a class."
    prepared = Preprocessing(height=96, width=80, crop="lungs", detail=48, equalise=True)
    head = {"name": "head", "fit": "logistic", "penalty": 0.02, "train": ["head"]}
    recipe = {"title": "a fitted one", "coverage": 0.85, "stages": [head]}
    write(run, checkpoint(preprocessing=prepared, recipe=recipe))
    page = model_card(run)
    assert entry(page, "Network") == (
        "simple_cnn, grey films of 96 x 80 pixels, cropped to the lungs, as sharp as 48 pixels a "
        "side allow, grey values spread evenly."
    )
    assert entry(page, "Abstention").startswith("gives a class to 85 % of its validation films")
    said = entry(page, "Trained in stages")
    assert said == "head (logistic regression, penalty 0.02)"


def test_a_card_without_its_run_says_what_it_cannot_know(run):
    (run / "split.csv").unlink()
    page = model_card(run / "checkpoint.json")
    assert "no split.csv" in entry(page, "Films by source, class and part")
    assert "*not done*" in entry(page, "How often the test part was opened")
    bare = checkpoint(recipe={}, provenance={}, data={})
    write(run, bare)
    page = model_card(run)
    for title in ("Started from", "Trained in stages", "To repeat it", "Data set", "Parts"):
        assert entry(page, title).startswith("*not done*")
    assert filled(page)[0] > 0


def test_another_runs_split_is_not_taken_for_its_own(run):
    write_manifest(run / "split.csv", CASES[1:])
    assert "*not done*" in entry(model_card(run), "Films by source, class and part")


def test_an_audit_that_fails_is_a_limit_and_its_checks_are_told(run):
    page = model_card(run, audit=audit())
    assert "**Its audit fails it" in page
    assert entry(page, "The score without the lungs").startswith("**fail**. 80 %")
    said = entry(page, "Told apart within one source")
    assert said == "*not done* (no source holds two classes)"
    assert "this audit does not make the check" in entry(page, "What the files alone tell")
    assert "over 4 films (of the audit" in entry(page, "Films that training has not seen")
    assert "fails it" not in model_card(run, audit=audit(verdict="warn"))


def test_reports_beside_it_are_found_and_those_of_another_model_are_not(run):
    write_json(run / "audit.json", audit(weights="00" * 32))
    write_json(run.parent / "report.json", study(weights="99" * 32))
    before = filled(model_card(run))
    (run / "report.json").write_text("{")
    assert filled(model_card(run)) == before
    write_json(run / "audit.json", audit())
    write_json(run / "report.json", evaluation())
    write_json(run.parent / "report.json", study())
    page = model_card(run)
    assert "**fail**" in page
    assert "data `121212121212`" in entry(page, "Films that training has not seen")
    assert "| sex | M | 3 | too few |" in entry(page, "Subgroups")
    assert "90.0 [85.0, 95.0]" in entry(page, "Operating points")
    assert "small over other" in entry(page, "Compared with other models")


def test_a_study_alone_fills_the_figures(run):
    write_json(run.parent / "report.json", study())
    page = model_card(run)
    assert "the test part, data `343434343434`" in entry(page, "Films that training has not seen")
    assert "| covid19 | 2 |" in entry(page, "By class")
    assert entry(page, "Calibration").startswith("*not done*")


@pytest.mark.parametrize("given", [{"audit": audit("00" * 32)},
                                   {"evaluation": evaluation("00" * 32)},
                                   {"evaluation": study("99" * 32)}])  # fmt: skip
def test_a_report_of_another_model_that_is_given_is_refused(run, given):
    with pytest.raises(DataError) as error:
        model_card(run, **given)
    assert error.value.code == "other_weights"


@pytest.mark.parametrize("given", [{"audit": evaluation()}, {"evaluation": audit()}])
def test_reports_given_for_each_other_are_refused(run, given):
    with pytest.raises(DataError) as error:
        model_card(run, **given)
    assert error.value.code == "other_report"


def test_openings_are_told(run):
    assert "No opening" in entry(model_card(run), "How often the test part was opened")
    record_opening(run, "evaluate", CASES, WEIGHTS)
    said = entry(model_card(run), "How often the test part was opened")
    assert said == "The test part has been opened once (evaluate 1)."


def test_a_patient_in_two_parts_and_a_split_by_image_are_told(run):
    leaky = checkpoint()
    write(run, leaky.model_copy(update={"data": leaky.data | {"split_by": "image"}}))
    rows = copy.deepcopy(CASES)
    object.__setattr__(rows[-1], "patient", rows[0].patient)
    write_manifest(run / "split.csv", rows)
    page = model_card(run)
    assert entry(page, "A patient in several parts").startswith("1 patients")
    assert "Its parts share patients" in page


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ModelError):
        model_card(tmp_path)


def test_reports_are_json_as_they_are_written(run):
    """What is given comes from a file: nothing in it is lost on the way."""
    given = json.loads(json.dumps(evaluation()))
    assert model_card(run, evaluation=given) == model_card(run, evaluation=evaluation())
