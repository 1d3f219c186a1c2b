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
