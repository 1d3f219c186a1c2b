"""A recipe retrained without a source is tested on images that it never met; it is done once."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_transfer.audits.leakage import unparted
from cxr_transfer.audits.retraining import Retraining, both_splits, leave_sources_out
from cxr_transfer.audits.run import audit
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.splits import split
from cxr_transfer.errors import ModelError, UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.metadata import read_card
from cxr_transfer.subjects.opening import open_subject
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.tensors import ImageTensors

LABELS = LabelSet(("normal", "covid19"))
ON_CPU = Execution(device="cpu", precision="float32")
RECIPE = {
    "name": "small",
    "title": "the CNN on small images",
    "network": "simple_cnn",
    "dataset": "dataset_1",
    "preprocessing": {"height": 48, "width": 48},
    "stages": [{"name": "all", "train": ["*"], "max_epochs": 4, "learning_rate": 3e-3}],
}
SIDE = 48


def images_of(places, patients=24, seed=0):
    """Images of each (source, label); COVID-19 is a bright square in the middle."""
    rng = np.random.default_rng(seed)
    cases, images = [], []
    for source, label in places:
        for number in range(patients):
            radiograph = rng.integers(40, 90, (SIDE, SIDE))
            if label == "covid19":
                radiograph[16:32, 16:32] += 120
            name = f"{source}-{label}-{number}"
            known = {"sha256": f"{len(cases):064x}", "pixels": name}
            cases.append(Case(Path(f"{name}.png"), label, name, source, **known))
            images.append(radiograph)
    pixels = torch.from_numpy(np.array(images, dtype=np.uint8)[:, None])
    targets = torch.tensor([LABELS.target(case.label) for case in cases])
    return cases, ImageTensors(pixels, targets)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on two sources, to take the recipe from."""
    folder = tmp_path_factory.mktemp("run")
    cases, tensors = images_of([(source, label) for source in "ab" for label in LABELS])
    dataset = split(unparted("own", LABELS, cases))
    recipe = parse_recipe(RECIPE, origin="here")
    return run_recipe(recipe, dataset, tensors, folder / "small", execution=ON_CPU)


def retraining(trained, out, log=lambda line: None):
    return Retraining.of(trained, out, execution=ON_CPU, resamples=50, log=log)


@pytest.mark.slow
def test_sources_of_two_classes_are_left_out_alone_and_ranked(trained, tmp_path):
    cases, tensors = images_of([(source, label) for source in "ab" for label in LABELS])
    found = leave_sources_out(retraining(trained, tmp_path), cases, tensors)
    assert [one["sources"] for one in found["left_out"]] == [["a"], ["b"]]
    assert found["not_possible"] == []
    for one in found["left_out"]:
        assert (one["images"], one["met_in_training"]) == (48, 0)
        assert one["auroc"]["covid19"]["value"] > 0.9
        assert one["inside"]["value"] > 0.9
        assert {group["label"] for group in one["groups"]} == set(LABELS)
    # The second network has not met what it is tested on, and its folder says on what it learnt.
    runs = sorted(folder.name for folder in tmp_path.iterdir())
    assert [name.rsplit("_", 1)[0] for name in runs] == ["without_a", "without_b"]
    told = []
    again = leave_sources_out(retraining(trained, tmp_path, told.append), cases, tensors)
    assert again == found
    assert sum("done before" in line for line in told) == 2
    assert not any("epoch" in line for line in told)


def test_sources_of_one_class_go_in_pairs_where_enough_is_left(trained, tmp_path):
    places = [("x", "normal"), ("y", "normal"), ("u", "covid19"), ("v", "covid19")]
    cases, tensors = images_of(places, patients=22)
    only = [
        row for row, case in enumerate(cases) if case.source != "v"
    ]  # now u is the only one of its class
    found = leave_sources_out(
        retraining(trained, tmp_path / "three"),
        [cases[row] for row in only],
        ImageTensors(tensors.images[only], tensors.targets[only]),
    )
    assert [one["sources"] for one in found["left_out"]] == [["x"], ["y"]]
    assert all(set(one["auroc"].values()) == {None} for one in found["left_out"])
    assert {tuple(one["sources"]) for one in found["not_possible"]} == {
        ("u", "x"), ("u", "y"), ("u",),
    }  # fmt: skip
    assert all("covid19" in one["why"] for one in found["not_possible"])


def test_images_that_the_rest_holds_too_are_not_tested_on(trained, tmp_path):
    cases, tensors = images_of([(source, label) for source in "ab" for label in LABELS])
    # Ten patients of source b have images in source a as well.
    cases[48:58] = [
        dataclasses.replace(case, patient=other.patient)
        for case, other in zip(cases[48:58], cases[:10], strict=True)
    ]
    found = leave_sources_out(retraining(trained, tmp_path), cases, tensors)
    for one in found["left_out"]:
        assert one["met_in_training"] > 0
        assert one["images"] + one["met_in_training"] == 48


@pytest.mark.slow
def test_parts_by_image_and_by_patient_are_both_scored(trained, tmp_path):
    cases, tensors = images_of([("a", label) for label in LABELS], patients=40)
    cases = [
        dataclasses.replace(case, patient=f"{case.label}{row // 2}")
        for row, case in enumerate(cases)
    ]
    found = both_splits(retraining(trained, tmp_path), cases, tensors)
    assert set(found) == {"patient", "image"}
    assert found["patient"]["images"] == found["image"]["images"] == 16
    assert read_card(tmp_path / "by_image" / "checkpoint.json").data["split_by"] == "image"
    assert read_card(tmp_path / "by_patient" / "checkpoint.json").data["split_by"] == "patient"


def test_a_recipe_whose_start_is_not_there_is_refused(trained, tmp_path):
    recipe = parse_recipe(RECIPE | {"initial": "model_0"}, origin="here")
    card = read_card(trained / "checkpoint.json")
    with pytest.raises(UsageError) as error:
        Retraining(recipe, card, None, None, tmp_path)
    assert error.value.code == "no_start"


def test_that_imagenet_weights_are_missing_is_said_before_an_image_is_read(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.json"
    card = read_card(path)
    recipe = card.recipe | {"initial": "imagenet", "network": "resnet50"}
    path.write_text(card.model_copy(update={"recipe": recipe}).model_dump_json())
    # Of another network than its weights: the recipe alone is looked at.
    subject = dataclasses.replace(open_subject(str(trained)), path=tmp_path / "run")
    with pytest.raises(ModelError) as error:
        audit(
            subject,
            [Case(tmp_path / "no such image.png", "normal", "p", "a")],
            tmp_path / "out",
            retrain=True,
            weights=tmp_path / "no such weights.h5",
            device="cpu",
        )
    assert error.value.code == "missing_file"
    assert "no such weights" in error.value.message
