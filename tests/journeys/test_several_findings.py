"""Several findings at once: from a manifest to a trained, evaluated, exported, answering model."""

import csv
import json
import re

import pytest

import cxr_transfer
from cxr_transfer.evaluation.model_card import model_card
from cxr_transfer.inference.explain import Explainer
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.table import predict_into
from cxr_transfer.training.summary import summary_lines
from made_findings import FINDINGS, write_findings


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE", str(folder))
        yield {"CXR_CACHE": str(folder)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_findings(tmp_path_factory.mktemp("findings"))


@pytest.fixture(scope="module")
def run(data, cxr, cache):
    folder = data.with_name("run")
    cxr("train", data.with_name("findings.toml"), "--data", data, "--out", folder, **cache)
    return folder


@pytest.fixture(scope="module")
def predictor(run, cache):
    return Predictor.open(run)


def rows(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_end_of_a_training_tells_the_mean_area(run):
    (*_, line) = summary_lines(run)
    assert re.search(r"validation: loss 0\.\d+, AUROC [01]\.\d+$", line)


def test_the_card_says_what_the_model_tells(run):
    card = json.loads((run / "checkpoint.json").read_text())
    assert (card["task"], tuple(card["labels"])) == ("multi_label", FINDINGS)


def test_the_same_run_from_python_has_the_same_bits(run, data):
    again = run.with_name("again")
    dataset = cxr_transfer.load_dataset(data, task="multi_label")
    cxr_transfer.train(data.with_name("findings.toml"), dataset, out=again)
    for name in ("checkpoint.safetensors", "reference.safetensors", "validation.csv"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


def test_each_finding_is_evaluated_on_the_images_whose_label_is_known(run, cxr, cache):
    out = run.with_name("evaluated")
    cxr("evaluate", run, "--data", run / "split.csv", "--out", out, **cache)
    found = json.loads((out / "report.json").read_text())["evaluation"]
    tested = [row["label"].split("|") for row in rows(run / "split.csv") if row["split"] == "test"]
    missing = sum("marker?" in label for label in tested)
    marker = found["per_class"]["marker"]
    assert missing, "or this shows nothing"
    assert (marker["missing"], marker["images"]) == (missing, len(tested) - missing)
    assert marker["present"] == sum("marker" in label for label in tested)
    assert found["per_class"]["dense"]["missing"] == 0
    assert marker["auroc"]["value"] > 0.9, "a bright corner is easily seen"
    assert 0 < found["auroc_macro"]["low"] < found["auroc_macro"]["value"]
    page = (out / "report.md").read_text()
    assert "| marker |" in page
    assert "confusion" not in page
    predicted = rows(out / "predictions.csv")
    assert {row["predicted"] for row in predicted} <= {"No Finding", *FINDINGS, "dense|marker"}


def test_the_model_card_tells_each_finding(run, cxr, cache):
    out = run.with_name("for the card")
    cxr("evaluate", run, "--data", run / "split.csv", "--out", out, **cache)
    text = model_card(run, evaluation=json.loads((out / "report.json").read_text()))
    assert "Findings, of which an image has any number" in text
    assert "| marker |" in text
    assert "Named from a probability of" in text
    assert "mean over findings: AUROC" in text
    assert "class score" not in text
    assert "mean over findings" not in model_card(run), "without a report"


def test_an_answer_names_the_findings_above_their_thresholds(run, data, predictor, cxr, cache):
    images = sorted(data.with_name("images").iterdir())[:12]
    done = cxr("predict", *images, "--model", run, "--json", expect=None, **cache)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        if answer["status"] != "ok":
            continue
        above = [
            name
            for name, threshold in predictor.thresholds.items()
            if answer["probabilities"][name] >= threshold
        ]
        assert answer["findings"] == above
        assert answer["label"] == ("|".join(sorted(above)) or "No Finding")
    assert sum(answer["status"] == "ok" for answer in answers) > 6
    predict_into(predictor, images, data.with_name("answers.csv"))
    named = [row["label"] or None for row in rows(data.with_name("answers.csv"))]
    assert named == [one["label"] for one in answers]


def test_an_exported_model_answers_alike(run, data, predictor, cxr, cache):
    out = run.with_name("exported") / "findings.xml"
    cxr("export", run, "--out", out, **cache)
    told = json.loads(out.with_suffix(".json").read_text())
    assert told["card"]["task"] == "multi_label"
    assert "sigmoid" in told["outputs"]["scores"]["meaning"]
    assert told["thresholds"] == list(predictor.thresholds.values())
    image = sorted(data.with_name("images").iterdir())[0]
    exported, own = Predictor.open(out).predict(image), predictor.predict(image)
    assert exported.findings == own.findings
    assert exported.probabilities == pytest.approx(own.probabilities, abs=1e-5)


def test_a_heat_map_is_of_one_finding(run, data, cache):
    image = sorted(data.with_name("images").iterdir())[0]
    explainer = Explainer.open(run)
    assert explainer.explain(image, label="marker").label == "marker"
    found = explainer.explain(image)
    assert found.label == max(found.probabilities, key=found.probabilities.get)


@pytest.fixture(scope="module")
def folds(data, cxr, cache):
    out = data.with_name("folds")
    recipe = data.with_name("findings.toml")
    cxr(
        *("train", recipe, "--data", data, "--folds", 3, "--seeds", 2, "--out", out),
        *("-o", "all.max_epochs=4"),
        **cache,
    )
    return out


def test_folds_score_each_image_once_and_name_by_the_thresholds_of_their_fold(folds, data):
    found = json.loads((folds / "report.json").read_text())
    listed = rows(data)
    table = [row for row in rows(folds / "predictions.csv") if row["seed"] == "mean"]
    assert len(table) == len(listed) == found["evaluation"]["images"]
    assert len(found["members"]) == 6
    marker = found["evaluation"]["per_class"]["marker"]
    assert marker["missing"] == sum("marker?" in row["label"] for row in listed)
    # Sensitivity as it follows from what the table names.
    with_it = [row for row in table if "marker" in row["label"].split("|")]
    named = ["marker" in row["predicted"].split("|") for row in with_it]
    assert marker["present"] == len(with_it)
    assert marker["sensitivity"]["value"] == pytest.approx(sum(named) / len(named))
    limits = {
        fold["fold"]: [
            sum(run["thresholds"][place] for run in fold["runs"]) / 2 for place in range(2)
        ]
        for fold in found["fold_by_fold"]
    }
    for row in table:
        above = [
            name
            for name, limit in zip(FINDINGS, limits[int(row["fold"])], strict=True)
            if float(row[f"probability_{name}"]) >= limit
        ]
        assert row["predicted"] == ("|".join(sorted(above)) or "No Finding")
    assert "| marker |" in (folds / "report.md").read_text()


def test_models_of_findings_are_compared_finding_by_finding(folds, run, data, cxr, cache):
    out, evaluated = run.with_name("compared"), run.with_name("evaluated on all")
    common = ("--data", data, "--allow-seen", "--out", evaluated)
    cxr("evaluate", run, *common, **cache)
    told = cxr("compare", folds, evaluated, "--out", out, **cache).stdout
    assert "## Finding by finding" in told
    found = json.loads((out / "report.json").read_text())
    (pair,) = found["comparisons"]
    assert set(pair["findings"]) == set(FINDINGS)
    marker = pair["findings"]["marker"]
    own, other = (found["models"][name]["findings"]["marker"] for name in (pair["a"], pair["b"]))
    assert marker["auroc_b_minus_a"]["value"] == pytest.approx(
        other["auroc"]["value"] - own["auroc"]["value"]
    )
    assert marker["images"] == sum("marker?" not in row["label"] for row in rows(data))
    assert marker["p_holm"] >= marker["p"]
    report = json.loads((folds / "report.json").read_text())["evaluation"]["per_class"]["marker"]
    assert own["sensitivity"]["value"] == pytest.approx(report["sensitivity"]["value"])


def test_a_model_of_findings_is_not_compared_with_one_of_classes(run, folds, cxr, cache, tmp_path):
    table = tmp_path / "classes.csv"
    table.write_text("file,label,score_a,score_b\na.png,a,0.7,0.3\nb.png,b,0.2,0.8\n")
    told = cxr("compare", folds, table, expect=3, **cache).stderr
    assert "tells classes apart; compare models of one task" in told
    told = cxr("compare", folds, run, expect=3, **cache).stderr
    assert "run cxr evaluate, and give its --out" in told


def test_an_ensemble_of_findings_names_by_the_mean_of_thresholds(folds, data, cxr, cache):
    out = folds.with_name("ensemble")
    common = ("--data", data, "--allow-seen", "--out", out)
    cxr("evaluate", folds / "fold_1" / "findings", *common, **cache)
    found = json.loads((out / "report.json").read_text())
    assert len(found["checkpoint"]["members"]) == 2
    runs = json.loads((folds / "report.json").read_text())["fold_by_fold"][0]["runs"]
    for place, name in enumerate(FINDINGS):
        mean = sum(one["thresholds"][place] for one in runs) / 2
        assert found["evaluation"]["per_class"][name]["threshold"] == pytest.approx(mean)


def test_groups_are_told_of_each_finding(run, data, cxr, cache, tmp_path):
    lines = data.read_text().splitlines()
    table = data.with_name("scanners.csv")
    scanners = (f"{line},{'AB'[row % 2]}" for row, line in enumerate(lines[1:]))
    table.write_text("\n".join([f"{lines[0]},scanner", *scanners]) + "\n")
    out = tmp_path / "out"
    common = ("--data", table, "--allow-seen", "--subgroup", "scanner", "--out", out)
    cxr("evaluate", run, *common, **cache)
    marker = json.loads((out / "report.json").read_text())["evaluation"]["per_class"]["marker"]
    groups = {group["group"]: group for group in marker["subgroups"]["scanner"]}
    assert set(groups) == {"A", "B"}
    assert sum(group["images"] for group in groups.values()) == marker["images"]
    # Right is what is named as it should be, at the threshold.
    right = sum(group["images"] * group["accuracy"]["value"] for group in groups.values())
    present, absent = marker["present"], marker["images"] - marker["present"]
    at_threshold = (
        present * marker["sensitivity"]["value"] + absent * marker["specificity"]["value"]
    )
    assert right == pytest.approx(at_threshold)
    assert "| marker | scanner | A |" in (out / "report.md").read_text()


def test_an_audit_that_trains_again_is_refused_before_work_starts(run, data, cxr, cache, tmp_path):
    out = tmp_path / "out"
    told = cxr(
        *("audit", run, "--data", data, "--finding", "marker", "--retrain", "--out", out),
        expect=2,
        **cache,
    ).stderr
    assert "[several_findings]" in told
    assert not list(out.glob("*.json"))


def test_one_finding_is_audited_as_it_is_named(run, data, predictor, cxr, cache):
    out = run.with_name("audited")
    cxr(
        *("audit", run, "--data", run / "split.csv", "--finding", "marker", "--out", out),
        *("--fail-on", "never"),
        **cache,
    )
    found = json.loads((out / "audit.json").read_text())
    tested = [row for row in rows(run / "split.csv") if row["split"] == "test"]
    known = [row for row in tested if "marker?" not in row["label"]]
    assert found["images"]["scored"] == len(known) < len(tested)
    assert found["subject"]["finding"] == {
        "name": "marker",
        "threshold": pytest.approx(predictor.thresholds["marker"]),
    }
    checks = {check["name"]: check for check in found["checks"]}
    evaluated = run.with_name("for the audit")
    cxr("evaluate", run, "--data", run / "split.csv", "--out", evaluated, **cache)
    report = json.loads((evaluated / "report.json").read_text())
    marker = report["evaluation"]["per_class"]["marker"]
    # Called as it is named: at its threshold, not at 0.5.
    named = [row for row in rows(evaluated / "predictions.csv") if "marker?" not in row["label"]]
    right = [("marker" in row["predicted"]) == ("marker" in row["label"]) for row in named]
    assert found["accuracy"]["value"] == pytest.approx(sum(right) / len(right))
    assert found["auroc_macro"]["value"] == pytest.approx(marker["auroc"]["value"], abs=1e-3)
    assert checks["calibration"]["measured"]["ece_classwise"]["value"] == pytest.approx(
        marker["ece"]["value"], abs=1e-3
    ), "on the scale that is given, not on the one that is moved"
    assert checks["heat_maps"]["verdict"] != "not done"
    assert "findings, marker" in (out / "audit.md").read_text()
    outside = checks["outside"]["measured"].get("groups", [])
    assert not [group for group in outside if group["label"] == "none stated"]


def test_an_audit_of_findings_asks_for_one_of_them(run, data, cxr, cache, tmp_path):
    common = ("--data", data, "--out", tmp_path / "out")
    told = cxr("audit", run, *common, expect=2, **cache).stderr
    assert "add --finding with one of dense, marker" in told
    told = cxr("audit", run, *common, "--finding", "mass", expect=2, **cache).stderr
    assert "Expected one of the findings of findings (dense, marker), but got 'mass'" in told
    told = cxr("audit", "model_2", *common, "--finding", "mass", expect=2, **cache).stderr
    assert "tells classes apart" in told
    assert not list((tmp_path / "out").glob("*.json"))


@pytest.fixture
def other_table(folds, tmp_path):
    """Write the table of predictions of the folds as another program might have it."""

    def write(change=lambda text: text, name="other.csv"):
        kept = [row for row in rows(folds / "predictions.csv") if row["seed"] == "mean"]
        columns = ["file", "label", "predicted", *(f"probability_{name}" for name in FINDINGS)]
        lines = [",".join(columns), *(",".join(row[name] for name in columns) for row in kept)]
        path = tmp_path / name
        path.write_text(change("\n".join(lines) + "\n"))
        return path

    return write


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace(",", ";"), "are separated by semicolons"),
        (
            lambda text: text.replace(",dense|marker,", ",dense; marker,"),
            "is no list of its findings",
        ),
        (lambda text: text.replace(",No Finding,0", ",0,0"), "'0' in the column predicted"),
        (
            lambda text: text.replace("_dense", "_marker", 1),
            "'probability_marker' stands there twice",
        ),
        (lambda text: "file,label\na.png,dense\n", "there is no column predicted"),
        (lambda text: "", "it has no rows"),
    ],
)
def test_a_table_that_cannot_be_read_is_not_said_to_be_of_classes(
    folds, other_table, change, told, cxr, cache
):
    table = other_table(change)
    error = cxr("compare", folds, table, expect=3, **cache).stderr
    assert "[bad_predictions]" in error
    assert told in error


def test_what_is_not_there_is_not_said_to_be_of_classes(folds, tmp_path, cxr, cache):
    error = cxr("compare", folds, tmp_path / "none.csv", expect=3, **cache).stderr
    assert "[no_predictions]" in error
    assert "none.csv; give the --out" in error


def test_a_label_that_no_model_knows_is_told_in_a_comparison(other_table, tmp_path, cxr, cache):
    def unknown(text):
        return text.replace(",dense,", ",haze,", 1)

    tables = (other_table(unknown, "a.csv"), other_table(unknown, "b.csv"))
    told = cxr("compare", *tables, "--out", tmp_path / "out", **cache)
    assert "a.csv: 1 images have a label that names what is none of the findings" in told.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [model["other_labels"] for model in report["models"].values()] == [1, 1]


def test_an_evaluation_of_images_that_training_saw_is_marked(
    folds, run, data, cxr, cache, tmp_path
):
    seen, out = tmp_path / "seen", tmp_path / "out"
    cxr("evaluate", run, "--data", data, "--allow-seen", "--out", seen, **cache)
    told = cxr("compare", folds, seen, "--out", out, **cache)
    met = json.loads((seen / "report.json").read_text())["seen_in_training"]
    assert met > 0
    assert f"seen: training saw {met} of its images; do not quote the figures" in told.stderr
    models = json.loads((out / "report.json").read_text())["models"]
    assert [model["seen_in_training"] for model in models.values()] == [0, met]
    assert f"**Training of seen saw {met} of its images" in (out / "report.md").read_text()


def test_an_audit_says_that_images_do_not_tell_the_finding(run, cxr, cache, tmp_path):
    common = ("--data", run / "split.csv", "--finding", "marker", "--fail-on", "never")
    cxr("audit", run, *common, "--out", tmp_path / "out", **cache)
    assert "do not say whether they have it" in (tmp_path / "out" / "audit.md").read_text()
    assert "do not say whether they have it" in (tmp_path / "out" / "audit.html").read_text()
