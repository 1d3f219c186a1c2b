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
from cxr_transfer.models.checkpoint import load_checkpoint, save_checkpoint
from cxr_transfer.models.metadata import CARD, WEIGHTS, Checkpoint, read_card
from cxr_transfer.models.registry import build
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
        "seen": {"images": ["0123456789abcdef"]},
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
        "schema_version": 2,
        "provenance": {},
        "network": {},
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
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": -1e-3}, "epsilon"),
        ({"epsilon": 1e400}, "JSON"),
        ({"epsilon": float("nan")}, "NaN"),
        ({"weights_sha256": "../../../planted"}, "weights_sha256"),
        ({"weights_sha256": "AB" * 32}, "weights_sha256"),
        ({"weights_sha256": "ab" * 32 + "\n"}, "weights_sha256"),
        ({"name": "../../report"}, "name"),
        ({"name": "model\x1b[2J"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"labels": ["normal", "covid\u202e91"]}, "printable"),
        ({"labels": ["normal", "a\x1b]0;x\x07"]}, "printable"),
        ({"labels": ["normal", ""]}, "printable"),
        ({"labels": ["normal", "x" * 101]}, "printable"),
        ({"labels": [f"class {number}" for number in range(1001)]}, "at most 1000"),
        ({"recipe": {"title": "a\x1b[2J"}}, "recipe"),
        ({"recipe": {"title": "x" * 201}}, "recipe"),
        ({"recipe": {"title": ["x"]}}, "recipe"),
        ({"recipe": {"coverage": 2}}, "recipe"),
        ({"recipe": {"coverage": True}}, "recipe"),
        ({"provenance": {"initial": "\x9b2J"}}, "provenance"),
        ({"data": {"name": "two\nlines"}}, "data"),
        ({"seen": {"images": ["../x"]}}, "seen"),
        ({"preprocessing": {"height": SIDE, "crop": True}}, "preprocessing.crop"),
        ({"schema_version": "2"}, "schema_version"),
    ],
)
def test_a_card_of_other_fields_is_refused_by_field(folder, changes, said):
    edit_card(folder, **changes)
    assert said in refusal(folder, "bad_card")


def test_another_schema_asks_for_an_update_or_another_training(folder):
    edit_card(folder, schema_version=3, what_is_to_come=True)
    assert "update" in refusal(folder, "other_schema")
    edit_card(folder, schema_version=1)
    assert "train it anew" in refusal(folder, "other_schema")


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


def test_another_size_of_images_is_refused(folder):
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


def narrowed(kind):
    """The weights of a network with its last layer's in another type, which PyTorch converts."""
    weights = dict(network().state_dict())
    weights["head.weight"] = (
        torch.view_as_complex(torch.stack([weights["head.weight"]] * 2, -1))
        if kind == torch.complex64
        else weights["head.weight"].to(kind)
    )
    return stored(weights)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.float8_e5m2, "F8_E5M2"),
        (torch.bfloat16, "BF16"),
        (torch.float64, "F64"),
        (torch.int8, "I8"),
        (torch.uint8, "U8"),
        (torch.int64, "I64"),
        (torch.bool, "BOOL"),
        (torch.complex64, "C64"),
    ],
)
def test_weights_of_another_type_are_refused_by_name(folder, kind, name):
    replace_weights(folder, narrowed(kind))
    message = refusal(folder, "wrong_type")
    assert f"head.weight is {name}, not F32 or F16" in message


def test_weights_of_half_precision_are_widened(folder):
    replace_weights(folder, narrowed(torch.float16))
    loaded = load_checkpoint(folder)[1]
    assert loaded.head.weight.dtype == torch.float32


def test_counters_that_are_no_whole_numbers_are_refused(tmp_path):
    saved = build("resnet50_early", 3, size=(SIDE, SIDE), epsilon=1e-3)
    save_checkpoint(tmp_path, saved, card(architecture="resnet50_early"))
    weights = dict(saved.state_dict())
    name = next(name for name in weights if name.endswith("num_batches_tracked"))
    weights[name] = weights[name].float()
    replace_weights(tmp_path, stored(weights))
    assert f"{name} is F32, not I64" in refusal(tmp_path, "wrong_type")


def test_a_file_is_known_not_to_fit_before_its_tensors_are_made(folder):
    """A header may promise what no memory holds; it is compared with the network alone."""
    header = json.dumps({"tail": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    replace_weights(folder, len(header).to_bytes(8, "little") + header.encode())
    message = refusal(folder, "wrong_weights")
    assert "missing conv1.weight" in message


@pytest.mark.parametrize("name", [WEIGHTS, CARD])
def test_a_file_of_the_folder_that_is_a_link_out_of_it_is_refused(folder, tmp_path, name):
    (tmp_path / "elsewhere").write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert name in refusal(folder, "outside_link")
    (tmp_path / "linked").symlink_to(folder)
    assert name in refusal(tmp_path / "linked", "outside_link")


def test_a_folder_that_is_a_link_itself_is_opened(folder, tmp_path):
    (tmp_path / "latest").symlink_to(folder)
    assert load_checkpoint(tmp_path / "latest")[0].name == "model_1"


def test_a_card_that_could_not_be_read_back_is_not_written(tmp_path):
    with pytest.raises(ModelError) as error:
        save_checkpoint(tmp_path, network(), card(name="a/b"))
    assert error.value.code == "bad_card"
    assert list(tmp_path.iterdir()) == []


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


def test_a_card_of_classes_has_no_word_on_its_task_and_one_of_findings_has(folder):
    card = read_card(folder / CARD)
    assert "task" not in json.loads(card.model_dump_json())
    assert card.label_set.exclusive
    findings = {"task": "multi_label", "labels": ("Edema", "Mass", "Nodule")}
    several = card.model_copy(update=findings)
    written = json.loads(several.model_dump_json())
    assert written["task"] == "multi_label"
    assert not Checkpoint.model_validate(written).label_set.exclusive
