"""What a network seems to want: found with labelled images, and a guess without."""

import tomllib

import pytest

import made_subjects as made
from cxr_transfer.errors import CxrError
from cxr_transfer.subjects.description import described
from cxr_transfer.subjects.inspection import Inspected, inspect_subject


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return made.write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return made.write_onnx(tmp_path_factory.mktemp("network") / "theirs.onnx")


def test_labelled_images_tell_range_and_order(network, images):
    asked = Inspected(str(network), data=images, labels=("covid19", "normal"))
    guess = inspect_subject(asked)
    assert guess.values["labels"] == ["normal", "covid19"]
    assert guess.sure["labels"].startswith("measured")
    assert guess.values["input.range"] == [0.0, 1.0]
    assert guess.values["output.values"] == "logits"
    assert guess.values["input.height"] == made.SIDE
    assert described(tomllib.loads(guess.toml), network).name == "theirs"
    assert "[0.0, 255.0]" not in guess.toml


def test_without_labelled_images_it_says_that_it_guesses(network):
    told = []
    guess = inspect_subject(Inspected(str(network)), log=told.append)
    assert guess.sure["input.range"].startswith("GUESS")
    assert guess.sure["labels"].startswith("GUESS")
    assert any("GUESS" in line for line in told)
    assert "of these lines are guesses" in guess.toml


def test_torchscript_says_no_shape_and_is_tried(tmp_path):
    path = made.write_torchscript(tmp_path / "network.pt")
    guess = inspect_subject(Inspected(str(path), size=made.SIDE))
    assert guess.values["input.height"] == made.SIDE
    assert guess.sure["input.layout"].startswith("tried")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"labels": ()}, "no_labels"),
        ({"labels": ("normal", "tuberculosis")}, "no_images"),
        ({"subject": "model_3"}, "unused_option"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(network, images, changes, code):
    usual = {"subject": str(network), "data": images, "labels": made.LABELS}
    with pytest.raises(CxrError) as refused:
        inspect_subject(Inspected(**usual | changes))
    assert refused.value.code == code


@pytest.mark.parametrize("shape", [("N", 2, 64, 64), ("N", 3, 3, 3), ("N", 1, 28, 28)])
def test_a_declared_shape_that_no_radiograph_has_is_refused(tmp_path, shape):
    path = made.write_onnx(tmp_path / "theirs.onnx", shape=shape)
    with pytest.raises(CxrError) as refused:
        inspect_subject(Inspected(str(path)))
    assert refused.value.code == "bad_model"
    assert " x ".join(("any", *map(str, shape[1:]))) in refused.value.message


def test_a_network_of_whole_numbers_is_given_them(tmp_path):
    guess = inspect_subject(Inspected(str(made.write_onnx(tmp_path / "x.onnx", datatype="UINT8"))))
    assert guess.values["input.range"] == [0.0, 255.0]


CODE = """
import numpy as np
def apart(images):
    return np.zeros((1, 2))
def one(images):
    return 0.5
def findings(images):
    mean = images.mean(axis=(1, 2, 3))
    middle = 1 / (1 + np.exp(40 * abs(mean - 0.55) - 4))
    return np.stack([mean * 0.1, mean * 0.2, 1 - middle], axis=1).clip(0, 1)
def wide(images):
    values = np.sqrt(images.mean(axis=(1, 2, 3))) / (images.std(axis=(1, 2, 3)) > 0)
    return np.stack([values, 1 - values], axis=1)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "own_inspected_module.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("name", ["apart", "one"])
def test_another_number_of_rows_is_refused(here, name):
    with pytest.raises(CxrError) as refused:
        inspect_subject(Inspected(f"python:own_inspected_module:{name}", size=64))
    assert refused.value.code == "bad_model"
    assert "(1, 2)" in refused.value.message or "()" in refused.value.message


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_a_reading_without_an_answer_is_no_reason_to_stop(here):
    guess = inspect_subject(Inspected("python:own_inspected_module:wide", size=64))
    assert guess.values["input.range"] == [0.0, 1.0]
    assert not guess.greys, "it has no answer for an image of one grey value"


def test_the_finding_that_tells_the_classes_apart_is_measured(here, images):
    asked = Inspected("python:own_inspected_module:findings", images, made.LABELS, size=made.SIDE)
    guess = inspect_subject(asked)
    assert guess.values["output.column"] == 2
    assert guess.sure["output.column"].startswith("measured")
    assert guess.values["labels"] == ["covid19", "normal"], "the score is of the second"
