"""The installer of a checkout: quiet when it works, in the installer's own words when not."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "install.py"


@pytest.fixture(scope="module")
def install():
    spec = importlib.util.spec_from_file_location("install_of_the_checkout", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment that has pip: another one than that of the tests."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


def test_uv_looks_for_packages_where_pip_does(install, environment, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://index.example/simple\n"
        "extra-index-url =\n    https://one.example/simple\n    https://two.example/simple\n"
        "find-links = /some/wheels\nquiet = 1\n"
    )
    monkeypatch.setenv("PIP_FIND_LINKS", "/other/wheels")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://own.example/simple")
    assert install.uv_settings(environment) == {
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_FIND_LINKS": "/other/wheels,/some/wheels",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_what_the_installer_said_is_shown_when_it_fails(environment):
    # No index, and no folder with wheels: nothing can be had.
    settings = {"PIP_NO_INDEX": "1", "UV_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    kept = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    done = subprocess.run(
        [sys.executable, SCRIPT, environment],
        capture_output=True,
        text=True,
        env=kept | settings,
        timeout=300,
    )
    assert done.returncode == 1
    assert "Expected to install" in done.stderr
    assert "hatchling" in done.stderr
    assert "WARNING: Running pip as the 'root' user" not in done.stderr + done.stdout
