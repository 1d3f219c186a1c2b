"""A model card says what is known, marks what is not, and never takes another model's figures."""

import copy
import dataclasses
import json
import re

import numpy as np
import pytest

from cxr_transfer import INTENDED_USE
from cxr_transfer.audits.checks import CHECKS
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.evaluation.card_facts import CHECKED, check_facts
from cxr_transfer.evaluation.card_reports import EARLIER_INTERVALS
from cxr_transfer.evaluation.model_card import model_card
from cxr_transfer.files import write_json
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.metadata import RELEASED, Checkpoint, released_models
from cxr_transfer.models.reference import reference_beside
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.run_folder import record_test_set_access
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import NOT_CALIBRATED, TemperatureCheck
from cxr_transfer.training.reference import learn_reference
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
                 "split_by": "patient", "images": {"train": 14, "validation": 2, "test": 4}},
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
            "accuracy": estimate(0.9), "auroc_macro": estimate(0.9), "images": {"scored": 4},
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
            {"group": "F", "images": 40, "too_few": False, "accuracy": estimate(0.8)},
            {"group": "M", "images": 3, "too_few": True, "accuracy": None}]},
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
    table = entry(page, "Images by source, class and part")
    assert "| made | covid19 | 7 | 1 | 2 | 10 |" in table
    assert "not stated 10" in entry(page, "Licences")
    assert "40 to 59 years" in entry(page, "Ages and sexes")
    assert "*not done*" in entry(page, "Images held back from training")
    assert "*not done* (no audit is beside it)" in entry(page, "What the files alone tell")
    assert "All its images of normal come from one source (made)" in page
    assert "there is no audit" in page
    for word in ("diagnos", "probability of disease", "detects"):
        assert word not in page.replace(INTENDED_USE, "")


def test_what_is_done_to_images_and_when_it_gives_no_class_stand_in_it(run):
    page = model_card(run)
    assert "cropped" not in entry(page, "Network")
    assert entry(page, "Abstention").startswith("none: however low its highest score")
    prepared = Preprocessing(height=96, width=80, crop="lungs", detail=48, equalise=True)
    head = {"name": "head", "fit": "logistic", "penalty": 0.02, "train": ["head"]}
    recipe = {"title": "a fitted one", "coverage": 0.85, "stages": [head]}
    write(run, checkpoint(preprocessing=prepared, recipe=recipe))
    page = model_card(run)
    assert entry(page, "Network") == (
        "simple_cnn, grey images of 96 x 80 pixels, cropped to the lungs, as sharp as 48 pixels a "
        "side allow, grey values spread evenly."
    )
    # What it was made for is no limit as long as nobody knows it.
    assert entry(page, "Abstention").startswith("none here: it was made to give no class")
    said = entry(page, "Trained in stages")
    assert said == "head (logistic regression, penalty 0.02)"


def test_a_card_without_its_run_says_what_it_cannot_know(run):
    (run / "split.csv").unlink()
    page = model_card(run / "checkpoint.json")
    assert "no split.csv" in entry(page, "Images by source, class and part")
    assert "*not done*" in entry(page, "How often the test part was opened")
    bare = checkpoint(recipe={}, provenance={}, data={})
    write(run, bare)
    page = model_card(run)
    for title in ("Started from", "Trained in stages", "To repeat it", "Data set", "Parts"):
        assert entry(page, title).startswith("*not done*")
    assert filled(page)[0] > 0


def test_another_runs_split_is_not_taken_for_its_own(run):
    write_manifest(run / "split.csv", CASES[1:])
    assert "*not done*" in entry(model_card(run), "Images by source, class and part")


def test_an_audit_that_fails_is_a_limit_and_its_checks_are_told(run):
    page = model_card(run, audit=audit())
    assert "**Its audit fails it" in page
    assert entry(page, "The score without the lungs").startswith("**fail**. 80 %")
    said = entry(page, "Told apart within one source")
    assert said == "*not done* (no source holds two classes)"
    assert "this audit does not make the check" in entry(page, "What the files alone tell")
    assert "over 4 images (of the audit" in entry(page, "Images held back from training")
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
    assert "data `121212121212`" in entry(page, "Images held back from training")
    assert "| sex | M | 3 | too few |" in entry(page, "Subgroups")
    assert "90.0 [85.0, 95.0]" in entry(page, "Operating points")
    assert "small over other" in entry(page, "Compared with other models")


def test_a_study_alone_fills_the_figures(run):
    write_json(run.parent / "report.json", study())
    page = model_card(run)
    assert "the test part, data `343434343434`" in entry(page, "Images held back from training")
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


def test_set_accesses_are_told(run):
    assert "No opening" in entry(model_card(run), "How often the test part was opened")
    record_test_set_access(run, "evaluate", CASES, WEIGHTS)
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


def with_reference(folder, **known):
    """Put a reference beside the weights."""
    rng = np.random.default_rng(0)
    reference = learn_reference(
        rng.normal(size=(30, 8)).astype(np.float32),
        labels=["normal", "covid19"] * 15,
        sources=["made"] * 30,
        held_out=rng.normal(size=(20, 8)).astype(np.float32),
        weights_sha256=WEIGHTS,
    )
    dataclasses.replace(reference, **known).save(folder)


KEPT = TemperatureCheck(
    images=200, patients=150, temperature=1.5, reason="", log_loss_before=0.4, log_loss_after=0.3,
    ece_before=0.1, ece_after=0.04,
)  # fmt: skip
PERFECT = TemperatureCheck(
    images=148, patients=120, temperature=None, reason="no_errors", log_loss_before=0.01,
    ece_before=0.01,
)  # fmt: skip
EVERYTHING = "names one of its classes all the same"


def test_a_model_that_abstains_is_not_said_to_name_a_class_for_every_image(run):
    with_reference(
        run, temperature=1.5, temperature_check=KEPT, confidence_threshold=0.593917, coverage=0.9
    )
    page = model_card(run, audit=audit(), evaluation=evaluation())
    assert entry(page, "Abstention") == (
        "no class for an image whose highest score is below 0.593917, which 90 % of the validation "
        "images reach; its scores are told."
    )
    assert "what it is not sure of, as above" in entry(page, "Images that get no class")
    assert "far from all images of training" in entry(page, "Images that get no class")
    assert "or its highest score is below the limit, the model names" in entry(page, "Not for")
    assert "an image that is not refused (see above) gets one of them" in page
    assert "for every image" not in page
    assert "every image" not in entry(page, "Known")
    scale = entry(page, "Scale of the scores that are given")
    assert scale.startswith("calibrated (temperature 1.5). Temperature 1.5: log loss 0.400 before")
    assert "not calibrated" not in page


def test_a_model_that_abstains_from_nothing_is_not_said_to_abstain(run):
    with_reference(run, temperature=None, temperature_check=PERFECT)
    page = model_card(run)
    assert entry(page, "Abstention").startswith("none: however low")
    assert "not sure" not in page
    assert "below the limit" not in page
    assert "unless such an image is far from all images of training, the model" in entry(
        page, "Not for"
    )
    scale = entry(page, "Scale of the scores that are given")
    why = "Scores are not calibrated: every validation image is right, which sets no temperature."
    assert scale == f"{NOT_CALIBRATED}. {why}"
    assert f"* {why}" in entry(page, "Known")


def test_a_model_without_a_reference_is_not_said_to_notice_anything(run):
    page = model_card(run)
    assert entry(page, "Not for").endswith(EVERYTHING + ".")
    assert "unless" not in entry(page, "Not for")
    assert "is not noticed" in entry(page, "Images that get no class")
    assert "not refused" not in page
    assert entry(page, "Scale of the scores that are given").startswith(NOT_CALIBRATED)


class CardInputsOfChecks:
    """An audit's checks, which alone are asked for."""

    def __init__(self, checks):
        self.checks = {check["name"]: check for check in checks}


def test_no_check_is_listed_that_no_audit_makes_and_none_is_missing():
    listed = {name for _, name in CHECKED}
    assert listed <= set(CHECKS) - {"parts"}  # those have their own entry
    # What an audit makes besides is listed by its own title.
    made = [{"name": name, "title": row.title, "verdict": "pass", "reading": "So.", "hard": False}
            for name, row in CHECKS.items()]  # fmt: skip
    titles = {row["title"] for row in check_facts(CardInputsOfChecks(made))}
    others = {row.title for name, row in CHECKS.items() if name not in listed | {"parts"}}
    assert others <= titles
    assert len(titles) == len(CHECKS) - 1


def test_retraining_that_was_not_asked_for_is_said_to_be_that(run):
    page = model_card(run, audit=audit())
    assert "retraining was not asked for" in entry(page, "Sources left out of training")
    assert "does not make the check" in entry(page, "What the files alone tell")


def test_figures_name_their_scale_and_method_and_older_reports_have_the_older_ones(run):
    older = entry(
        model_card(run, evaluation=evaluation(), audit=audit()), "Images held back from training"
    )
    assert f"scores {NOT_CALIBRATED}; " in older
    assert f"95 % intervals: {EARLIER_INTERVALS}" in older
    told = {"score_scale": "calibrated (temperature 1.5)", "intervals": "made so"}
    page = model_card(run, evaluation=evaluation() | told, audit=audit() | told)
    for title in ("Images held back from training", "Scores and intervals of these checks"):
        said = entry(page, title)
        assert "scores calibrated (temperature 1.5); " in said
        assert "95 % intervals: made so" in said
    points = entry(page, "Operating points")
    assert points.startswith("Scores calibrated (temperature 1.5); chosen on validation images.")
    assert "| 0.400000 |" in points
    of_study = study()
    of_study["models"]["small"]["score_scale"] = "calibrated (temperature 1.5)"
    write_json(run.parent / "report.json", of_study)
    said = entry(model_card(run), "Images held back from training")
    assert "scores calibrated (temperature 1.5); " in said


def test_images_that_training_saw_are_not_passed_off_as_held_back(run):
    said = entry(
        model_card(run, evaluation=evaluation() | {"seen_in_training": 3}),
        "Images held back from training",
    )
    assert "**3 of them, or their patients, were seen in training**" in said


@pytest.mark.parametrize(
    ("stages", "chosen"),
    [
        ([{"name": "all", "train": ["*"], "learning_rate": 1e-3}], "the weights, the temperature"),
        ([{"name": "head", "train": ["head"], "fit": "logistic", "penalty": 0.1}], "the temp"),
    ],
)
def test_what_validation_images_chose_is_said_and_no_more(run, stages, chosen):
    write(run, checkpoint(recipe={"stages": stages}))
    with_reference(run, temperature=1.5, temperature_check=KEPT)
    head = "file,patient,label,score_normal,score_covid19\n"
    rows = "14.png,patient of 14.png,normal,0.9,0.1\n15.png,patient of 15.png,covid19,0.2,0.8\n"
    (run / "validation.csv").write_text(head + rows)
    said = entry(model_card(run), "Validation images")
    assert f"; they chose {chosen}" in said
    assert said.endswith("and prove nothing.")


@pytest.mark.parametrize("name", released_models())
def test_the_cards_that_are_shipped_say_of_their_models_what_is_so(name):
    page = (RELEASED / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    beside = reference_beside(
        RELEASED / name / "checkpoint.safetensors",
        json.loads((RELEASED / name / "checkpoint.json").read_text())["weights_sha256"],
    )
    fresh = model_card(RELEASED / name)
    # All that rests on neither run folder nor report stands there as it would be written today.
    for title in (
        "Scale of the scores that are given", "Abstention", "Images that get no class", "For",
        "Not for", "Weights",
    ):  # fmt: skip
        assert entry(page, title) == entry(fresh, title), title
    assert beside[1].score_scale in entry(page, "Scale of the scores that are given")
    assert ("below the limit" in page) == (beside[1].confidence_threshold is not None)
    assert "names one of them for every image" not in page
    assert "no frontal chest radiograph**" not in page  # the check that nobody makes
    assert "95 % intervals: " in entry(page, "Images held back from training")
    assert "scores " in entry(page, "Images held back from training")
    audited = RELEASED / name / "audit.json"
    if audited.is_file():
        found = json.loads(audited.read_text(encoding="utf-8"))
        scale = found.get("score_scale", NOT_CALIBRATED)
        assert entry(page, "Scores and intervals of these checks").startswith(f"scores {scale}")
