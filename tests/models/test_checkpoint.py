"""A checkpoint comes back bit for bit, or a model error names what is wrong; no code runs."""

import hashlib
import io
import json
import os
import pickle

import pytest
import safetensors.torch
import torch

from cxr_transfer.errors import MachineError, ModelError
from cxr_transfer.models.card import CARD, WEIGHTS
from cxr_transfer.models.checkpoint import load_checkpoint, save_checkpoint
from cxr_transfer.models.networks import build
from cxr_transfer.radiograph import Preprocessing
from made import full_disk

SIDE = 48
LABELS = ("normal", "bacterial", "covid19")


def network(classes=3):
    return build("simple_cnn", classes, size=(SIDE, SIDE), epsilon=1e-3)


def card(**changes):
    return {
        "name": "model_1",
        "architecture": "simple_cnn",
        "labels": LABELS,
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
        "recipe": {"name": "model_1", "stages": [{"train": ["*"]}]},
        "data": {"name": "dataset_1"},
        "seen": {"films": ["ab"]},
    } | changes


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "run", network(), card())
    return tmp_path / "run"


def edit_card(folder, **changes):
    content = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(content | changes))


def replace_weights(folder, content):
    """Put ``content`` in the place of the weights, with a card that vouches for it."""
    (folder / WEIGHTS).write_bytes(content)
    edit_card(folder, weights_sha256=hashlib.sha256(content).hexdigest())


def stored(weights):
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in weights.items()})


def refusal(path, code):
    with pytest.raises(ModelError) as error:
        load_checkpoint(path)
    assert error.value.code == code
    assert error.value.exit_code == 4
    return error.value.message


# What comes back


@pytest.mark.parametrize("name", ["", WEIGHTS, CARD], ids=["folder", "weights", "card"])
def test_weights_come_back_bit_for_bit_and_ready_for_use(tmp_path, name):
    saved = network().train()
    save_checkpoint(tmp_path, saved, card())
    checkpoint, loaded = load_checkpoint(tmp_path / name)
    before, after = saved.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not loaded.training
    assert saved.training
    assert checkpoint.label_set.names == LABELS
    assert checkpoint.model_dump() == card() | {
        "preprocessing": Preprocessing(height=SIDE, width=SIDE).model_dump(),
        "schema_version": 1,
        "provenance": {},
        "weights_sha256": hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest(),
    }


def test_a_checkpoint_may_have_another_name(folder):
    for name in (WEIGHTS, CARD):
        (folder / name).rename(folder / name.replace("checkpoint", "released"))
    assert load_checkpoint(folder / "released.json")[0].name == "model_1"


# Files that are no checkpoint


@pytest.mark.parametrize("gone", [WEIGHTS, CARD])
def test_half_a_checkpoint_is_none(folder, gone):
    (folder / gone).unlink()
    assert gone in refusal(folder, "no_checkpoint")


def test_truncated_weights_are_refused(folder):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-100])
    refusal(folder, "wrong_hash")
    for end in (0, 4, 100, len(content) // 2, len(content) - 1):
        replace_weights(folder, content[:end])
        refusal(folder, "corrupt_weights")


def test_one_changed_bit_is_the_wrong_hash(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    assert hashlib.sha256(content).hexdigest()[:12] in refusal(folder, "wrong_hash")


class Code:
    """Pickled, it writes a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def pickled(canary):
    archive = io.BytesIO()
    torch.save(Code(canary), archive)
    return pickle.dumps(Code(canary)), archive.getvalue()


@pytest.mark.parametrize("kind", [0, 1], ids=["pickle", "torch.save"])
def test_a_pickle_never_runs_whatever_its_name(folder, tmp_path, kind):
    canary = tmp_path / "canary"
    content = pickled(canary)[kind]
    replace_weights(folder, content)
    refusal(folder, "corrupt_weights")
    for name in ("checkpoint.pt", "checkpoint.pth", "checkpoint.ckpt", "checkpoint"):
        (folder / name).write_bytes(content)
        assert "never opened" in refusal(folder / name, "not_safetensors")
    (folder / CARD).write_bytes(content)
    refusal(folder, "bad_card")
    assert not canary.exists()
    torch.load(io.BytesIO(pickled(canary)[1]), weights_only=False)
    assert canary.exists(), "the pickle is harmless: this test shows nothing"


# Cards


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSON"),
        ("\xff", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[]", "fields"),
        ("{}", "name"),
    ],
    ids=["cut off", "not UTF-8", "deep", "a list", "empty"],
)
def test_what_is_no_card_is_refused(folder, content, said):
    (folder / CARD).write_bytes(content.encode("latin-1"))
    assert said in refusal(folder, "bad_card")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labelz": LABELS}, "labelz"),
        ({"architecture": "vgg16"}, "architecture"),
        ({"labels": ["normal"]}, "different class names"),
        ({"labels": ["normal", "covid19", "normal"]}, "different class names"),
        ({"epsilon": "small"}, "epsilon"),
        ({"preprocessing": {"height": SIDE, "crop": True}}, "preprocessing.crop"),
        ({"schema_version": 0}, "schema_version"),
        ({"schema_version": "2"}, "schema_version"),
    ],
)
def test_a_card_of_other_fields_is_refused_by_field(folder, changes, said):
    edit_card(folder, **changes)
    assert said in refusal(folder, "bad_card")


def test_a_newer_schema_asks_for_an_update(folder):
    edit_card(folder, schema_version=2, what_is_to_come=True)
    assert "update" in refusal(folder, "newer_schema")


# Weights that do not fit


@pytest.mark.parametrize(
    "labels", [LABELS[::-1], (*LABELS[:2], "viral"), (*LABELS, "viral"), LABELS[:2]]
)
def test_other_labels_or_another_order_of_them_are_refused(folder, labels):
    edit_card(folder, labels=labels)
    message = refusal(folder, "wrong_labels")
    assert json.dumps(LABELS) in message
    assert json.dumps(labels) in message


def test_another_number_of_labels_is_refused_also_where_the_weights_name_none(folder):
    replace_weights(folder, stored(network().state_dict()))
    load_checkpoint(folder)
    edit_card(folder, labels=[*LABELS, "viral"])
    assert "head.weight is (3, 128), not (4, 128)" in refusal(folder, "wrong_weights")


def test_another_size_of_films_is_refused(folder):
    edit_card(folder, preprocessing={"height": 96, "width": 96})
    assert "dense.weight is" in refusal(folder, "wrong_weights")


def test_another_architecture_is_refused(folder):
    edit_card(folder, architecture="resnet50")
    message = refusal(folder, "wrong_weights")
    assert "missing conv1_bn.weight" in message


def test_missing_and_left_over_weights_are_named(folder):
    weights = network().state_dict()
    weights["tail.bias"] = weights.pop("head.bias")
    replace_weights(folder, stored(weights))
    message = refusal(folder, "wrong_weights")
    assert "missing head.bias" in message
    assert "unknown tail.bias" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_neither_loaded_nor_saved(folder, value):
    before = {name: (folder / name).read_bytes() for name in (WEIGHTS, CARD)}
    broken = network()
    with torch.no_grad():
        broken.head.bias[1] = value
    with pytest.raises(ModelError) as error:
        save_checkpoint(folder, broken, card())
    assert error.value.code == "weights_not_finite"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    replace_weights(folder, stored(broken.state_dict()))
    assert "head.bias" in refusal(folder, "weights_not_finite")


# Writing


def test_a_full_disk_leaves_the_old_checkpoint(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with full_disk(10_000), pytest.raises(MachineError) as error:
        save_checkpoint(folder, network(), card(name="newer"))
    assert error.value.code == "disk_full"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    load_checkpoint(folder)


def test_new_weights_with_an_old_card_are_no_checkpoint(folder, tmp_path):
    """As a crash between the two writes leaves them."""
    newer = save_checkpoint(tmp_path / "newer", network(), card())
    (folder / WEIGHTS).write_bytes(newer.read_bytes())
    refusal(folder, "wrong_hash")
