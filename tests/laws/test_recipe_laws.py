"""What every key of a recipe does to a training, and that a stopped training goes on to the bit."""

import itertools

import numpy as np
import pytest
import torch

from cxr_transfer.models.simple_cnn import simple_cnn
from cxr_transfer.training import stage_module
from cxr_transfer.training.callbacks import LearningRate
from cxr_transfer.training.device import Execution
from cxr_transfer.training.frozen_features import freeze
from cxr_transfer.training.losses import mean_auroc
from cxr_transfer.training.optimizer import optimizer_of
from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.stage_inputs import material_of
from cxr_transfer.training.stage_recipe import Stage
from cxr_transfer.training.trainer import train_stages
from miniature import SIDE

CPU = Execution(device="cpu", precision="float32")


def recipe_of(*stages, **keys):
    """A recipe of stages that each train all of the CNN for three epochs, with changes."""
    content = {
        "name": "law",
        "network": "simple_cnn",
        "preprocessing": {"height": SIDE, "width": SIDE},
        "stages": [
            {"name": f"stage{number}", "train": ["*"], "max_epochs": 3} | changes
            for number, changes in enumerate(stages or ({},))
        ],
    }
    return parse_recipe(content | keys, origin="law")


def network_of():
    torch.manual_seed(5)
    return simple_cnn(3, size=(SIDE, SIDE))


def trained(recipe, training, validation, folder, *, log=lambda line: None, sources=None):
    network = network_of()
    done = train_stages(
        recipe,
        network,
        training,
        validation,
        sources=sources or ["a"] * len(training),
        folder=folder,
        seed=0,
        execution=CPU,
        log=log,
    )
    return network.state_dict(), done


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


EVERYTHING = {
    "augmentation": ({}, {"augmentation": {"rotation": 10, "noise": 5, "jpeg": 40, "clahe": 0.5}}),
    "mixup": ({"mixup": 0.4, "label_smoothing": 0.1}, {}),
    "frozen_part": ({"train": ["conv4", "dense", "head"]}, {"augmentation": {"gamma": 0.3}}),
    "moving_average": ({"ema": 0.9}, {}),
    "cosine": ({"schedule": "cosine", "warmup_epochs": 1, "optimizer": "adamw"}, {}),
    "sgd": ({"optimizer": "sgd", "weight_decay": 0.01, "layer_decay": 0.8}, {}),
    "unfreezing": ({"unfreeze_every": 1}, {}),
    "by_source": ({}, {"sampling": "by_source"}),
    "strata": ({"strata": "source", "strata_penalty": 1e-3}, {"sampling": "by_source"}),
    "group_dro": ({"robust": "group_dro", "robust_step": 0.1}, {"augmentation": {"noise": 5}}),
    "domain_adversarial": ({"domain_adversarial": 0.5}, {"dropout": 0.2}),
    "all_of_sources": (
        {"strata": "source", "robust": "group_dro", "domain_adversarial": 0.1, "optimizer": "sgd"},
        {},
    ),
    "balanced": ({"monitor": "val_auroc"}, {"class_weights": "balanced", "dropout": 0.2}),
}


def two_sources(training):
    return ["ab"[number % 2] for number in range(len(training))]


@pytest.fixture(scope="module")
def plain(training, validation, tmp_path_factory):
    """What a recipe without any of the keys comes to."""
    folder = tmp_path_factory.mktemp("plain")
    numbers, _ = trained(recipe_of(), training, validation, folder, sources=two_sources(training))
    return numbers


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_stopped_training_goes_on_to_the_same_bits(name, training, validation, tmp_path, plain):
    changes, keys = EVERYTHING[name]
    recipe = recipe_of(changes, **keys)
    sources = two_sources(training)
    whole, done = trained(recipe, training, validation, tmp_path / "whole", sources=sources)

    def stop(line):
        if "epoch 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(recipe, training, validation, tmp_path / "cut", log=stop, sources=sources)
    resumed, rest = trained(recipe, training, validation, tmp_path / "cut", sources=sources)
    assert same(whole, resumed)
    assert [row["loss"] for row in rest.history] == [row["loss"] for row in done.history]
    assert not same(whole, plain), "the key changes something"


def test_augmentation_changes_training_images_alone_and_in_every_epoch(
    training, validation, tmp_path, monkeypatch
):
    seen = []
    real = stage_module.augmented

    def watched(images, strengths, *, seed):
        seen.append(seed)
        return real(images, strengths, seed=seed)

    monkeypatch.setattr(stage_module, "augmented", watched)
    recipe = recipe_of({"batch_size": 20}, augmentation={"noise": 5})
    trained(recipe, training, validation, tmp_path)
    assert len(seen) == len(set(seen)) == 3 * -(-len(training) // 20)


def test_a_frozen_part_behind_changing_images_stays_as_it_is(training, validation, tmp_path):
    before = network_of().state_dict()
    recipe = recipe_of({"train": ["head"]}, augmentation={"rotation": 5})
    after, _ = trained(recipe, training, validation, tmp_path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}


def rates(network, **changes):
    stage = Stage(name="a", train=("*",), learning_rate=1.0, **changes)
    return [
        (group["lr"], group.get("weight_decay", 0.0), len(group["params"]))
        for group in optimizer_of(stage, network).param_groups
    ]


def test_rates_fall_from_the_head_backwards_and_biases_do_not_decay():
    network = network_of()
    freeze(network, ["*"])
    assert rates(network) == [(1.0, 0.0, 12)]
    by_layer = rates(network, layer_decay=0.5, weight_decay=0.1, optimizer="adamw")
    assert by_layer[:4] == [(1.0, 0.1, 1), (1.0, 0.0, 1), (0.5, 0.1, 1), (0.5, 0.0, 1)]
    assert min(rate for rate, _, _ in by_layer) == 0.5**5  # six layers hold weights


def test_the_learning_rate_rises_and_then_follows_a_cosine():
    schedule = LearningRate("cosine", warmup_epochs=2, max_epochs=6)
    step = 0.25
    factors = [schedule.factor(number * step, step) for number in range(24)]
    assert factors[:8] == [pytest.approx((number + 1) / 8) for number in range(8)]
    assert factors[8] == 1
    assert factors[16] == pytest.approx(0.5)
    assert all(one > other for one, other in itertools.pairwise(factors[8:]))
    plateau = LearningRate("plateau", warmup_epochs=1, max_epochs=6)
    assert plateau.factor(0.5, 0.5) == 1
    assert plateau.factor(1.0, 0.5) is None, "then the rate is another's to change"


def test_layers_thaw_one_by_one_from_the_head(training, validation, tmp_path):
    moved = []
    recipe = recipe_of({"unfreeze_every": 1, "keep": "last"})
    before = network_of().state_dict()
    for epochs in (1, 2, 3):
        after, _ = trained(recipe.limited(epochs), training, validation, tmp_path / str(epochs))
        moved.append({n.partition(".")[0] for n in before if not torch.equal(before[n], after[n])})
    assert moved == [{"head"}, {"head", "dense"}, {"head", "dense", "conv4"}]


def test_classes_are_balanced_by_weight_and_by_drawing(training, validation):
    targets = torch.tensor([0] * 8 + [1] * 2)
    images = type(training)(training.images[:10], targets)
    sources = ["a"] * 6 + ["b"] * 2 + ["a", "b"]
    by_weight = material_of(recipe_of(class_weights="balanced"), images.targets, sources, None)
    assert by_weight.class_weights.tolist() == [0.625, 2.5]
    absent = recipe_of(class_weights="balanced")
    with_absent = material_of(absent, images.targets, sources, None, classes=3).class_weights
    assert len(with_absent) == 3, "a class without training images has its weight, too"
    assert with_absent[:2].tolist() == by_weight.class_weights.tolist()
    by_class = material_of(recipe_of(sampling="by_class"), images.targets, sources, None).draws
    assert float(by_class[:8].sum()) == pytest.approx(float(by_class[8:].sum()))
    by_source = material_of(recipe_of(sampling="by_source"), images.targets, sources, None).draws
    groups = [float(by_source[rows].sum()) for rows in (slice(0, 6), slice(6, 8), [8], [9])]
    assert groups == pytest.approx([0.5] * 4)


def test_the_area_is_the_mean_over_classes_that_can_be_told_apart():
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    assert mean_auroc(scores, torch.tensor([0, 1, 0])) == 1
    assert mean_auroc(scores, torch.tensor([0, 0, 0])) == 0.5
    assert np.isclose(mean_auroc(scores, torch.tensor([1, 0, 0])), 0.0)


def test_the_average_of_the_weights_is_what_is_handed_on(training, validation, tmp_path):
    slow, _ = trained(recipe_of({"ema": 0.9999, "keep": "last"}), training, validation, tmp_path)
    fast, _ = trained(recipe_of({"keep": "last"}), training, validation, tmp_path / "without")
    before = network_of().state_dict()
    distance = [(one["conv1.weight"] - before["conv1.weight"]).norm() for one in (slow, fast)]
    assert distance[0] < 0.5 * distance[1]
