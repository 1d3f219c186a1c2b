"""Activations that many trainings share: the same numbers, computed once, and nobody else's."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from cxr_transfer.models.simple_cnn import simple_cnn
from cxr_transfer.training import quick_activations
from cxr_transfer.training.device import FROZEN_PART, Execution
from cxr_transfer.training.frozen_features import (
    KeptActivations,
    activations,
    fed_with_images,
    never_trained,
    part_of,
)
from cxr_transfer.training.trainer import train_stages
from made import full_disk
from miniature import SIDE, make_images, make_recipe

CPU = Execution(device="cpu", precision="float32")
IMAGES = make_images(50, seed=1)


def network_of(seed=0):
    torch.manual_seed(seed)
    return simple_cnn(3, size=(SIDE, SIDE))


def never(more):
    raise AssertionError("nothing is to be computed")


@pytest.mark.parametrize("length", [4, 13], ids=["maps", "features"])
def test_rows_of_what_is_kept_are_the_activations(tmp_path, length):
    network = network_of()
    part = part_of(network, 0, length)
    counted = []
    kept = KeptActivations(tmp_path, network, IMAGES.images)
    kept.prepare(part, on_image=counted.append)
    assert sum(counted) == 50
    rows = torch.tensor([7, 3, 49, 3])
    found = kept.of(part, IMAGES.images[rows])
    whole = activations(part, IMAGES.images)
    assert torch.equal(found, whole[rows])
    assert found.stride() == whole[rows].stride() or length == 13, "in the order of channels"
    # Another process finds them, whichever network object it has.
    again = KeptActivations(tmp_path, network_of(), IMAGES.images)
    again.prepare(part_of(network_of(), 0, length), on_image=never)
    assert torch.equal(again.of(part, IMAGES.images[rows]), found)
    kept.remove()
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_other_weights_and_other_images_get_none(tmp_path):
    network = network_of()
    kept = KeptActivations(tmp_path, network, IMAGES.images)
    assert kept.of(part_of(network_of(1), 0, 4), IMAGES.images) is None
    assert kept.of(part_of(network, 0, 4), IMAGES.images.float()) is None
    assert kept.of(part_of(network, 0, 4), make_images(1, seed=2).images) is None
    assert kept.of(part_of(network, 0, 0), IMAGES.images) is None
    assert not list(tmp_path.iterdir()), "nothing was computed for them"


def test_a_file_that_was_cut_off_is_written_again(tmp_path):
    network = network_of()
    part = part_of(network, 0, 13)
    KeptActivations(tmp_path, network, IMAGES.images).prepare(part)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-4])
    counted = []
    kept = KeptActivations(tmp_path, network, IMAGES.images)
    kept.prepare(part, on_image=counted.append)
    assert sum(counted) == 50
    assert torch.equal(kept.of(part, IMAGES.images), activations(part, IMAGES.images))


def test_what_a_full_disk_does_not_take_is_kept_in_memory(tmp_path):
    network = network_of()
    part = part_of(network, 0, 13)
    kept = KeptActivations(tmp_path / "kept", network, IMAGES.images)
    with full_disk(1000):
        found = kept.of(part, IMAGES.images)
    assert torch.equal(found, activations(part, IMAGES.images))
    assert kept.is_kept(part)
    assert not list((tmp_path / "kept").iterdir())
    kept.prepare(part, on_image=never)


@pytest.mark.parametrize(
    "stages", [[("head", ["head"])], [("head", ["head"]), ("dense", ["dense", "head"])]]
)
def test_a_training_on_shared_activations_is_the_same_training(tmp_path, stages):
    recipe = make_recipe(stages=stages, max_epochs=2)
    even, validation = IMAGES.only(torch.arange(40).numpy()), IMAGES.only(torch.arange(20).numpy())
    kept = KeptActivations(tmp_path / "kept", network_of(), IMAGES.images)
    for part in fed_with_images(network_of(), [stage.train for stage in recipe.stages]):
        kept.prepare(part)
    losses = []
    for number, shared in enumerate(((), (kept,))):
        network = network_of()
        done = train_stages(
            recipe,
            network,
            even,
            validation,
            folder=tmp_path / str(number),
            seed=0,
            execution=CPU,
            kept=shared,
        )
        losses.append([(row["loss"], row["val_loss"]) for row in done.history])
    assert losses[0] == losses[1]
    assert len(list((tmp_path / "kept").iterdir())) == 1, "nothing else was kept"


def test_what_no_stage_trains_is_what_all_leave_frozen():
    network = network_of()
    two = [("head",), ("dense", "head")]
    names = list(dict(network.named_children()))
    assert len(never_trained(network, two)) == names.index("dense")
    assert [len(part) for part in fed_with_images(network, two)] == [names.index("dense")]
    whole = [("head",), ("*",)]
    assert len(never_trained(network, whole)) == 0
    # The part before dropout: what is random in training cannot be kept.
    assert [len(part) for part in fed_with_images(network, whole)] == [names.index("dropout")]


def test_a_run_that_goes_on_does_not_compute_its_activations_again(tmp_path):
    recipe = make_recipe(stages=[("head", ["head"])], max_epochs=2)
    train, validation = IMAGES.only(np.arange(40)), IMAGES.only(np.arange(40, 50))

    def run(folder, kept, progress):
        network = network_of()
        execution = dataclasses.replace(CPU, progress=lambda *told: progress.append(told))
        done = train_stages(
            recipe, network, train, validation, folder=folder, seed=0, execution=execution,
            kept=kept, say_epoch=stop_after_one if folder.name == "stopped" else None,
        )  # fmt: skip
        return [row["loss"] for row in done.history]

    def stop_after_one(line):
        raise KeyboardInterrupt

    def kept_in(folder):
        return [KeptActivations(folder, network_of(), part.images) for part in (train, validation)]

    whole = run(tmp_path / "whole", (), [])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", kept_in(tmp_path / "kept"), [])
    assert len(list((tmp_path / "kept").iterdir())) == 2, "one of each part"
    told = []
    shutil.move(tmp_path / "stopped", tmp_path / "again")
    assert run(tmp_path / "again", kept_in(tmp_path / "kept"), told) == whole
    assert not [phase for phase, _ in told if phase == FROZEN_PART]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_of_many_images_openvino_computes_the_same(tmp_path, monkeypatch, precision):
    many, part = make_images(300, seed=3).images, part_of(network_of(), 0, 13)
    found = activations(part, many, precision=precision)
    monkeypatch.setattr(quick_activations, "QUICK_FROM", len(many) + 1)
    exact = activations(part, many)
    torchs = activations(part, many, precision=precision)
    assert found.dtype == torchs.dtype
    assert found.stride() == torchs.stride()
    largest = exact.abs().max()
    apart, of_torch = ((one.float() - exact).abs().max() / largest for one in (found, torchs))
    assert apart <= (1e-5 if precision == "float32" else 2 * of_torch)
    if precision == "float32":  # in bfloat16 torch may be the nearer one, and is taken then
        assert not torch.equal(found, torchs), "or torch computed both"


def test_of_many_images_the_bits_are_the_same_each_time(tmp_path):
    many, network = make_images(300, seed=3).images, network_of()
    part = part_of(network, 0, 13)
    whole = activations(part, many)
    assert torch.equal(whole, activations(part_of(network_of(), 0, 13), many))
    kept = KeptActivations(tmp_path, network, many)
    assert torch.equal(kept.of(part, many[100:110]), whole[100:110])


def test_what_openvino_cannot_convert_is_computed_by_torch(monkeypatch):
    def refused(module, example):
        raise RuntimeError("no such operation")

    many, part = make_images(300, seed=3).images, part_of(network_of(), 0, 13)
    monkeypatch.setattr(quick_activations, "converted", refused)
    found = activations(part, many)
    monkeypatch.setattr(quick_activations, "QUICK_FROM", len(many) + 1)
    assert torch.equal(found, activations(part, many))
