"""Several checkpoints are evaluated as one, and what a publication needs is written beside it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_transfer.errors import CxrError
from cxr_transfer.evaluation.decoding import decode_once
from cxr_transfer.evaluation.evaluate import evaluate_checkpoint
from cxr_transfer.evaluation.evaluated import card_of, open_evaluated
from cxr_transfer.evaluation.methods import methods
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.metadata import fingerprint
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from made import case, write_image

LABELS = LabelSet(("clear", "cloudy"))
SIDE = 48
STAGE = {"name": "all", "train": ["*"], "learning_rate": 0.004, "lookahead": 5, "max_epochs": 7}


def made(folder, seed, *, seen="", labels=LABELS):
    torch.manual_seed(seed)
    card = {
        "name": "made",
        "architecture": "simple_cnn",
        "labels": labels.names,
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
        "recipe": {"title": "made", "stages": [STAGE]},
        "provenance": {"seed": seed, "initial": "random"},
        "seen": {"patients": [fingerprint(seen)]},
    }
    folder.mkdir(parents=True)
    save_checkpoint(folder, build("simple_cnn", 2, size=(SIDE, SIDE), epsilon=1e-3), card)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [made(root / f"fold_{seed}", seed, seen=f"trained on {seed}") for seed in range(3)]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    return [
        case(write_image(root / f"{row}.png", seed=row), LABELS.names[row % 2]) for row in range(8)
    ]


@pytest.fixture(scope="module")
def evaluated(runs, cases, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return out, evaluate_checkpoint(runs[0].parent, cases, out, device="cpu", resamples=20)


def scores_in(path):
    with path.open(newline="") as handle:
        return np.array([float(row["score_cloudy"]) for row in csv.DictReader(handle)])


def test_an_ensembles_scores_are_the_mean_of_its_members(runs, cases, evaluated):
    out, content = evaluated
    images = decode_once(cases, Preprocessing(height=SIDE, width=SIDE), LABELS).tensors
    alone = [open_evaluated(run).scored(images, "cpu").given[:, 1] for run in runs]
    assert scores_in(out / "predictions.csv") == pytest.approx(np.mean(alone, axis=0), abs=1e-6)
    assert content["checkpoint"]["name"] == "ensemble"
    members = content["checkpoint"]["members"]
    assert [member["run"] for member in members] == ["fold_0", "fold_1", "fold_2"]
    assert content["score_scale"] == "the mean of 3 models, 0 of them calibrated"
    assert content["worth"]["operating_points"] is None
    text = (out / "report.md").read_text()
    assert "`cxr predict` answers with one model alone" in text
    assert card_of(runs[0].parent) == card_of(runs[0])


def test_what_any_member_has_seen_is_refused(runs, cases, tmp_path):
    known = [*cases, case(cases[0].path, "clear", patient="trained on 2")]
    with pytest.raises(CxrError) as error:
        evaluate_checkpoint(runs[0].parent, known, tmp_path / "out", device="cpu")
    assert error.value.code == "seen_images"
    assert not (tmp_path / "out").exists()


def test_members_of_other_classes_are_refused_before_an_image_is_opened(runs, tmp_path):
    made(tmp_path / "a", 0)
    made(tmp_path / "b", 1, labels=LabelSet(("cloudy", "clear")))
    with pytest.raises(CxrError) as error:
        evaluate_checkpoint(tmp_path, [case("absent.png", "clear")], tmp_path / "out")
    assert error.value.code == "other_members"


def test_a_publication_has_tables_figures_methods_seeds_and_hashes(evaluated):
    folder = evaluated[0] / "publication"
    names = {path.name for path in folder.iterdir()}
    tables = {f"table_{name}{end}" for name in ("models", "classes", "confusion")
              for end in (".csv", ".tex")}  # fmt: skip
    figures = {f"figure_{name}{end}" for name in ("flow", "confusion", "roc", "pr")
               for end in (".svg", ".pdf", ".png")}  # fmt: skip
    assert names == tables | figures | {"methods.md", "record.json"}
    record = json.loads((folder / "record.json").read_text())
    assert [run["seed"] for run in record["runs"]] == [0, 1, 2]
    text = (folder / "methods.md").read_text()
    for run in record["runs"]:
        assert run["weights_sha256"] in text
    assert evaluated[1]["data_hash"] in text
    assert record["flow"]["analysed"]["images"] == 8


def test_the_methods_say_every_rate_of_the_recipe_also_one_they_have_no_words_for(evaluated):
    text = (evaluated[0] / "publication" / "methods.md").read_text()
    assert "8 images of 8 patients: 4 clear, 4 cloudy" in text
    assert "initial learning rate of 0.004" in text
    assert "for at most 7 epochs" in text
    assert "lookahead 5" in text
    assert "3 checkpoints were evaluated as one" in text
    assert "random weights" in text
    assert "20 resamples" in text
    assert "\n\n\n" not in text
    for paragraph in ("Images", "Parts", "made", "Selection", "Statistics", "Software", "Runs"):
        assert f"\n\n**{paragraph}.**" in text


def test_a_card_of_somebody_elses_making_breaks_no_methods(runs, evaluated):
    card = open_evaluated(runs[0]).members[0].checkpoint
    name = "<b>`x` | [a](http://b)"
    strange = card.model_copy(
        update={
            "recipe": {"stages": [{"name": name, "penalty": name, "train": [name]}, 3]},
            "data": {"images": 3, "name": name, "split_hash": name},
            "provenance": {"initial": name, "seed": None},
        }
    )
    content, flow = evaluated[1], evaluated[1]["flow"]
    text = methods("evaluation", content, flow, {name: strange, "2": card})
    assert "<b>" not in text
    assert "[a](http" not in text
    stageless = card.model_copy(update={"recipe": {"stages": 3}})
    assert "The network was simple_cnn" in methods("study", content | {
        "folds": None, "split": "patient", "patients_in_two_parts": 0,
    }, flow, {"m": stageless})  # fmt: skip


@pytest.mark.slow
def test_one_checkpoint_is_evaluated_as_before(runs, cases, tmp_path):
    content = evaluate_checkpoint(runs[1], cases, tmp_path, device="cpu", resamples=20)
    assert set(content["checkpoint"]) == {"name", "weights_sha256"}
    assert Path(tmp_path / "figures" / "made_roc.png").is_file()
    assert content["score_scale"] == "as the network gives them"
