"""The public functions, as a person in a notebook calls them."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import cxr_transfer as cxr
from cxr_transfer.datasets.phantom import draw_radiograph
from made_sources import recipe, write_sources

LABELS = ("normal", "bacterial", "covid19")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder per class, 14 generated images in each."""
    root = tmp_path_factory.mktemp("images")
    for number, label in enumerate(LABELS):
        (root / label).mkdir()
        for row in range(14):
            image = draw_radiograph(label, rng=np.random.default_rng(100 * number + row))
            Image.fromarray(image).save(root / label / f"{row:02}.png")
    return root


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    dataset = cxr.load_dataset(images, seed=3)
    out = tmp_path_factory.mktemp("runs") / "mine"
    lines = []
    run = cxr.train(
        "model_1", dataset, out=out, max_epochs=1, device="cpu", precision="float32",
        log=lines.append,
    )  # fmt: skip
    return dataset, run, lines


def test_a_data_set_has_parts_that_share_no_patient(trained):
    dataset, _, _ = trained
    parts = dataset.train, dataset.validation, dataset.test
    assert all(parts)
    assert sum(map(len, parts)) == len(dataset.cases) == 42
    patients = [{case.patient for case in part} for part in parts]
    assert not patients[0] & patients[2]
    assert tuple(dataset.labels) == LABELS


@pytest.mark.slow
def test_a_run_is_evaluated_on_its_test_part_and_answers(trained, images, tmp_path):
    dataset, run, lines = trained
    assert any("epoch 1" in line for line in lines)
    report = cxr.evaluate(run, dataset.test, device="cpu")
    assert report.folder is None
    assert report["images"] == len(dataset.test)
    assert cxr.INTENDED_USE in report.text
    table = report.to_frame()
    accuracy = table[table["statistic"] == "accuracy"].iloc[0]
    assert accuracy["value"] == report["evaluation"]["accuracy"]["value"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert set(table["class"].dropna()) == set(LABELS)
    kept = cxr.evaluate(run, dataset.test, out=tmp_path / "report", device="cpu")
    assert (tmp_path / "report" / "report.json").is_file()
    assert kept["evaluation"] == report["evaluation"]
    image = images / "normal" / "00.png"
    assert set(cxr.Predictor.open(run).predict(image).probabilities) <= set(LABELS)


def test_images_that_training_saw_are_refused(trained):
    dataset, run, _ = trained
    with pytest.raises(cxr.CxrError) as error:
        cxr.evaluate(run, dataset, device="cpu")
    assert error.value.code == "seen_images"


def test_a_comparison_has_a_row_per_pair(tmp_path):
    for name, sure in (("a", 0.6), ("b", 0.7), ("c", 0.4)):
        rows = [
            f"{row}.png,{'xy'[row % 2]},{(sure, 1 - sure)[row % 2]},{(1 - sure, sure)[row % 2]}"
            for row in range(6)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["file,label,score_x,score_y", *rows]))
    report = cxr.compare(*(tmp_path / f"{name}.csv" for name in "abc"))
    assert report.folder is None
    table = report.to_frame()
    assert list(zip(table["a"], table["b"], strict=True)) == [
        ("a.csv", "b.csv"), ("a.csv", "c.csv"), ("b.csv", "c.csv"),
    ]  # fmt: skip
    assert list(table["accuracy_b_minus_a"]) == [0, -1, -1]
    assert {"accuracy_b_minus_a_low", "auroc_b_minus_a_high", "p_holm"} <= set(table)
    assert "Comparison of 3 models" in report.text
    kept = cxr.compare(tmp_path / "a.csv", tmp_path / "b.csv", out=tmp_path / "out")
    assert (kept.folder / "compare.tex").is_file()


@pytest.mark.slow
def test_a_cross_validation_has_a_row_per_fold(images, tmp_path):
    lines = []
    words = {"folds": 2, "max_epochs": 1, "device": "cpu", "log": lines.append}
    report = cxr.cross_validate("model_1", images, out=tmp_path / "cv", **words)
    table = report.to_frame()
    assert list(table["fold"]) == [1, 2]
    assert table["images"].sum() == 42
    assert (table["accuracy_low"] <= table["accuracy"]).all()
    assert report.folder == tmp_path / "cv"
    assert "Cross-validation" in report.text
    again = cxr.cross_validate("model_1", images, out=tmp_path / "cv", **words)
    assert sum("done before" in line for line in lines) == 2
    assert again["evaluation"] == report["evaluation"]


@pytest.mark.slow
def test_a_validation_has_a_row_per_source_the_worst_one_first(tmp_path):
    manifest = write_sources(tmp_path, {"north": (40, 40), "south": (40, 40)})
    words = {"max_epochs": 1, "device": "cpu", "resamples": 20}
    report = cxr.validate("model_1", manifest, out=tmp_path / "out", **words)
    table = report.to_frame()
    assert list(table["source"]) == report["summary"]["order"]
    assert set(table["source"]) == {"north", "south"}
    assert (table["auroc_macro"] == sorted(table["auroc_macro"])).all()
    assert {"sensitivity_cloudy", "specificity_clear_low", "without_class"} <= set(table)
    assert "The next hospital" in report.text
    assert report.folder == tmp_path / "out"


def test_a_local_curve_has_a_row_per_size(tmp_path):
    manifest = write_sources(tmp_path, {"north": (24, 24), "south": (40, 40)})
    (tmp_path / "small.toml").write_text(recipe().to_toml())
    curve = cxr.local_curve(
        tmp_path / "small.toml", manifest, "south", [0, 8], out=tmp_path / "out", draws=2,
        resamples=20, device="cpu",
    )  # fmt: skip
    table = curve.to_frame()
    assert list(table["images"]) == [0, 8]
    assert (table["auroc_macro_low"] <= table["auroc_macro_high"]).all()
    assert "What images of south bring" in curve.text
    # The same function judges a model as it is.
    report = cxr.validate(
        tmp_path / "out" / "images_0" / "draw_1", manifest, out=tmp_path / "judged", resamples=20,
        device="cpu",
    )  # fmt: skip
    assert report["kind"] == "model"
    assert list(report.to_frame()["source"]) == ["south"]


@pytest.mark.slow
def test_an_audit_has_a_row_per_check(trained):
    dataset, run, _ = trained
    report = cxr.audit(run, dataset, device="cpu", precision="float32")
    table = report.to_frame()
    assert report["verdict"] in ("pass", "warn", "fail")
    assert list(table["name"]) == [check["name"] for check in report["checks"]]


def test_a_learning_curve_of_own_images_has_a_row_per_size(images, tmp_path):
    lines = []
    curve = cxr.learning_curve(
        images, [4, 8], out=tmp_path / "curve", recipes=["model_1"], draws=2, input_size=64,
        max_epochs=1, device="cpu", precision="float32", log=lines.append,
    )  # fmt: skip
    assert [row["images_per_class"] for row in curve["points"]] == [4, 8]
    assert curve["classes"] == dict.fromkeys(LABELS, 14)
    assert not curve["generated_images"], "nobody said that they are"
    table = curve.to_frame()
    assert list(table["images_per_class"]) == [4, 8]
    assert (table["accuracy_low"] <= table["accuracy_high"]).all()
    assert "How many images are enough?" in curve.text
    assert curve.folder == tmp_path / "curve"
    assert lines


@pytest.mark.parametrize(
    "call",
    [
        lambda: cxr.load_dataset(3),
        lambda: cxr.load_dataset("images", sources="nih"),
        lambda: cxr.evaluate("run", [], subgroups="scanner"),
        lambda: cxr.audit("run", [], subgroups="scanner"),
        lambda: cxr.train("model_1", "images", out="runs"),
        lambda: cxr.evaluate(3, []),
        lambda: cxr.evaluate("run", "images.csv"),
        lambda: cxr.audit("run", ["images.csv"]),
        lambda: cxr.compare("run", 3),
        lambda: cxr.cross_validate("model_1", 3, out="runs"),
        lambda: cxr.cross_validate("model_1", "images", out="runs", choose="model_2"),
        lambda: cxr.audit("model_3", [], retrain=True),
        lambda: cxr.validate("model_1", 3, out="runs"),
        lambda: cxr.validate("model_1", "images", out="runs", resamples=2.5),
        lambda: cxr.local_curve("model_1", "images", "south", "0,25", out="runs"),
        lambda: cxr.learning_curve("images", "10,20", out="runs"),
        lambda: cxr.learning_curve(3, [10, 20], out="runs"),
    ],
)
def test_wrong_types_are_said_before_anything_is_done(call):
    with pytest.raises(TypeError, match="Expected"):
        call()


@pytest.mark.slow
def test_all_that_is_public_is_there_and_is_imported_when_it_is_asked_for():
    code = (
        "import sys, cxr_transfer as cxr\n"
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'pydantic', 'openvino'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
        "assert set(cxr.__all__) <= set(dir(cxr))\n"
        "for name in cxr.__all__:\n"
        "    assert getattr(cxr, name) is not None\n"
        "import cxr_transfer.audits.run, cxr_transfer.training.trainer\n"
        "for name in ('audit', 'train', 'compare', 'evaluate', 'cross_validate', 'validate'):\n"
        "    assert callable(getattr(cxr, name))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cxr.nothing
