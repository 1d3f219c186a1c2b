"""What local images bring: one test half for all runs, and draws that grow."""

import csv
import json

import numpy as np
import pytest

from cxr_transfer.datasets.manifest import read_manifest
from cxr_transfer.errors import CxrError
from cxr_transfer.models.metadata import fingerprint, read_card
from cxr_transfer.studies.local_curve import (
    LocalCurve,
    local_source,
    measure_local_curve,
    read_local_sizes,
)
from made_sources import plan_of, recipe, write_sources

SOURCES = {"north": (30, 30), "south": (44, 44), "east": (0, 12)}
CURVE = LocalCurve("south", (0, 12, 24), draws=2, resamples=40)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("local"), SOURCES, copied=("east", "south"))


@pytest.fixture(scope="module")
def measured(images, tmp_path_factory):
    out, shown, lines = tmp_path_factory.mktemp("out"), [], []
    content = measure_local_curve(
        plan_of(), CURVE, images, out, log=lines.append, show=shown.append
    )
    return out, content, shown


def local_cases(folder):
    return [case for case in read_manifest(folder / "split.csv") if case.source == "south"]


def test_every_run_has_all_other_sources_and_so_many_local_images(measured):
    out, content, _ = measured
    assert [(one["images"], one["draw"]) for one in content["runs"]] == [
        (0, 1), (12, 1), (12, 2), (24, 1), (24, 2),
    ]  # fmt: skip
    for one in content["runs"]:
        parts = read_manifest(out / one["run"] / "split.csv")
        drawn = local_cases(out / one["run"])
        assert sum(part.source == "north" for part in parts) == 60
        assert len(drawn) == one["drawn"]
        assert abs(len(drawn) - one["images"]) <= 2, "whole patients of two images"
        assert {case.split for case in drawn} <= {"train", "validation"}
        counts = [sum(case.label == label for case in drawn) for label in ("clear", "cloudy")]
        assert counts[0] == counts[1]


def test_a_larger_draw_holds_the_smaller_one_and_draws_differ(measured):
    out = measured[0]
    paths = {
        (size, number): {case.path for case in local_cases(out / f"images_{size}/draw_{number}")}
        for size in (12, 24)
        for number in (1, 2)
    }
    assert paths[12, 1] < paths[24, 1]
    assert paths[12, 2] < paths[24, 2]
    assert paths[12, 1] != paths[12, 2]


def test_no_run_has_met_the_test_half_nor_a_copy_of_a_local_image(measured, images):
    out, content, _ = measured
    assert content["test_images"] == 44
    assert content["test_patients"] == 22
    assert content["images_of_others"]["east"] == 12, "the copy of a local image is left out"
    everybody = {case.patient for case in read_manifest(images) if case.source == "south"}
    seen = {
        patient
        for one in content["runs"]
        for patient in read_card(out / one["run"] / "checkpoint.json").seen["patients"]
    }
    met = {patient for patient in everybody if fingerprint(patient) in seen}
    assert len(everybody - met) >= 22


def test_the_report_has_a_row_for_each_size(measured):
    out, content, _ = measured
    assert json.loads((out / "local_curve.json").read_text()) == content
    points = content["points"]
    assert [point["images"] for point in points] == [0, 12, 24]
    assert points[0]["gained"] is None
    for point in points[1:]:
        assert point["gained"]["value"] == pytest.approx(
            point["auroc_macro"]["value"] - points[0]["auroc_macro"]["value"]
        )
        assert point["auroc_macro"]["value"] == pytest.approx(np.mean(point["of_draws"]))
    rates = points[-1]["operating_points"]["cloudy"]["sensitivity 0.9"]
    assert len(rates["thresholds"]) == 2
    text = (out / "report.md").read_text()
    assert "What images of south bring" in text
    assert "| 24 | 24 |" in text
    with (out / "local_curve.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["images"] for row in rows} == {"0", "12", "24"}
    assert "gained" in {row["figure"] for row in rows}
    assert (out / "figures" / "local_curve.png").stat().st_size > 1000


def test_it_shows_how_far_it_is_and_goes_on_with_more_draws(measured, images):
    out, content, shown = measured
    shares = [each.share for each in shown]
    assert shares == sorted(shares)
    lines = []
    curve = LocalCurve("south", (0, 12, 24), draws=3, resamples=40)
    again = measure_local_curve(plan_of(), curve, images, out, log=lines.append)
    assert sum("done before" in line for line in lines) == 5
    assert len(again["runs"]) == 7
    assert again["points"][0] == content["points"][0]
    with pytest.raises(CxrError) as error:
        measure_local_curve(plan_of(seed=2), CURVE, images, out)
    assert error.value.code == "other_run"


@pytest.mark.parametrize(
    ("local", "sizes", "code"),
    [
        ("nowhere", (0, 12), "unknown_source"),
        ("east", (0, 12), "no_source_to_leave_out"),
        ("south", (0, 200), "too_few_to_draw"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_an_image_is_opened(
    images, tmp_path, local, sizes, code
):
    shown = []
    with pytest.raises(CxrError) as error:
        measure_local_curve(
            plan_of(recipe()), LocalCurve(local, sizes), images, tmp_path, show=shown.append
        )
    assert error.value.code == code
    assert shown == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sizes", [(0,), (25, 0), (-1, 25), (5, 5)])
def test_sizes_rise_from_none(sizes):
    with pytest.raises(CxrError) as error:
        LocalCurve("south", sizes)
    assert error.value.code == "bad_sizes"


def test_the_local_source_is_the_one_that_is_named_or_added():
    assert local_source("south", ["clinic"]) == "south"
    assert local_source(None, ["clinic"]) == "clinic"
    assert read_local_sizes("0,25") == (0, 25)
    for added in ([], ["a", "b"]):
        with pytest.raises(CxrError) as error:
            local_source(None, added)
        assert error.value.code == "no_local_source"
    for call in (lambda: read_local_sizes("ten"), lambda: LocalCurve("south", (0, 5), draws=0)):
        with pytest.raises(CxrError) as error:
            call()
        assert error.value.code in ("bad_sizes", "bad_draws")
