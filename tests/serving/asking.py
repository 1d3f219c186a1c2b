"""A server in a process of its own, and how tests ask it."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.serving.settings import Settings

PROGRAM = Path(__file__).with_name("program.py")
DECODER = str(Settings().worker_bytes).encode()
"""A decoding process's last argument: what tells it from the one that draws heat maps."""


class Server:
    """A server in a process of its own.

    Attributes:
        process: The process.
        port: Where it listens.
        url: Where it is asked.
        lines: What it has logged so far.
    """

    def __init__(self, *models, **environment):
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "0", *map(str, models)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.lines = []
        while not self.lines or '"listening"' not in self.lines[-1]:
            self.lines.append(self.process.stderr.readline())
            assert self.lines[-1], f"it ended: {self.lines}"
        self.port = json.loads(self.lines[-1])["port"]
        self.url = f"http://127.0.0.1:{self.port}"
        # Read on, or a full pipe would stop the server.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stderr:
            self.lines.extend(self.process.stderr)

    def client(self, **options):
        # To read certificates takes longer than most of what is asked.
        return httpx.Client(base_url=self.url, timeout=60, verify=False, **options)

    def wait_until_ready(self):
        with self.client() as client:
            until(lambda: client.get("/readyz").status_code == 200, seconds=300)
        return self

    def workers(self):
        """Process ids of the decoders, without the one that draws heat maps."""
        return [
            pid
            for pid in children(self.process.pid)
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2] == DECODER
        ]

    def drawers(self):
        """Process ids of what draws heat maps and reports."""
        return sorted(set(children(self.process.pid)) - set(self.workers()))

    def waiting(self):
        """How many images have no answer yet."""
        return self.counted("cxr_images_waiting")

    def counted(self, name):
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return next(float(one.split()[1]) for one in lines if one.startswith(name))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join()


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def until(true, seconds=60):
    """Wait until something is true; a minute is for ever."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


@contextlib.contextmanager
def stopped(pids):
    """Let processes stand still meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def running(*models, **environment):
    one = Server(*models, **environment)
    try:
        yield one.wait_until_ready()
    finally:
        one.stop()


def phantom(seed=0, finding="normal", pixels=300):
    """A generated image, (H, W) uint8."""
    return draw_radiograph(finding, rng=np.random.default_rng(seed), pixels=pixels)


def as_bytes(image, kind="PNG", **options):
    content = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(content, kind, **options)
    return content.getvalue()


def send(client, *contents, path="/v1/predict", name="image", field="files", **data):
    files = [(field, (name, content)) for content in contents]
    return client.post(path, files=files, data=data)


def send_patiently(client, *contents, **how):
    """As `send`, and again while the server is busy: how many images it takes is its own affair."""
    end = time.monotonic() + 60
    while (response := send(client, *contents, **how)).status_code == 503:
        if response.json().get("code") != "busy" or time.monotonic() > end:
            break  # a process that was lost is no matter of patience
        time.sleep(0.2)
    return response


def alike(found, expected):
    """Tell whether an answer over HTTP is a `Prediction`, whatever it is called and took."""
    known = expected.as_dict()
    same = ("status", "code", "message", "label", "calibrated", "temperature", "model")
    return (
        all(found[name] == known[name] for name in same)
        and found["warnings"] == list(known["warnings"])
        and found["probabilities"] == pytest.approx(known["probabilities"], abs=1e-5)
    )
