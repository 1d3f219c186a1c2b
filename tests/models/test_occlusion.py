"""Maps by covering: where a score comes from, of a network whose layers cannot be told apart."""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from cxr_transfer.models.adapter import Features
from cxr_transfer.models.occlusion import CELLS, occlusion_maps
from cxr_transfer.models.saliency_maps import STAGES, heat_maps, randomised_correlation
from cxr_transfer.models.simple_cnn import UnitScale


def corner_scores(images):
    """Scores of two classes: the first is as likely as the upper left corner is bright."""
    bright = images[:, 0, :12, :12].mean(axis=(1, 2)) / 255
    return np.stack([bright, 1 - bright], axis=1).astype(np.float32)


def with_a_bright_corner():
    image = np.full((1, 1, 60, 60), 20, np.uint8)
    image[..., :12, :12] = 250
    return image


def test_a_map_lies_where_covering_lowers_the_score():
    (found,) = occlusion_maps(corner_scores, with_a_bright_corner(), [0])
    assert found.max() == 1
    assert found[:12, :12].mean() > 0.5
    assert found[30:, 30:].max() == 0


def test_where_covering_raises_the_score_the_map_is_empty():
    (found,) = occlusion_maps(corner_scores, with_a_bright_corner(), [1])
    assert found.max() == 0


def test_every_image_is_explained_for_its_own_class():
    images = np.concatenate([with_a_bright_corner(), with_a_bright_corner()[..., ::-1, ::-1]])
    first, second = occlusion_maps(corner_scores, images, [0, 1])
    assert first[:12, :12].max() == 1
    # The other image's corner is dark: brighter there, its second class would be less likely.
    assert second[:12, :12].max() == 0 or second.max() == 1
    assert first.shape == second.shape == (60, 60)
    assert 60 % CELLS == 0


class Corner(nn.Module):
    """Brightness of the upper left corner, and of the whole image, by no layers of torch."""

    def forward(self, images):
        return torch.stack([images[:, 0, :12, :12].mean((1, 2)), images.mean((1, 2, 3))], dim=1)


def test_a_network_with_one_body_has_maps_by_covering_and_no_cascade():
    head = nn.Linear(2, 2)
    head.weight.data[:] = torch.tensor([[20.0, 0.0], [0.0, 0.0]])
    head.bias.data[:] = 0
    network = nn.Sequential(OrderedDict(scale=UnitScale(), body=Features(Corner()), head=head))
    image = torch.from_numpy(with_a_bright_corner())
    found = heat_maps(network.train(), image)
    assert found[0, :12, :12].mean() > 0.5
    assert network.training, "the network's mode is left as it was"
    changed = randomised_correlation(network, image)
    assert set(changed) == set(STAGES)
    assert all(np.isnan(values).all() for values in changed.values())
