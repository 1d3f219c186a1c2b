"""Every image is scored once for each seed, by models that never met its patient."""

import csv
import json

import numpy as np
import pytest

import made_sources
from cxr_transfer.datasets.decode import decode_image
from cxr_transfer.datasets.manifest import read_manifest
from cxr_transfer.errors import CxrError
from cxr_transfer.models.metadata import fingerprint, read_card
from cxr_transfer.studies import cross_validation
from cxr_transfer.studies.cross_validation import Protocol, cross_validate
from cxr_transfer.studies.recipe_choice import best_recipe
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import parse_recipe
from made import write_image

LABELS = ("clear", "cloudy")
SEEDS = (3, 4)


def recipe(name="small", **stage):
    content = {
        "name": name,
        "title": name,
        "network": "simple_cnn",
        "dataset": "dataset_1",
        "preprocessing": {"height": 48, "width": 48},
        "stages": [{"name": "all", "train": ["*"], "max_epochs": 1} | stage],
    }
    return parse_recipe(content, origin="test")


def plan_of(own=None, **settings):
    return made_sources.plan_of(
        own or recipe(), **{"skip_damaged": True, "seed": SEEDS[0]} | settings
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two classes of 11 patients with two images each, and one file that is none."""
    root = tmp_path_factory.mktemp("images")
    lines = ["path,label,patient,source"]
    for target, label in enumerate(LABELS):
        for row in range(22):
            path = write_image(root / label / f"{row:02}.png", seed=3 * row + target)
            lines.append(f"{path.relative_to(root)},{label},{label}{row // 2},clinic")
    (root / "clear" / "22.png").write_text("no image")
    lines.append("clear/22.png,clear,somebody,clinic")
    (root / "images.csv").write_text("\n".join(lines) + "\n")
    return root / "images.csv"


@pytest.fixture(scope="module")
def validated(images, tmp_path_factory):
    out, shown = tmp_path_factory.mktemp("cv"), []
    protocol = Protocol(folds=2, seeds=2, resamples=50)
    content = cross_validate(plan_of(), protocol, images, out, show=shown.append)
    return out, content, shown


def predictions(out):
    with (out / "predictions.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_image_is_scored_once_for_each_seed_and_once_for_their_mean(validated):
    out, content, _ = validated
    rows = predictions(out)
    by_seed = {seed: [row for row in rows if row["seed"] == seed] for seed in ("mean", "3", "4")}
    assert sum(map(len, by_seed.values())) == len(rows) == 3 * 44
    files = [{row["file"] for row in of_seed} for of_seed in by_seed.values()]
    assert files[0] == files[1] == files[2]
    assert len(files[0]) == 44
    columns = ("file", "patient", "source", "label", "fold", "seed", "score_clear", "score_cloudy")
    assert set(columns) <= set(rows[0])
    scores = {
        seed: np.array([float(row["score_clear"]) for row in of_seed])
        for seed, of_seed in by_seed.items()
    }
    assert scores["mean"] == pytest.approx((scores["3"] + scores["4"]) / 2, abs=2e-6)
    assert content["seeds"] == list(SEEDS)


def test_no_model_met_a_patient_that_it_scores(validated):
    out, content, _ = validated
    for row in predictions(out):
        if row["seed"] == "mean":
            continue
        folder = out / f"fold_{row['fold']}" / row["recipe"] / f"seed_{row['seed']}"
        assert (
            fingerprint(row["patient"])
            not in read_card(folder / "checkpoint.json").seen["patients"]
        )
    tested = [
        {case.patient for case in read_manifest(out / run / "split.csv") if case.split == "test"}
        for run in content["members"]
    ]
    assert tested[0] == tested[1], "the seeds of a fold have the same parts"
    assert not tested[0] & tested[2]


def test_the_report_has_the_pooled_figures_each_seed_and_each_fold(validated):
    out, content, _ = validated
    rows = [row for row in predictions(out) if row["seed"] == "mean"]
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert content["evaluation"]["accuracy"]["value"] == pytest.approx(right)
    assert content["evaluation"]["test_images"] == 44
    assert content["evaluation"]["test_patients"] == 22
    assert set(content["seeds_alone"]) == {"3", "4"}
    folds = content["fold_by_fold"]
    assert sum(fold["images"] for fold in folds) == 44
    assert np.average(
        [fold["accuracy"]["value"] for fold in folds], weights=[fold["images"] for fold in folds]
    ) == pytest.approx(right)
    runs = [run for fold in folds for run in fold["runs"]]
    assert len({run["weights_sha256"] for run in runs}) == 4
    assert all((out / run["checkpoint"]).is_file() for run in runs)
    assert json.loads((out / "report.json").read_text()) == content
    text = (out / "report.md").read_text()
    assert "| mean of 2 seeds | 44 | 22 |" in text
    assert "| 2 | small | 22 |" in text
    assert "Which recipe was chosen" not in text
    assert content["choice"] is None


def test_files_that_cannot_be_read_are_left_out_listed_and_in_the_flow(validated):
    out, content, _ = validated
    assert content["damaged_files"] == 1
    assert "22.png" in (out / "damaged.csv").read_text()
    assert content["flow"]["found"] == {"images": 45, "patients": 23}
    assert [each["images"] for each in content["flow"]["left_out"]] == [1]
    assert len(content["flow"]["parts"]) == 2


def test_a_publication_names_every_run(validated):
    out, content, _ = validated
    record = json.loads((out / "publication" / "record.json").read_text())
    assert [run["run"] for run in record["runs"]] == content["members"]
    assert [run["seed"] for run in record["runs"]] == [3, 4, 3, 4]
    text = (out / "publication" / "methods.md").read_text()
    assert "cross-validated over 2 folds by patient" in text
    assert "2 seeds (3, 4)" in text
    assert "Left out were 1 images of 1 patients (file cannot be read)" in text
    with (out / "publication" / "table_folds.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["accuracy"]) for row in rows] == [
        fold["accuracy"]["value"] for fold in content["fold_by_fold"]
    ]
    assert (out / "publication" / "figure_models.svg").is_file()


def test_it_shows_how_far_it_is_over_all_runs(validated):
    shown = validated[2]
    shares = [each.share for each in shown]
    assert shares == sorted(shares)
    titles = [each.title.partition(" · ")[0] for each in shown]
    assert list(dict.fromkeys(titles)) == [
        "reading images",
        *(f"fold {fold} of 2: small, seed {seed}" for fold in (1, 2) for seed in SEEDS),
        "writing the report",
    ]


@pytest.mark.slow
def test_given_again_it_trains_nothing_and_seeds_may_be_added(validated, images, tmp_path):
    out, content, _ = validated
    said = []
    again = cross_validate(
        plan_of(), Protocol(folds=2, seeds=2, resamples=50), images, out, log=said.append
    )
    assert sum("done before" in line for line in said) == 4
    assert not any("epoch" in line for line in said)
    assert again["evaluation"] == content["evaluation"]
    said = []
    more = cross_validate(
        plan_of(), Protocol(folds=2, seeds=3, resamples=50), images, out, log=said.append
    )
    assert sum("done before" in line for line in said) == 4
    assert more["seeds_alone"]["3"] == content["seeds_alone"]["3"]
    with pytest.raises(CxrError) as error:
        cross_validate(plan_of(), Protocol(folds=3, seeds=2), images, out)
    assert error.value.code == "other_run"


@pytest.mark.slow
def test_each_fold_chooses_on_its_validation_part_and_tests_the_chosen_recipe_alone(
    images, tmp_path
):
    still = recipe("still", learning_rate=1e-9)
    protocol = Protocol(folds=2, others=(still,), resamples=50)
    content = cross_validate(plan_of(recipe(max_epochs=3)), protocol, images, tmp_path)
    for fold, choice in zip(content["fold_by_fold"], content["choice"], strict=True):
        figures = choice["validation"]
        assert set(figures) == {"small", "still"}
        assert choice["chosen"] == fold["recipe"] == best_recipe(figures)
        other = ({"small", "still"} - {choice["chosen"]}).pop()
        of_fold = tmp_path / f"fold_{fold['fold']}"
        tested = {name: of_fold / name / "seed_3" / "test_set_accesses.csv" for name in figures}
        assert tested[choice["chosen"]].is_file()
        assert not tested[other].exists(), "its test part stays closed"
        assert not (of_fold / other / "seed_3" / "predictions.csv").exists()
    assert {row["recipe"] for row in predictions(tmp_path)} == {
        choice["chosen"] for choice in content["choice"]
    }
    assert "Which recipe was chosen" in (tmp_path / "report.md").read_text()
    methods = (tmp_path / "publication" / "methods.md").read_text()
    assert "highest macro AUROC on the validation part" in methods


def test_of_equal_recipes_the_surer_one_and_then_the_first_is_chosen():
    alike = {"auroc_macro": 0.9, "log_loss": 0.3}
    assert best_recipe({"a": alike, "b": dict(alike)}) == "a"
    assert best_recipe({"a": alike, "b": alike | {"log_loss": 0.2}}) == "b"
    assert best_recipe({"a": alike | {"auroc_macro": 0.91}, "b": alike | {"log_loss": 0.1}}) == "a"


@pytest.mark.parametrize(
    ("settings", "protocol", "code"),
    [
        ({"execution": Execution(device="cpu", devices=2)}, {}, "unused_option"),
        ({}, {"folds": 1}, "folds"),
        ({}, {"folds": 11}, "folds"),
        ({}, {"seeds": 0}, "seeds"),
        ({}, {"others": (recipe(),)}, "other_recipes"),
        (
            {},
            {"others": (recipe("b").model_copy(update={"labels": {"clear": "x"}}),)},
            "other_recipes",
        ),
        ({"weights": "weights.h5"}, {}, "unused_option"),
        ({"own": recipe().model_copy(update={"initial": "model_0"})}, {}, "no_start"),
    ],
)
def test_what_cannot_be_done_is_refused_before_an_image_is_opened(
    settings, protocol, code, images, tmp_path, monkeypatch
):
    def opened(*_given):
        raise AssertionError("an image was opened")

    monkeypatch.setattr("cxr_transfer.datasets.decode.decode_image", opened)
    with pytest.raises(CxrError) as error:
        cross_validate(plan_of(**settings), Protocol(**{"folds": 2} | protocol), images, tmp_path)
    assert error.value.code == code
    assert not any(tmp_path.iterdir())


def test_parts_and_too_few_patients_are_refused_before_an_image_is_opened(tmp_path):
    lines = ["path,label,patient,split"]
    for label in LABELS:
        (tmp_path / label).mkdir()
        for row in range(9):
            (tmp_path / label / f"{row}.png").write_text("no image")
            lines.append(f"{label}/{row}.png,{label},{label}{row},train")
    given, few = tmp_path / "given.csv", tmp_path / "few.csv"
    given.write_text("\n".join(lines))
    few.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    for data, code in ((given, "parts_given"), (few, "too_few")):
        with pytest.raises(CxrError) as error:
            cross_validate(plan_of(), Protocol(folds=2), data, tmp_path / "out")
        assert error.value.code == code


def test_a_start_that_has_met_a_patient_is_refused(validated, images, tmp_path):
    start = validated[0] / "fold_1" / "small" / "seed_3"
    own = recipe("again").model_copy(update={"initial": "small"})
    with pytest.raises(CxrError) as error:
        cross_validate(plan_of(own, start=start), Protocol(folds=2), images, tmp_path)
    assert error.value.code == "seen_images"


@pytest.mark.slow
def test_every_image_is_opened_once(images, tmp_path, monkeypatch):
    opened = []

    def counted(path, *wanted):
        opened.append(path)
        return decode_image(path, *wanted)

    monkeypatch.setattr("cxr_transfer.datasets.decode.decode_image", counted)
    larger = recipe("larger").model_copy(
        update={
            "preprocessing": recipe().preprocessing.model_copy(update={"height": 64, "width": 64})
        }
    )
    protocol = Protocol(folds=2, others=(larger,), resamples=20)
    cross_validation.cross_validate(plan_of(), protocol, images, tmp_path)
    assert len(opened) == len(set(opened)) == 45


def test_without_an_auroc_the_log_loss_chooses():
    undefined = float("nan")
    figures = {
        "first": {"auroc_macro": undefined, "log_loss": 0.9},
        "second": {"auroc_macro": undefined, "log_loss": 0.2},
    }
    assert best_recipe(figures) == "second"
