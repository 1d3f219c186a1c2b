"""Models behind HTTP: this package's own server, and one that speaks KServe's protocol."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

import made_subjects as made
from cxr_transfer import http_requests
from cxr_transfer.errors import CxrError
from cxr_transfer.subjects import http_models
from cxr_transfer.subjects.opening import SubjectOptions, open_subject

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
        self.content = None

    def infer(self, content):
        (tensor,) = content["inputs"]
        images = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        logits = NETWORK(torch.from_numpy(images)).numpy()
        answer = {"name": "logits", "datatype": "FP32", "shape": list(logits.shape)}
        return {"outputs": [answer | {"data": logits.ravel().tolist()}]}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(self.server.content or KSERVE)

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
        subject = open_subject(address, SubjectOptions(description=described))
        given = scored(subject, images(0, 140, 255))
    assert given[:, 1].round().tolist() == [0, 1, 0]
    assert subject.facts["input"] == [None, 1, made.SIDE, made.SIDE]
    assert [path for path, _ in server.requests][-1] == "/v2/models/middle/infer"


def test_a_busy_server_is_asked_again_when_it_says(described, monkeypatch):
    monkeypatch.setenv(http_models.TOKEN, "secret")
    with serving([(503, {"Retry-After": "0"}), (429, {"Retry-After": "0.1"})]) as (server, address):
        subject = open_subject(address, SubjectOptions(description=described))
        assert scored(subject, images(140)).shape == (1, 2)
    assert len(server.requests) == 4
    assert all(headers["Authorization"] == "Bearer secret" for _, headers in server.requests)


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "bad_answer"), (401, "bad_answer"), (302, "bad_answer"), (503, "server_away")],
)
def test_a_refusal_is_told(described, monkeypatch, status, code):
    monkeypatch.setattr(http_requests, "TRIES", 2)
    refusals = [(status, {"Retry-After": "0"})] * 2
    with serving(refusals) as (_, address), pytest.raises(CxrError) as refused:
        open_subject(address, SubjectOptions(description=described))
    assert refused.value.code == code
    assert str(status) in refused.value.message


def test_an_answer_that_comes_in_drops_is_given_up(described, monkeypatch):
    monkeypatch.setattr(http_requests, "TRIES", 1)
    monkeypatch.setattr(http_requests, "ANSWERING", -1.0)
    with serving() as (_, address), pytest.raises(CxrError) as refused:
        open_subject(address, SubjectOptions(description=described))
    assert refused.value.code == "server_away"
    assert "no whole answer" in refused.value.message


def test_an_answer_without_an_end_is_given_up(described, monkeypatch):
    monkeypatch.setattr(http_requests, "LARGEST_ANSWER", 10)
    with serving() as (_, address), pytest.raises(CxrError) as refused:
        open_subject(address, SubjectOptions(description=described))
    assert refused.value.code == "bad_answer"
    assert "more than 10 bytes" in refused.value.message


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"inputs": [KSERVE["inputs"][0] | {"datatype": "FP16"}]}, "FP16"),
        ({"inputs": []}, "none"),
        ({"inputs": [KSERVE["inputs"][0] | {"shape": [0]}]}, "something else"),
        ({"outputs": 3}, "something else"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused(described, changes, word):
    with serving() as (server, address):
        server.content = KSERVE | changes
        with pytest.raises(CxrError) as refused:
            open_subject(address, SubjectOptions(description=described))
    assert refused.value.code == "bad_answer"
    assert word in refused.value.message


def test_a_model_of_so_many_images_gets_so_many(described):
    with serving() as (server, address):
        server.content = KSERVE | {
            "inputs": [KSERVE["inputs"][0] | {"shape": ["3", "1", str(made.SIDE), str(made.SIDE)]}]
        }
        given = scored(
            open_subject(address, SubjectOptions(description=described)), images(0, 140, 255, 0)
        )
    assert given[:, 1].round().tolist() == [0, 1, 0, 0]
    assert len(server.requests) == 3


def test_whole_numbers_are_not_cut_off(described):
    with serving() as (server, address):
        server.content = KSERVE | {"inputs": [KSERVE["inputs"][0] | {"datatype": "UINT8"}]}
        with pytest.raises(CxrError) as refused:
            scored(open_subject(address, SubjectOptions(description=described)), images(140))
    assert "whole numbers from 0 to 255" in refused.value.message


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": "ok", "probabilities": {"normal": 0.25, "covid19": 0.75}}, [0.25, 0.75]),
        ({"status": "ok", "probabilities": {"normal": 0.9, "covid19": 0.75}}, None),
        ({"status": "ok", "probabilities": {"other": 1.0}}, None),
        ({"prediction": 1}, None),
        ("normal", None),
    ],
)
def test_an_own_servers_scores_are_probabilities(answer, expected):
    assert http_models._scores_of(answer, made.LABELS) == expected
    refused = http_models._scores_of({"status": "cannot_assess", "probabilities": {}}, made.LABELS)
    assert np.isnan(refused).all()


@pytest.mark.parametrize(
    "address",
    ["http://[::1/v2/models/m", "http://h:99999/v2/models/m", f"http://{'x' * 99}/v2/models/m"],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(CxrError) as refused:
        http_models.open_http(address)
    assert refused.value.code == "bad_address"


def test_a_token_that_no_header_can_hold_is_refused():
    with pytest.raises(CxrError) as refused:
        http_models.open_http("http://h/v2/models/m", environment={http_models.TOKEN: "a\nb"})
    assert refused.value.code == "bad_address"


def test_nobody_at_the_address_is_told(described, monkeypatch):
    monkeypatch.setattr(http_requests, "TRIES", 1)
    with serving() as (_, address):
        pass
    with pytest.raises(CxrError) as refused:
        open_subject(address, SubjectOptions(description=described))
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
