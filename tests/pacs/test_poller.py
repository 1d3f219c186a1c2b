"""An archive that is asked by DICOMweb, and what of its answers is bad."""

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import pytest
from requests.exceptions import ConnectionError as RequestsConnectionError

from cxr_transfer.pacs.dicomweb import Poller
from cxr_transfer.pacs.intake import Intake
from cxr_transfer.pacs.queue import open_queue
from cxr_transfer.pacs.settings import Limits, Source
from pacs.sending import image, uid

SEEDS = (1, 2, 3)
BAD = {
    "a server's fault": (500, "text/plain", b""),
    "gone": (404, "text/plain", b""),
    "a page to log in": (200, "text/html", b"<html>log in</html>"),
    "nothing": (200, "", b""),
    "no DICOM": (200, "", b"hello"),
}
"""Status, type and content of the answer for the first image; "" is DICOM's own type."""


class Archive(BaseHTTPRequestHandler):
    """DICOMweb of three images, of which the first one cannot be had."""

    bad = ""

    def do_GET(self):
        words = self.path.partition("?")[0].strip("/").split("/")
        if words[-1] == "studies":
            return self._listed("0020000D", [uid("study", seed) for seed in SEEDS])
        of_study = [seed for seed in SEEDS if uid("study", seed) in words]
        if words[-1] == "series":
            return self._listed("0020000E", [uid("series", seed) for seed in of_study])
        if words[-1] == "instances":
            return self._listed("00080018", [uid("image", seed) for seed in of_study])
        status, kind, content = BAD[self.bad] if of_study == [1] else (200, "", image(*of_study))
        if not kind:
            kind = 'multipart/related; type="application/dicom"; boundary=B'
            content = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--B--\r\n"
        return self._send(status, kind, content)

    def _listed(self, tag, uids):
        found = [{tag: {"vr": "UI", "Value": [each]}} for each in uids]
        self._send(200, "application/dicom+json", json.dumps(found).encode())

    def _send(self, status, kind, content):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def polled(tmp_path):
    """A poller of that archive, and its queue."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    queue = open_queue(tmp_path / "spool", None)
    source = Source(
        name="web", url=f"http://127.0.0.1:{server.server_address[1]}", modalities=("DX",)
    )
    yield Poller(source, Intake(queue, Limits(free_mb=0), lambda: None), queue), queue, server
    server.shutdown()
    server.server_close()
    queue.close()


@pytest.mark.parametrize("bad", BAD)
def test_an_image_that_cannot_be_had_keeps_no_other_waiting(polled, monkeypatch, bad):
    poller, queue, _ = polled
    monkeypatch.setattr(Archive, "bad", bad)
    assert poller.poll() == 2
    assert queue.counts()["received"] == 2
    assert poller.poll() == 0


def test_an_archive_that_is_away_is_told(polled):
    poller, _, server = polled
    server.shutdown()
    server.server_close()
    with pytest.raises(RequestsConnectionError):
        poller.poll()
