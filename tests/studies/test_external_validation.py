"""Each source that holds two classes is judged by a model that never met it."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.manifest import read_manifest
from cxr_transfer.errors import CxrError
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.metadata import fingerprint, read_card
from cxr_transfer.runs.predictions import read_predictions
from cxr_transfer.runs.run_folder import validation_scores
from cxr_transfer.statistics.operating_points import operating_points
from cxr_transfer.studies.external_report import DETAILS
from cxr_transfer.studies.external_sources import folder_name, sources_to_judge
from cxr_transfer.studies.external_validation import validate_recipe
from made_sources import LABELS, plan_of, recipe, write_sources

SOURCES = {"north": (24, 26), "south": (30, 22), "east": (0, 12), "west": (20, 3)}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    return write_sources(root, SOURCES, copied=("south", "north"))


@pytest.fixture(scope="module")
def validated(images, tmp_path_factory):
    out, shown, lines = tmp_path_factory.mktemp("out"), [], []
    content = validate_recipe(
        plan_of(), images, out, resamples=40, log=lines.append, show=shown.append
    )
    return out, content, shown, lines


def rows_of(out):
    with (out / "predictions.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_image_of_a_judged_source_is_scored_by_a_run_that_never_met_it(validated):
    out, content, _, _ = validated
    rows = rows_of(out)
    assert {(row["source"], row["run"]) for row in rows} == {
        ("north", "without_north"),
        ("south", "without_south"),
    }
    for row in rows:
        seen = read_card(out / row["run"] / "checkpoint.json").seen
        assert fingerprint(row["patient"]) not in seen["patients"]
    for one in content["sources"]:
        parts = read_manifest(out / one["run"] / "split.csv")
        assert one["source"] not in {part.source for part in parts}
        assert {part.source for part in parts} == SOURCES.keys() - {one["source"]}
        assert one["images"] == sum(row["source"] == one["source"] for row in rows)


def test_an_image_that_training_met_elsewhere_is_left_out_and_counted(validated, images):
    out, content, _, _ = validated
    met = {one["source"]: one["met_in_training"] for one in content["sources"]}
    # Equal images stand in one part; where that part is the test part, training met none.
    copy = next(
        part
        for part in read_manifest(out / "without_north" / "split.csv")
        if part.path == images.parent / "copy.png"
    )
    assert met == dict.fromkeys(("north", "south"), int(copy.split != "test"))
    assert sum(met.values()) == 2, "the seed puts it where training meets it"


def test_the_parts_are_the_same_for_all_sources(validated):
    out = validated[0]
    parts = [
        {part.path: part.split for part in read_manifest(out / name / "split.csv")}
        for name in ("without_north", "without_south")
    ]
    shared = parts[0].keys() & parts[1].keys()
    assert shared
    assert all(parts[0][path] == parts[1][path] for path in shared)


def test_thresholds_are_those_of_the_training_sources_validation_images(validated):
    out, content, _, _ = validated
    for one in content["sources"]:
        validation = validation_scores(out / one["run"], LabelSet(LABELS))
        assert one["calibration"]["temperature"] is None, "else the scores are on its scale"
        assert sum(one["threshold_images"].values()) == len(validation.files)
        wanted = operating_points(validation, "cloudy", sensitivity=0.9, specificity=0.95)
        points = one["operating_points"]["cloudy"]
        assert {name: point["threshold"] for name, point in points.items()} == wanted
        scored = [row for row in rows_of(out) if row["source"] == one["source"]]
        score = np.array([float(row["score_cloudy"]) for row in scored])
        ill = np.array([row["label"] == "cloudy" for row in scored])
        point = points["sensitivity 0.9"]
        assert point["sensitivity"]["value"] == pytest.approx(
            (score[ill] >= point["threshold"]).mean()
        )


def test_the_worst_source_comes_first_and_the_report_has_all_figures(validated):
    out, content, _, _ = validated
    assert json.loads((out / "validation.json").read_text()) == content
    areas = [one["auroc_macro"]["value"] for one in content["sources"]]
    assert areas == sorted(areas)
    summary = content["summary"]
    assert summary["worst"]["source"] == content["sources"][0]["source"] == summary["order"][0]
    assert summary["mean"]["auroc_macro"] == pytest.approx(np.mean(areas))
    first = content["sources"][0]
    assert first["without_lungs"]["auroc_macro"]["value"] is not None
    assert first["abstention"]["confidence_threshold"] > 0
    assert first["abstention"]["out_of_distribution"] is not None
    assert first["auroc_macro_inside"] is not None
    assert set(first["calls"]) == set(LABELS)
    text = (out / "report.md").read_text()
    shown = text.partition(DETAILS)[0]
    assert f"| {summary['worst']['source']} | {first['images']} |" in shown
    assert "Expect of the next hospital" in shown
    assert "mean of 2" in shown
    for name in ("auroc", "sensitivity", "specificity"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 1000
    assert len(read_predictions(out / "predictions.csv").scores.files) == len(rows_of(out))


def test_sources_that_cannot_be_judged_are_told_with_the_reason(validated):
    _, content, _, lines = validated
    assert content["skipped"].keys() == {"east", "west"}
    assert "one class only (cloudy)" in content["skipped"]["east"]
    assert "fewer than 20 images of its second class" in content["skipped"]["west"]
    assert sum("is not judged" in line for line in lines) == 2


def test_it_shows_how_far_it_is(validated):
    shown = validated[2]
    shares = [each.share for each in shown]
    assert shares == sorted(shares)
    titles = dict.fromkeys(each.title.partition(" · ")[0] for each in shown)
    assert list(titles) == [
        "reading images",
        "without north (1 of 2)",
        "scoring north",
        "without south (2 of 2)",
        "scoring south",
        "writing the report",
    ]


def test_given_again_it_trains_nothing_and_says_the_same(validated, images):
    out, content, _, _ = validated
    lines = []
    again = validate_recipe(plan_of(), images, out, resamples=40, log=lines.append)
    assert sum("done before" in line for line in lines) == 2
    assert again["sources"] == content["sources"]
    with pytest.raises(CxrError) as error:
        validate_recipe(plan_of(seed=2), images, out, resamples=40)
    assert error.value.code == "other_run"


def test_a_source_that_the_start_has_met_is_not_judged(validated, images, tmp_path):
    start = validated[0] / "without_south"
    own = recipe(name="again", initial="small", new_head=True)
    content = validate_recipe(plan_of(own, start=start), images, tmp_path, resamples=10)
    assert [one["source"] for one in content["sources"]] == ["south"]
    assert "training met" in content["skipped"]["north"]
    assert content["summary"]["worst"]["source"] == "south"


def cases_of(numbers):
    return [
        Case(Path(f"{source}{label}{row}.png"), label, f"{source}{label}{row}", source)
        for source, of_labels in numbers.items()
        for label, number in zip(LABELS, of_labels, strict=True)
        for row in range(number)
    ]


@pytest.mark.parametrize(
    ("numbers", "code", "words"),
    [
        ({"north": (30, 30)}, "one_source", "column source"),
        ({"north": (30, 0), "south": (0, 30)}, "no_source_to_leave_out", "one class only"),
        ({"north": (30, 30), "south": (9, 0)}, "no_source_to_leave_out", "left to learn"),
    ],
)
def test_data_without_a_source_to_judge_are_refused(numbers, code, words):
    with pytest.raises(CxrError) as error:
        sources_to_judge(cases_of(numbers), LabelSet(LABELS))
    assert error.value.code == code
    assert words in error.value.message


def test_a_source_whose_leaving_takes_a_class_away_is_skipped():
    cases = cases_of({"north": (30, 30), "south": (30, 30), "east": (30, 0)})
    sources = sources_to_judge(cases, LabelSet(LABELS))
    assert sources.judged == ("north", "south")
    rare = cases_of({"north": (30, 30), "south": (30, 9), "east": (30, 22)})
    sources = sources_to_judge(rare, LabelSet(LABELS))
    assert sources.judged == ("east", "north")
    only = cases_of({"north": (30, 30), "south": (30, 5), "east": (30, 3)})
    with pytest.raises(CxrError) as error:
        sources_to_judge(only, LabelSet(LABELS))
    assert "fewer than 10 patients of cloudy are left" in error.value.message


def test_several_findings_are_refused_before_an_image_is_opened(images, tmp_path):
    stages = [{"name": "all", "train": ["*"], "max_epochs": 1}]
    own = recipe(task="multi_label", dataset=None, coverage=None, stages=stages)
    steps = []
    with pytest.raises(CxrError) as error:
        validate_recipe(plan_of(own), images, tmp_path, show=steps.append)
    assert error.value.code == "several_findings"
    assert steps == []
    assert list(tmp_path.iterdir()) == []


def test_a_folders_name_tells_sources_apart_that_no_folder_can():
    names = [folder_name(source) for source in ("nih", "St. Mary/A", "st mary a", "../up")]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"without_[a-z0-9_]+", name) for name in names)


def test_a_source_whose_leaving_empties_a_part_is_skipped_and_not_a_failure(tmp_path):
    # So few patients that the validation part has a class of one source alone.
    manifest = write_sources(tmp_path / "images", {"north": (24, 24), "south": (24, 24)})
    lines = []
    content = validate_recipe(
        plan_of(seed=0), manifest, tmp_path / "out", resamples=10, log=lines.append
    )
    assert len(content["skipped"]) == len(content["sources"]) == 1
    (why,) = content["skipped"].values()
    assert "is in the part validation" in why
    assert any("is not judged" in line for line in lines)
