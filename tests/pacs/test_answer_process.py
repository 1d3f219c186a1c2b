"""Answers are made in processes of their own: side by side, once, and also when one is lost."""

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from pacs.conftest import archive
from pacs.program import Program
from pacs.sending import image, send, uid

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
BEHIND = "cxr_transfer.pacs.answer_process"


@pytest.fixture(scope="module")
def node(orthanc, tmp_path_factory):
    """A node with two processes of each kind."""
    folder = tmp_path_factory.mktemp("two")
    program = Program(folder, destinations=[archive(orthanc)], limits={"workers": 2})
    yield program.start()
    program.stop()


def makers(node):
    """The processes of a node that make answers."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            is_own = f"PPid:\t{node._process.pid}\n" in (place / "status").read_text()
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if is_own and BEHIND.encode() in words:
            found.append(int(place.name))
    return found


def answered(orthanc, seeds):
    """Modalities of each study's objects in the archive."""
    wanted = {uid("study", seed): Counter() for seed in seeds}
    for tags in orthanc.objects():
        if tags["StudyInstanceUID"] in wanted:
            wanted[tags["StudyInstanceUID"]][tags["Modality"]] += 1
    return wanted.values()


def burst(node, seeds):
    parts = [[image(seed) for seed in part] for part in (seeds[::2], seeds[1::2])]
    senders = [threading.Thread(target=send, args=(node.port, *part)) for part in parts]
    for sender in senders:
        sender.start()
    return senders


def test_a_burst_is_answered_once_by_all_processes(node, orthanc):
    assert len(makers(node)) == 2
    seeds = range(2000, 2008)
    for sender in burst(node, seeds):
        sender.join()
    node.wait_for("sent", 2 * len(seeds))
    assert all(kinds == {"SR": 1, "OT": 1} for kinds in answered(orthanc, seeds))


def test_a_process_that_is_lost_costs_no_answer_and_makes_none_twice(node, orthanc):
    before = len(node.lines("sent"))
    seeds = range(2100, 2106)
    senders = burst(node, seeds)
    node.wait_for("accepted", len(node.lines("accepted")) + 1)
    lost = makers(node)
    for number in lost:
        os.kill(number, signal.SIGKILL)
    for sender in senders:
        sender.join()
    node.wait_for("sent", before + 2 * len(seeds))
    assert all(kinds == {"SR": 1, "OT": 1} for kinds in answered(orthanc, seeds))
    end = time.monotonic() + 60
    while len(new := set(makers(node)) - set(lost)) < 2:  # they are replaced
        assert time.monotonic() < end
        time.sleep(0.1)
    assert new
