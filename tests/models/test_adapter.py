"""Any classifier as a network of the table: what it gives is what the classifier gave."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional

from cxr_transfer.errors import ModelError
from cxr_transfer.models.adapter import (
    Standardise,
    check_network,
    first_tensor,
    flat_network,
    places_of,
)
from cxr_transfer.training.frozen_features import chosen_layers, layers

SIZE = (64, 64)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images):
        return images + self.conv(images)


class Straight(nn.Module):
    """As torchvision's networks: children in order, pooled and flattened in the function."""

    def __init__(self, classes=3, *, ending="pool"):
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(3, 8, 3, 2), norm=nn.BatchNorm2d(8), block=Residual(8))
        )
        self.ending = ending
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(8 if ending != "flat" else 8 * 31 * 31, classes)

    def forward(self, images):
        seen = self.features(images)
        if self.ending == "relu":
            seen = functional.relu(seen)
        seen = torch.flatten(seen, 1) if self.ending == "flat" else seen.mean((2, 3))
        return self.classifier(self.dropout(seen))


class Branched(nn.Module):
    """Two paths between children: no sequence of them gives what it gives."""

    def __init__(self, classes=3):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(3, 4, 3, 2)
        self.head = nn.Linear(4, classes)

    def forward(self, images):
        return self.head((self.one(images) * self.two(images)).mean((2, 3)))


def both(module, images):
    """What the classifier gives by itself, and as a network of the table."""
    module.eval()
    scale = Standardise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        alone = first_tensor(module(scale(images)))
        network = flat_network(module, alone.shape[1], SIZE).eval()
        return network, alone, network(images)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (4, 1, *SIZE), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("ending", "places"), [("pool", "features_block"), ("relu", "last_relu"), ("flat", "")]
)
def test_children_in_order_become_a_flat_sequence(images, ending, places):
    network, alone, flat = both(Straight(ending=ending), images)
    names = [name for name, _ in network.named_children()]
    assert names[:3] == ["scale", "features_conv", "features_norm"]
    assert names[-1] == "head"
    assert torch.allclose(alone, flat, atol=1e-5)
    # Of a mean over all places a heat map is exact; behind a flattened map it is not known here.
    assert places_of(network) == places
    check_network(network, 3, SIZE)


def test_branches_become_one_body_whose_layers_can_still_be_named(images):
    network, alone, flat = both(Branched(), images)
    assert [name for name, _ in network.named_children()] == ["scale", "body", "head"]
    assert torch.allclose(alone, flat, atol=1e-5)
    assert places_of(network) == ""
    assert [name for name, _ in layers(network)] == ["body.module.one", "body.module.two", "head"]
    assert chosen_layers(network, ["last:2"]) == ["body.module.two", "head"]


def test_a_flat_sequence_is_taken_as_it_is():
    network = nn.Sequential(OrderedDict(scale=nn.Identity(), head=nn.Linear(2, 2)))
    assert flat_network(network, 2, SIZE) is network


def test_outputs_may_be_wrapped(images):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Straight()

        def forward(self, given):
            return (self.inner(given), "more")

    network, alone, flat = both(Wrapped(), images)
    assert torch.allclose(alone, flat, atol=1e-5)
    assert network.head.out_features == 3


def test_what_has_no_linear_head_is_refused():
    with pytest.raises(ModelError, match="last layer is linear with 3 outputs") as raised:
        flat_network(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten()), 3, SIZE)
    assert raised.value.code == "no_head"


def test_a_network_that_does_not_take_the_images_is_refused():
    network = flat_network(Straight(ending="flat"), 3, SIZE)
    for act in (
        lambda: check_network(network, 3, (48, 48)),
        lambda: flat_network(Straight(ending="flat"), 3, (48, 48)),
    ):
        with pytest.raises(ModelError, match="48 x 48") as raised:
            act()
        assert raised.value.code == "bad_network"


def test_a_head_that_does_not_give_the_scores_is_refused():
    class After(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(3 * 64 * 64, 3)

        def forward(self, images):
            return self.dense(images.flatten(1)) * 2

    with pytest.raises(ModelError, match="return what it gives, unchanged") as raised:
        flat_network(After(), 3, SIZE)
    assert raised.value.code == "no_head"


def test_grey_images_are_standardised_in_each_channel():
    scale = Standardise((0.5, 0.25), (0.5, 0.25))
    found = scale(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert found[0].tolist() == [[[-1.0, 1.0]], [[-1.0, 3.0]]]
    assert not scale.state_dict(), "constants have no place in a checkpoint"
