"""A researcher's way: look at the data, run the study, be interrupted, go on, look closer."""

import json
import shlex

import pytest


@pytest.fixture(scope="module")
def studied(tmp_path_factory, archives, cxr, kill_after):
    """A study that was killed in its second model and then went on."""
    out = tmp_path_factory.mktemp("study")
    words = ("study", "--data", archives, "--out", out, "--max-epochs", 2)
    words += ("--models", "model_0,model_1,model_2", "--device", "cpu")
    kill_after("model_1 · all: epoch 1", *words)
    assert not (out / "report.json").exists()
    done = cxr(*words)
    assert "model_0: done before" in done.stderr
    return out, words, done


def test_the_report_holds_every_figure_with_its_interval(studied):
    out, _, done = studied
    report = json.loads((out / "report.json").read_text())
    assert set(report["models"]) == {"model_0", "model_1", "model_2"}
    for model in report["models"].values():
        for metric in ("accuracy", "precision_macro", "recall_macro", "f1_macro"):
            figure = model[metric]
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
        confusion = model["confusion"]
        assert sum(map(sum, confusion)) == model["test_images"]
        right = sum(confusion[i][i] for i in range(3))
        assert model["accuracy"]["value"] == pytest.approx(right / model["test_images"])
        assert model["ms_per_image"]["value"] > 0
        assert (out / model["checkpoint"]).is_file()
    assert report["split"] == "patient"
    assert report["seed"] == 0
    assert report["patients_in_two_parts"] == 0
    assert len(report["data_hash"]) == 64
    assert "commit" in report
    assert [(pair["a"], pair["b"]) for pair in report["comparisons"]] == [("model_1", "model_2")]
    text = (out / "report.md").read_text()
    assert "Research use only" in text
    assert "*92.32*" in text, "the paper's figures stand beside ours"
    assert "Research use only" in done.stdout
    for number in (4, 5, 6):
        picture = (out / "figures" / f"figure_{number}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")


def test_the_commands_that_a_study_names_at_its_end_can_be_given(studied, cxr):
    _, _, done = studied
    _, _, text = done.stderr.partition("next:\n")
    commands = [shlex.split(line)[1:] for line in text.splitlines()]
    assert [words[0] for words in commands] == ["predict", "card"]
    for words in commands:
        assert "model_2" in cxr(*words).stdout + " ".join(words)


def test_a_run_folder_holds_what_is_needed_to_repeat_it(studied):
    out, _, _ = studied
    names = {path.name for path in (out / "model_2").iterdir()}
    assert {
        "recipe.toml",
        "split.csv",
        "history.csv",
        "checkpoint.safetensors",
        "checkpoint.json",
        "log.txt",
    } <= names
    assert "partial" not in names
    card = json.loads((out / "model_2" / "checkpoint.json").read_text())
    assert card["labels"] == ["normal", "bacterial", "covid19"]
    assert card["provenance"]["initial"].startswith("model_0 ")
    assert card["provenance"]["seed"] == 0
    assert "kermany:" not in json.dumps(card), "patients are not named"


def test_run_again_nothing_is_trained_and_the_figures_stay(studied, cxr):
    out, words, _ = studied
    before = json.loads((out / "report.json").read_text())["models"]["model_1"]
    done = cxr(*words)
    assert done.stderr.count("done before") == 3
    assert "epoch" not in done.stderr
    after = json.loads((out / "report.json").read_text())["models"]["model_1"]
    assert {k: v for k, v in before.items() if k != "ms_per_image"} == {
        k: v for k, v in after.items() if k != "ms_per_image"
    }


def test_another_study_in_the_same_folder_is_refused(studied, cxr):
    _, words, _ = studied
    done = cxr(*words, "--seed", 1, expect=2)
    assert "seed 0 there, 1 now" in done.stderr


def test_a_model_may_be_added_and_the_report_keeps_the_others(studied, cxr):
    out, words, _ = studied
    words = [*words[: words.index("--models")], "--models", "model_1", *words[-2:]]
    cxr(*words)
    report = json.loads((out / "report.json").read_text())
    assert set(report["models"]) == {"model_0", "model_1", "model_2"}
    assert report["generated_images"] is True
    assert "Generated images" in (out / "report.md").read_text()


def test_a_model_0_that_has_seen_test_images_is_not_called_clean(studied, cxr, archives, tmp_path):
    words = ("--data", archives, "--out", tmp_path / "leak", "--pretraining", "paper")
    limits = ("--models", "model_0", "--max-epochs", 1, "--device", "cpu")
    cxr("study", *words, *limits)
    given = ("--model-0", tmp_path / "leak" / "model_0", "--models", "model_2", "--max-epochs", 1)
    words = ("study", "--data", archives, "--out", tmp_path / "clean", *given)
    assert "[seen_images]" in cxr(*words, expect=3).stderr
    assert not (tmp_path / "clean" / "run.json").exists()


def test_evaluate_scores_the_test_part_and_refuses_what_training_saw(studied, cxr, tmp_path):
    out, _, _ = studied
    run = out / "model_1"
    printed = cxr("evaluate", run, "--data", run / "split.csv", "--out", tmp_path, "--json").stdout
    report = json.loads(printed)
    in_study = json.loads((out / "report.json").read_text())["models"]["model_1"]
    assert report["evaluation"]["confusion"] == in_study["confusion"]
    assert report["evaluation"]["accuracy"] == in_study["accuracy"]
    worth = report["worth"]
    assert worth["risk_coverage"]["kept"][0]["images"] == report["evaluation"]["test_images"]
    assert sum(group["images"] for group in worth["subgroups"]["source"]) == report["images"]
    points = worth["operating_points"]["covid19"]
    assert set(points) == {"sensitivity 0.95", "specificity 0.95"}
    assert worth["calibration"]["before"]["brier"]["value"] > 0
    if worth["calibration"]["temperature"]:
        assert worth["calibration"]["after"]["log_loss"]["value"] > 0
    text = (tmp_path / "report.md").read_text()
    for heading in ("Within one source", "For whom", "Calibration", "Operating points"):
        assert f"## {heading}" in text
    for kind in ("reliability", "risk_coverage", "subgroups", "roc"):
        assert (tmp_path / "figures" / f"model_1_{kind}.png").is_file()
    (run / "validation.csv").rename(tmp_path / "validation.csv")
    cxr("evaluate", run, "--data", run / "split.csv", "--out", tmp_path)
    assert "Not done" in (tmp_path / "report.md").read_text()
    (tmp_path / "validation.csv").rename(run / "validation.csv")
    words = ("evaluate", run, "--data", run / "split.csv", "--out", tmp_path / "x")
    refused = cxr(*words, "--part", "train", expect=3)
    assert "[seen_images]" in refused.stderr
    assert "were seen in training" in cxr(*words, "--part", "train", "--allow-seen").stdout


def test_images_of_unknown_classes_are_scored_by_group(studied, cxr, archives, tmp_path):
    out, _, _ = studied
    printed = cxr("data", "prepare", archives, "--out", tmp_path / "prepared").stdout
    assert "dataset_0: 120 images (48 normal, 48 bacterial, 24 viral)" in printed
    words = ("--data", tmp_path / "prepared" / "outside.csv", "--out", tmp_path / "outside")
    report = json.loads(cxr("evaluate", out / "model_1", *words, "--json").stdout)
    groups = {group["label"]: group for group in report["groups"]}
    assert "sars" in groups
    called = groups["sars"]["called"]
    assert sum(one["images"] for one in called.values()) == groups["sars"]["images"]
    assert all(0 <= one["low"] <= one["value"] <= one["high"] <= 1 for one in called.values())


def test_data_check_tells_counts_absent_and_equal_images(archives, cxr):
    found = json.loads(cxr("data", "check", archives, "--json").stdout)
    tables = {table["collection"]: table for table in found["archives"]}
    assert tables["kermany"]["classes"]["bacterial"] == 49  # 48 and one of val/
    assert tables["cohen"]["classes"]["covid19"] == 26  # 24 frontal and two lateral views
    assert any("absent" in line or "CT" in line for line in tables["cohen"]["missing"])
    assert found["damaged"] == []
    text = cxr("data", "check", archives).stdout
    assert "26 covid19" in text
    assert "generated images" in text


def test_doctor_names_versions_and_weights(cxr):
    text = cxr("doctor").stdout
    assert json.loads(cxr("doctor", "--json").stdout)["python"] in text
    assert "torch" in text
    assert "ResNet-50" in text
    assert "Research use only" in text


def test_model_3_without_weights_says_where_to_get_them(archives, cxr, tmp_path):
    words = ("study", "--data", archives, "--out", tmp_path / "out", "--models", "model_3")
    absent = {"CXR_CACHE": str(tmp_path), "PATH": "/nonexistent"}
    done = cxr(*words, expect=5, **absent)
    assert "--weights" in done.stderr
    assert "[no_pretrained_weights]" in done.stderr


@pytest.mark.slow
def test_model_3_is_trained_from_imagenet_in_two_stages(archives, cxr, tmp_path):
    from cxr_transfer.errors import CxrError
    from cxr_transfer.models.pretrained import imagenet_weights

    try:
        imagenet_weights()
    except CxrError as error:
        pytest.skip(error.message)
    words = ("study", "--data", archives, "--out", tmp_path, "--models", "model_3")
    done = cxr(*words, "--max-epochs", 1, "--split", "image")
    assert "model_3 · head: epoch 1" in done.stderr
    assert "model_3 · last_block: epoch 1" in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["split"] == "image"
    assert "ImageNet" in (tmp_path / "model_3" / "checkpoint.json").read_text()


def test_over_folds_every_image_is_scored_once_and_a_second_call_trains_nothing(
    tmp_path, archives, cxr
):
    words = ("study", "--data", archives, "--out", tmp_path, "--max-epochs", 1)
    words += ("--models", "model_1", "--folds", 2, "--device", "cpu")
    cxr(*words)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["folds"] == 2
    images = sum(report["datasets"]["dataset_1"].values())
    assert report["models"]["model_1"]["test_images"] == images
    each = report["fold_by_fold"]["model_1"]
    assert sum(fold["test_images"] for fold in each) == images
    right = sum(fold["accuracy"] * fold["test_images"] for fold in each)
    assert report["models"]["model_1"]["accuracy"]["value"] == pytest.approx(right / images)
    assert all((tmp_path / fold["checkpoint"]).is_file() for fold in each)
    assert "Fold by fold" in (tmp_path / "report.md").read_text()
    assert cxr(*words).stderr.count("done before") == 2
