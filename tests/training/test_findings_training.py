"""Stages on several findings: every key that is allowed works where labels are missing."""

import pytest
import torch

from cxr_transfer.models.registry import build
from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.tensors import ImageTensors
from cxr_transfer.training.trainer import train_stages

SIDE = 48


def images_of(number, seed):
    """Bright images have the first finding, images with a bright half the second."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (number, 2), generator=generator)
    targets[:4] = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])
    images = torch.randint(0, 60, (number, 1, SIDE, SIDE), generator=generator)
    images += 100 * targets[:, 0, None, None, None]
    images[..., : SIDE // 2] += 80 * targets[:, 1, None, None, None]
    targets[4:][torch.rand((number - 4, 2), generator=generator) < 0.4] = -1
    return ImageTensors(images.to(torch.uint8), targets)


def trained(folder, stage, seed=0, training=None, sure=1, **keys):
    recipe = parse_recipe(
        {
            "name": "findings",
            "task": "multi_label",
            "network": "simple_cnn",
            "preprocessing": {"height": SIDE, "width": SIDE},
            "stages": [{"name": "all", "train": ["*"]} | stage],
        }
        | keys,
        origin="test",
    )
    torch.manual_seed(seed)
    network = build("simple_cnn", 2, size=(SIDE, SIDE), epsilon=1e-3)
    with torch.no_grad():
        network.head.weight *= sure
    training = images_of(24, 1) if training is None else training
    done = train_stages(recipe, network, training, images_of(16, 2), folder=folder, seed=seed)
    return network.state_dict(), done.history


KEYS = [
    ({"max_epochs": 2, "batch_size": 2}, {"class_weights": "balanced"}),
    ({"max_epochs": 2, "mixup": 0.3, "label_smoothing": 0.1}, {}),
    ({"max_epochs": 2, "monitor": "val_auroc"}, {"augmentation": {"noise": 5.0}, "dropout": 0.2}),
    ({"train": ["head"], "fit": "logistic"}, {}),
]


@pytest.mark.parametrize(("stage", "keys"), KEYS)
def test_one_seed_fixes_everything(tmp_path, stage, keys):
    first, history = trained(tmp_path / "first", stage, **keys)
    again, _ = trained(tmp_path / "again", stage, **keys)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(0 <= row["val_accuracy"] <= 1 for row in history)
    if stage.get("monitor"):
        assert all(0 <= row["val_auroc"] <= 1 for row in history)


def test_images_of_which_nothing_is_known_break_nothing(tmp_path):
    training = images_of(24, 1)
    silent = ImageTensors(training.images, training.targets.clone())
    silent.targets[10:] = -1
    stage = {"max_epochs": 2, "batch_size": 2}
    some, history = trained(tmp_path / "some", stage, training=silent)
    assert all(torch.isfinite(weight).all() for weight in some.values())
    assert all(row["loss"] > 0 for row in history)


def test_the_validation_loss_is_over_the_labels_that_are_known(tmp_path):
    stage = {"max_epochs": 1, "batch_size": 3, "keep": "last", "learning_rate": 1e-9}
    _, parted = trained(tmp_path / "parted", stage, sure=500)
    _, whole = trained(tmp_path / "whole", stage | {"batch_size": 24}, sure=500)
    assert parted[0]["val_loss"] == pytest.approx(whole[0]["val_loss"], rel=1e-3)
