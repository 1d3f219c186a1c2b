"""The two rewritings of the simple CNN change nothing; its layers are those of its docstring."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional

from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.simple_cnn import GreyConv2d, UnitScale, simple_cnn

SIDE = 56


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def images(number, side=SIDE):
    return torch.randint(0, 256, (number, 1, side, side), dtype=torch.uint8)


def test_a_grey_convolution_is_that_of_three_equal_channels():
    convolution = GreyConv2d(3, 8, kernel_size=3)
    grey = torch.rand(2, 1, 20, 24, dtype=torch.float64)
    convolution.double()
    threefold = functional.conv2d(grey.repeat(1, 3, 1, 1), convolution.weight, convolution.bias)
    assert torch.allclose(convolution(grey), threefold, rtol=0, atol=1e-12)

    for output in (convolution(grey), threefold):
        output.square().sum().backward()
    once = convolution.weight.grad / 2  # both ways were added up: equal if each is half
    convolution.weight.grad = None
    convolution(grey).square().sum().backward()
    assert torch.allclose(convolution.weight.grad, once, rtol=1e-9)


def relu_before_pooling(network):
    """The same layers in the order of the paper's time, sharing the same weights."""
    layers = list(network.named_children())
    for at in [at for at, (name, _) in enumerate(layers) if name.startswith("pool")]:
        layers[at], layers[at + 1] = layers[at + 1], layers[at]
    assert isinstance(layers[2][1], nn.ReLU)
    return nn.Sequential(OrderedDict(layers))


def test_pooling_before_the_relu_is_bit_for_bit_the_same():
    network = simple_cnn(3, size=(SIDE, SIDE)).eval()
    inputs, targets = images(4), torch.tensor([0, 1, 2, 1])
    outcomes = []
    for each in (network, relu_before_pooling(network)):
        network.zero_grad()
        logits = each(inputs)
        functional.cross_entropy(logits, targets).backward()
        outcomes.append([logits, *(weight.grad.clone() for weight in network.parameters())])
    assert len(outcomes[0]) == 13
    assert all(torch.equal(first, second) for first, second in zip(*outcomes, strict=True))
    assert all(gradient.abs().sum() > 0 for gradient in outcomes[0])


def test_ties_and_zeros_give_the_same_gradients_in_both_orders():
    values = torch.randint(-2, 3, (1, 2, 24, 24)).float()
    gradients = []
    for order in ((nn.MaxPool2d(2), nn.ReLU()), (nn.ReLU(), nn.MaxPool2d(2))):
        leaf = values.clone().requires_grad_()
        output = nn.Sequential(*order)(leaf)
        (output * torch.arange(output.numel()).view_as(output)).sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("classes", "weights"), [(3, 2_600_643), (2, 2_600_514)])
def test_the_number_of_weights_is_that_of_the_layers(classes, weights):
    """Four 3 x 3 convolutions without padding; 224 becomes 12 by halving; dense 128."""
    convolutions = sum(i * o * 9 + o for i, o in ((3, 32), (32, 64), (64, 128), (128, 128)))
    dense = 12 * 12 * 128 * 128 + 128 + 128 * classes + classes
    network = simple_cnn(classes)
    found = sum(weight.numel() for weight in network.parameters())
    assert found == convolutions + dense == weights


def test_weights_start_as_keras_starts_them():
    network = simple_cnn(3, size=(SIDE, SIDE))
    for name, weight in network.named_parameters():
        if name.endswith("bias"):
            assert not weight.any(), name
        else:
            area = weight[0, 0].numel() if weight.ndim == 4 else 1
            limit = (6 / (area * (weight.shape[0] + weight.shape[1]))) ** 0.5
            assert limit * 0.97 < weight.abs().max() <= limit, name
            assert abs(weight.mean()) < limit * 0.1, name


def test_images_are_scaled_to_one_whatever_their_type():
    for kind in (torch.uint8, torch.int64, torch.float64):
        scaled = UnitScale()(torch.tensor([[[[0, 51, 255]]]], dtype=kind))
        assert scaled.dtype == torch.float32
        assert torch.allclose(scaled.flatten(), torch.tensor([0, 0.2, 1]))


def test_the_last_layer_is_the_head_and_dropout_is_off_in_use():
    network = simple_cnn(4, size=(SIDE, SIDE))
    assert list(network._modules)[-1] == "head"
    scores = probabilities(network, images(5), batch_size=2)
    assert scores.shape == (5, 4)
    assert torch.allclose(scores.sum(dim=1), torch.ones(5))
    assert not network.training
    assert torch.equal(network(images(2)[:1] * 0), network(images(1) * 0))
