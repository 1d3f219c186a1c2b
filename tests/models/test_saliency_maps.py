import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from cxr_transfer.audits.saliency import saliency_evidence
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.models.early_resnet50 import Bands
from cxr_transfer.models.registry import build
from cxr_transfer.models.saliency_maps import (
    STAGES,
    enrichment,
    heat_maps,
    lung_share,
    places,
    randomised_correlation,
    rank_correlation,
)
from cxr_transfer.models.simple_cnn import UnitScale
from cxr_transfer.radiograph import Preprocessing, Radiograph

SIDE = 96  # the networks' last maps are 4 x 4 and 3 x 3


def bright_or_dark():
    """A network that calls bright images 0 and dark ones 1, by how bright 6 x 6 places are."""
    both = nn.Conv2d(1, 2, 1)
    both.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    both.bias.data = torch.tensor([0.0, 0.5])
    head = nn.Linear(2 * 36, 2)
    head.weight.data.zero_()
    head.weight.data[0, :36] = head.weight.data[1, 36:] = 1
    head.bias.data.zero_()
    layers = {"scale": UnitScale(), "pool": nn.AvgPool2d(16), "both": both, "relu": nn.ReLU()}
    return nn.Sequential(OrderedDict(layers, flatten=nn.Flatten(), head=head)).eval()


def with_a_bright_corner(number=1):
    """Images that are black but for their upper left sixth by sixth."""
    images = torch.zeros((number, 1, SIDE, SIDE), dtype=torch.uint8)
    images[:, :, :16, :16] = 255
    return images


def chests(number):
    """Generated images, of another person and another finding each."""
    prepared = Preprocessing(height=SIDE, width=SIDE)
    drawn = [
        draw_radiograph(
            ("normal", "bacterial", "covid19")[seed % 3], rng=np.random.default_rng(seed)
        )
        for seed in range(number)
    ]
    return torch.from_numpy(
        np.stack([prepared.apply(Radiograph(image, "PNG"))[None] for image in drawn])
    )


@pytest.fixture(scope="module", params=["simple_cnn", "resnet50", "resnet50_early"])
def network(request):
    torch.manual_seed(1)
    return build(request.param, 3, size=(SIDE, SIDE), epsilon=1e-3).eval()


def test_a_map_lies_where_the_score_of_the_class_is_from():
    image = with_a_bright_corner()
    bright, dark = (heat_maps(bright_or_dark(), image, target=[target])[0] for target in (0, 1))
    assert bright.shape == (SIDE, SIDE)
    assert bright.dtype == np.float32
    assert bright.max() == dark.max() == 1
    assert bright[:8, :8].min() == 1
    assert bright[32:, 32:].max() == 0
    assert dark[:8, :8].max() == 0
    assert dark[32:, 32:].min() == 1


def test_the_class_is_the_one_with_the_highest_score_if_none_is_named():
    image = with_a_bright_corner()
    by_itself = heat_maps(bright_or_dark(), image)
    assert np.array_equal(by_itself, heat_maps(bright_or_dark(), image, target=[1]))


def test_images_of_different_classes_in_one_batch_have_the_maps_they_have_alone(network):
    images, classes = chests(5), [2, 0, 1, 0, 2]
    together = heat_maps(network, images, target=classes)
    for row, one in enumerate(classes):
        alone = heat_maps(network, images[row : row + 1], target=[one])[0]
        assert np.allclose(together[row], alone, atol=1e-4)
    assert len({each.tobytes() for each in together}) > 2  # a class may have no map on these images


def test_numbers_and_tensors_are_the_same_images(network):
    images = chests(2)
    assert np.array_equal(heat_maps(network, images), heat_maps(network, images.numpy()))
    assert heat_maps(network, images[:0]).shape == (0, SIDE, SIDE)


def test_nothing_that_raised_a_score_is_an_empty_map():
    network = bright_or_dark()
    network.head.weight.data[0] = -1
    empty = heat_maps(network, with_a_bright_corner(2), target=[0, 1])
    assert (empty[0] == 0).all()
    assert empty[1].max() == 1
    everywhere = np.ones((2, SIDE, SIDE), bool)
    assert np.array_equal(np.isnan(lung_share(empty, everywhere)), [True, False])
    assert np.array_equal(np.isnan(enrichment(empty, everywhere)), [True, False])


def test_a_frozen_network_has_the_same_maps(network):
    free = heat_maps(network, chests(1))
    asked = [weights.requires_grad for weights in network.parameters()]
    network.requires_grad_(False)
    try:
        assert np.array_equal(heat_maps(network, chests(1)), free)
        assert not any(weights.requires_grad for weights in network.parameters())
    finally:
        for weights, was in zip(network.parameters(), asked, strict=True):
            weights.requires_grad_(was)


def test_the_network_is_as_it_was(network):
    network.train()
    network[3].eval()  # as a part whose statistics are frozen
    network.head.weight.grad = torch.full_like(network.head.weight, 7.0)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    chance = torch.get_rng_state()
    try:
        heat_maps(network, chests(2))
        randomised_correlation(network, chests(2), draws=1)
        assert [module.training for module in network.modules()] == modes
        assert all(torch.equal(state[name], now) for name, now in network.state_dict().items())
        assert (network.head.weight.grad == 7).all()
        assert not any(module._forward_hooks for module in network.modules())
        assert torch.equal(torch.get_rng_state(), chance)
    finally:
        network.head.weight.grad = None
        network.eval()


def test_shares_by_hand():
    maps = np.array([[[0.5, 0.5], [1.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]], dtype=np.float32)
    masks = np.array([[[True, False], [True, False]], [[True, False], [False, False]]])
    assert lung_share(maps, masks) == pytest.approx([0.75, 0.25])
    assert enrichment(maps, masks) == pytest.approx([1.5, 1.0])
    assert np.isnan(enrichment(maps, np.zeros_like(masks))).all()
    with pytest.raises(DataError, match="one shape"):
        lung_share(maps, masks[:1])


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    maps, others = rng.integers(0, 5, (2, 4, 6, 7)).astype(float)  # with ties, as empty places are
    expected = [
        spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps, others, strict=True)
    ]
    assert rank_correlation(maps, others) == pytest.approx(expected)
    even = np.ones_like(maps)
    assert np.isnan(rank_correlation(even, maps)).all()
    assert np.isnan(rank_correlation(maps, even)).all()


def test_new_weights_change_the_maps_of_a_network_that_has_weights(network):
    found = randomised_correlation(network, chests(4), seed=3)
    assert tuple(found) == STAGES
    for alike in found.values():
        assert alike.shape == (4,)
        assert abs(alike.mean()) < 0.6
    again = randomised_correlation(network, chests(4), seed=3)
    assert all(np.array_equal(found[stage], again[stage]) for stage in STAGES)
    other = randomised_correlation(network, chests(4), seed=4)
    assert not any(np.array_equal(found[stage], other[stage]) for stage in STAGES)


def test_a_map_that_no_weight_can_change_is_found_out():
    # One feature, the brightness itself: new weights can only keep this map or empty it.
    head = nn.Linear(1, 2)
    head.weight.data[:], head.bias.data[:] = torch.tensor([[1.0], [-1.0]]), 0
    layers = {"scale": UnitScale(), "pool": nn.AvgPool2d(16)}
    one_mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = nn.Sequential(OrderedDict(layers, avg_pool=one_mean, head=head))
    for alike in randomised_correlation(network, chests(3), seed=1, draws=8).values():
        assert alike == pytest.approx([1, 1, 1])


def test_evidence_of_a_network_that_looks_beside_the_lungs():
    network = bright_or_dark()
    network.head.bias.data[0] = 100  # bright is what it says, and what is bright is the corner
    patients = [f"patient {number // 2}" for number in range(12)]
    found = saliency_evidence(network, with_a_bright_corner(12), patients, limit=10, resamples=50)
    assert found["images"] == 10
    assert found["empty_maps"] == 0
    assert found["enrichment"]["value"] < 0.2
    assert found["below_area"]["value"] == 1
    assert 0.5 < found["below_area"]["low"] < 1  # by patient, not by image, and not without a width
    assert set(found["randomised"]) == set(STAGES)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_evidence_is_the_same_for_the_same_seed(network):
    images, patients = chests(6), [f"p{number}" for number in range(6)]
    found, again, other = (
        saliency_evidence(network, images, patients, limit=4, resamples=20, seed=seed)
        for seed in (1, 1, 2)
    )
    assert found == again
    assert found["enrichment"] != other["enrichment"]
    low, high = found["enrichment"]["low"], found["enrichment"]["high"]
    assert low <= found["enrichment"]["value"] <= high


def test_evidence_without_a_map_is_not_defined():
    network = bright_or_dark()
    network.head.weight.data[:] = -1
    found = saliency_evidence(network, with_a_bright_corner(2), ["a", "b"], resamples=5)
    assert found["empty_maps"] == 2
    assert found["enrichment"]["value"] is None
    assert found["below_area"]["value"] is None
    assert found["randomised"]["head"]["value"] is None


def refused(act, code, kind=DataError):
    with pytest.raises(kind) as raised:
        act()
    assert raised.value.code == code


def test_what_is_no_image_class_or_network_is_refused():
    network, images = bright_or_dark(), with_a_bright_corner(2)
    refused(lambda: heat_maps(network, images.float()), "not_a_model_input")
    refused(lambda: heat_maps(network, images[:, 0]), "not_a_model_input")
    for wrong in ([0], [0, 2], [0, -1]):
        refused(lambda wrong=wrong: heat_maps(network, images, target=wrong), "targets")
    refused(lambda: saliency_evidence(network, images, ["a"]), "table")
    refused(lambda: saliency_evidence(network, images[:0], []), "no_images")
    refused(lambda: places(network[:4], images), "no_places", ModelError)


def banded(weight):
    """Two channels of places, a mean over each third of the rows, and a head that is given."""
    both = nn.Conv2d(1, 2, 1)
    both.weight.data[:], both.bias.data[:] = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1), 0
    both.bias.data[1] = 1
    head = nn.Linear(6, 2)
    head.weight.data[:], head.bias.data[:] = 0, 0
    head.weight.data[0] = torch.tensor(weight)
    layers = {"scale": UnitScale(), "pool": nn.AvgPool2d(16), "both": both}
    return nn.Sequential(OrderedDict(layers, avg_pool=Bands(6), head=head)).eval()


def test_a_place_that_does_not_count_has_nothing_of_the_map():
    # The upper band alone counts: nothing below it may be shown.
    image = with_a_bright_corner()
    found = heat_maps(banded([1.0, 1.0, 0, 0, 0, 0]), image, target=[0])[0]
    assert found[:24].min() > 0.9
    assert found[40:].max() == 0
    # For above, against below: what adds in one band and takes away in another is not lost.
    found = heat_maps(banded([1.0, 1.0, 0, 0, -1.0, -1.0]), image, target=[0])[0]
    assert found[:24].min() > 0.9
    assert found[40:].max() == 0
