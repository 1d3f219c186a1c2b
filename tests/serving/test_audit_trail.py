"""Who asked what is kept, by name; other web sites may ask where they are allowed."""

import contextlib
import hashlib
import json
import socket
import subprocess
import sys

import pytest

from cxr_transfer.errors import MachineError
from cxr_transfer.serving.audit_trail import AuditTrail
from cxr_transfer.serving.metrics import Metrics
from serving.asking import as_bytes, phantom, running, send, until

WARD, ARCHIVE = "ward-token-0123456789", "archive-token-0123456789"
VIEWER = "https://viewer.example.org"
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


@pytest.fixture(scope="module")
def guarded(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    environment = {
        "CXR_TOKENS": f"ward-3={WARD} archive={ARCHIVE}",
        "CXR_SERVE_AUDIT_TRAIL": str(folder / "audit.jsonl"),
        "CXR_SERVE_CORS_ORIGINS": VIEWER,
        "CXR_SERVE_FILES": "2",
    }
    with running(checkpoint, **environment) as server:
        server.trail = folder / "audit.jsonl"
        yield server


def test_who_asked_stands_in_the_trail_by_name(guarded):
    image = as_bytes(phantom(3))
    digest = hashlib.sha256(image).hexdigest()
    before = len(guarded.trail.read_text().splitlines())
    with guarded.client(headers={"Authorization": f"Bearer {WARD}"}) as client:
        assert send(client, image, name="Doe^Jane.png").status_code == 200
        client.post("/v1/images", files={"files": image})
        assert client.post(f"/v1/images/{digest}/predictions").status_code == 200
        assert send(client, image, image, image).status_code == 422
    with guarded.client(headers={"Authorization": f"Bearer {ARCHIVE}"}) as client:
        client.delete(f"/v1/images/{digest}")
    with guarded.client(headers={"Authorization": "Bearer another-token-entirely"}) as client:
        assert send(client, image).status_code == 401
        client.get("/healthz")
    text = guarded.trail.read_text()
    lines = [json.loads(line) for line in text.splitlines()[before:]]
    facts = [(line["by"], line["asked"], line["status"], line["images"]) for line in lines]
    assert facts == [
        ("ward-3", "POST /v1/predict", 200, [digest]),
        ("ward-3", "POST /v1/images", 201, [digest]),
        ("ward-3", "POST /v1/images/{sha256}/predictions", 200, [digest]),
        ("ward-3", "POST /v1/predict", 422, []),
        ("archive", "DELETE /v1/images/{sha256}", 204, [digest]),
        (None, "POST other", 401, []),
    ]
    started = json.loads(text.splitlines()[0])
    assert (started["event"], started["names"]) == ("started", ["ward-3", "archive"])
    logged = "".join(guarded.lines)
    assert '"by": "ward-3"' in logged
    for secret in (WARD, ARCHIVE, "another-token", "Doe"):
        assert secret not in text + logged


def said(one):
    """All that comes until the other side closes."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while part := one.recv(65536):
            content += part
    one.close()
    return content


def test_a_body_that_cannot_be_read_is_the_clients_fault_in_answer_log_and_trail(guarded):
    """One that stops short, a chunk that is none, and a client that leaves."""
    before = len(guarded.trail.read_text().splitlines())
    logged = len(guarded.lines)
    start = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {WARD}\r\n"
    start += "Content-Type: multipart/form-data; boundary=b\r\n"
    chunked = f"{start}Transfer-Encoding: chunked\r\n\r\n"
    rest = {
        "short": f"{start}Content-Length: 5000\r\n\r\n--b\r\n",
        "short chunk": f"{chunked}5\r\n--b\r\n\r\n",
        "no chunk": f"{chunked}5\r\n--b\r\n\r\nno chunk\r\n",
        "leaves": f"{start}Content-Length: 5000\r\n\r\n--b\r\n",
    }
    sockets = {}
    for name, text in rest.items():
        sockets[name] = socket.create_connection(("127.0.0.1", guarded.port), timeout=40)
        sockets[name].sendall(text.encode())
    sockets.pop("leaves").close()
    for name, one in sockets.items():
        head, _, body = said(one).partition(b"\r\n\r\n")
        status, code = (400, "bad_request") if name == "no chunk" else (408, "body_timeout")
        assert head.startswith(f"HTTP/1.1 {status} ".encode()), name
        assert (json.loads(body)["status"], json.loads(body)["code"]) == (status, code)
    statuses = [400, 408, 408, 499]
    until(lambda: len(guarded.trail.read_text().splitlines()) == before + len(statuses))
    lines = [json.loads(line) for line in guarded.trail.read_text().splitlines()[before:]]
    assert sorted(line["status"] for line in lines) == statuses
    assert {line["by"] for line in lines} == {"ward-3"}
    until(lambda: sum('"request"' in line for line in guarded.lines[logged:]) == len(statuses))
    lines = [json.loads(line) for line in guarded.lines[logged:]]
    assert sorted(line["status"] for line in lines) == statuses


def test_a_page_of_an_allowed_site_may_ask_and_no_other(guarded):
    origin, token = {"Origin": VIEWER}, {"Authorization": f"Bearer {WARD}"}
    with guarded.client() as client:
        told = client.options("/v1/predict", headers=origin | PREFLIGHT)
        assert told.status_code == 204
        assert told.headers["access-control-allow-origin"] == VIEWER
        assert "authorization" in told.headers["access-control-allow-headers"].lower()
        cross = origin | token | {"Sec-Fetch-Site": "cross-site"}
        answer = client.get("/v1/models", headers=cross)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == VIEWER
        assert "Origin" in answer.headers["vary"]
        assert client.get("/v1/models", headers=origin).status_code == 401
        for other in ("https://evil.example", "null", f"{VIEWER}.evil.example"):
            for refused in (
                client.get("/v1/models", headers={"Origin": other} | token),
                client.options("/v1/predict", headers={"Origin": other} | PREFLIGHT),
            ):
                assert refused.status_code == 403
                assert "access-control-allow-origin" not in refused.headers


def test_without_an_allow_list_no_site_may_ask(client):
    refused = client.options("/v1/predict", headers={"Origin": VIEWER} | PREFLIGHT)
    assert refused.status_code == 403
    assert "vary" not in refused.headers


def test_what_cannot_be_written_is_refused_at_the_start_and_told_later(tmp_path):
    with pytest.raises(MachineError):
        AuditTrail(tmp_path / "none" / "audit.jsonl", (), Metrics())
    metrics = Metrics()
    trail = AuditTrail(tmp_path / "audit.jsonl", (), metrics)
    (tmp_path / "audit.jsonl").unlink()
    (tmp_path / "audit.jsonl").mkdir()
    error = trail.add("1", "ward-3", "POST /v1/predict", (), 200)
    assert error is not None
    assert error.code == "not_writable"
    assert b"cxr_audit_lines_lost 1.0" in metrics.text()


def test_a_server_starts_not_without_its_trail(checkpoint, tmp_path):
    words = ["serve", "--model", checkpoint, "--port", "0", "--audit-trail", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "cxr_transfer.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == MachineError.exit_code
    assert "[not_writable]" in done.stderr
