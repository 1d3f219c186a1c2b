"""What all tests share: nothing of theirs is kept in the settings of whoever runs them."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def settings(tmp_path_factory):
    """The key of patients' hashes, where the tests may write."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("settings")
        patch.setenv("CXR_CONFIG", str(folder))
        yield folder
