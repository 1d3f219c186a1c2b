"""Jobs over HTTP, on a server of their own: progress, answers, restarts, owners, webhooks."""

import base64
import hashlib
import hmac
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_records import Bounds
from cxr_transfer.serving.job_store import JobStore
from cxr_transfer.serving.webhooks import signature
from serving.asking import Server, as_bytes, phantom, running, send_patiently, stopped, until

SECRET = base64.b64encode(b"a secret of enough bytes, 24").decode()
TOKENS = {"ward": "0123456789abcdef-ward", "archive": "0123456789abcdef-archive"}
LINES = {"Accept": "application/x-ndjson"}


def images(number, first=0):
    return [("files", (f"{one}.png", as_bytes(phantom(first + one)))) for one in range(number)]


def begin(client, number=3, **fields):
    return client.post("/v1/jobs", files=images(number), data=fields)


def ended(client, where):
    until(lambda: client.get(where).json()["job_status"] != "running")
    return client.get(where).json()


def answers(client, where):
    lines = client.get(f"{where}/answers", headers=LINES).text.splitlines()
    *told, last = map(json.loads, lines)
    assert last["end"]
    return told


@pytest.fixture(scope="module")
def hooks():
    """A receiver: what it was sent, and what it answers."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            server.received.append((self.path, dict(self.headers.items()), body))
            status = server.statuses.pop(0) if server.statuses else 204
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - a redirect that is followed would be one

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.received, server.statuses = [], []
    server.address = f"http://127.0.0.1:{server.server_port}/told"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def kept(checkpoint, predictor, hooks, tmp_path_factory):
    """A server that keeps jobs, with two tokens."""
    with running(
        checkpoint,
        CXR_SERVE_JOBS=str(tmp_path_factory.mktemp("kept") / "jobs"),
        CXR_SERVE_WEBHOOK_URLS=hooks.address,
        CXR_WEBHOOK_SECRET=SECRET,
        CXR_TOKENS=" ".join(f"{name}={token}" for name, token in TOKENS.items()),
    ) as server:
        yield server


@pytest.fixture
def ward(kept):
    with kept.client(headers={"Authorization": f"Bearer {TOKENS['ward']}"}) as client:
        yield client


def test_a_job_is_answered_in_the_background(ward, predictor):
    begun = begin(ward)
    assert begun.status_code == 202
    where = begun.headers["Location"]
    assert begun.json()["links"]["self"] == where
    assert (begun.json()["images"], begun.json()["kind"]) == (3, "predictions")
    job = ended(ward, where)
    assert (job["job_status"], job["done"], job["failed"]) == ("done", 3, 0)
    told = answers(ward, where)
    assert [answer["index"] for answer in told] == [0, 1, 2]
    for answer, (_, (_, content)) in zip(told, images(3), strict=True):
        assert answer["sha256"] == answer["file"] == hashlib.sha256(content).hexdigest()
        assert answer["label"] == predictor.predict(content).label
    page = ward.get(f"{where}/answers", params={"first": 1, "most": 1}).json()
    assert ([one["index"] for one in page["answers"]], page["next"]) == ([1], 2)
    assert ward.get(f"{where}/answers", params={"first": 2}).json()["next"] is None
    assert ward.get(f"{where}/report").json()["code"] == "no_report"
    assert where in [job["links"]["self"] for job in ward.get("/v1/jobs").json()["jobs"]]
    assert ward.delete(where).status_code == 204
    assert ward.get(where).json()["code"] == "unknown_job"


def test_images_come_in_several_requests_by_file_and_by_hash(ward):
    begun = begin(ward, 2, more="true", heat_map="true")
    where = begun.headers["Location"]
    (sent,) = ward.post("/v1/images", files=images(1, 5)).json()["images"]
    body = {"sha256": [sent["sha256"]], "first": "2", "more": True}
    for _ in range(2):  # as after an answer that was lost
        assert ward.post(f"{where}/images", json=body).json()["images"] == 3
    damaged = [("files", ("x.png", b"no image"))]
    assert ward.post(f"{where}/images", files=damaged).json()["images"] == 4
    job = ended(ward, where)
    assert (job["done"], job["failed"]) == (4, 1)
    told = answers(ward, where)
    assert [answer["index"] for answer in told] == [0, 1, 2, 3]
    assert told[3]["code"] == "unsupported_format"
    assert all(one["heat_map"] for one in told if one["status"] == "ok")
    assert ward.post(f"{where}/images", files=damaged).json()["code"] == "job_closed"


def test_a_request_that_is_sent_again_with_its_key_begins_one_job(kept, ward):
    key = {"Idempotency-Key": "of this set"}
    sent = [ward.post("/v1/jobs", files=images(2), headers=key) for _ in range(2)]
    assert [one.status_code for one in sent] == [202, 202]
    assert len({one.headers["Location"] for one in sent}) == 1
    assert ended(ward, sent[0].headers["Location"])["images"] == 2
    for other in ({"files": images(2, 5)}, {"files": images(2), "data": {"heat_map": "true"}}):
        refused = ward.post("/v1/jobs", headers=key, **other)
        assert (refused.status_code, refused.json()["code"]) == (409, "other_job")
    with kept.client(headers={"Authorization": f"Bearer {TOKENS['archive']}"}) as archive:
        theirs = archive.post("/v1/jobs", files=images(1), headers=key).headers["Location"]
        assert theirs != sent[0].headers["Location"]
        assert archive.delete(theirs).status_code == 204


def test_a_report_is_a_kind_of_job(ward):
    where = begin(ward, 2, kind="report").headers["Location"]
    assert ended(ward, where)["job_status"] == "done"
    report = ward.get(f"{where}/report")
    assert report.headers["content-type"] == "application/pdf"
    assert report.content.startswith(b"%PDF")
    assert len(answers(ward, where)) == 2


def test_a_report_of_more_images_than_it_may_have_is_refused_before_they_come(ward):
    where = begin(ward, 1, kind="report", more="true").headers["Location"]
    for refused in (
        ward.post(f"{where}/images?first=100"),  # by its head alone
        ward.post(f"{where}/images", files=images(1), data={"first": "100"}),
        ward.post(f"{where}/images", files=images(1), data={"first": "99", "more": "true"}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (422, "too_many_files")
        assert "at most 100 images in a report" in refused.json()["message"]
    last = ward.post(f"{where}/images", files=images(1), data={"first": "99"})
    assert last.json()["code"] == "other_image"
    assert ward.delete(where).status_code == 204


def test_a_token_that_begins_many_jobs_shuts_out_no_other(checkpoint, predictor, tmp_path):
    """Two tokens share three jobs: one each. What is done counts no more."""
    environment = {
        "CXR_SERVE_JOBS": str(tmp_path),
        "CXR_SERVE_JOBS_AT_ONCE": "3",
        "CXR_TOKENS": " ".join(f"{name}={token}" for name, token in TOKENS.items()),
    }
    with running(checkpoint, **environment) as server, server.client() as client:

        def ask(name, **fields):
            client.headers["Authorization"] = f"Bearer {TOKENS[name]}"
            return begin(client, 1, **fields)

        where = ask("ward", more="true").headers["Location"]
        refused = ask("ward")
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert "1 for each token" in refused.json()["message"]
        assert ask("archive").status_code == 202
        client.headers["Authorization"] = f"Bearer {TOKENS['ward']}"
        assert client.delete(where).status_code == 204
        done = [ended(client, ask("ward").headers["Location"]) for _ in range(4)]
        kept = {job["id"] for job in client.get("/v1/jobs").json()["jobs"]}
        assert done[-1]["id"] in kept
        assert done[0]["id"] not in kept, "the oldest one made room"


def test_a_job_is_its_owners_alone(kept, ward):
    where = begin(ward, 1).headers["Location"]
    with kept.client(headers={"Authorization": f"Bearer {TOKENS['archive']}"}) as archive:
        for response in (
            archive.get(where),
            archive.get(f"{where}/answers"),
            archive.get(f"{where}/report"),
            archive.post(f"{where}/images", files=images(1)),
            archive.delete(where),
        ):
            assert (response.status_code, response.json()["code"]) == (404, "unknown_job")
        assert archive.get("/v1/jobs").json()["jobs"] == []
    assert ended(ward, where)["done"] == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"kind": "poem"}, 422, "bad_field"),
        ({"model": "nobody"}, 404, "unknown_model"),
        ({"more": "perhaps"}, 422, "bad_field"),
        ({"webhook": "http://127.0.0.1:1/elsewhere"}, 422, "bad_webhook"),
        ({"urgent": "true"}, 422, "unknown_field"),
    ],
)
def test_what_is_no_job_is_refused(ward, fields, status, code):
    refused = begin(ward, 1, **fields)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_the_end_is_told_signed_again_until_it_is_heard_and_nowhere_else(ward, hooks):
    hooks.received.clear()
    hooks.statuses[:] = [302, 200]
    job = ended(ward, begin(ward, 1, webhook=hooks.address).headers["Location"])
    where = job["links"]["self"]
    until(lambda: ward.get(where).json()["webhook"] == {"state": "delivered", "tries": 2})
    assert [path for path, _, _ in hooks.received] == ["/told", "/told"], "no redirect is followed"
    headers, body = hooks.received[-1][1:]
    head = {name.lower(): value for name, value in headers.items()}
    stamp = head["webhook-timestamp"]
    signed = f"{head['webhook-id']}.{stamp}.".encode() + body
    digest = hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()
    assert head["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert signature(b"another", job["id"], stamp, body) != head["webhook-signature"]
    told = json.loads(body)
    assert told["data"] == {
        "id": job["id"], "job_status": "done", "images": 1, "done": 1, "failed": 0
    }  # fmt: skip
    assert "authorization" not in head


def test_whoever_waits_for_an_answer_goes_first(kept, ward):
    where = begin(ward, 16).headers["Location"]
    assert send_patiently(ward, as_bytes(phantom(99))).status_code == 200
    assert ended(ward, where)["done"] == 16


def test_a_server_without_a_folder_says_so(client):
    for response in (
        begin(client, 1),
        client.get("/v1/jobs"),
        client.get(f"/v1/jobs/{'0' * 32}"),
        client.delete(f"/v1/jobs/{'0' * 32}"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "no_jobs")
        assert "--jobs DIR" in response.json()["message"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_restart_loses_no_image_and_answers_none_twice(checkpoint, predictor, tmp_path, how):
    folder = str(tmp_path / "jobs")
    server = Server(checkpoint, CXR_SERVE_JOBS=folder).wait_until_ready()
    try:
        with server.client() as client:
            where = begin(client, 12).headers["Location"]
            until(lambda: client.get(where).json()["done"] >= 2)
            with stopped(server.workers()):  # so that it is not done before it is killed
                before = {one["index"]: one for one in answers(client, where)}
                server.process.send_signal(how)
                if how == signal.SIGKILL:
                    server.process.wait(40)
    finally:
        server.stop()
    with running(checkpoint, CXR_SERVE_JOBS=folder) as again, again.client() as client:
        job = ended(client, where)
        assert (job["job_status"], job["done"]) == ("done", 12)
        told = answers(client, where)
        assert [one["index"] for one in told] == list(range(12))
        # An answer that was there is the same one: its time would be another.
        assert before
        assert all(told[index] == one for index, one in before.items())


def test_an_image_that_ends_the_server_each_time_is_given_up(checkpoint, predictor, tmp_path):
    content = as_bytes(phantom())
    digest = hashlib.sha256(content).hexdigest()
    asked = {"models": {"random": predictor.card.weights_sha256}, "heat_map": False}
    asked |= {"picture": False, "request_id": ""}
    for begun in range(4):
        store = JobStore(tmp_path, Bounds(9, 2**30, 3600, 9))
        if not begun:
            number = store.begin("", "predictions", asked, [Upload(digest, content, "", digest)])
        else:
            assert store.take().tries == begun  # and then its server ended
        store.close()
    with running(checkpoint, CXR_SERVE_JOBS=str(tmp_path)) as server, server.client() as client:
        where = f"/v1/jobs/{number}"
        assert ended(client, where)["failed"] == 1
        (answer,) = answers(client, where)
        assert (answer["status"], answer["code"]) == ("error", "worker_lost")


def test_a_job_whose_model_is_another_one_now_fails(checkpoint, predictor, tmp_path):
    content = as_bytes(phantom())
    digest = hashlib.sha256(content).hexdigest()
    store = JobStore(tmp_path, Bounds(9, 2**30, 3600, 9))
    asked = {"models": {"random": "0" * 64}, "heat_map": False, "picture": False, "request_id": ""}
    number = store.begin("", "predictions", asked, [Upload(digest, content, "", digest)])
    store.close()
    with running(checkpoint, CXR_SERVE_JOBS=str(tmp_path)) as server, server.client() as client:
        job = ended(client, f"/v1/jobs/{number}")
        assert job["job_status"] == "failed"
        assert "other weights" in job["failure"]
