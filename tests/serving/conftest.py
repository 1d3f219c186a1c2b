import pytest
import torch

from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from serving.asking import running

SIDE = 48


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Conversions are kept where the tests may write, once for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CXR_TOKEN", raising=False)
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, cache):
    """A run folder whose network has random weights, and so answers differently for every image."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("checkpoint")
    card = {
        "name": "random",
        "architecture": "simple_cnn",
        "labels": ("normal", "bacterial", "covid19"),
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, build("simple_cnn", 3, size=(SIDE, SIDE), epsilon=1e-3), card)
    return folder


@pytest.fixture(scope="session")
def predictor(checkpoint):
    return Predictor.open(checkpoint)


@pytest.fixture(scope="session")
def server(checkpoint, predictor):
    """One server for all tests that leave it as it was."""
    with running(checkpoint) as one:
        yield one


@pytest.fixture
def client(server):
    with server.client() as one:
        yield one
