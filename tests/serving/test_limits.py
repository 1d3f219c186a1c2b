"""Clients that send too much, too slowly, or not what they announce; the rest go on meanwhile."""

import contextlib
import io
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.serving.http_timeouts import LOOK_S
from cxr_transfer.serving.settings import Settings
from serving.asking import as_bytes, phantom, running, send, stopped, until

HEAD = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
FORM = "Content-Type: multipart/form-data; boundary=b\r\n"


def connected(server, text=""):
    one = socket.create_connection(("127.0.0.1", server.port), timeout=40)
    one.sendall(text.encode())
    return one


def answered(one):
    """All that comes until the other side closes."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := one.recv(65536):
            said += part
    one.close()
    return said


def test_an_announced_flood_is_refused_before_it_comes(server):
    one = connected(server, f"{HEAD}{FORM}Content-Length: 99999999999\r\n\r\n")
    assert one.recv(65536).startswith(b"HTTP/1.1 413")
    one.close()


@pytest.mark.parametrize(
    ("head", "most"),
    [
        (f"{FORM}Content-Length: {10**9}\r\n", "128 MB"),
        (f"Content-Type: image/png\r\nContent-Length: {10**8}\r\n", "64 MB"),
    ],
)
def test_who_asks_first_is_refused_before_the_body(server, head, most):
    one = connected(server, f"{HEAD}{head}Expect: 100-continue\r\n\r\n")
    said = answered(one)
    assert said.startswith(b"HTTP/1.1 413")
    assert f"at most {most}".encode() in said
    assert b"connection: close" in said.lower()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("model=none", "unknown_model"),
        ("heat_map=perhaps", "bad_field"),
        ("heatmap=true", "unknown_field"),
    ],
)
def test_who_asks_first_for_what_is_not_there_sends_nothing(server, query, code):
    head = HEAD.replace("predict", f"predict?{query}")
    one = connected(server, f"{head}{FORM}Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
    said = answered(one)
    assert b"100 Continue" not in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == code


def test_who_asks_first_and_may_send_is_told_so(server):
    image = as_bytes(phantom())
    head = f"Content-Type: image/png\r\nContent-Length: {len(image)}\r\nConnection: close\r\n"
    one = connected(server, f"{HEAD}{head}Expect: 100-continue\r\n\r\n")
    assert one.recv(65536).startswith(b"HTTP/1.1 100")
    one.sendall(image)
    assert answered(one).startswith(b"HTTP/1.1 200")


def test_what_is_no_http_is_a_problem(server):
    said = answered(connected(server, "JANE\r\n\r\n"))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "bad_request"


def test_an_unannounced_flood_is_refused_while_it_comes(server):
    one = connected(server, f"{HEAD}{FORM}Transfer-Encoding: chunked\r\n\r\n")
    part = b"--b\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\n"
    one.sendall(b"%x\r\n%s\r\n" % (len(part), part))
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    with contextlib.suppress(ConnectionError):
        for _ in range(140):
            one.sendall(chunk)
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_WR)
    assert b" 413 " in answered(one).partition(b"\r\n")[0]


def test_a_body_shorter_than_announced_costs_nobody_anything(server, client):
    one = connected(server, f"{HEAD}{FORM}Content-Length: 5000\r\n\r\n--b\r\n")
    one.close()
    assert send(client, as_bytes(phantom())).status_code == 200


def test_a_body_longer_than_announced_is_no_second_request(server):
    body = '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    one = connected(server, f"{HEAD}{FORM}Content-Length: {len(body)}\r\n\r\n{body}garbage\r\n\r\n")
    said = answered(one)
    assert said.startswith(b"HTTP/1.1 415")
    assert b"HTTP/1.1 400" in said


def test_a_damaged_chunk_behind_what_is_refused_is_no_error_of_ours(server, client):
    """The 400 is sent before the application has a say."""
    before = len(server.lines)
    one = connected(server, f"{HEAD}Transfer-Encoding: chunked\r\n\r\nno chunk\r\n")
    said = answered(one)
    assert said.startswith(b"HTTP/1.1 400")
    assert said.count(b"HTTP/1.1") == 1
    assert client.get("/healthz").status_code == 200
    until(lambda: any("/healthz" in line for line in server.lines[before:]))
    assert not any('"failed"' in line or '"library"' in line for line in server.lines[before:])


def test_ten_thousand_tiny_parts_are_refused(client):
    part = '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n'
    response = client.post(
        "/v1/predict",
        content=(part * 10_000 + "--b--\r\n").encode(),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert response.status_code == 422


def test_a_body_in_crumbs_is_ended(server):
    part = '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    one = connected(server, f"{HEAD}{FORM}Transfer-Encoding: chunked\r\n\r\n")
    one.sendall(f"{len(part):x}\r\n{part}\r\n".encode())
    with contextlib.suppress(ConnectionError):
        for _ in range(2000):
            one.sendall(b"1\r\n-\r\n")
    # The end may overtake what is said of it.
    assert answered(one)[:12] in (b"HTTP/1.1 400", b"")


def test_clients_that_do_nothing_are_closed(server, client):
    """The rest of a header, the rest of a body: neither is waited for."""
    idle = [
        connected(server),
        connected(server, "POST /v1/pre"),
        connected(server, HEAD),
        connected(server, f"{HEAD}{FORM}Content-Length: 5000\r\n\r\n--b\r\nContent"),
        connected(server, f"{HEAD}{FORM}Transfer-Encoding: chunked\r\n\r\n5\r\n--b\r\n\r\n"),
    ]
    trickling = connected(server, HEAD)

    def trickle():
        with contextlib.suppress(ConnectionError):
            while True:
                trickling.sendall(b"X")
                time.sleep(0.5)

    with ThreadPoolExecutor(8) as pool:
        closed = [pool.submit(answered, one) for one in idle]
        ended = pool.submit(trickle)
        assert client.get("/healthz").status_code == 200
        for one in closed:
            assert b"HTTP/1.1 200" not in one.result()
        ended.result()
    trickling.close()


def test_who_reads_slowly_is_waited_for(server):
    """For longer than a connection that stands still is kept."""
    grain = np.random.default_rng(0).integers(0, 256, (2000, 2000), np.uint8)
    image = as_bytes(grain, compress_level=1)
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body += image + b"\r\n--b--\r\n"
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    one.settimeout(40)
    one.connect(("127.0.0.1", server.port))
    head = HEAD.replace("predict", "image")
    one.sendall(f"{head}{FORM}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    one.sendall(body)
    said, slow = b"", time.monotonic() + 3 * LOOK_S
    while part := one.recv(16384):
        said += part
        if time.monotonic() < slow:
            time.sleep(0.5)
    one.close()
    head, _, content = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    with Image.open(io.BytesIO(content)) as shown:
        assert (np.asarray(shown) == grain).all()


MEGABYTE = 10**6
PART = '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'


def large_upload(server, megabytes):
    """A connection on which as much of a body has come as the server takes; then nothing more."""
    one = connected(server, f"{HEAD}{FORM}Content-Length: {102 * MEGABYTE}\r\n\r\n{PART}")
    one.settimeout(20)
    piece = bytes(MEGABYTE)
    with contextlib.suppress(OSError):  # refused on the way: it may hold no more
        for _ in range(megabytes):
            one.sendall(piece)
    return one


@pytest.fixture
def own_server(checkpoint, predictor):
    """A server whose queue and memory nobody else's image has made short."""
    with running(checkpoint) as one:
        yield one


def test_large_uploads_that_stand_still_keep_no_small_one_out_and_are_ended(own_server):
    """Five of 102 MB, of which all but the end has come, and images of 6 MB meanwhile."""
    server = own_server
    grain = np.random.default_rng(0).integers(0, 256, (2450, 2450), np.uint8)
    small = as_bytes(grain, compress_level=1)
    assert 6 * MEGABYTE < len(small) < 7 * MEGABYTE
    with ThreadPoolExecutor(5) as pool:
        slow = list(pool.map(lambda _: large_upload(server, 101), range(5)))
        until(lambda: server.counted("cxr_held_bytes") > 250 * MEGABYTE)
        with server.client() as client:
            for _ in range(3):
                assert send(client, small).status_code == 200
            assert send(client, as_bytes(phantom())).status_code == 200

        def trickle(one):
            with contextlib.suppress(OSError):
                while True:  # well above what a small body may come at
                    one.sendall(bytes(4096))
                    time.sleep(0.5)

        ended = [pool.submit(trickle, one) for one in slow]
        for one in ended:
            one.result()
    until(lambda: server.counted("cxr_held_bytes") == 0)
    for one in slow:
        one.close()


def test_who_sends_slowly_but_evenly_is_waited_for(server):
    """For longer than a connection that stands still is kept."""
    image = as_bytes(phantom(pixels=1200), compress_level=0)
    body = PART.encode() + image + b"\r\n--b--\r\n"
    one = connected(server, f"{HEAD}{FORM}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n")
    pieces = int(3 * LOOK_S / 0.5)
    size = -(-len(body) // pieces)
    for start in range(0, len(body), size):
        one.sendall(body[start : start + size])
        time.sleep(0.5)
    assert answered(one).startswith(b"HTTP/1.1 200")


def test_an_image_that_takes_for_ever_is_given_up(server, client):
    with ThreadPoolExecutor(1) as pool, stopped(server.workers()):
        response = pool.submit(send, client, as_bytes(phantom())).result()
    assert response.status_code == 422
    assert response.json()["answers"][0]["code"] == "decode_timeout"
    until(lambda: send(client, as_bytes(phantom())).status_code == 200)


def test_more_than_there_is_room_for_is_refused_at_once(server):
    image = as_bytes(phantom())
    many = Settings().queue + 8  # on a fast machine, the queue alone is the bound

    def ask(_number):
        with server.client() as client:
            return send(client, image)

    with ThreadPoolExecutor(many) as pool:
        with stopped(server.workers()):
            asked = [pool.submit(ask, number) for number in range(many)]
            # Those that were let in wait; all others have their answer already.
            until(lambda: sum(one.done() for one in asked) + server.waiting() == len(asked))
            refused = [one.result() for one in asked if one.done()]
            with server.client() as client:
                assert client.get("/healthz").status_code == 200
        responses = [one.result() for one in asked]
    refused = [one for one in refused if one.status_code == 503]
    assert refused
    for response in refused:
        assert response.json()["code"] == "busy"
        assert int(response.headers["retry-after"]) >= 1
    accepted = [one.status_code for one in responses if one.status_code != 503]
    assert len(accepted) + len(refused) == len(asked)
    # Of the two before the stopped workers, this machine may have been too slow to come back.
    assert accepted.count(200) >= len(accepted) - len(server.workers())


def test_a_killed_worker_takes_its_own_image_only(own_server):
    server = own_server
    image = as_bytes(phantom())
    before = server.workers()

    def ask(_number):
        with server.client() as client:
            return send(client, image)

    with ThreadPoolExecutor(4) as pool:
        with stopped(before):
            asked = [pool.submit(ask, number) for number in range(len(before) + 2)]
            until(lambda: server.waiting() == len(asked))
            os.kill(before[0], signal.SIGKILL)
            until(lambda: any(one.done() for one in asked))
        statuses = sorted(one.result().status_code for one in asked)
    assert statuses == [*[200] * (len(asked) - 1), 503]
    lost = next(one.result() for one in asked if one.result().status_code == 503)
    assert lost.json()["answers"][0]["code"] == "worker_lost"
    assert "retry-after" in lost.headers
    until(lambda: len(server.workers()) == len(before))
    assert before[0] not in server.workers()
