import pytest

from miniature import make_films


@pytest.fixture(scope="session")
def training():
    return make_films(46, seed=1)  # not a multiple of the batch: the last one is partial


@pytest.fixture(scope="session")
def validation():
    return make_films(20, seed=2)
