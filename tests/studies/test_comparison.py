"""Models are compared on the images that all of them have, and on no others."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_transfer.datasets.index import index
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.errors import CxrError
from cxr_transfer.evaluation.scoring import write_scores
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.statistics.comparison import mcnemar, paired_difference
from cxr_transfer.statistics.delong import delong
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.studies.comparison import compare_models, distinct_names
from made import case, write_image

LABELS = LabelSet(("clear", "cloudy"))
IMAGES = 30


def scored(seed, images=IMAGES):
    rng = np.random.default_rng(seed)
    right = rng.uniform(0.2, 1, images)
    targets = np.arange(images) % 2
    return np.where(np.eye(2)[targets] > 0, right[:, None], 1 - right[:, None])


def cases(root="x", images=IMAGES):
    return [
        case(
            f"{root}/{row:02}.png",
            LABELS.names[row % 2],
            patient=f"p{row // 2 if row < 10 else row}",
            sha256=f"{row:064x}",
        )
        for row in range(images)
    ]


@pytest.fixture
def tables(tmp_path):
    """Three evaluations of the same images, seen from other folders and in other orders."""
    folders = []
    for seed, name in enumerate(("a", "b", "c")):
        order = np.random.default_rng(seed).permutation(IMAGES)
        of_model = cases(name)
        write_scores(
            tmp_path / name / "predictions.csv",
            LABELS,
            scored(seed)[order],
            [of_model[row] for row in order],
        )
        folders.append(tmp_path / name)
    return folders


def as_scores(seed, rows=slice(None)):
    known = cases()[rows]
    targets = np.array([LABELS.target(each.label) for each in known])
    return Scores.of(LABELS, targets, scored(seed).round(6)[rows], known)


def code_of(given, tmp_path):
    with pytest.raises(CxrError) as error:
        compare_models(given, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    return error.value.code


def edited(folder, change):
    path = folder / "predictions.csv"
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows = [change(dict(row)) for row in rows]
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_pairs_have_the_tests_of_the_statistics_whatever_the_order_of_the_rows(tables, tmp_path):
    content = compare_models(tables, tmp_path / "out", resamples=100)
    assert (content["images"], content["patients"]) == (30, 25)
    by_hand = {name: as_scores(seed) for seed, name in enumerate(("a", "b", "c"))}
    pairs = {(pair["a"], pair["b"]): pair for pair in content["comparisons"]}
    assert set(pairs) == {("a", "b"), ("a", "c"), ("b", "c")}
    for (a, b), pair in pairs.items():
        one, other = by_hand[a], by_hand[b]
        assert pair["p_mcnemar_exact"] == mcnemar(one.targets, one.predicted, other.predicted).p
        for label in LABELS:
            assert pair["delong"][label]["p"] == pytest.approx(delong(one, other, label).p)
        difference = paired_difference(one, other, resamples=100).value
        assert pair["accuracy_b_minus_a"]["value"] == pytest.approx(difference)
        low, high = (pair["auroc_b_minus_a"][end] for end in ("low", "high"))
        assert low <= pair["auroc_b_minus_a"]["value"] <= high


def test_the_report_has_tables_and_a_figure(tables, tmp_path):
    out = tmp_path / "out"
    content = compare_models(tables, out, resamples=20)
    assert json.loads((out / "report.json").read_text()) == content
    with (out / "compare.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["p_holm"]) for row in rows] == [
        pair["p_holm"] for pair in content["comparisons"]
    ]
    assert r"\toprule" in (out / "compare.tex").read_text()
    for ending in ("png", "svg", "pdf"):
        assert (out / "figures" / f"differences.{ending}").is_file()
    text = (out / "report.md").read_text()
    assert "Comparison of 3 models on 30 images" in text
    assert "left out" not in text


def test_images_that_one_has_alone_are_left_out_and_counted(tables, tmp_path):
    write_scores(tables[1] / "predictions.csv", LABELS, scored(1)[5:], cases("b")[5:])
    said = []
    content = compare_models(tables[:2], tmp_path / "out", resamples=20, log=said.append)
    assert content["images"] == 25
    assert [model["left_out"] for model in content["models"].values()] == [5, 0]
    assert said == ["a: 5 images that not all models have are left out"]
    assert "5 images of a are left out" in (tmp_path / "out" / "report.md").read_text()
    a, b = (as_scores(seed, slice(5, None)) for seed in (0, 1))
    pair = content["comparisons"][0]
    assert pair["p_mcnemar_exact"] == mcnemar(a.targets, a.predicted, b.predicted).p


def test_an_evaluation_of_images_that_training_saw_is_marked(tables, tmp_path):
    (tables[0] / "report.json").write_text('{"seen_in_training": 4}')
    said = []
    compare_models(tables[:2], tmp_path / "out", resamples=20, log=said.append)
    assert said == ["a: training saw 4 of its images; do not quote the figures"]
    assert "**Training of a saw 4 of its images" in (tmp_path / "out" / "report.md").read_text()


def test_an_image_under_two_labels_is_refused_by_its_name(tables, tmp_path):
    def change(row):
        other = {"clear": "cloudy", "cloudy": "clear"}
        return row | ({"label": other[row["label"]]} if row["file"] == "b/07.png" else {})

    edited(tables[1], change)
    with pytest.raises(CxrError) as error:
        compare_models(tables[:2], tmp_path / "out")
    assert error.value.code == "two_labels"
    assert "a/07.png" in error.value.message


def test_other_patients_and_other_images_are_refused(tables, tmp_path):
    edited(tables[1], lambda row: row | {"patient": f"other {row['patient']}"})
    assert code_of(tables[:2], tmp_path) == "not_paired"
    edited(tables[1], lambda row: row | {"sha256": f"{int(row['sha256'], 16) + 99:064x}"})
    assert code_of(tables[:2], tmp_path) == "no_common_images"


def test_classes_may_stand_in_another_order_but_must_be_the_same(tables, tmp_path):
    before = compare_models(tables[:2], tmp_path / "before", resamples=20)
    turned = LabelSet(("cloudy", "clear"))
    write_scores(tables[1] / "predictions.csv", turned, scored(1)[:, ::-1], cases("b"))
    after = compare_models(tables[:2], tmp_path / "after", resamples=20)
    assert after["comparisons"] == before["comparisons"]
    edited(tables[1], lambda row: {k.replace("clear", "clean"): v for k, v in row.items()})
    edited(tables[1], lambda row: row | {"label": row["label"].replace("clear", "clean")})
    assert code_of(tables[:2], tmp_path) == "other_classes"


def test_a_table_without_hashes_and_patients_is_matched_by_name(tables, tmp_path):
    theirs = tmp_path / "theirs.csv"
    lines = ["file,label,score_clear,score_cloudy"]
    lines += [
        f"{each.file},{each.label},{row[0]:.6f},{row[1]:.6f}"
        for each, row in zip(cases("a"), scored(1), strict=True)
    ]
    theirs.write_text("\n".join(lines))
    content = compare_models([tables[0], theirs], tmp_path / "out", resamples=20)
    assert content["images"] == 30
    assert content["patients"] == 25, "the other table names them"
    assert list(content["models"]) == ["a", "theirs.csv"]


def test_one_model_twice_or_alone_or_nothing_is_refused(tables, tmp_path):
    assert code_of(tables[:1], tmp_path) == "one_model"
    again = [tables[0], tables[0] / "predictions.csv"]
    assert code_of(again, tmp_path) == "same_model"
    (tmp_path / "empty").mkdir()
    assert code_of([tables[0], tmp_path / "empty"], tmp_path) == "no_predictions"
    assert code_of([tables[0], tmp_path / "absent"], tmp_path) == "no_predictions"


def test_names_that_others_chose_do_nothing(tmp_path):
    odd = LabelSet(("<b>|`x`_y_ [a](http://b)", "50 % & \\input{x}"))
    known = [
        dataclasses.replace(each, label=odd.names[row % 2]) for row, each in enumerate(cases())
    ]
    given = []
    for seed, name in enumerate(("<b>|a [a](http://b)", "b \udcff\n#")):
        given.append(tmp_path / name)
        write_scores(given[-1] / "predictions.csv", odd, scored(seed), known)
    content = compare_models(given, tmp_path / "out", resamples=20)
    assert all(name.isprintable() for name in content["models"])
    text = (tmp_path / "out" / "report.md").read_text()
    assert "<b>" not in text
    assert "[a](http" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.rstrip().endswith("|") for line in rows)
    assert "\\input{" not in (tmp_path / "out" / "compare_auroc.tex").read_text()


def test_names_are_as_short_as_they_can_be():
    paths = [Path("runs/a/model"), Path("runs/b/model"), Path("runs/c/predictions.csv")]
    assert distinct_names(paths) == ["a/model", "b/model", "runs/c"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that kept no predictions, with orders of classes of their own."""
    root = tmp_path_factory.mktemp("runs")
    images = [
        case(write_image(root / "images" / f"{row:02}.png", seed=row), LABELS.names[row % 2])
        for row in range(12)
    ]
    found = index(images)
    parts = ["test"] * 8 + ["train"] * 4
    for seed, names in enumerate((("clear", "cloudy"), ("cloudy", "clear"))):
        torch.manual_seed(seed)
        folder = root / f"run_{seed}"
        folder.mkdir()
        card = {
            "name": "made", "architecture": "simple_cnn", "labels": names,
            "preprocessing": Preprocessing(height=48, width=48), "epsilon": 1e-3,
        }  # fmt: skip
        save_checkpoint(folder, build("simple_cnn", 2, size=(48, 48), epsilon=1e-3), card)
        turned = parts if seed == 0 else parts[2:] + parts[:2]
        write_manifest(
            folder / "split.csv",
            [dataclasses.replace(c, split=part) for c, part in zip(found, turned, strict=True)],
        )
    return root / "run_0", root / "run_1"


def test_runs_without_predictions_are_scored_on_the_test_images_that_both_have(runs, tmp_path):
    read = []

    def on_images(number):
        read.append([number, 0])

        def step():
            read[-1][1] += 1

        return step

    content = compare_models(runs, tmp_path, device="cpu", resamples=20, on_images=on_images)
    assert content["images"] == 6
    assert [model["left_out"] for model in content["models"].values()] == [2, 2]
    assert read == [[10, 10]], "every image once, though both runs have it"
    for run in runs:
        assert ",compare,8," in (run / "test_set_accesses.csv").read_text()


def test_runs_that_share_no_test_image_are_refused_before_one_is_opened(runs, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("checkpoint.json", "checkpoint.safetensors"):
        (other / name).write_bytes((runs[0] / name).read_bytes())
    text = (runs[0] / "split.csv").read_text()
    text = text.replace("test", "other").replace("train", "test").replace("other", "train")
    (other / "split.csv").write_text(text.replace("../images", "absent"))
    assert code_of([runs[0], other], tmp_path) == "no_common_images"
