"""How a server starts, whom it lets in, and how it leaves."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
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
        film = as_bytes(phantom())
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            with server.client(headers=headers) as client:
                for path in ("/v1/models", "/metrics", "/openapi.json"):
                    response = client.get(path)
                    assert response.status_code == 401
                    assert response.headers["www-authenticate"] == "Bearer"
                assert send(client, film).status_code == 401
                assert client.get("/").status_code == 200
                assert client.get("/healthz").status_code == 200
                assert client.get("/readyz").status_code == 200
        with server.client(headers={"authorization": f"Bearer {TOKEN}"}) as client:
            assert send(client, film).status_code == 200
            assert client.get("/v1/models").status_code == 200
    assert not any(TOKEN in line for line in server.lines)


def test_a_server_that_is_told_to_stop_keeps_its_word(checkpoint, predictor):
    server = Server(checkpoint).wait_until_ready()
    film = as_bytes(phantom())

    with ExitStack() as opened:
        # Before the workers stand still: their time for a film runs meanwhile.
        client, *clients = [opened.enter_context(server.client()) for _ in range(7)]
        pool = opened.enter_context(ThreadPoolExecutor(6))
        with stopped(server.workers()):
            asked = [pool.submit(send, one, film) for one in clients]
            until(lambda: server.waiting() == len(asked))
            server.process.send_signal(signal.SIGTERM)
            until(lambda: client.get("/readyz").status_code == 503)
            ready = client.get("/readyz")
            assert ready.json()["reason"] == "stopping"
            late = send(client, film)
            assert (late.status_code, late.json()["code"]) == (503, "stopping")
        assert [one.result().status_code for one in asked] == [200] * len(asked)
    assert server.stop() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")


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
        film = as_bytes(phantom())
        scores = {
            name: send(client, film, model=name).json()["answers"][0]["probabilities"]
            for name in ("other", "random")
        }
        assert scores["random"] == pytest.approx(predictor.predict(film).probabilities, abs=1e-5)
        assert scores["other"] != scores["random"]
        assert send(client, film).json()["answers"][0]["probabilities"] == scores["other"]


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
