"""What all tests share: nothing of theirs is kept in the settings of whoever runs them."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLACES = {
    "journeys/": "journey",
    "laws/": "slow",
    "real/": "real",
    "serving/test_lifecycle.py": "slow",
    "serving/test_limits.py": "slow",
    "statistics/test_coverage.py": "slow",
    "serving/test_page": "browser",
}
"""Start of a path below this folder to the mark that its tests get."""

LARGE = ("resnet50", "model_3", "multi_source")
"""Networks with which a test takes seconds: the quick tests have the small one."""


@pytest.fixture(scope="session", autouse=True)
def settings(tmp_path_factory):
    """The key of patients' hashes, where the tests may write."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("settings")
        patch.setenv("CXR_CONFIG", str(folder))
        yield folder


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were made, to look inside."""
    from cxr_transfer.figures import canvas

    made = []

    class Recorded(canvas.Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(canvas, "Figure", Recorded)
    return made


def pytest_collection_modifyitems(items):
    """Mark what `make test-fast` leaves out by where it stands."""
    for item in items:
        place = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        for start, mark in PLACES.items():
            if place.startswith(start):
                item.add_marker(mark)
        networks = getattr(getattr(item, "callspec", None), "params", {}).values()
        if place.startswith(("export/", "inference/", "models/")) and any(
            name in str(value) for value in networks for name in LARGE if isinstance(value, str)
        ):
            item.add_marker("slow")
