"""The node as a person runs it: a process of its own, that can be stopped and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cxr_transfer.pacs.care import status
from cxr_transfer.pacs.settings import node_settings

CXR = Path(sys.executable).with_name("cxr")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "100"}


class Program:
    """`cxr pacs run` with a settings file in a folder, where its log lies too."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.settings = folder / "node.toml"
        self.log = folder / "node.log"
        self.port = 0
        self._process = None
        folder.mkdir(parents=True, exist_ok=True)
        self.write(**settings)

    def write(self, **settings):
        """Write the settings file: plain keys, then tables, then lists of tables."""
        settings = {"port": 0, "spool": "spool", "limits": {}} | settings
        settings["limits"] = {"workers": 1, "first_wait_s": 0.2, "free_mb": 0} | settings["limits"]
        self.settings.write_text("\n".join(_toml(settings)) + "\n")

    def start(self, ready=True):
        self.log.touch()
        self._begin = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [CXR, "pacs", "run", "--settings", self.settings],
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                cwd=self.folder,
            )
        self.port = self.wait_for("listening")["port"]
        if ready:
            self.wait_for("ready")
        return self

    def lines(self, event=None, since_start=True):
        text = self.log.read_bytes()[self._begin if since_start else 0 :].decode()
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if event in (None, line["event"])]

    def wait_for(self, event, number=1, seconds=90):
        end = time.monotonic() + seconds
        while len(found := self.lines(event)) < number:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)
        return found[-1]

    def stop(self, number=signal.SIGTERM):
        if self._process is None:
            return None
        self._process.send_signal(number)
        code = self._process.wait(90)
        self._process = None
        return code

    def kill(self):
        return self.stop(signal.SIGKILL)

    def ask(self, *words, expect=0):
        done = subprocess.run(
            [CXR, "pacs", *words, "--settings", self.settings],
            capture_output=True,
            text=True,
            timeout=300,
            env=ENVIRONMENT,
            check=False,
        )
        assert expect in (None, done.returncode), done.stdout + done.stderr
        return done

    def status(self):
        return status(node_settings(self.settings))


def _toml(table, above=""):
    plain = {
        key: value
        for key, value in table.items()
        if not isinstance(value, dict)
        and not (isinstance(value, list) and value and isinstance(value[0], dict))
    }
    yield from (f"{key} = {json.dumps(value)}" for key, value in plain.items())
    for key, value in table.items():
        if isinstance(value, dict):
            yield f"[{above}{key}]"
            yield from _toml(value, f"{above}{key}.")
        elif key not in plain:
            for item in value:
                yield f"[[{above}{key}]]"
                yield from _toml(item, f"{above}{key}.")
