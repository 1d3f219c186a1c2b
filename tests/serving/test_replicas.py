"""Several servers on one folder, behind nginx: whichever is asked, and whichever dies."""

import contextlib
import hashlib
import http.client
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

import cxr_transfer as cxr
from serving.asking import Server, as_bytes, phantom, send, stopped, until
from serving.nginx import NGINX, Proxy
from serving.test_jobs import LINES, answers, begin, ended, images
from serving.test_lifecycle import failed

OF_THE_REQUEST = ("request_id", "instance", "ms", "time", "begun", "seconds_left")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    return {
        "CXR_SERVE_SHARED": str(folder / "shared"),
        "CXR_SERVE_JOBS": str(folder / "jobs"),
        "CXR_SERVE_WORKERS": "1",
    }


@pytest.fixture(scope="module")
def replicas(checkpoint, predictor, environment):
    """Three servers; who ends one starts another."""
    with ThreadPoolExecutor(3) as pool:
        servers = list(pool.map(lambda _: Server(checkpoint, **environment), range(3)))
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def clients(replicas):
    opened = [server.client() for server in replicas]
    yield opened
    for client in opened:
        client.close()


@pytest.fixture
def proxy(replicas, tmp_path):
    if NGINX is None:
        pytest.skip("no nginx: make proxy installs it")
    one = Proxy(tmp_path, [server.port for server in replicas])
    yield one
    one.stop()


def same(response):
    """What of an answer must be the same wherever it comes from."""
    if "json" not in response.headers["content-type"]:
        return response.status_code, response.content
    return response.status_code, timeless(response.json())


def timeless(value):
    """JSON without what is of one request: its number, and the time that it took."""
    if isinstance(value, list):
        return [timeless(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: timeless(one) for name, one in value.items() if name not in OF_THE_REQUEST}


def test_an_image_is_known_wherever_it_was_uploaded_and_answers_are_those_of_one(clients, client):
    content = as_bytes(phantom(1))
    here = f"/v1/images/{hashlib.sha256(content).hexdigest()}"
    asked = (
        ("POST", f"{here}/predictions?heat_map=true"),
        ("POST", f"{here}/heatmap"),
        ("POST", f"{here}/predictions?rotate=90"),
        ("GET", f"{here}/facts"),
        ("GET", f"{here}/samples?scale=2"),
    )
    for one in (client, clients[0]):
        send(one, content, path="/v1/images")
    for method, path in asked:
        told = [same(one.request(method, path)) for one in (client, *clients)]
        assert told[0][0] == 200
        assert told[1:] == told[:1] * 3, path
    body = {"sha256": [here.rpartition("/")[2]], "names": ["x.png"]}
    assert all(one.post("/v1/report", json=body).content[:4] == b"%PDF" for one in clients)
    assert clients[1].delete(here).status_code == 204
    for method, path in asked:
        for one in clients:
            refused = one.request(method, path)
            assert (refused.status_code, refused.json()["code"]) == (404, "unknown_image")


def test_a_report_is_begun_here_asked_for_there_and_fetched_elsewhere(clients):
    first, second, third = clients
    where = first.post("/v1/reports", files=images(2)).headers["Location"]
    until(lambda: second.get(where).json()["report_status"] == "done")
    told = [same(one.get(f"{where}/pdf")) for one in clients]
    assert told[0][1].startswith(b"%PDF")
    assert told[1:] == told[:1] * 2
    assert third.delete(where).status_code == 204
    assert [one.get(where).status_code for one in clients] == [404] * 3


def test_a_job_is_begun_here_added_to_there_and_cancelled_elsewhere(clients):
    first, second, third = clients
    where = begin(first, 2, more="true").headers["Location"]
    assert second.post(f"{where}/images", files=images(1, 2)).json()["images"] == 3
    assert third.post(f"{where}/images", files=images(1)).json()["code"] == "job_closed"
    assert ended(third, where)["done"] == 3
    for path in ("", "/answers", "/answers?first=1&most=1", "/report"):
        told = [same(one.get(where + path)) for one in clients]
        assert told[1:] == told[:1] * 2
    assert len({str(same(one.get("/v1/jobs"))) for one in clients}) == 1
    assert second.delete(where).status_code == 204
    assert [one.get(where).json()["code"] for one in clients] == ["unknown_job"] * 3


def test_another_kind_of_server_is_refused(replicas, models, environment):
    code, spoken = failed(0, models[0], **environment)
    assert (code, "other_replicas" in spoken[-1]) == (2, True)
    alone = {name: value for name, value in environment.items() if "SHARED" not in name}
    code, spoken = failed(0, models[0], **alone)
    assert (code, "folder_in_use" in spoken[-1]) == (2, True)


def test_what_a_dead_server_had_begun_is_done_by_the_others(
    replicas, clients, client, proxy, checkpoint, environment
):
    """Killed while it holds images: its job ends, every image answered once, as by one server."""
    victim, asked = replicas[0], clients[0]
    with stopped(victim.workers()), proxy.client() as through:
        where = begin(asked, 12).headers["Location"]
        until(lambda: through.get(where).json()["done"] == 10)
        before = {one["index"]: one for one in answers(through, where)}
        victim.process.send_signal(signal.SIGKILL)
        victim.process.wait(40)
        job = ended(through, where)
        told = answers(through, where)
        assert (job["job_status"], job["done"], job["failed"]) == ("done", 12, 0)
        assert [one["index"] for one in told] == list(range(12))
        assert all(told[index] == one for index, one in before.items())
        alone = [send(client, content).json()["answers"][0] for _, (_, content) in images(12)]
        for one, expected in zip(told, alone, strict=True):
            kept = {"file": one["file"], "index": one["index"]}
            assert timeless(one) == timeless(expected | kept)
        # Who asks notices nothing: nginx goes on to a server that takes connections.
        for _ in range(6):
            assert send(through, as_bytes(phantom())).status_code == 200
    victim.stop()
    replicas[0] = Server(checkpoint, **environment)


def test_a_client_of_the_proxy_gets_every_answer_though_servers_come_and_go(
    replicas, client, proxy, checkpoint, environment, tmp_path
):
    files = []
    for number in range(24):
        files.append(tmp_path / f"{number}.png")
        files[-1].write_bytes(as_bytes(phantom(number)))
    with cxr.Client(proxy.url) as through:
        job = through.submit(files)
        replicas[1].process.send_signal(signal.SIGKILL)
        until(lambda: through.job(job).done > 4)
        replicas[2].process.send_signal(signal.SIGTERM)
        told = list(through.answers(through.wait(job)))
        plain = list(through.predict(files))
    assert replicas[2].stop() == 0
    alone = [send(client, file.read_bytes()).json()["answers"][0] for file in files]
    for sent in (told, plain):
        assert [one.file for one in sent] == [str(file) for file in files]
        assert [one.probabilities for one in sent] == [one["probabilities"] for one in alone]
    for place in (1, 2):
        replicas[place].stop()
        replicas[place] = Server(checkpoint, **environment)


def test_nginx_hands_on_lines_as_they_come_and_refusals_as_they_are(replicas, proxy):
    files = [("files", (f"{one}.png", as_bytes(phantom(one, pixels=1500)))) for one in range(8)]
    with (
        proxy.client() as through,
        through.stream("POST", "/v1/predict", files=files, headers=LINES) as answer,
    ):
        lines = answer.iter_lines()
        assert json.loads(next(lines))["index"] == 0
        assert sum(server.waiting() for server in replicas), "the last line is not there yet"
        assert json.loads(list(lines)[-1])["end"]
    with contextlib.closing(http.client.HTTPConnection(urlsplit(proxy.url).netloc)) as raw:
        raw.putrequest("POST", "/v1/predict")
        raw.putheader("Content-Length", str(2**28))
        raw.endheaders()
        refused = raw.getresponse()
        assert (refused.status, json.load(refused)["code"]) == (413, "too_many_bytes")


def test_a_server_that_is_not_ready_takes_no_connection(replicas, checkpoint, environment):
    """A proxy that knows nothing of readiness then goes on to another one, whatever is asked."""
    leaving = replicas[2]

    def is_refused():
        try:
            httpx.get(f"{leaving.url}/healthz")
        except httpx.ConnectError:
            return True
        return False

    with ThreadPoolExecutor(1) as pool, leaving.client() as inside:
        with stopped(leaving.workers()):
            asked = pool.submit(send, inside, as_bytes(phantom()))
            until(lambda: leaving.waiting() == 1)
            leaving.process.send_signal(signal.SIGTERM)
            until(is_refused)
        assert asked.result().status_code == 200, "who was inside has the answer"
    assert leaving.stop() == 0
    replicas[2] = Server(checkpoint, **environment)
