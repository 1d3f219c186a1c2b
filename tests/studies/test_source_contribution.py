"""What a source brings is told of images that neither network has met, by patient."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_transfer.audits.leakage import unparted
from cxr_transfer.cli.train import _brought
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.splits import split
from cxr_transfer.labels import LabelSet
from cxr_transfer.studies.source_contribution import source_contribution
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.tensors import ImageTensors

LABELS = LabelSet(("normal", "covid19"))
ON_CPU = Execution(device="cpu", precision="float32")
RECIPE = parse_recipe(
    {
        "name": "small",
        "title": "a head on random features",
        "network": "simple_cnn",
        "dataset": "multi_source",
        "preprocessing": {"height": 48, "width": 48},
        "stages": [{"name": "head", "fit": "logistic", "train": ["head"]}],
    },
    origin="here",
)


def dataset_of(images_each, by="patient"):
    """Images of two sources; COVID-19 is a bright square, but at "clinic" no bright edge."""
    rng = np.random.default_rng(0)
    cases, images = [], []
    for source in ("elsewhere", "clinic"):
        for label in LABELS:
            for number in range(90):
                radiograph = rng.integers(60, 90, (48, 48))
                if source == "elsewhere" and label == "covid19":
                    radiograph[16:32, 16:32] += 100
                if source == "clinic" and label == "normal":
                    radiograph[:12] += 100
                patient = f"{source}-{label}-{number // images_each}"
                known = {"sha256": f"{len(cases):064x}", "pixels": f"{len(cases)}"}
                cases.append(Case(Path(f"{len(cases)}.png"), label, patient, source, **known))
                images.append(radiograph)
    pixels = torch.from_numpy(np.array(images, dtype=np.uint8)[:, None])
    targets = torch.tensor([LABELS.target(case.label) for case in cases])
    return split(unparted("own", LABELS, cases), by=by), ImageTensors(pixels, targets)


def brought(folder, dataset, tensors):
    run_recipe(RECIPE, dataset, tensors, folder, execution=ON_CPU)
    return source_contribution(
        "clinic", RECIPE, dataset, tensors, folder, execution=ON_CPU, resamples=100
    )


def held_out(dataset):
    return [case for case in dataset.cases if (case.source, case.split) == ("clinic", "test")]


def test_the_difference_and_p_are_by_patient(tmp_path):
    dataset, tensors = dataset_of(images_each=3)
    found = brought(tmp_path, dataset, tensors)
    tested = held_out(dataset)
    assert (found["images"], found["met_in_training"]) == (len(tested), 0)
    assert found["patients"] == len({case.patient for case in tested}) < len(tested)
    assert json.loads((tmp_path / "added_clinic.json").read_text()) == found
    for one in found["auroc"].values():
        assert one.keys() == {"without", "with", "difference", "p"}
        assert one["difference"]["value"] == pytest.approx(
            one["with"]["value"] - one["without"]["value"]
        )
        assert one["with"]["value"] > 0.9 > one["without"]["value"]
        assert one["p"] < 0.05
    assert found["score_scale"].keys() == {"without", "with"}
    said = _brought(found)
    assert said[0] == f"clinic: {len(tested)} test images of {found['patients']} patients"
    assert ", p " in said[1]


def test_images_of_patients_that_training_met_are_left_out_and_counted(tmp_path):
    dataset, tensors = dataset_of(images_each=2, by="image")
    learnt = {case.patient for case in dataset.cases if case.split != "test"}
    tested = held_out(dataset)
    met = sum(case.patient in learnt for case in tested)
    assert 0 < met < len(tested), "both kinds are there"
    found = brought(tmp_path, dataset, tensors)
    assert (found["met_in_training"], found["images"]) == (met, len(tested) - met)
    assert f"; {met} left out, met in training" in _brought(found)[0]


def test_an_image_that_only_the_network_without_the_source_met_is_left_out(tmp_path):
    dataset, tensors = dataset_of(images_each=1)
    run_recipe(RECIPE, dataset, tensors, tmp_path, execution=ON_CPU)
    # The other sources hold a copy of a test image; the finished run is of before it came.
    cases = list(dataset.cases)
    copied = held_out(dataset)[0]
    row = next(
        row for row, case in enumerate(cases) if (case.source, case.split) == ("elsewhere", "train")
    )
    cases[row] = dataclasses.replace(cases[row], pixels=copied.pixels)
    changed = dataclasses.replace(dataset, cases=tuple(cases))
    found = source_contribution(
        "clinic", RECIPE, changed, tensors, tmp_path, execution=ON_CPU, resamples=20
    )
    assert found["met_in_training"] == 1


def test_a_source_of_which_all_was_met_has_no_figures(tmp_path):
    dataset, tensors = dataset_of(images_each=1)
    learnt = next(
        case.patient
        for case in dataset.cases
        if (case.source, case.split) == ("elsewhere", "train")
    )
    cases = tuple(
        dataclasses.replace(case, patient=learnt)
        if (case.source, case.split) == ("clinic", "test")
        else case
        for case in dataset.cases
    )
    found = brought(tmp_path, dataclasses.replace(dataset, cases=cases), tensors)
    assert (found["images"], found["patients"]) == (0, 0)
    assert found["met_in_training"] == len(held_out(dataset))
    assert (found["accuracy"], found["auroc"]) == (None, {})
    assert len(_brought(found)) == 1
