"""How a server starts, whom it lets in, and how it leaves."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from serving.asking import PROGRAM, Server, as_bytes, phantom, running, send, stopped, until

TOKEN = "a-token-of-some-length"


def failed(*arguments, **environment):
    """Return exit code and lines of a server that does not start."""
    done = subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )
    spoken = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return done.returncode, spoken


def test_without_the_token_nobody_is_answered(checkpoint, predictor):
    with running(checkpoint, CXR_TOKEN=TOKEN) as server:
        image = as_bytes(phantom())
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            with server.client(headers=headers) as client:
                for path in ("/v1/models", "/metrics", "/openapi.json"):
                    response = client.get(path)
                    assert response.status_code == 401
                    assert response.headers["www-authenticate"] == "Bearer"
                assert send(client, image).status_code == 401
                assert client.get("/").status_code == 200
                assert client.get("/healthz").status_code == 200
                assert client.get("/readyz").status_code == 200
        with server.client(headers={"authorization": f"Bearer {TOKEN}"}) as client:
            assert send(client, image).status_code == 200
            assert client.get("/v1/models").status_code == 200
    assert not any(TOKEN in line for line in server.lines)


def test_a_server_that_is_told_to_stop_keeps_its_word(checkpoint, predictor):
    server = Server(checkpoint).wait_until_ready()
    image = as_bytes(phantom())

    with ExitStack() as opened:
        # Before the workers stand still: their time for an image runs meanwhile.
        client, *clients = [opened.enter_context(server.client()) for _ in range(7)]
        pool = opened.enter_context(ThreadPoolExecutor(6))
        with stopped(server.workers()):
            asked = [pool.submit(send, one, image) for one in clients]
            until(lambda: server.waiting() == len(asked))
            server.process.send_signal(signal.SIGTERM)
            until(lambda: client.get("/readyz").status_code == 503)
            ready = client.get("/readyz")
            assert ready.json()["reason"] == "stopping"
            late = send(client, image)
            assert (late.status_code, late.json()["code"]) == (503, "stopping")
        assert [one.result().status_code for one in asked] == [200] * len(asked)
    assert server.stop() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")


def test_who_would_wait_too_long_for_a_server_that_stops_is_told(checkpoint, predictor):
    """A heat map may take longer than a stopping server has."""
    server = Server(checkpoint, DRAIN_S="2").wait_until_ready()
    before = server.counted("cxr_batch_images_count")
    head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 90000\r\n\r\n"
    with (
        server.client() as client,
        ThreadPoolExecutor(1) as pool,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as half,
        stopped(server.drawers()),
    ):
        half.sendall(head.encode())
        asked = pool.submit(send, client, as_bytes(phantom()), heat_map="true")
        until(lambda: server.counted("cxr_batch_images_count") > before)  # the map comes next
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        told = asked.result()
        assert (told.status_code, told.json()["code"]) == (503, "stopping")
        assert int(told.headers["retry-after"]) >= 1
        assert half.recv(65536).startswith(b"HTTP/1.1 503")
        assert server.process.wait(30) == 0
        assert time.monotonic() - started < 15
    assert server.stop() == 0


def test_two_models_answer_by_name(checkpoint, predictor, tmp_path):
    import torch

    from cxr_transfer.models.checkpoint import load_checkpoint, save_checkpoint

    card, network = load_checkpoint(checkpoint)
    with torch.no_grad():
        next(network.parameters()).mul_(1.5)
    known = card.model_dump(exclude={"weights_sha256", "schema_version"})
    save_checkpoint(tmp_path / "other", network, known | {"name": "other"})
    with running(tmp_path / "other", checkpoint) as server, server.client() as client:
        told = client.get("/v1/models").json()
        assert told["default"] == "other"
        image = as_bytes(phantom())
        scores = {
            name: send(client, image, model=name).json()["answers"][0]["probabilities"]
            for name in ("other", "random")
        }
        assert scores["random"] == pytest.approx(predictor.predict(image).probabilities, abs=1e-5)
        assert scores["other"] != scores["random"]
        assert send(client, image).json()["answers"][0]["probabilities"] == scores["other"]

        sizes = []
        for asked in ({}, {"other": "random"}, {"other": "other"}):
            report = send(client, image, path="/v1/report", **asked)
            assert report.status_code == 200
            assert len(re.findall(rb"/Type /Page\s", report.content)) == 2, "a summary and a page"
            sizes.append(len(report.content))
        assert abs(sizes[0] - sizes[2]) < 100 < sizes[1] - sizes[0], "the other one's part of it"
        assert send(client, image, path="/v1/report", other="nobody").status_code == 404


def test_what_is_known_of_a_model_is_told_if_it_is_of_these_weights(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    sha256 = json.loads((folder / "checkpoint.json").read_text())["weights_sha256"]
    check = {
        "name": "overlap",
        "title": "Images seen in training",
        "verdict": "fail",
        "hard": True,
        "reading": "One.",
        "bounds": "fails at 1",
        "measured": {"same": ["Mrs-Example.png"]},
    }
    audit = {"verdict": "fail", "checks": [check], "machine": {"name": "ward-7"}}
    text = f"# Model card\n\n**Weights**: SHA-256 `{sha256}`, äöü\n"
    with running(folder) as server, server.client() as client:

        def told(of, beside):
            (folder / "MODEL_CARD.md").write_text(text.replace(sha256, of), encoding=beside)
            content = audit | {"checkpoint": {"weights_sha256": of}}
            (folder / "audit.json").write_text(json.dumps(content))
            (model,) = client.get("/v1/models").json()["models"]
            answers = [client.get(f"/v1/models/random/{kind}") for kind in ("card", "audit")]
            return model["card"], model["audit"], *answers

        has_card, verdict, card, found = told(sha256, "utf-8")
        assert (has_card, verdict) == (True, "fail")
        assert (card.status_code, found.status_code) == (200, 200)
        assert card.headers["content-type"].startswith("text/markdown")
        assert card.text == text
        kept = {name: value for name, value in check.items() if name != "measured"}
        assert found.json()["checks"] == [kept]
        assert found.json()["intended_use"]
        assert "Example" not in found.text
        assert "ward-7" not in found.text

        for other in (("0" * 64, "utf-8"), (sha256, "utf-16")):
            has_card, verdict, card, found = told(*other)
            assert (has_card, card.status_code, card.json()["code"]) == (False, 404, "no_card")
        has_card, verdict, card, found = told("0" * 64, "utf-8")
        assert (verdict, found.status_code, found.json()["code"]) == ("not done", 404, "no_audit")
        assert client.get("/v1/models/nobody/card").json()["code"] == "unknown_model"


def test_a_network_that_scores_otherwise_than_its_checkpoint_ends_in_one_line(checkpoint, tmp_path):
    from cxr_transfer.export.openvino import convert

    convert(checkpoint, tmp_path / "x.xml")
    card = tmp_path / "x.json"
    content = json.loads(card.read_text())
    content["self_test"]["scores"]["normal"] += 0.001
    card.write_text(json.dumps(content))
    code, spoken = failed(0, tmp_path / "x.xml")
    assert (code, len(spoken)) == (4, 1)
    assert "self_test" in spoken[0]
    assert "normal" in spoken[0]


def test_damaged_weights_end_in_one_line(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "damaged")
    weights = tmp_path / "damaged" / "checkpoint.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, spoken = failed(0, tmp_path / "damaged")
    assert code == 4
    assert len(spoken) == 1
    assert "wrong_hash" in spoken[0]


def test_a_model_that_is_not_there_ends_in_one_line(tmp_path):
    code, spoken = failed(0, tmp_path / "nothing")
    assert (code, len(spoken)) == (4, 1)


def test_one_model_twice_is_a_mistake(checkpoint, predictor):
    code, spoken = failed(0, checkpoint, checkpoint)
    assert (code, len(spoken)) == (2, 1), spoken


def test_a_busy_port_ends_in_one_line(checkpoint):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, spoken = failed(other.getsockname()[1], checkpoint)
    assert (code, len(spoken)) == (5, 1)
    assert "port_in_use" in spoken[0]


def test_a_bad_token_ends_in_one_line(checkpoint):
    code, spoken = failed(0, checkpoint, CXR_TOKEN="short")
    assert (code, len(spoken)) == (2, 1)
    assert "short" not in spoken[0].replace("shorter", "")


def test_every_line_of_log_is_json(server, client):
    send(client, as_bytes(phantom()))
    until(lambda: '"/v1/predict"' in "".join(server.lines))
    strange = [line for line in server.lines if not line.startswith("{")]
    assert not strange
    lines = [json.loads(line) for line in list(server.lines)]
    asked = [line for line in lines if line.get("route") == "/v1/predict"]
    assert {"time", "event", "request_id", "status", "ms"} <= asked[-1].keys()
