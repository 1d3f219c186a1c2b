"""Reports in the background: progress, the file, cancelling, and what is refused."""

import asyncio
import re
import time

import pytest
from cxr_transfer.serving.report_jobs import ReportJobs

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


def test_reports_are_bounded_in_number_and_the_oldest_that_is_made_goes_first():
    async def use():
        jobs, waits = ReportJobs(most=2), asyncio.Event()

        async def quick(count):
            count()
            return b"%PDF"

        async def long(count):
            await waits.wait()
            return b"%PDF"

        first = jobs.start(1, quick)
        await asyncio.sleep(0.01)
        assert (first.status, first.done) == ("done", 1)
        second = jobs.start(1, long)
        third = jobs.start(1, long)
        with pytest.raises(ApiError, match="so many are being made"):
            jobs.start(1, quick)
        with pytest.raises(ApiError, match="of none"):
            jobs.job(first.id)
        assert second.status == third.status == "running"
        jobs.forget(second.id)
        await asyncio.sleep(0.01)
        assert second.task.cancelled()
        await jobs.close()
        assert third.task.cancelled()

    asyncio.run(use())


def test_a_report_that_nobody_fetches_is_gone_after_its_time():
    async def use():
        jobs = ReportJobs(kept_s=0.05)

        async def quick(count):
            return b"%PDF"

        job = jobs.start(0, quick)
        await asyncio.sleep(0.01)
        assert jobs.job(job.id).status == "done"
        await asyncio.sleep(0.2)
        with pytest.raises(ApiError, match="of none"):
            jobs.job(job.id)

    asyncio.run(use())


def test_a_report_that_fails_says_so():
    async def use():
        jobs = ReportJobs()

        async def fails(count):
            raise ApiError(503, "worker_lost", "The process was lost.")

        job = jobs.start(1, fails)
        await asyncio.sleep(0.01)
        assert job.described()["report_status"] == "failed"
        assert job.described()["failure"] == "The process was lost."

    asyncio.run(use())
