"""Answers go out: once each, whatever the destination, the disk or a file of the spool does."""

import threading

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import SecondaryCaptureImageStorage

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.pacs import store_transport
from cxr_transfer.pacs.dicomweb import StowTransport
from cxr_transfer.pacs.queue import open_queue
from cxr_transfer.pacs.sender import Sender
from cxr_transfer.pacs.settings import Destination, Limits, NodeSettings
from cxr_transfer.pacs.store_transport import StoreTransport
from pacs.sending import image

LIMITS = Limits(free_mb=0, first_wait_s=0.01, longest_wait_s=0.01)


@pytest.fixture
def queue(tmp_path):
    """A queue with answers of two objects for one destination; the first is damaged."""
    queue = open_queue(tmp_path / "spool", None)
    for number, content in enumerate((b"", image(7, SOPClassUID=SecondaryCaptureImageStorage))):
        queue.add(f"uid{number}", "a" * 64, "1.2", f"objects/{number}", 10)
        queue.spool.write(f"answers/{number}", content)
        queue.judged(f"uid{number}", "rule", [f"answers/{number}"], ["archive"])
    yield queue
    queue.close()


@pytest.fixture
def archive():
    """An archive that says of every object what it is told to say; and what came."""
    said, came = [0], []

    def stored(event):
        came.append(event.request.AffectedSOPInstanceUID)
        return said[0]

    application = AE(ae_title="ARCHIVE")
    application.add_supported_context(SecondaryCaptureImageStorage)
    server = application.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, stored)]
    )
    yield (
        Destination(
            name="archive", ae="ARCHIVE", address="127.0.0.1", port=server.server_address[1]
        ),
        said,
        came,
    )
    server.shutdown()


def states(queue):
    return {name: number for name, number in queue.counts().items() if number}


def test_a_damaged_answer_is_a_dead_letter_and_keeps_nobody_waiting(queue, archive):
    destination, _, came = archive
    transport = StoreTransport(NodeSettings(), destination)
    Sender(queue, "archive", transport, LIMITS).send_due()
    assert states(queue) == {"dead": 1, "sent": 1}
    assert queue.dead_letters(1)[0]["reason"] == "spool_damaged"
    assert len(came) == 1
    (refused,) = StowTransport("http://127.0.0.1:1").send([b""])
    assert refused.for_good


def test_what_the_archive_has_already_is_sent(queue, archive):
    destination, said, _ = archive
    said[0] = 0x0111
    Sender(queue, "archive", StoreTransport(NodeSettings(), destination), LIMITS).send_due()
    assert states(queue)["sent"] == 1


def test_certificates_that_are_being_renewed_are_waited_for(queue, archive, monkeypatch):
    destination, _, _ = archive

    def absent(*_, **__):
        raise UsageError("bad_certificate", "Expected a certificate, but there is none.")

    settings = NodeSettings()
    encrypted = destination.model_copy(update={"tls": True})
    transport = StoreTransport(settings.model_copy(update={"tls": object()}), encrypted)
    sender = Sender(queue, "archive", transport, LIMITS)
    with monkeypatch.context() as patch:
        patch.setattr(store_transport, "tls_context", absent)
        sender.send_due()
    assert queue.unsent() == {"archive": 2}
    assert sender.is_away


def test_on_a_full_disk_nothing_is_sent_twice(queue, archive, monkeypatch):
    destination, _, came = archive
    sender = Sender(queue, "archive", StoreTransport(NodeSettings(), destination), LIMITS)
    sender.send_due()  # the damaged one is out of the way
    queue.spool.write("answers/2", image(8, SOPClassUID=SecondaryCaptureImageStorage))
    queue.add("uid2", "a" * 64, "1.2", "objects/2", 10)
    queue.judged("uid2", "rule", ["answers/2"], ["archive"])

    def full(_):
        raise MachineError("disk_full", "Expected room, but there is none; free some.")

    with monkeypatch.context() as patch:
        patch.setattr(queue, "delivered", full)
        for _ in range(3):
            with pytest.raises(MachineError):
                sender.send_due()
    assert len(came) == 2
    sender.send_due()
    assert states(queue) == {"dead": 1, "sent": 2}
    assert len(came) == 2


def test_a_fault_that_nobody_foresaw_does_not_end_a_thread(tmp_path):
    from cxr_transfer.pacs.node import Node

    node = Node(NodeSettings(spool=tmp_path / "spool"))
    done = threading.Event()
    faults = [ZeroDivisionError, MachineError]

    def work():
        if faults:
            raise faults.pop()("code", "Expected nothing like it.")
        done.set()

    node._kept_up("work", work)
    assert done.is_set()
    node.queue.close()
