"""The client against a server: what it answers, and what it says without an answer."""

import asyncio
import hashlib
import io
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

import cxr_transfer as cxr
from cxr_transfer import client_requests, http_requests
from cxr_transfer.errors import (
    CxrError,
    DataError,
    ImageError,
    MachineError,
    ModelError,
    UsageError,
)
from serving.asking import as_bytes, phantom, running

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def asking(server):
    with cxr.Client(server.url) as client:
        yield client


@pytest.fixture
def files(tmp_path):
    """Images by path and as bytes, and what are none."""
    (tmp_path / "DOE^JANE.png").write_bytes(as_bytes(phantom()))
    (tmp_path / "text.dcm").write_bytes(b"no image")
    paths = [tmp_path / "DOE^JANE.png", tmp_path / "text.dcm", tmp_path / "absent.png"]
    return [*paths, as_bytes(phantom(1))]


def check(answers, files, predictor):
    assert [answer.index for answer in answers] == [0, 1, 2, 3]
    assert [answer.file for answer in answers] == [*map(str, files[:3]), ""]
    assert [answer.code for answer in answers] == ["", "unsupported_format", "missing_file", ""]
    for answer, file in ((answers[0], files[0]), (answers[3], files[3])):
        expected = predictor.predict(file)
        assert (answer.status, answer.label) == (expected.status, expected.label)
        assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
        assert answer.warnings == expected.warnings
        content = file if isinstance(file, bytes) else file.read_bytes()
        assert answer.sha256 == hashlib.sha256(content).hexdigest()
        assert answer.request_id


@pytest.mark.parametrize("at_once", [8, 1])
def test_each_file_has_its_answer(asking, files, predictor, monkeypatch, at_once):
    monkeypatch.setattr("cxr_transfer.client.FILES_AT_ONCE", at_once)
    check(asking.predict(files), files, predictor)
    assert asking.predict([]) == []


def test_an_asynchronous_program_gets_the_same(server, files, predictor):
    async def ask():
        async with cxr.AsyncClient(server.url) as client:
            several = await asyncio.gather(*(client.predict(files) for _ in range(3)))
            (digest,) = await client.upload([files[0]])
            answer = await client.predict_uploaded(digest, model="random")
            heat_map = await client.heat_map(digest)
            return several, answer, heat_map, await client.models()

    several, answer, heat_map, models = asyncio.run(ask())
    for answers in several:
        check(answers, files, predictor)
    assert answer.probabilities == pytest.approx(several[0][0].probabilities, abs=1e-5)
    assert heat_map.startswith(b"\x89PNG")
    assert [model.name for model in models] == ["random"]


def test_a_heat_map_is_a_picture(asking, files):
    (answer,) = asking.predict([files[0]], heat_map=True)
    assert 0 < answer.lung_area < 1
    with Image.open(io.BytesIO(answer.heat_map)) as overlay:
        assert overlay.mode == "RGBA"
    digests = asking.upload([files[0], files[3]])
    assert digests[0] == answer.sha256
    assert asking.predict_uploaded(digests[0]).label == answer.label
    with Image.open(io.BytesIO(asking.heat_map(digests[0]))) as same:
        assert same.size == overlay.size


def test_models_are_told(asking, predictor):
    (model,) = asking.models()
    assert model.is_default
    assert model.labels == tuple(predictor.card.labels)
    assert model.weights_sha256 == predictor.card.weights_sha256


@pytest.mark.parametrize(
    ("ask", "kind", "code"),
    [
        (lambda client: client.predict([b"x"], model="none"), ModelError, "unknown_model"),
        (lambda client: client.predict_uploaded("0" * 64), DataError, "unknown_image"),
        (lambda client: client.predict_uploaded("xyz"), UsageError, "bad_sha256"),
        (
            lambda client: client.heat_map(client.upload([b"x"])[0]),
            ImageError,
            "unsupported_format",
        ),
        (lambda client: client.upload(["/absent.png"]), ImageError, "missing_file"),
    ],
)
def test_what_the_server_refuses_is_an_error_of_the_package(asking, ask, kind, code):
    with pytest.raises(kind) as refused:
        ask(asking)
    assert refused.value.code == code
    assert refused.value.message.startswith("Expected ")


def test_an_image_that_is_too_large_is_not_sent(asking, monkeypatch):
    monkeypatch.setattr(client_requests, "MAX_BYTES", 10)
    (answer,) = asking.predict([bytes(11)])
    assert (answer.status, answer.code) == ("error", "too_many_bytes")


@pytest.mark.parametrize("given", ["image.png", b"image", 3, [3]])
def test_what_are_no_files_is_refused(asking, given):
    with pytest.raises(TypeError, match="Expected"):
        asking.predict(given)


def test_a_token_is_sent_and_a_wrong_one_is_told(checkpoint, monkeypatch):
    with running(checkpoint, CXR_TOKEN=TOKEN) as server:
        with cxr.Client(server.url, token="another") as client, pytest.raises(UsageError) as wrong:
            client.models()
        assert wrong.value.code == "no_token"
        monkeypatch.setenv("CXR_TOKEN", TOKEN)
        with cxr.Client(f"{server.url}/") as client:
            assert client.models()


class Handler(BaseHTTPRequestHandler):
    """Gives the refusals of its server first, then ``{}``."""

    def do_GET(self):
        self.server.asked += 1
        status, headers = self.server.refusals.pop(0) if self.server.refusals else (200, {})
        body = json.dumps(
            {"default": "", "models": []} if status == 200 else {"code": "x"}
        ).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def refusing(*refusals):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.refusals, server.asked = list(refusals), 0
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


BUSY = (503, {"Retry-After": "0.01"})


def test_a_busy_server_is_asked_again_when_it_says():
    async def ask(address):
        async with cxr.AsyncClient(address) as client:
            return await client.models()

    with refusing(BUSY, BUSY) as (server, address), cxr.Client(address) as client:
        assert client.models() == []
        assert server.asked == 3
    with refusing(BUSY, BUSY) as (server, address):
        assert asyncio.run(ask(address)) == []
        assert server.asked == 3


def test_a_server_that_stays_busy_or_is_another_is_told(monkeypatch):
    monkeypatch.setattr(http_requests, "TRIES", 3)
    with refusing(*[BUSY] * 3) as (server, address), cxr.Client(address) as client:
        with pytest.raises(MachineError) as away:
            client.models()
        assert (away.value.code, server.asked) == ("server_away", 3)
        server.refusals = [(404, {})]
        with pytest.raises(ModelError) as other:
            client.models()
        assert other.value.code == "bad_answer"


@pytest.mark.parametrize("address", ["", "host", "http://user:secret@host", "http://h/?token=x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(CxrError) as refused:
        cxr.Client(address)
    assert refused.value.code == "bad_address"
    assert "secret" not in refused.value.message


def test_answers_come_one_after_the_other(asking, server, files, predictor):
    check_streamed(list(asking.predict_each(files)), files, predictor)

    async def ask():
        async with cxr.AsyncClient(server.url) as client:
            return [answer async for answer in client.predict_each(files)]

    check_streamed(asyncio.run(ask()), files, predictor)
    with pytest.raises(ModelError, match="out of random"):
        list(asking.predict_each(files, model="none"))
    first = next(asking.predict_each([as_bytes(phantom(one)) for one in range(8)]))
    assert first.index == 0


def check_streamed(answers, files, predictor):
    plain = [answer.request_id for answer in answers]
    assert plain == [""] * 4
    check([replace(answer, request_id="streamed") for answer in answers], files, predictor)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "bad_answer"),
        (["no JSON"], "bad_answer"),
        ([json.dumps({"type": "urn:x", "code": "busy", "message": "Later."})], "busy"),
    ],
)
def test_answers_without_their_last_line_are_an_error(asking, monkeypatch, lines, code):
    def sent(*_, **__):
        yield from lines

    monkeypatch.setattr("cxr_transfer.client.lines", sent)
    with pytest.raises(CxrError) as caught:
        list(asking.predict_each([as_bytes(phantom())]))
    assert caught.value.code == code
