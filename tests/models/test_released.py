"""Model_3 is put together to the very file that was released; what is missing is said."""

import hashlib
import json
import lzma
import shutil

import numpy as np
import pytest
import safetensors.numpy

from cxr_transfer.errors import MachineError, ModelError
from cxr_transfer.models import pretrained
from cxr_transfer.models.folder import safetensors_header
from cxr_transfer.models.imagenet_names import layer_names, network_arrays
from cxr_transfer.models.metadata import CARD, CHANGED, RELEASED, WEIGHTS, read_card
from cxr_transfer.models.released import (
    as_released,
    changed_weights,
    weights_at_hand,
    with_imagenet,
)
from random_checkpoint import cache, cached_imagenet

__all__ = ["cache", "cached_imagenet"]

MODEL_3 = RELEASED / "model_3"
# Of the file as it was released, before it was shipped in two parts.
WHOLE = "2679b17c1def197592067e27823385a1e29c281864e536d7cb8bc32311207c37"


def keras_tensors(side=2):
    """Tensors with Keras' old names, of a network with two channels everywhere."""
    rng = np.random.default_rng(0)
    found = {}
    for _, conv, norm in layer_names(old=True):
        found[f"{conv}/kernel"] = rng.random((side, side, 2, 2), np.float32)
        found[f"{conv}/bias"] = rng.random(2, np.float32)
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            found[f"{norm}/{part}"] = rng.random(2, np.float32)
    return found


@pytest.mark.slow
def test_model_3_is_the_file_that_was_released(cached_imagenet):
    card = read_card(MODEL_3 / CARD)
    whole = weights_at_hand(card, MODEL_3 / WEIGHTS)
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == WHOLE == card.weights_sha256
    kept = whole.stat().st_mtime_ns
    assert weights_at_hand(card, MODEL_3 / WEIGHTS).stat().st_mtime_ns == kept
    # What is kept is made anew where it was damaged.
    whole.write_bytes(whole.read_bytes()[:-1])
    assert weights_at_hand(card, MODEL_3 / WEIGHTS) == whole
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == WHOLE


def test_weights_that_lie_beside_their_card_are_taken_as_they_are():
    folder = RELEASED / "model_2"
    assert weights_at_hand(read_card(folder / CARD), folder / WEIGHTS) == folder / WEIGHTS


def test_only_what_training_changed_is_kept_and_the_whole_comes_back():
    tensors = keras_tensors()
    whole = as_released(tensors) | {
        "head.weight": np.ones((3, 2), np.float16),
        "conv5_block3.conv1_bn.num_batches_tracked": np.array(7, np.int64),
    }
    content = safetensors.numpy.save(
        {name: np.array(one, order="C") for name, one in whole.items()}, {"labels": "[]"}
    )
    changed = changed_weights(content, tensors)
    assert set(safetensors.numpy.load(lzma.decompress(changed))) == {
        "head.weight",
        "conv5_block3.conv1_bn.num_batches_tracked",
    }
    assert with_imagenet(changed, tensors) == content


def test_a_kernel_is_kept_by_how_far_it_moved_and_comes_back_bit_for_bit():
    tensors = keras_tensors()
    whole = as_released(tensors)
    kernel = whole["conv5_block3.conv1.weight"]
    far = np.array([0, -0.0, 1, -1, 65504, -65504, 6e-8, np.inf, np.nan], np.float16)
    for number, value in enumerate(far):
        moved = np.array(kernel, order="C")
        moved.ravel()[:1] = value
        tensor = {**whole, "conv5_block3.conv1.weight": moved}
        content = safetensors.numpy.save(
            {name: np.array(one, order="C") for name, one in tensor.items()}, {"labels": "[]"}
        )
        changed = changed_weights(content, tensors)
        assert with_imagenet(changed, tensors) == content, number
        kept = safetensors.numpy.load(lzma.decompress(changed))["conv5_block3.conv1.weight"]
        assert (kept.dtype, kept.shape) == (np.uint8, (2, *kernel.shape))


def test_a_bias_of_keras_is_part_of_the_mean_behind_it():
    tensors = keras_tensors()
    found = network_arrays(tensors)
    expected = tensors["bn_conv1/moving_mean"] - tensors["conv1/bias"]
    assert np.array_equal(found["conv1_bn.running_mean"], expected)
    assert found["conv1.weight"][1, 0, 1, 0] == tensors["conv1/kernel"][1, 0, 0, 1]


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A cache without anything, on a machine without npm."""
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "cache"


def test_without_imagenet_the_remedy_is_said(alone):
    card = read_card(MODEL_3 / CARD)
    with pytest.raises(MachineError, match="npm") as raised:
        weights_at_hand(card, MODEL_3 / WEIGHTS)
    assert raised.value.code == "no_pretrained_weights"
    assert str(alone) in raised.value.message
    assert pretrained.NPM_TARBALL in raised.value.message


@pytest.mark.slow
def test_changed_weights_of_something_else_are_refused(tmp_path, cached_imagenet):
    for name in (CARD, CHANGED):
        shutil.copy(MODEL_3 / name, tmp_path)
    content = bytearray(lzma.decompress((tmp_path / CHANGED).read_bytes()))
    content[-1] ^= 1
    (tmp_path / CHANGED).write_bytes(lzma.compress(content, preset=0))
    card = read_card(tmp_path / CARD)
    edited = card.model_copy(update={"weights_sha256": "0" * 64})  # none is kept of it
    with pytest.raises(ModelError, match="SHA-256") as raised:
        weights_at_hand(edited, tmp_path / WEIGHTS)
    assert raised.value.code == "wrong_hash"
    (tmp_path / CHANGED).write_bytes(b"no safetensors")
    with pytest.raises(ModelError) as raised:
        weights_at_hand(edited, tmp_path / WEIGHTS)
    assert raised.value.code == "corrupt_weights"


def test_keras_other_numbers_are_not_taken_for_those_of_npm(alone):
    alone.mkdir()
    pretrained._keep(
        pretrained._pretrained(keras_tensors(), 1.001e-5, "Keras .h5, md5 0"),
        alone / pretrained.CACHED,
    )
    assert pretrained.imagenet_weights().origin.startswith("Keras")
    with pytest.raises(MachineError, match="holds others, from Keras"):
        pretrained.npm_weights()


def test_the_labels_of_the_whole_file_stand_in_the_changed_one():
    _, metadata = safetensors_header(lzma.decompress((MODEL_3 / CHANGED).read_bytes()))
    assert json.loads(metadata["labels"]) == list(read_card(MODEL_3 / CARD).labels)
