"""Every training ends with its reference, of images in memory; a run that has none gets it."""

import dataclasses
import shutil

import numpy as np
import pytest
import safetensors.numpy

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import index
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import DATASET_1
from cxr_transfer.models.metadata import read_card
from cxr_transfer.models.reference import REFERENCE, TrainingReference
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.reference import fit_reference
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.tensors import load_tensors
from made import write_image

ON_CPU = Execution(device="cpu", precision="float32")
RECIPE = {
    "name": "small",
    "title": "a head on random features",
    "network": "simple_cnn",
    "dataset": "dataset_1",
    "coverage": 0.5,
    "preprocessing": {"height": 48, "width": 48},
    "stages": [{"name": "head", "fit": "logistic", "train": ["head"]}],
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    parts = ["train"] * 6 + ["validation"] * 2 + ["test"]
    cases = [
        Case(
            path=write_image(folder / f"{number:02}.png", number),
            label=DATASET_1.names[number % 3],
            patient=f"p{number}",
            source=("here", "there")[number % 2],
            split=parts[number // 3 % 9],
        )
        for number in range(45)
    ]
    return Dataset("made", DATASET_1, index(cases), split_by="given")


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    recipe = parse_recipe(RECIPE, origin="here")
    return run_recipe(recipe, dataset, None, folder, execution=ON_CPU)


def loaded(folder):
    sha256 = read_card(folder / "checkpoint.json").weights_sha256
    return TrainingReference.load(folder, weights_sha256=sha256)


@pytest.mark.slow
def test_a_training_ends_with_what_a_second_look_at_its_images_gives(run, tmp_path):
    fit_reference(run).save(tmp_path)
    one, two = (safetensors.numpy.load_file(at / REFERENCE) for at in (run, tmp_path))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    for field in (
        "temperature",
        "confidence_threshold",
        "coverage",
        "ood_distance",
        "far_distance",
        "rest",
    ):
        assert getattr(loaded(run), field) == getattr(fit_reference(run), field)


def test_it_holds_the_labels_and_sources_of_the_training_images_and_no_name(run, dataset):
    reference = loaded(run)
    assert reference.labels == tuple(sorted(DATASET_1.names))
    assert reference.sources == ("here", "there")
    assert len(reference.images) == sum(case.split == "train" for case in dataset.cases)
    assert reference.coverage == 0.5
    content = (run / REFERENCE).read_bytes()
    assert not any(case.path.name.encode() in content for case in dataset.cases)
    assert not any(case.patient.encode() + b'"' in content for case in dataset.cases)


def test_nothing_is_decoded_for_it_that_is_in_memory(run, dataset, tmp_path):
    recipe = parse_recipe(RECIPE, origin="here")
    tensors = load_tensors(dataset.cases, recipe.preprocessing, dataset.labels)
    gone = dataclasses.replace(
        dataset,
        cases=tuple(
            dataclasses.replace(case, path=tmp_path / "gone" / case.path.name)
            for case in dataset.cases
        ),
    )
    folder = run_recipe(recipe, gone, tensors, tmp_path / "run", execution=ON_CPU)
    assert (folder / REFERENCE).read_bytes() == (run / REFERENCE).read_bytes()


@pytest.mark.parametrize("there", ["nothing", "damaged", "of another network"])
def test_a_finished_run_without_a_whole_reference_gets_one_when_it_is_asked_again(
    run, dataset, tmp_path, there
):
    recipe = parse_recipe(RECIPE, origin="here")
    folder = run_recipe(recipe, dataset, None, tmp_path / "run", execution=ON_CPU)
    expected = (folder / REFERENCE).read_bytes()
    weights = (folder / "checkpoint.safetensors").read_bytes()
    if there == "nothing":
        (folder / REFERENCE).unlink()
    elif there == "damaged":
        (folder / REFERENCE).write_bytes(expected[:100])
    else:
        dataclasses.replace(loaded(folder), weights_sha256="0" * 64).save(folder)
    said = []
    run_recipe(recipe, dataset, None, folder, execution=ON_CPU, log=said.append)
    assert (folder / REFERENCE).read_bytes() == expected
    assert (folder / "checkpoint.safetensors").read_bytes() == weights
    assert "done before" in said[0]
    assert "reference" in said[1]
    said.clear()
    run_recipe(recipe, dataset, None, folder, execution=ON_CPU, log=said.append)
    assert len(said) == 1, "what is whole is left alone"


def test_a_run_that_was_killed_between_checkpoint_and_reference_is_completed(
    run, dataset, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for name in (REFERENCE, "validation.csv"):
        (folder / name).unlink()
    (folder / "partial").mkdir()
    (folder / "partial" / "head.safetensors").write_bytes(b"what was left")
    recipe = parse_recipe(RECIPE, origin="here")
    run_recipe(recipe, dataset, None, folder, execution=ON_CPU)
    for name in (REFERENCE, "validation.csv", "checkpoint.safetensors"):
        assert (folder / name).read_bytes() == (run / name).read_bytes(), name
    assert not (folder / "partial").exists()


def test_without_images_it_says_what_is_missing(run, tmp_path):
    for file in ("checkpoint.json", "checkpoint.safetensors"):
        (tmp_path / file).write_bytes((run / file).read_bytes())
    with pytest.raises(UsageError, match=r"split\.csv") as error:
        fit_reference(tmp_path)
    assert error.value.code == "no_manifest"


def test_images_of_other_labels_are_no_validation_images(run, dataset, tmp_path):
    others = [dataclasses.replace(case, label="pneumonia") for case in dataset.cases]
    write_manifest(tmp_path / "other.csv", others)
    with pytest.raises(DataError) as error:
        fit_reference(run, manifest=tmp_path / "other.csv")
    assert error.value.code == "unknown_label"
    no_validation = [case for case in dataset.cases if case.split != "validation"]
    write_manifest(tmp_path / "none.csv", no_validation)
    with pytest.raises(DataError, match="'validation'") as error:
        fit_reference(run, manifest=tmp_path / "none.csv")
    assert error.value.code == "empty_part"
