"""Models behind HTTP: this package's own server, and one that speaks KServe's protocol."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

import made_subjects as made
from cxr_transfer.errors import CxrError
from cxr_transfer.subjects import http_models
from cxr_transfer.subjects.opening import Asking, open_subject

NETWORK = made.Middle()
KSERVE = {
    "name": "middle",
    "platform": "test",
    "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 1, made.SIDE, made.SIDE]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 2]}],
}


class Server(ThreadingHTTPServer):
    """Answers by KServe's protocol; ``refusals`` are given first, each a status and its headers."""

    def __init__(self, refusals=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.refusals, self.requests = list(refusals), []

    def infer(self, content):
        (tensor,) = content["inputs"]
        images = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        logits = NETWORK(torch.from_numpy(images)).numpy()
        answer = {"name": "logits", "datatype": "FP32", "shape": list(logits.shape)}
        return {"outputs": [answer | {"data": logits.ravel().tolist()}]}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(KSERVE)

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(self.server.infer(content))

    def _answer(self, content):
        self.server.requests.append((self.path, dict(self.headers)))
        status, headers = self.server.refusals.pop(0) if self.server.refusals else (200, {})
        body = json.dumps(content if status == 200 else {"error": "busy"}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serving(refusals=()):
    with Server(refusals) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server, f"http://127.0.0.1:{server.server_port}/v2/models/middle"
        server.shutdown()
        thread.join()


@pytest.fixture
def described(tmp_path):
    path = tmp_path / "middle.toml"
    path.write_text(made.description())
    return path


def images(*greys):
    return np.stack([np.full((1, made.SIDE, made.SIDE), grey, np.uint8) for grey in greys])


def scored(subject, pictures):
    return subject.scored(pictures, with_features=False, on_image=lambda number: None).given


def test_a_kserve_model_answers_as_its_network_does(described):
    with serving() as (server, address):
        subject = open_subject(address, Asking(description=described))
        given = scored(subject, images(0, 140, 255))
    assert given[:, 1].round().tolist() == [0, 1, 0]
    assert subject.facts["input"] == [None, 1, made.SIDE, made.SIDE]
    assert [path for path, _ in server.requests][-1] == "/v2/models/middle/infer"


def test_a_busy_server_is_asked_again_when_it_says(described, monkeypatch):
    monkeypatch.setenv(http_models.TOKEN, "secret")
    with serving([(503, {"Retry-After": "0"}), (429, {"Retry-After": "0.1"})]) as (server, address):
        subject = open_subject(address, Asking(description=described))
        assert scored(subject, images(140)).shape == (1, 2)
    assert len(server.requests) == 4
    assert all(headers["Authorization"] == "Bearer secret" for _, headers in server.requests)


@pytest.mark.parametrize(("status", "code"), [(404, "bad_answer"), (503, "server_away")])
def test_a_refusal_is_told(described, monkeypatch, status, code):
    monkeypatch.setattr(http_models, "TRIES", 2)
    refusals = [(status, {"Retry-After": "0"})] * 2
    with serving(refusals) as (_, address), pytest.raises(CxrError) as refused:
        open_subject(address, Asking(description=described))
    assert refused.value.code == code
    assert str(status) in refused.value.message


def test_nobody_at_the_address_is_told(described, monkeypatch):
    monkeypatch.setattr(http_models, "TRIES", 1)
    with serving() as (_, address):
        pass
    with pytest.raises(CxrError) as refused:
        open_subject(address, Asking(description=described))
    assert refused.value.code == "server_away"


@pytest.mark.parametrize(
    "address", ["http://user:secret@host/v2/models/m", "http://host/v1/predict?key=secret"]
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(address):
    with pytest.raises(CxrError) as refused:
        open_subject(address)
    assert refused.value.code in ("bad_address", "no_description")
    assert "secret" not in refused.value.message


def test_requests_are_no_faster_than_asked_for():
    model = http_models.open_http("http://127.0.0.1:9/v1/predict", per_second=20)
    waited = []
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(http_models.time, "sleep", waited.append)
        for _ in range(3):
            model._wait()
    assert len(waited) == 2
    assert all(0 < seconds <= 0.1 for seconds in waited)
