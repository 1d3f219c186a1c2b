"""Answers as lines: each when it is there, in order, and a last line that says that all came."""

import json

import pytest

from serving.asking import as_bytes, phantom, send, stopped, until

LINES = {"Accept": "application/x-ndjson"}


def files(number):
    return [("files", (f"{one}.png", as_bytes(phantom(one)))) for one in range(number)]


def test_each_image_is_a_line_and_the_last_line_counts_them(client):
    sent = [*files(3), ("files", ("x.png", b"no image"))]
    response = client.post("/v1/predict", files=sent, headers=LINES)
    assert response.headers["content-type"] == "application/x-ndjson"
    *lines, last = map(json.loads, response.text.splitlines())
    whole = client.post("/v1/predict", files=sent).json()["answers"]
    for line, answer in zip(lines, whole, strict=True):
        assert {**line, "ms": 0} == {**answer, "ms": 0}
    assert [line["index"] for line in lines] == [0, 1, 2, 3]
    assert lines[3]["code"] == "unsupported_format"
    counts = [last[name] for name in ("ok", "cannot_assess", "error")]
    assert last["end"] is True
    assert (sum(counts), counts[2]) == (4, 1)
    assert last["request_id"] == response.headers["x-request-id"]


def test_a_line_comes_before_the_next_image_is_answered(server, client):
    with client.stream("POST", "/v1/predict", files=files(8), headers=LINES) as response:
        lines = response.iter_lines()
        assert json.loads(next(lines))["index"] == 0
        assert len(list(lines)) == 8


def test_one_image_that_cannot_be_read_is_a_line_too(client):
    response = client.post(
        "/v1/predict", content=b"no image", headers=LINES | {"Content-Type": "image/png"}
    )
    line, last = map(json.loads, response.text.splitlines())
    assert (response.status_code, line["status"], last["error"]) == (200, "error", 1)


@pytest.mark.parametrize(("model", "status"), [("nobody", 404), ("", 404), ("random", 200)])
def test_what_is_refused_at_once_has_its_status(client, model, status):
    response = client.post("/v1/predict", files=files(1), data={"model": model}, headers=LINES)
    assert response.status_code == status


JSON, NDJSON = "application/json", "application/x-ndjson"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/x-ndjson;q=0, application/json", JSON),
        ("application/x-ndjson;q=0", JSON),
        ("application/x-ndjson;q=0.5, application/json;q=0.9", JSON),
        ("application/x-ndjson;q=0.5, */*", JSON),
        ("application/x-ndjson;q=2", JSON),
        ("application/json;q=0.5, application/x-ndjson;q=0.9", NDJSON),
        ("application/x-ndjson, application/json", NDJSON),
        ("Application/X-NDJSON ; Q=0.1, application/json;q=0, */*", NDJSON),
    ],
)
def test_what_is_wanted_more_is_sent(client, accept, kind):
    response = client.post("/v1/predict", files=files(1), headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"]) == (200, kind)


def test_a_client_that_leaves_ends_the_work_and_no_process(server, client):
    workers = set(server.workers())
    with stopped(workers), server.client() as other:
        with other.stream("POST", "/v1/predict", files=files(8), headers=LINES) as response:
            assert response.status_code == 200
            assert server.waiting() == 8
        until(lambda: server.waiting() == 0)
    assert send(client, as_bytes(phantom())).status_code == 200
    assert set(server.workers()) == workers
