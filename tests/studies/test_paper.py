"""A study checks all its models first; every run of it is whole, damaged files are listed."""

import csv
import dataclasses
import functools
import json

import pytest

from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.errors import CxrError
from cxr_transfer.evaluation.model_card import model_card
from cxr_transfer.labels import DATASET_1, LabelSet
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.metadata import read_card
from cxr_transfer.models.reference import REFERENCE, TrainingReference
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.studies import paper
from cxr_transfer.studies.paper import run_study
from cxr_transfer.studies.plan import Study, phantom_pixels
from cxr_transfer.training.device import Execution

ON_CPU = Execution(device="cpu", precision="float32")
SIZE = PhantomSize(normal=48, bacterial=48, viral=24, covid19=24)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Generated images, of which three are damaged."""
    root = tmp_path_factory.mktemp("archives")
    write_phantom(root, seed=1, size=SIZE)
    for folder in ("train/NORMAL", "train/PNEUMONIA"):
        path = min((root / "kermany" / "chest_xray" / folder).iterdir())
        path.write_bytes(path.read_bytes()[:500])
    (root / "covid-chestxray-dataset" / "images" / "phantom-0002-1.jpg").write_text("no image")
    return root


@pytest.fixture(scope="module")
def studied(archives, tmp_path_factory):
    out, said, shown = tmp_path_factory.mktemp("study"), [], []
    study = Study(
        models=("model_1", "model_2"), folds=2, max_epochs=1, resamples=20, skip_damaged=True
    )
    report = run_study(
        str(archives), out, study, execution=ON_CPU, log=said.append, show=shown.append
    )
    (out / "shown.json").write_text(json.dumps([dataclasses.astuple(each) for each in shown]))
    return out, report, said


@pytest.mark.slow
def test_a_study_shows_how_far_it_is_to_its_end(studied):
    shown = json.loads((studied[0] / "shown.json").read_text())
    shares = [share for _, share, _ in shown]
    assert shares == sorted(shares)
    titles = [title for title, _, _ in shown]
    assert "fold 2 of 2: model_2 · training all" in titles
    assert "fold 1 of 2: model_2 · training head" in titles
    assert titles[-1] == "writing the report"
    assert shares[-1] > 0.5
    assert all(left >= 0 for _, _, left in shown if left is not None)


def test_generated_images_and_their_model_inputs_are_small_unless_asked_otherwise(
    tmp_path, monkeypatch
):
    few = functools.partial(write_phantom, size=SIZE)
    monkeypatch.setattr(paper, "write_phantom", few)
    study = Study(models=("model_1",), max_epochs=1, resamples=20)
    report = run_study("phantom", tmp_path / "small", study, execution=ON_CPU)
    assert report["input_size"] == 112
    card = read_card(tmp_path / "small" / "model_1" / "checkpoint.json")
    assert card.preprocessing.size == (112, 112)
    with (tmp_path / "small" / "model_1" / "split.csv").open(newline="") as handle:
        assert {row["height"] for row in csv.DictReader(handle)} == {"128"}
    text = (tmp_path / "small" / "report.md").read_text()
    assert "Generated images, which show no patient" in text
    assert "Model inputs of 112 x 112 pixels" in text
    assert "nothing about any disease" in text
    assert "children of one hospital" not in text, "that is said of the real archives"
    assert phantom_pixels(Study(input_size=224).on("phantom")) == 224
    assert Study().on("elsewhere").input_size is None


@pytest.mark.slow
def test_every_checkpoint_of_a_study_has_its_reference(studied):
    out, _, _ = studied
    cards = sorted(out.rglob("checkpoint.json"))
    assert len(cards) == 5, "Model_0, and two models in two folds"
    for card in cards:
        sha256 = read_card(card).weights_sha256
        assert (
            TrainingReference.load(card.parent / REFERENCE, weights_sha256=sha256).ood_distance > 0
        )


@pytest.mark.slow
def test_damaged_files_are_left_out_listed_and_counted(studied, archives):
    out, report, said = studied
    with (out / "fold_1" / "model_1" / "damaged.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert all((archives / row["path"]).is_file() for row in rows)
    assert {row["code"] for row in rows} <= {"truncated_image", "unsupported_format"}
    assert report["damaged_files"] == len(rows) >= 1
    card = read_card(out / "fold_1" / "model_1" / "checkpoint.json")
    assert card.data["damaged"] == len(rows)
    assert f"{len(rows)} files that cannot be read" in model_card(out / "fold_1" / "model_1")
    assert sum("listed in damaged.csv of each run folder" in line for line in said) == 2
    with (out / "fold_1" / "model_1" / "split.csv").open(newline="") as handle:
        used = {row["path"].rpartition("/")[2] for row in csv.DictReader(handle)}
    assert not used & {row["path"].rpartition("/")[2] for row in rows}


@pytest.mark.slow
def test_a_run_without_a_reference_gets_it_when_the_study_is_asked_again(studied, archives):
    out, _, _ = studied
    kept = out / "fold_2" / "model_2" / REFERENCE
    before = kept.read_bytes()
    kept.unlink()
    study = Study(
        models=("model_1", "model_2"), folds=2, max_epochs=1, resamples=20, skip_damaged=True
    )
    said = []
    run_study(str(archives), out, study, execution=ON_CPU, log=said.append)
    assert kept.read_bytes() == before
    assert not any("epoch" in line for line in said)


def start_of(folder, *, names=DATASET_1.names, size=(224, 224)):
    card = {
        "name": "model_0",
        "architecture": "simple_cnn",
        "labels": names,
        "preprocessing": Preprocessing(height=size[0], width=size[1]),
        "epsilon": 1e-3,
    }
    folder.mkdir()
    save_checkpoint(folder, build("simple_cnn", len(names), size=size, epsilon=1e-3), card)
    return folder


def test_a_start_that_does_not_fit_is_refused_before_an_image_is_opened(archives, tmp_path):
    """Without skip_damaged the archives end with another code, once they are opened."""
    out = tmp_path / "out"
    small = start_of(tmp_path / "small", size=(64, 64))
    for start, code in ((small, "other_network"), (tmp_path / "none", "no_checkpoint")):
        with pytest.raises(CxrError) as error:
            run_study(
                str(archives), out, Study(models=("model_2",)), execution=ON_CPU, model_0=start
            )
        assert error.value.code == code
        assert not (out / "run.json").exists()
    with pytest.raises(CxrError) as error:
        run_study(str(archives), out, Study(models=("model_1",)), execution=ON_CPU)
    assert error.value.code == "damaged_images"
    assert not (out / "run.json").exists()


def test_another_number_of_classes_is_no_hindrance_where_the_head_is_new(archives, tmp_path):
    two = start_of(tmp_path / "two", names=LabelSet(("a", "b")).names)
    with pytest.raises(CxrError) as error:
        run_study(
            str(archives), tmp_path, Study(models=("model_2",)), execution=ON_CPU, model_0=two
        )
    assert error.value.code == "damaged_images", "nothing but the damage is in its way"


@pytest.mark.slow
def test_the_papers_rule_is_recorded_with_what_each_stage_kept(studied):
    out, _, _ = studied
    card = json.loads((out / "fold_1" / "model_2" / "checkpoint.json").read_text())
    assert [stage["keep"] for stage in card["recipe"]["stages"]] == ["best_of_stage"] * 2
    stages = card["provenance"]["stages"]
    assert [(stage["name"], stage["kept_epoch"]) for stage in stages] == [("head", 1), ("all", 1)]
    page = model_card(out / "fold_1" / "model_2")
    assert f"all: those of epoch 1 of 1, validation loss {stages[1]['val_loss']:.4f}" in page
    assert ("although those before it were better" in page) == (not stages[1]["improved"])
