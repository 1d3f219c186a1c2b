"""Jobs asked for with the client, against a server that keeps them."""

import asyncio
import re

import pytest

import cxr_transfer as cxr
from cxr_transfer.client_job_requests import is_over
from cxr_transfer.errors import DataError, ImageError, MachineError, ModelError, UsageError
from serving.asking import as_bytes, phantom, running


@pytest.fixture(scope="module")
def keeping(checkpoint, predictor, tmp_path_factory):
    """A server that keeps jobs."""
    with running(checkpoint, CXR_SERVE_JOBS=str(tmp_path_factory.mktemp("jobs"))) as server:
        yield server


@pytest.fixture
def asking(keeping):
    with cxr.Client(keeping.url) as client:
        yield client
        for job in client.jobs():
            client.cancel(job)


@pytest.fixture
def files(tmp_path):
    """Ten images with others between and behind them that cannot be read here or there."""
    images = []
    for number in range(10):
        images.append(tmp_path / f"DOE^{number}.png")
        images[-1].write_bytes(as_bytes(phantom(number)))
    (tmp_path / "text.dcm").write_bytes(b"no image")
    absent = tmp_path / "absent.png"
    return [absent, *images[:4], tmp_path / "text.dcm", absent, *images[4:], absent]


def check(answers, files, predictor):
    assert [answer.index for answer in answers] == list(range(len(files)))
    assert [answer.file for answer in answers] == [*map(str, files)]
    codes = {"absent.png": "missing_file", "text.dcm": "unsupported_format"}
    assert [answer.code for answer in answers] == [codes.get(file.name, "") for file in files]
    for place in (1, 8, 12):
        expected = predictor.predict(files[place])
        assert (answers[place].label, answers[place].model) == (expected.label, expected.model)
        assert answers[place].probabilities == pytest.approx(expected.probabilities, abs=1e-5)


def test_a_large_set_is_submitted_watched_and_read(asking, files, predictor, monkeypatch):
    monkeypatch.setattr("cxr_transfer.client_job_requests.FILES_AT_ONCE", 4)
    monkeypatch.setattr("cxr_transfer.client_job_requests.ANSWERS_AT_ONCE", 3)
    sent, seen = [], []
    job = asking.submit(files, progress=sent.append)
    assert [one.more for one in sent] == [True, True, True, False]
    assert (job.images, job.kind) == (11, "predictions")
    done = asking.wait(job, progress=seen.append)
    assert (done.status, done.done, done.failed, done.share) == ("done", 11, 1, 1.0)
    assert seen[-1] == done
    check(list(asking.answers(done)), files, predictor)
    numbered = list(asking.answers(job.id))
    assert [answer.index for answer in numbered] == list(range(11))
    assert {answer.file for answer in numbered} == {""}
    assert [one.id for one in asking.jobs()] == [job.id]
    asking.cancel(job)
    assert asking.jobs() == []
    with pytest.raises(DataError) as gone:
        asking.job(job)
    assert gone.value.code == "unknown_job"


def test_an_asynchronous_program_gets_the_same(asking, keeping, files, predictor):
    seen = []

    async def ask():
        async with cxr.AsyncClient(keeping.url) as client:
            job = await client.submit(files, heat_map=True, progress=seen.append)
            job = await client.wait(job, progress=seen.append)
            answers = [answer async for answer in client.answers(job)]
            listed = await client.jobs()
            await client.cancel(job.id)
            return answers, listed

    answers, (listed,) = asyncio.run(ask())
    check(answers, files, predictor)
    assert answers[1].heat_map.startswith(b"\x89PNG")
    assert seen[-1].id == listed.id
    assert asking.jobs() == []


def test_a_report_of_two_models_is_fetched_when_it_is_done(models, tmp_path):
    files = [as_bytes(phantom(number)) for number in range(3)]
    with (
        running(*models, CXR_SERVE_JOBS=str(tmp_path / "jobs")) as server,
        cxr.Client(server.url) as client,
    ):
        one, two = (each.name for each in client.models())
        job = client.submit(files[:2], kind="report", model=one, other=two)
        assert job.kind == "report"
        done = client.wait(job)
        answers = list(client.answers(done))
        assert [answer.index for answer in answers] == [0, 0, 1, 1]
        assert len({answer.model for answer in answers}) == 2
        pdf = client.report(done)
        assert len(re.findall(rb"/Type /Page\s", pdf)) == 3
        plain = client.wait(client.submit(files[2:], model=two))
        with pytest.raises(DataError) as refused:
            client.report(plain)
        assert refused.value.code == "no_report"

        async def ask():
            async with cxr.AsyncClient(server.url) as own:
                return await own.report(done.id)

        assert asyncio.run(ask()) == pdf


def test_progress_that_raises_ends_the_wait_alone(asking, files):
    def stop(_):
        raise KeyError

    job = asking.submit(files[1:3])
    with pytest.raises(KeyError):
        asking.wait(job, progress=stop)
    assert asking.wait(job.id).status == "done"


def test_what_cannot_be_sent_to_its_end_is_not_left_half(asking, files, monkeypatch):
    monkeypatch.setattr("cxr_transfer.client_job_requests.FILES_AT_ONCE", 2)
    with pytest.raises(TypeError, match="Expected paths or bytes"):
        asking.submit([*files[1:5], 3])
    assert asking.jobs() == []


@pytest.mark.parametrize(
    ("ask", "kind", "code"),
    [
        (lambda client: client.submit([]), UsageError, "no_images"),
        (lambda client: client.submit(["/absent.png"]), ImageError, "missing_file"),
        (lambda client: client.submit([b"x"], model="none"), ModelError, "unknown_model"),
        (lambda client: client.job("xyz"), UsageError, "bad_job"),
        (lambda client: client.wait("0" * 32), DataError, "unknown_job"),
        (lambda client: list(client.answers("0" * 32)), DataError, "unknown_job"),
        (lambda client: client.cancel("0" * 32), DataError, "unknown_job"),
    ],
)
def test_what_has_no_job_is_an_error_of_the_package(asking, ask, kind, code):
    with pytest.raises(kind) as refused:
        ask(asking)
    assert refused.value.code == code
    assert refused.value.message.startswith("Expected ")


@pytest.mark.parametrize("given", ["image.png", b"image", 3])
def test_what_are_no_files_is_refused(asking, given):
    with pytest.raises(TypeError, match="Expected"):
        asking.submit(given)
    with pytest.raises(TypeError, match="Expected a job"):
        asking.job(3)


def test_a_server_without_jobs_says_so(server):
    with cxr.Client(server.url) as client, pytest.raises(UsageError) as none:
        client.jobs()
    assert none.value.code == "no_jobs"
    assert "--jobs DIR" in none.value.message


def test_a_job_that_failed_says_why():
    job = cxr.ServerJob("0" * 32, "predictions", "failed", False, 2, 1, 0, 0.0, "Other models.", "")
    with pytest.raises(MachineError, match=r"it failed: Other models; begin it again\.") as failed:
        is_over(job)
    assert failed.value.code == "job_failed"
