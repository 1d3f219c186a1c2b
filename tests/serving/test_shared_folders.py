"""What several servers keep in one folder: who works on what, what a dead one leaves, images."""

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys

import pytest

from cxr_transfer.errors import CxrError
from cxr_transfer.serving import image_files, job_file, job_holds
from cxr_transfer.serving.image_files import ImageFiles
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_store import JobStore
from cxr_transfer.serving.jobs import Jobs
from cxr_transfer.serving.schemas import ApiError
from cxr_transfer.serving.settings import MIB, Settings
from cxr_transfer.serving.shared_images import UploadedImages
from serving.test_job_store import BOUNDS, OK, begin
from serving.test_uploaded_images import uploaded

START = """
import json, os, sys
from pathlib import Path
from cxr_transfer.serving.job_records import Bounds
from cxr_transfer.serving.job_store import JobStore
store = JobStore(Path(sys.argv[1]), Bounds(100, 2**24, 3600, 100), shared=True)
"""


@pytest.fixture
def stores(tmp_path):
    with contextlib.ExitStack() as opened:
        yield [
            opened.enter_context(contextlib.closing(JobStore(tmp_path, BOUNDS, shared=True)))
            for _ in range(2)
        ]


def test_an_image_and_an_end_are_taken_by_one_and_seen_by_all(stores, tmp_path):
    first, second = stores
    number = begin(first, 1, 2)
    here, there = first.take(), second.take()
    assert (here.place, there.place) == (0, 1)
    assert first.take() is second.take() is None
    second.put_back(there, uncounted=True)
    again = first.take()
    assert (again.place, again.tries) == (1, 1)
    first.answer(here, OK, None)
    first.answer(again, [{"status": "error"}], None)
    assert (second.job(number).done, second.job(number).failed) == (2, 1)
    assert second.job(number).seconds_left == 0
    assert first.complete().id == number
    assert second.complete() is None
    first.let_go(number)
    assert second.complete().id == number
    second.end(number)
    first.end(number, failure="too late")
    assert first.job(number).status == "done", "what ends first counts"
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert bytes([1]) * 100 not in kept, "nothing of an image stays on the disk"


def test_what_one_closed_the_other_adds_nothing_to(stores):
    first, second = stores
    number = begin(first, 1, more=True)
    stale = second.job(number)
    first.add(first.job(number), 1, [uploaded(b"two")], more=False)
    with pytest.raises(ApiError, match="no more come"):
        second.add(stale, 2, [uploaded(b"three")], more=True)
    assert not second.job(number).more
    first.remove(number)
    with pytest.raises(ApiError) as gone:
        second.add(stale, 2, [uploaded(b"three")], more=True)
    assert gone.value.code == "unknown_job"


def test_a_job_that_is_sent_to_two_is_one(stores):
    first, second = stores
    number = begin(first, 1, 2, key="of this set")
    assert begin(second, 1, 2, key="of this set") == number
    assert second.job(number).images == 2
    with pytest.raises(ApiError, match="a new Idempotency-Key"):
        begin(second, 1, 3, key="of this set")


def test_an_end_is_told_by_one(stores):
    first, second = stores
    number = begin(first, 1, webhook="http://127.0.0.1/told")
    first.end(number)
    assert first.due_webhook().id == number
    assert second.due_webhook() is None
    first.webhook_tried(number, "waiting", 0)
    assert second.due_webhook().id == number


def test_a_server_that_stands_still_keeps_nothing_for_ever(stores, monkeypatch):
    first, second = stores
    number = begin(first, 1)
    slow = first.take()
    assert second.take() is None
    monkeypatch.setattr(job_holds, "LONGEST_S", 0)
    fast = second.take()
    assert (fast.place, fast.tries) == (0, 2)
    second.answer(fast, OK, None)
    first.answer(slow, [{"status": "error"}], None)
    assert first.answers(number, 0, 9) == [(0, OK)], "the first answers count"


def test_what_a_killed_server_held_is_taken_by_another(stores, tmp_path):
    number = begin(stores[0], 1, 2)
    script = START + "store.take(); os.kill(os.getpid(), 9)"
    ended = subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert ended.returncode == -9
    assert [(one.place, one.tries) for one in (stores[0].take(), stores[1].take())] == [
        (0, 2),
        (1, 1),
    ]
    assert stores[0].job(number).done == 0
    assert len(list((tmp_path / "servers").iterdir())) == 2, "the dead one's file is gone"


@pytest.mark.slow
def test_processes_that_work_at_once_take_each_image_once(stores, tmp_path):
    script = START + (
        "while (one := store.take()) or store.jobs('ward')[0].done < 90:\n"
        "    if one: store.answer(one, [{'status': 'ok', 'by': os.getpid()}], None)\n"
        "store.close()\n"
    )
    number = begin(stores[0], *range(90))
    running = [subprocess.Popen([sys.executable, "-c", script, tmp_path]) for _ in range(3)]
    assert [one.wait(120) for one in running] == [0, 0, 0]
    assert [place for place, _ in stores[0].answers(number, 0, 99)] == list(range(90))
    with contextlib.closing(sqlite3.connect(tmp_path / job_file.FILE)) as base:
        assert base.execute("SELECT max(tries), sum(tries) FROM images").fetchone() == (1, 90)
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_lock_that_was_lost_is_taken_again(stores, tmp_path):
    for path in (tmp_path / "servers").iterdir():
        path.unlink()
    begin(stores[0], 1)
    assert stores[0].take().place == 0
    assert stores[1].take() is None


def test_one_server_alone_and_several_do_not_work_on_one_folder(stores, tmp_path, monkeypatch):
    monkeypatch.setattr(job_file, "_OPENING_S", 0)
    with pytest.raises(CxrError, match="give both one --shared"):
        JobStore(tmp_path, BOUNDS)
    alone = JobStore(tmp_path / "other", BOUNDS)
    number = begin(alone, 1)
    with pytest.raises(CxrError, match="another server works"):
        JobStore(tmp_path / "other", BOUNDS, shared=True)
    alone.close()
    for shared in (True, False):  # A folder may go from one to several, and back.
        one = JobStore(tmp_path / "other", BOUNDS, shared=shared)
        assert one.job(number).images == 1
        one.close()


def test_servers_of_a_folder_are_alike(stores):
    first, second = (store.replicas for store in stores)
    first.join(json.dumps({"models": "a"}))
    second.join(json.dumps({"models": "a"}))
    with pytest.raises(CxrError) as refused:
        second.join(json.dumps({"models": "b"}))
    assert refused.value.code == "other_replicas"


def test_a_file_that_another_server_has_for_too_long_is_busy(tmp_path, monkeypatch):
    monkeypatch.setattr(job_file, "BUSY_S", 0)
    first = JobStore(tmp_path, BOUNDS, shared=True)
    second = Jobs(None, JobStore(tmp_path, BOUNDS, shared=True))

    async def check():
        first._base.execute("BEGIN IMMEDIATE")
        with pytest.raises(ApiError) as busy:
            await second.do(second.store.take)
        assert (busy.value.status_code, busy.value.code) == (503, "busy")
        first._base.execute("ROLLBACK")
        assert await second.do(second.store.take) is None
        await second.close()

    asyncio.run(check())
    first.close()


def test_image_files_are_bounded_and_the_least_used_goes(tmp_path):
    first, second, third = (uploaded(bytes([number]) * 4) for number in range(3))
    here, there = (ImageFiles(tmp_path / "images", 20, 60) for _ in range(2))
    here.keep([first, second])
    for place, one in enumerate((first, second)):
        os.utime(tmp_path / "images" / one.sha256, (1 + place, os.stat(tmp_path).st_mtime))
    assert 0 < there.seconds_left(first.sha256) <= 60
    there.keep([third])
    assert here.look_through() == {first.sha256, third.sha256}
    assert here.read(first.sha256).content == first.content
    assert here.seconds_left(second.sha256) is here.read(second.sha256) is None
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o700


def test_an_image_file_that_is_over_or_damaged_is_none(tmp_path):
    files = ImageFiles(tmp_path, 100, 60)
    old, damaged = uploaded(b"old"), uploaded(b"damaged")
    files.keep([old, damaged])
    (tmp_path / damaged.sha256).write_bytes(b"\ndam")
    assert files.read(damaged.sha256) is None
    os.utime(tmp_path / old.sha256, (1, 1))
    (tmp_path / f".{'0' * 32}.part").write_bytes(b"half")
    os.utime(tmp_path / f".{'0' * 32}.part", (1, 1))
    assert files.seconds_left(old.sha256) is None
    assert files.look_through() == {damaged.sha256}
    assert [path.name for path in tmp_path.iterdir()] == [damaged.sha256]


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(path, content):
        raise image_files.unwritable(path, OSError(28, "No space left on device"))

    files = ImageFiles(tmp_path, 100, 60)
    monkeypatch.setattr(image_files, "write_bytes", full)
    with pytest.raises(ApiError) as refused:
        files.keep([uploaded(b"image")])
    assert (refused.value.status_code, refused.value.code) == (507, "no_room")


def test_what_another_server_removed_is_forgotten_here_without_being_asked(tmp_path, monkeypatch):
    async def check():
        gone = []
        settings = Settings(shared=tmp_path, kept_bytes=MIB)
        here, there = UploadedImages(settings, gone.append), UploadedImages(settings, gone.append)
        image = Upload("name", b"content", "png", uploaded(b"content").sha256)
        await here.keep([image])
        read = await there.upload(image.sha256)
        assert read == image._replace(name=image.sha256)
        there.start()
        await here.forget(image.sha256)
        async with asyncio.timeout(30):
            while len(gone) < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(ApiError):
            await there.upload(image.sha256)
        await there.close()

    monkeypatch.setattr("cxr_transfer.serving.shared_images.LOOK_S", 0.01)
    asyncio.run(check())
