"""The door without a server: what becomes of those inside when time runs out."""

import asyncio
import json

from cxr_transfer.serving.admission import Admission
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.middleware import RequestGuard
from cxr_transfer.serving.settings import Settings


async def quick(_scope, _receive, send):
    await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def endless(_scope, _receive, _send):
    await asyncio.Event().wait()


async def reading(_scope, receive, _send):
    while True:
        await receive()


async def asked(guard):
    """Return status, headers and body of what a request is answered."""
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": []}
    said = []

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        said.append(message)

    await guard(scope, receive, send)
    headers = {name.lower(): value for name, value in said[0]["headers"]}
    return said[0]["status"], headers, json.loads(said[1]["body"])


def test_who_has_no_answer_when_time_runs_out_is_told_to_ask_elsewhere():
    async def check(app):
        guard = RequestGuard(app, Settings(), Admission(8, 2.0), Metrics())
        task = asyncio.create_task(asked(guard))
        await asyncio.sleep(0)
        assert guard.inside == 1
        guard.closing = True
        guard.hurry(0.5)
        answer = await task
        assert guard.inside == 0
        guard.hurry(0.5)  # nobody is left
        return answer

    status, headers, _ = asyncio.run(check(quick))
    assert status == 200
    for app in (endless, reading):
        status, headers, body = asyncio.run(check(app))
        assert (status, body["code"]) == (503, "stopping")
        assert int(headers[b"retry-after"]) >= 1
        assert headers[b"connection"] == b"close"


def test_a_time_limit_of_what_is_behind_the_door_is_no_refusal():
    async def late(_scope, _receive, _send):
        raise TimeoutError

    async def check():
        return await asked(RequestGuard(late, Settings(), Admission(8, 2.0), Metrics()))

    status, _, body = asyncio.run(check())
    assert (status, body["code"]) == (500, "internal")
