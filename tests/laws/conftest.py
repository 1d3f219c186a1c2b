import pytest

from miniature import make_images


@pytest.fixture(scope="session")
def training():
    return make_images(46, seed=1)  # not a multiple of the batch: the last one is partial


@pytest.fixture(scope="session")
def validation():
    return make_images(20, seed=2)
