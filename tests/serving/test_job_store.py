"""The queue in SQLite: what is kept, in which order it is taken, and what is refused."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple

import pytest

from cxr_transfer.errors import CxrError
from cxr_transfer.serving import job_file
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_records import Bounds
from cxr_transfer.serving.job_store import JobStore
from cxr_transfer.serving.schemas import ApiError

BOUNDS = Bounds(100, 2**24, 3600, 100)
OK = [{"status": "ok"}]


def upload(number, size=100):
    return Upload(f"{number:064}", bytes([number]) * size, "", f"{number:064}")


@pytest.fixture
def store(tmp_path):
    one = JobStore(tmp_path / "jobs", BOUNDS)
    yield one
    one.close()


def begin(store, *numbers, owner="ward", **how):
    return store.begin(owner, "predictions", {}, [upload(one) for one in numbers], **how)


def test_an_image_is_answered_once_and_its_bytes_go(store, tmp_path):
    number = begin(store, 7, 8)
    image = store.take()
    assert (image.place, image.tries, image.upload.content) == (0, 1, bytes([7]) * 100)
    store.answer(image, OK, None)
    store.answer(image, [{"status": "error"}], None)
    job = store.job(number)
    assert (job.images, job.done, job.failed) == (2, 1, 0)
    assert store.answers(number, 0, 10) == [(0, OK)]
    store.answer(store.take(), [{"status": "error"}], None)
    assert store.take() is None
    assert store.complete().failed == 1
    assert store.complete() is None, "a job is ended by one"
    store.let_go(number)
    assert store.complete().id == number
    store.end(number)
    store.let_go(number)
    assert store.complete() is None
    kept = b"".join(path.read_bytes() for path in (tmp_path / "jobs").iterdir())
    assert bytes([7]) * 100 not in kept, "nothing of an image stays on the disk"
    assert bytes([8]) * 100 not in kept


def test_what_was_begun_is_begun_again_after_a_restart_and_what_was_answered_is_not(tmp_path):
    first = JobStore(tmp_path, BOUNDS)
    number = begin(first, 1, 2, 3)
    first.answer(first.take(), OK, None)
    assert first.take().place == 1
    first.close()
    second = JobStore(tmp_path, BOUNDS)
    again = second.take()
    assert (again.place, again.tries) == (1, 2)
    second.put_back(again, uncounted=True)
    assert second.take().tries == 2
    assert second.take().place == 2
    assert second.take() is None
    assert second.job(number).done == 1
    second.close()


def test_jobs_take_turns(store):
    long, short = begin(store, 1, 2, 3, 4), begin(store, 5)
    taken = [store.take().job for _ in range(3)]
    assert set(taken[:2]) == {long, short}


def test_a_job_is_seen_by_whoever_began_it(store):
    number = begin(store, 1)
    assert store.job(number, "ward").id == number
    assert store.job(number, "archive") is None
    assert store.jobs("archive") == []


def test_images_that_are_added_twice_count_once(store):
    number = begin(store, 1, 2, more=True)
    store.add(store.job(number), 1, [upload(2), upload(3)], more=True)
    assert store.job(number).images == 3
    with pytest.raises(ApiError, match="others at those places"):
        store.add(store.job(number), 1, [upload(3)], more=True)
    with pytest.raises(ApiError, match="others at those places"):
        store.add(store.job(number), 4, [upload(4)], more=True)
    store.add(store.job(number), 3, [upload(4)], more=False)
    store.add(store.job(number), 3, [upload(4)], more=False)  # the answer was lost
    with pytest.raises(ApiError, match="no more come"):
        store.add(store.job(number), 4, [upload(5)], more=False)
    assert store.job(number).images == 4


def test_a_job_without_the_images_that_were_promised_does_not_end(store):
    begin(store, 1, more=True)
    store.answer(store.take(), OK, None)
    assert store.complete() is None


def test_what_does_not_fit_is_refused_and_nothing_of_it_stays(store, monkeypatch):
    number = begin(store, 1)
    with pytest.raises(ApiError) as full:
        store.begin("ward", "predictions", {}, [upload(2, 2**25)])
    assert (full.value.status_code, full.value.code) == (507, "no_room")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(job_file.SPARE_BYTES + 10))
    with pytest.raises(ApiError, match="What was accepted is kept"):
        begin(store, 3)
    assert [job.id for job in store.jobs("ward")] == [number]


def test_a_disk_that_is_full_takes_nothing_half(store):
    number = begin(store, 1)
    image = store.take()
    ((pages,),) = store._base.execute("PRAGMA page_count")
    store._base.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ApiError) as full:
        store.begin("ward", "predictions", {}, [upload(2), upload(3, 200_000)])
    assert full.value.code == "no_room"
    assert [job.id for job in store.jobs("ward")] == [number]
    with pytest.raises(ApiError):
        store.answer(image, [{"status": "ok", "long": "x" * 100_000}], None)
    store._base.execute("PRAGMA max_page_count = 1000000")
    store.answer(image, OK, None)
    assert store.answers(number, 0, 9) == [(0, OK)]


def test_nobody_else_reads_the_folder_and_no_other_server_works_on_it(store, tmp_path):
    begin(store, 1)
    assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "jobs").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    with pytest.raises(CxrError, match="another server works"):
        JobStore(tmp_path / "jobs", BOUNDS)


def test_what_is_no_folder_of_jobs_is_refused(tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(CxrError, match="to write"):
        JobStore(tmp_path / "file", BOUNDS)
    (tmp_path / job_file.FILE).write_text("no data base, but longer than its head" * 9)
    with pytest.raises(CxrError, match="give another --jobs"):
        JobStore(tmp_path, BOUNDS)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / job_file.FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CxrError, match="it is a link"):
        JobStore(tmp_path / "linked", BOUNDS)
    assert not (tmp_path / "elsewhere").exists()


def end(store, number):
    store.answer(store.take(), OK, None)
    store.end(number)


def test_what_runs_is_bounded_by_owner_and_together(tmp_path):
    store = JobStore(tmp_path, Bounds(3, 2**24, 3600, 2))
    first = begin(store, 1)
    begin(store, 2)
    with pytest.raises(ApiError, match="2 for each token") as full:
        begin(store, 3)
    assert (full.value.status_code, full.value.code) == (503, "busy")
    begin(store, 4, owner="archive")
    with pytest.raises(ApiError, match="3 for all clients"):
        begin(store, 5, owner="archive")
    end(store, first)
    assert begin(store, 6), "what is done keeps nobody out"
    assert store.job(first).status == "done"
    store.close()


def test_of_jobs_that_are_done_the_oldest_of_whoever_has_most_goes(tmp_path):
    store = JobStore(tmp_path, Bounds(4, 2**24, 3600, 4))
    of_archive = begin(store, 1, owner="archive")
    end(store, of_archive)
    of_ward = []
    for number in range(2, 8):
        of_ward.append(begin(store, number))
        end(store, of_ward[-1])
    assert [job.id for job in store.jobs("archive")] == [of_archive]
    assert {job.id for job in store.jobs("ward")} == set(of_ward[-3:])
    store.close()


@pytest.mark.slow
def test_a_job_stays_whenever_the_process_is_killed(tmp_path):
    """Killed right after each job that was accepted: all are there, and the file is whole."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "from cxr_transfer.serving.image_store import Upload\n"
        "from cxr_transfer.serving.job_records import Bounds\n"
        "from cxr_transfer.serving.job_store import JobStore\n"
        "store = JobStore(Path(sys.argv[1]), Bounds(100, 2**24, 3600, 100))\n"
        "store.begin('ward', 'predictions', {}, [Upload('', b'x' * 9000, '', '0' * 64)])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", program, tmp_path], env=os.environ, check=False
        )
        assert ended.returncode == -9
    store = JobStore(tmp_path, BOUNDS)
    assert [job.images for job in store.jobs("ward")] == [1, 1]
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / job_file.FILE)) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
