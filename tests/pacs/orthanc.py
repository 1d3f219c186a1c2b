"""A real Orthanc for the tests: its own folder, free ports, answers over HTTP."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ORTHANC = shutil.which("Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
IS_THERE = bool(ORTHANC) and PLUGIN.exists()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Orthanc:
    """An Orthanc that can go away and come back with what it had."""

    def __init__(self, folder, **others):
        self.http, self.dicom = free_port(), free_port()
        self.peer = free_port()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        configuration = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [str(PLUGIN)],
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowMove": True,
            "DicomCheckCalledAet": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalities": {"cxr": ["CXR", "127.0.0.1", self.peer]},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        } | others
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self._process = None

    @property
    def web(self):
        return f"http://127.0.0.1:{self.http}/dicom-web"

    @property
    def destination(self):
        return f"ORTHANC@127.0.0.1:{self.dicom}"

    def start(self):
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [ORTHANC, self._folder / "orthanc.json"], stdout=log, stderr=log
        )
        log.close()
        end = time.monotonic() + 60
        while True:
            try:
                self.get("/system")
                return self
            except (urllib.error.URLError, ConnectionError):
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.05)

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def file(self, instance):
        url = f"http://127.0.0.1:{self.http}/instances/{instance}/file"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()

    def post(self, path, content):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", data=content, method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def objects(self, modality=None):
        """Tags of all instances, those of a series of this modality where one is given."""
        found = []
        for series in self.get("/series?expand"):
            if modality in (None, series["MainDicomTags"].get("Modality")):
                found += [
                    self.get(f"/instances/{instance}/simplified-tags") | {"orthanc": instance}
                    for instance in series["Instances"]
                ]
        return found

    def wait_for(self, number, modality, seconds=60):
        """Wait until there are so many objects of a modality."""
        end = time.monotonic() + seconds
        while len(found := self.objects(modality)) < number:
            assert time.monotonic() < end, f"{len(found)} of {number} {modality}"
            time.sleep(0.1)
        assert len(found) == number
        return found
