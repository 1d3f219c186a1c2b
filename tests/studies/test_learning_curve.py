"""A curve's runs are whole, nested and resumed; what cannot be measured is refused beforehand."""

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

from cxr_transfer.cli.commands import app
from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.errors import CxrError
from cxr_transfer.models.metadata import fingerprint, read_card
from cxr_transfer.studies.curve_plan import LearningCurve, read_sizes
from cxr_transfer.studies.curve_runs import RESULT, SCORES, place_of
from cxr_transfer.studies.learning_curve import run_learning_curve
from cxr_transfer.training.device import Execution

ON_CPU = Execution(device="cpu", precision="float32")
SIZE = PhantomSize(normal=48, bacterial=48, viral=24, covid19=24)
FITTED = """
name = "fitted"
title = "A head at once & 100 %"
network = "simple_cnn"
dataset = "dataset_1"

[[stages]]
name = "head"
fit = "logistic"
train = ["head"]
"""


def curve_of(models, **changes):
    settings = {"sizes": (4, 8), "draws": 2, "max_epochs": 1, "input_size": 64, "resamples": 50}
    return LearningCurve(models=models, **settings | changes)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("curve")
    write_phantom(root / "archives", seed=1, size=SIZE, pixels=128)
    (root / "fitted.toml").write_text(FITTED)
    return root


@pytest.fixture(scope="module")
def models(root):
    return ("model_1", "model_2", str(root / "fitted.toml"))


@pytest.fixture(scope="module")
def measured(root, models):
    out, said, shown = root / "out", [], []
    content = run_learning_curve(
        str(root / "archives"),
        out,
        curve_of(models),
        execution=ON_CPU,
        log=said.append,
        show=shown.append,
    )
    return out, content, said, shown


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_point_has_its_figures_with_intervals(measured):
    out, content, _, _ = measured
    assert content == json.loads((out / "curve.json").read_text())
    assert [(row["model"], row["images_per_class"]) for row in content["points"]] == [
        (name, size) for name in ("model_1", "model_2", "fitted") for size in (4, 8)
    ]
    for row in content["points"]:
        for measure in ("accuracy", "auroc_macro"):
            found = row[measure]
            assert found["low"] <= found["value"] <= found["high"]
            assert found["value"] == pytest.approx(sum(found["of_draws"]) / 2)
        assert (row["gained_over"] is None) == (row["model"] == "model_1")
        assert row["drawn_per_class"] == pytest.approx(row["images_per_class"], abs=2)
    assert content["patients_in_two_parts"] == 0
    assert content["generated_images"]
    assert "2 sizes" not in content["laws"]["model_1"]["refused"]
    assert "there are 2" in content["laws"]["model_1"]["refused"]


def test_accuracy_is_that_of_the_scores_which_were_kept(measured):
    out, content, _, _ = measured
    row = next(row for row in content["points"] if row["model"] == "fitted")
    for number, accuracy in enumerate(row["accuracy"]["of_draws"], start=1):
        scores = rows_of(place_of(out, "fitted", 4, number) / SCORES)
        labels = [name.removeprefix("score_") for name in scores[0] if name.startswith("score_")]
        called = [max(labels, key=lambda name: float(one[f"score_{name}"])) for one in scores]
        right = [name == one["label"] for name, one in zip(called, scores, strict=True)]
        assert accuracy == pytest.approx(sum(right) / len(right))


def test_runs_share_the_test_part_and_a_draw_holds_the_smaller_one(measured):
    out, content, _, _ = measured
    tests = set()
    for number in (1, 2):
        parts = []
        for size in (4, 8):
            rows = rows_of(place_of(out, "model_1", size, number) / "split.csv")
            tests.add(frozenset(row["sha256"] for row in rows if row["split"] == "test"))
            parts.append({row["sha256"]: row["split"] for row in rows})
        assert parts[0].items() <= parts[1].items()
    assert len(tests) == 1
    assert len(next(iter(tests))) == content["test_images"]


def test_what_others_start_from_knows_no_patient_of_the_curve(measured):
    out, content, _, _ = measured
    card = read_card(out / "model_0" / "checkpoint.json")
    assert card.data["name"] == "dataset_0 without dataset_1"
    result = json.loads((place_of(out, "model_2", 4, 1) / RESULT).read_text())
    assert result["initial"].startswith("model_0 ")
    assert result["settings"]["start"] == card.weights_sha256
    assert content["started_from"] == {"model_0": card.weights_sha256}


def test_no_weights_and_no_activations_are_left(measured):
    out, _, _, _ = measured
    assert not (out / "activations").exists()
    assert not list((out / "runs").rglob("*.safetensors"))
    names = {path.name for path in place_of(out, "model_2", 8, 2).iterdir()}
    assert names >= {"run.json", "recipe.toml", "split.csv", "history.csv", "log.txt", SCORES}
    assert "partial" not in names


def test_the_page_the_tables_and_the_figure(measured):
    out, content, said, _ = measured
    page = (out / "report.md").read_text()
    assert "Research use only" in page
    assert "nothing about any disease" in page
    assert "This is an extrapolation" in page
    assert "the intervals hold the patients alone" not in page
    assert f"{content['test_images']} images of {content['test_patients']} patients" in page
    table = rows_of(out / "learning_curve.csv")
    assert [float(row["accuracy_value"]) for row in table] == pytest.approx(
        [row["accuracy"]["value"] for row in content["points"]]
    )
    assert table[0]["accuracy_gained_value"] == ""
    latex = (out / "learning_curve.tex").read_text()
    assert r"model\_1" in latex
    assert latex.count(r"\\") == 3
    assert (out / "figures" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (out / "figures" / "learning_curve.svg").read_text()
    assert any("show no patient" in line or "test part" in line for line in said)


def test_the_time_left_is_shown_to_the_end(measured):
    shown = measured[3]
    shares = [each.share for each in shown]
    assert shares == sorted(shares)
    titles = [each.title for each in shown]
    assert "model_2, 8 per class, draw 2 · training all" in titles
    assert "model_0 · training all" in titles
    assert titles[-1] == "writing the report"
    assert shares[-1] < 1


def test_a_stopped_study_goes_on_with_what_is_not_done_to_the_same_numbers(root, models, measured):
    out, content, _, _ = measured
    gone = place_of(out, "fitted", 8, 1)
    kept = place_of(out, "model_1", 8, 1) / RESULT
    before, stamp = (gone / SCORES).read_bytes(), kept.stat().st_mtime_ns
    shutil.rmtree(gone)
    said, shown = [], []
    again = run_learning_curve(
        str(root / "archives"), out, curve_of(models), execution=ON_CPU,
        log=said.append, show=shown.append,
    )  # fmt: skip
    assert (gone / SCORES).read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp
    titles = {each.title.partition(" · ")[0] for each in shown}
    assert {title for title in titles if "draw" in title} == {"fitted, 8 per class, draw 1"}
    assert "reading dataset_0" not in titles, "what others start from is there"

    def figures(found):
        return [
            {key: value for key, value in row.items() if "seconds" not in key}
            for row in found["points"]
        ]

    assert figures(again) == figures(content)


def test_more_draws_and_sizes_add_runs_and_change_none(root, models, measured):
    out = root / "more"
    shutil.copytree(measured[0], out)
    before = (place_of(out, "fitted", 4, 2) / SCORES).read_bytes()
    curve = curve_of((models[2],), sizes=(4, 6, 8), draws=3)
    content = run_learning_curve(str(root / "archives"), out, curve, execution=ON_CPU)
    assert [len(row["accuracy"]["of_draws"]) for row in content["points"]] == [3, 3, 3]
    assert (place_of(out, "fitted", 4, 2) / SCORES).read_bytes() == before


def test_the_command_shows_its_tables_and_names_its_files(root, models, tmp_path):
    out = tmp_path / "typed"
    words = ["study", "--data", root / "archives", "--out", out, "--learning-curve", "4,6"]
    words += ["--draws", 1, "--models", models[2], "--input-size", 64, "--device", "cpu"]
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    assert "How many images are enough?" in done.stdout
    assert "1 draw of each size" in done.stdout
    assert "the intervals hold the patients alone" in done.stdout
    assert "How it was done" not in done.stdout
    assert f"report: {out / 'report.md'}" in done.stderr
    assert "fitted, 6 per class, draw 1" in done.stderr
    assert not list(out.rglob("tensorboard"))


def refusal(root, curve, data="archives", out="refused", **given):
    with pytest.raises(CxrError) as error:
        run_learning_curve(str(root / data), root / out, curve, execution=ON_CPU, **given)
    assert not (root / "refused" / "run.json").exists()
    return error.value


def test_another_study_in_the_folder_is_refused_by_what_differs(root, models, measured):
    error = refusal(root, curve_of(models, seed=1), out="out")
    assert error.code == "other_run"
    assert "seed 0 there, 1 now" in error.message


def test_changed_scores_are_refused_with_the_way_out(root, models, measured):
    out = root / "changed"
    shutil.copytree(measured[0], out)
    path = place_of(out, "fitted", 4, 1) / SCORES
    path.write_text(path.read_text().replace("normal", "abnormal"))
    error = refusal(root, curve_of(models), out="changed")
    assert error.code == "bad_result"
    assert str(path.parent) in error.message


@pytest.fixture
def undecodable(root, tmp_path):
    """The archives with images that are none: whatever decodes one ends with another code."""
    shutil.copytree(root / "archives", tmp_path / "archives")
    for path in (tmp_path / "archives").rglob("*.jp*g"):
        path.write_text("no image")
    return tmp_path


def test_what_cannot_be_measured_is_refused_before_an_image_is_decoded(undecodable, root, models):
    few = refusal(undecodable, curve_of(models, sizes=(4, 100)))
    assert few.code == "too_few_to_draw"
    assert "the largest size is" in few.message
    assert refusal(undecodable, curve_of(("model_9",))).code == "no_recipe"
    assert refusal(undecodable, curve_of(("model_1", "model_0"))).code == "recipes_differ"
    unused = {"weights": root / "none.h5"}
    assert refusal(undecodable, curve_of(models), **unused).code == "unused_option"
    unused = {"start": root / "out" / "model_0"}
    assert refusal(undecodable, curve_of(("model_1",)), **unused).code == "unused_option"
    assert refusal(undecodable, curve_of(models)).code == "damaged_images"


def test_a_start_that_knows_patients_of_the_curve_is_refused(undecodable, root, measured):
    start = undecodable / "start"
    shutil.copytree(root / "out" / "model_0", start)
    given = {"start": start}
    fits = refusal(undecodable, curve_of(("model_2",)), **given)
    assert fits.code == "damaged_images", "nothing but the damage is in its way"
    card = json.loads((start / "checkpoint.json").read_text())
    rows = rows_of(place_of(root / "out", "model_1", 4, 1) / "split.csv")
    card["seen"]["patients"].append(fingerprint(rows[0]["patient"]))
    (start / "checkpoint.json").write_text(json.dumps(card))
    error = refusal(undecodable, curve_of(("model_2",)), **given)
    assert error.code == "seen_images"


def test_without_archives_there_is_nothing_to_train_a_start_on(root, tmp_path):
    images = tmp_path / "images"
    for label in ("normal", "covid19"):
        (images / label).mkdir(parents=True)
        for number in range(12):
            (images / label / f"{number}.png").write_text("no image")
    error = refusal(tmp_path, curve_of(("model_2",)), data="images")
    assert error.code == "no_start"
    assert "--model-0" in error.message
    assert refusal(tmp_path, curve_of(("model_1",)), data="images").code == "damaged_images"


@pytest.mark.parametrize("text", ["", "10,", "ten", "20,10", "10,10", "1,2", "1e2"])
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(CxrError) as error:
        LearningCurve(read_sizes(text))
    assert error.value.code == "bad_sizes"
    with pytest.raises(CxrError) as error:
        LearningCurve((4, 8), draws=0)
    assert error.value.code == "bad_draws"
