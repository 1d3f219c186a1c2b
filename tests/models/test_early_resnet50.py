"""The early layers of ResNet-50, both ways round."""

import numpy as np
import pytest
import torch

from cxr_transfer.errors import ModelError
from cxr_transfer.models.early_resnet50 import (
    LAST,
    Bands,
    early_resnet50,
    load_early_imagenet,
)
from cxr_transfer.models.forward import features
from cxr_transfer.models.resnet50 import resnet50


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return early_resnet50(3, size=(96, 96)).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (2, 1, 96, 96), dtype=torch.uint8)


def test_an_image_scores_as_its_mirror_image_does(network, images):
    with torch.inference_mode():
        assert torch.allclose(network(images), network(images.flip(3)), atol=1e-4)
        assert not torch.allclose(network(images), network(images.flip(2)), atol=1e-4)


def test_what_its_head_sees_is_what_resnet50_sees_there(network, images):
    whole = resnet50(3).eval()
    whole.load_state_dict(network.get_submodule("both_sides.body").state_dict(), strict=False)
    names = [name for name, _ in whole.named_children()]
    with torch.inference_mode():
        until = whole[: names.index(LAST) + 1]
        maps = (until(images) + until(images.flip(3)).flip(3)) / 2
    assert maps.shape == (2, 512, 12, 12)
    expected = [maps[:, :, row : row + 4].mean((2, 3)) for row in (0, 4, 8)]
    assert torch.allclose(features(network, images), torch.cat(expected, dim=1), atol=1e-4)


def test_bands_share_no_row_and_leave_none_out():
    maps = torch.arange(7.0).view(1, 1, 7, 1).expand(1, 2, 7, 3)
    assert Bands(7)(maps).tolist() == [[0.5, 0.5, 3.0, 3.0, 5.5, 5.5]]


def test_weights_of_another_network_are_refused(network):
    with pytest.raises(ModelError, match="ImageNet") as raised:
        load_early_imagenet(network, {"conv1_conv/kernel": np.zeros((7, 7, 3, 64), np.float32)})
    assert raised.value.code == "foreign_weights"
