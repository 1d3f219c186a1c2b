import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from cxr_transfer.datasets.phantom import PhantomSize, write_phantom

CXR = Path(sys.executable).with_name("cxr")
PREPARED = Path(__file__).with_name("prepared.py")
LIMIT_S = 600
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "100"}


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """Generated images in the official layouts: few, so that a journey is short."""
    root = tmp_path_factory.mktemp("archives")
    write_phantom(root, seed=1, size=PhantomSize(normal=48, bacterial=48, viral=24, covid19=24))
    return root


@pytest.fixture(scope="session")
def cxr(prepared):
    """Type a command; give back what it printed. Any exit code will do where None is expected."""

    def run(*words, expect=0, **settings):
        words = [str(CXR), *map(str, words)]
        # Some settings are read when Python starts.
        run_it = prepared if all(name.startswith("CXR_") for name in settings) else started
        done = run_it(words, ENVIRONMENT | settings)
        assert expect in (None, done.returncode), done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def started(words, environment):
    """Run a command by itself."""
    return subprocess.run(
        words, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False
    )


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Run a command in a copy of a program that has imported what it needs."""
    folder = tmp_path_factory.mktemp("printed")
    out, err = folder / "out.txt", folder / "err.txt"
    process = subprocess.Popen(
        [sys.executable, PREPARED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )

    def run(words, environment):
        asked = {"words": words, "folder": os.getcwd(), "environment": environment}
        limit = Timer(LIMIT_S, os.killpg, (process.pid, 9))
        limit.start()
        print(
            json.dumps(asked | {"out": str(out), "err": str(err)}), file=process.stdin, flush=True
        )
        code = process.stdout.readline()
        limit.cancel()
        assert code, f"{words} had not ended after {LIMIT_S} s"
        return subprocess.CompletedProcess(words, int(code), out.read_text(), err.read_text())

    yield run
    process.stdin.close()
    process.stdout.close()
    process.wait()


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
