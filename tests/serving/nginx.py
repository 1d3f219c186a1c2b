"""Debian's nginx before servers of a test, with the configuration of deploy/."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx

from serving.asking import until

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"


class Proxy:
    """nginx before servers.

    Args:
        folder: Folder of its files.
        ports: Ports of the servers on this machine.

    Attributes:
        url: Where it is asked.
    """

    def __init__(self, folder, ports):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        text = CONFIGURATION.read_text(encoding="utf-8").replace("/tmp/", f"{folder}/")
        text, listeners = re.subn("listen 8080;", f"listen 127.0.0.1:{port};", text)
        names = iter(ports)
        text, servers = re.subn(r"replica-\d:8000", lambda _: f"127.0.0.1:{next(names)}", text)
        assert (listeners, servers) == (1, len(ports))
        configuration = folder / "nginx.conf"
        configuration.write_text(text)
        self._process = subprocess.Popen([NGINX, "-c", configuration, "-g", "daemon off;"])
        until(self._answers)

    def _answers(self):
        try:
            return httpx.get(f"{self.url}/healthz", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    def client(self):
        return httpx.Client(base_url=self.url, timeout=60, verify=False)

    def stop(self):
        self._process.terminate()
        self._process.wait(30)
