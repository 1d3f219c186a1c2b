"""Reports in the background: progress, the file, cancelling, and what is refused."""

import re
import time

import pytest

from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_records import Bounds
from cxr_transfer.serving.job_store import JobStore
from cxr_transfer.serving.schemas import ApiError
from serving.asking import as_bytes, phantom

ABSENT = "0" * 32


def begin(client, *images, **fields):
    files = [("files", (f"{number}.png", image)) for number, image in enumerate(images)]
    return client.post("/v1/reports", files=files, data=fields)


def ended(client, where, seconds=60):
    for _ in range(int(seconds / 0.1)):
        progress = client.get(where).json()
        if progress["report_status"] != "running":
            return progress
        time.sleep(0.1)
    raise AssertionError("the report was not made in time")


def test_a_report_is_made_in_the_background_and_says_how_far_it_is(client):
    begun = begin(client, as_bytes(phantom()), b"no image", as_bytes(phantom()))
    assert begun.status_code == 202
    where = begun.headers["Location"]
    assert begun.json()["images"] == 3
    early = client.get(f"{where}/pdf")
    if early.status_code == 409:  # It may have been quick.
        assert early.json()["code"] == "not_done"
        assert early.headers["Retry-After"]
    progress = ended(client, where)
    assert (progress["report_status"], progress["done"]) == ("done", 3)
    pdf = client.get(f"{where}/pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert len(re.findall(rb"/Type /Page\s", pdf.content)) == 4
    assert client.delete(where).status_code == 204
    assert client.get(where).status_code == 404


def test_answers_come_while_a_report_is_made_and_it_can_be_cancelled(client):
    image = as_bytes(phantom())
    where = begin(client, *[image] * 20).headers["Location"]
    assert client.post("/v1/predict", files={"files": image}).status_code == 200
    assert client.delete(where).status_code == 204
    assert client.get(where).json()["code"] == "unknown_report"
    assert client.get(f"{where}/pdf").status_code == 404


def test_what_is_no_report_is_refused(client):
    assert client.get(f"/v1/reports/{ABSENT}").status_code == 404
    assert client.delete(f"/v1/reports/{ABSENT}").status_code == 404
    assert begin(client, as_bytes(phantom()), other="nobody").status_code == 404
    assert begin(client).status_code == 415, "no form without an image"


def test_a_report_of_uploaded_images_is_asked_for_by_their_hashes(client):
    images = [as_bytes(phantom(1)), as_bytes(phantom(2))]
    sent = client.post("/v1/images", files=[("files", one) for one in images]).json()["images"]
    hashes = [one["sha256"] for one in sent]
    waited_for = client.post("/v1/report", json={"sha256": hashes})
    assert waited_for.headers["content-type"] == "application/pdf"
    assert len(re.findall(rb"/Type /Page\s", waited_for.content)) == 3
    begun = client.post("/v1/reports", json={"sha256": hashes, "model": "random"})
    assert begun.status_code == 202
    assert ended(client, begun.headers["Location"])["done"] == 2
    client.delete(begun.headers["Location"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"sha256": [ABSENT * 2]}, 404, "unknown_image"),
        ({"sha256": []}, 422, "bad_field"),
        ({"sha256": ["no hash"]}, 422, "bad_field"),
        ({"sha256": ABSENT * 2}, 422, "bad_field"),
        ({"sha256": [ABSENT * 2] * 33}, 422, "bad_field"),
        ({"sha256": [ABSENT * 2], "names": []}, 422, "bad_field"),
        ({"sha256": [ABSENT * 2], "names": [1]}, 422, "bad_field"),
        ({"sha256": [ABSENT * 2], "names": ["a.png"]}, 404, "unknown_image"),
        ({"sha256": [ABSENT * 2], "model": 1}, 422, "bad_field"),
        ({"sha256": [ABSENT * 2], "modle": "random"}, 422, "unknown_field"),
        ([], 422, "bad_json"),
    ],
)
def test_what_names_no_images_is_refused(client, body, status, code):
    refused = client.post("/v1/reports", json=body)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("?model=random", '{"sha256": ["HASH"], "model": "random"}'),
        ("", '{"sha256": ["HASH"], "model": "random", "model": "other"}'),
    ],
)
def test_a_value_that_comes_twice_is_refused(client, query, body):
    content = body.replace("HASH", ABSENT * 2)
    kind = {"content-type": "application/json"}
    refused = client.post(f"/v1/reports{query}", content=content, headers=kind)
    assert (refused.status_code, refused.json()["code"]) == (422, "repeated_field")


def upload(number):
    return Upload("", bytes(100), sha256=f"{number:064}")


def test_reports_are_bounded_in_number_and_the_oldest_that_is_made_goes_first():
    store = JobStore(None, Bounds(2, 2**20, 60, 2))
    first = store.begin("", "report", {}, [upload(0)])
    second = store.begin("", "report", {}, [upload(1)])
    with pytest.raises(ApiError, match="2 for all clients"):
        store.begin("", "report", {}, [upload(2)])
    store.end(first, result=b"%PDF")
    third = store.begin("", "report", {}, [upload(2)])
    assert store.job(first) is None
    assert {job.id for job in store.jobs("")} == {second, third}


def test_a_report_that_nobody_fetches_is_gone_after_its_time():
    store = JobStore(None, Bounds(2, 2**20, 0, 2))
    number = store.begin("", "report", {}, [upload(0)])
    store.expire()
    assert store.job(number).status == "running"
    store.end(number, result=b"%PDF")
    assert store.result(number) == b"%PDF"
    store.expire()
    assert store.job(number) is None
