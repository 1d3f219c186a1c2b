import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_transfer.datasets.phantom import PhantomSize, write_phantom

CXR = Path(sys.executable).with_name("cxr")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "100"}


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """Generated images in the official layouts: few, so that a journey is short."""
    root = tmp_path_factory.mktemp("archives")
    write_phantom(root, seed=1, size=PhantomSize(normal=48, bacterial=48, viral=24, covid19=24))
    return root


@pytest.fixture(scope="session")
def cxr():
    """Type a command; give back what it printed. Any exit code will do where None is expected."""

    def run(*words, expect=0, **settings):
        done = subprocess.run(
            [CXR, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=600,
            env=ENVIRONMENT | settings,
            check=False,
        )
        assert expect in (None, done.returncode), done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def kill_after():
    """Type a command, and kill it with signal 9 as soon as a line starts so."""

    def run(line_start, *words):
        process = subprocess.Popen(
            [CXR, *map(str, words)], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        for line in process.stderr:
            if line.startswith(line_start):
                process.kill()
                process.communicate()
                return
        raise AssertionError(f"ended before {line_start!r}")

    return run
