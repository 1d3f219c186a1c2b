"""Small images and recipes on which trainings are tried."""

import torch

from cxr_transfer.training.recipe_files import parse_recipe
from cxr_transfer.training.tensors import ImageTensors

SIDE = 64


def make_images(number, seed):
    """Images whose brightness tells their class, more or less."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 3, (number,), generator=generator)
    noise = torch.randint(0, 120, (number, 1, SIDE, SIDE), generator=generator)
    return ImageTensors((noise + 40 * targets[:, None, None, None]).to(torch.uint8), targets)


def make_recipe(network="simple_cnn", stages=(("all", ["*"]),), **settings):
    """A recipe of stages: each a name, what it trains, and maybe more than ``settings`` say."""
    return parse_recipe(
        {
            "name": "law",
            "title": "law",
            "network": network,
            "dataset": "dataset_1",
            "preprocessing": {"height": SIDE, "width": SIDE},
            "stages": [
                {"name": name, "train": train, "max_epochs": 3} | settings | dict(*own)
                for name, train, *own in stages
            ],
        },
        origin="test",
    )
