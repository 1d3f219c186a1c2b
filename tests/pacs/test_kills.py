"""A node that is killed in a burst goes on: what it had accepted is answered, and once."""

import io
import random
import threading
import time

import pytest
from pydicom import dcmread
from pydicom.uid import UID

from pacs.conftest import archive
from pacs.program import Program
from pacs.sending import image, opened, uid

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
IMAGES = 24


def send_all(node, files, taken, ended):
    """Send each file until the node says that it has it, as a modality does."""
    left = list(files)
    while left and not ended.is_set():
        data = dcmread(io.BytesIO(left[0]))
        wanted = [(data.SOPClassUID, UID(data.file_meta.TransferSyntaxUID))]
        association = opened(node.port, wanted, calling="BURST")
        while association.is_established and left:
            try:
                status = association.send_c_store(dcmread(io.BytesIO(left[0])))
            except (RuntimeError, ValueError):
                break
            if not status or status.Status != 0:
                break
            taken.append(left.pop(0))
        if association.is_established:
            association.release()
        time.sleep(0.05)


def test_killed_in_a_burst_nothing_is_lost_and_nothing_answered_twice(tmp_path, orthanc):
    generator = random.Random(11)
    node = Program(tmp_path / "node", destinations=[archive(orthanc)])
    node.start()
    node.write(destinations=[archive(orthanc)], port=node.port)
    files = [image(seed) for seed in range(1000, 1000 + IMAGES)]
    taken, ended = [], threading.Event()
    halves = [files[::2], files[1::2]]
    senders = [
        threading.Thread(target=send_all, args=(node, half, taken, ended)) for half in halves
    ]
    for sender in senders:
        sender.start()
    try:
        for event in ("accepted", "sent"):  # while it receives, and while it sends
            node.wait_for(event, 3)
            time.sleep(generator.random())
            node.kill()
            node.start(ready=False)
        for sender in senders:
            sender.join(120)
        assert len(taken) == IMAGES
        end = time.monotonic() + 120
        while node.status()["states"]["sent"] < IMAGES:
            assert time.monotonic() < end, node.status()
            time.sleep(0.2)
        assert node.status()["states"]["dead"] == 0
        studies = {uid("study", seed) for seed in range(1000, 1000 + IMAGES)}
        found = [tags for tags in orthanc.objects() if tags["StudyInstanceUID"] in studies]
        kinds = sorted((tags["StudyInstanceUID"], tags["Modality"]) for tags in found)
        assert kinds == sorted((study, kind) for study in studies for kind in ("OT", "SR"))
    finally:
        ended.set()
        node.stop()


def test_told_to_stop_it_ends_what_it_has(tmp_path, orthanc):
    node = Program(tmp_path / "node", destinations=[archive(orthanc)])
    node.start()
    association = opened(node.port, [("1.2.840.10008.5.1.4.1.1.1.1", UID("1.2.840.10008.1.2.1"))])
    files = [image(seed) for seed in range(1100, 1104)]
    assert [association.send_c_store(dcmread(io.BytesIO(file))).Status for file in files] == [0] * 4
    association.release()
    assert node.stop() == 0
    assert node.lines("stopped")[0]["sent"] == 4
    assert node.status()["states"]["sent"] == 4
