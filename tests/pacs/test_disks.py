"""A disk that is full or read-only: senders are told so, nothing is lost, and status says it."""

import os
import subprocess

import pytest

from pacs.program import Program
from pacs.sending import image, send

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
OUT_OF_RESOURCES = 0xA700


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A node whose spool is a disk of 24 MB."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "spool").mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", folder / "spool")
    except (subprocess.CalledProcessError, OSError):
        pytest.skip("a disk of its own cannot be mounted here")
    node = Program(folder)
    yield node.start()
    node.stop()
    subprocess.run(["umount", folder / "spool"], check=True)


@pytest.fixture
def filler(small):
    """Let the disk have so many bytes left; what fills it goes away afterwards."""
    path = small.folder / "spool" / "filler"

    def fill(left):
        space = os.statvfs(small.folder / "spool")
        path.write_bytes(bytes(space.f_bavail * space.f_frsize - left))

    yield fill
    path.unlink(missing_ok=True)


def judged(node, number):
    node.wait_for("judged", number)
    return node.status()["states"]


def test_a_full_disk_takes_nothing_and_loses_nothing(small, filler):
    assert send(small.port, image(3001)) == [0]
    assert judged(small, 1)["judged"] == 1
    assert small.status()["disk"]["state"] == "ok"
    filler(8192)
    assert send(small.port, image(3002)) == [OUT_OF_RESOURCES]
    assert small.status()["disk"]["state"] == "full"
    assert "disk is full" in small.ask("status").stdout
    (small.folder / "spool" / "filler").unlink()
    assert send(small.port, image(3002)) == [0]
    states = judged(small, 2)
    assert (states["judged"], states["dead"]) == (2, 0)


def test_what_finds_no_room_for_its_answer_waits_for_it(small, filler):
    before = len(small.lines("judged"))
    again = len(small.lines("judge_again"))
    filler(1_500_000)  # the image finds room, its picture does not
    assert send(small.port, image(3003)) == [0]
    assert small.wait_for("judge_again", again + 1)["reason"] == "disk_full"
    assert small.status()["states"]["received"] == 1
    (small.folder / "spool" / "filler").unlink()
    states = judged(small, before + 1)
    assert (states["received"], states["dead"]) == (0, 0)


def test_a_folder_that_becomes_read_only(small):
    objects = small.folder / "spool" / "objects"
    before = small.status()["states"]
    mount("--bind", objects, objects)
    try:
        mount("-o", "remount,ro,bind", objects)
        assert send(small.port, image(3004)) == [OUT_OF_RESOURCES]
        assert small.status()["disk"]["state"] == "read_only"
        assert small.status()["states"] == before
    finally:
        subprocess.run(["umount", objects], check=True)
    assert send(small.port, image(3004)) == [0]


def test_a_node_does_not_start_on_a_read_only_disk_and_status_tells_why(small):
    """Runs behind the others: the node ends here."""
    assert small.stop() == 0
    spool = small.folder / "spool"
    mount("-o", "remount,ro", spool)
    try:
        refused = small.ask("run", expect=5)
        assert "not_writable" in refused.stderr
        assert "choose another --spool" in refused.stderr
        assert "Traceback" not in refused.stderr
        told = small.ask("status")
        assert "cannot be written" in told.stdout
        assert "dead         0" in told.stdout
    finally:
        mount("-o", "remount,rw", spool)
