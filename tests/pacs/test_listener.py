"""The port: who comes in, what is answered to what, and that nothing a peer sends ends it."""

import io
import random
import socket
import struct
import threading
import time
import tracemalloc
import zlib

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    DigitalXRayImageStorageForPresentation,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from cxr_transfer.errors import MachineError
from cxr_transfer.pacs.queue_tables import State
from cxr_transfer.pacs.same_image import is_same_image
from pacs.sending import echo, image, opened, send, uid

PEER = {"ae": "MODALITY", "address": "127.0.0.1"}
pytestmark = pytest.mark.filterwarnings(
    # The peers of these tests are pynetdicom's, which leaves closing a socket to the collector.
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
DX = DigitalXRayImageStorageForPresentation


def test_echo_and_store(listening):
    listener, queue = listening()
    assert echo(listener.port)
    assert send(listener.port, image(1), image(2)) == [0, 0]
    assert queue.counts()["received"] == 2
    for waiting in queue.waiting(10):
        kept = dcmread(io.BytesIO(queue.spool.read(waiting.file)))
        assert str(kept.PatientName) == "Zwiebel^Xaver"


def test_the_bytes_are_kept_as_they_came(listening):
    listener, queue = listening()
    file = image(1, syntax=JPEGLSLossless)
    assert send(listener.port, file) == [0]
    (waiting,) = queue.waiting(1)
    kept = dcmread(io.BytesIO(queue.spool.read(waiting.file)))
    assert kept.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert kept.PixelData == dcmread(io.BytesIO(file)).PixelData


def test_the_same_object_again_and_other_bytes_under_its_uid(listening):
    listener, queue = listening()
    file = image(1)
    assert send(listener.port, file, file) == [0, 0]
    assert send(listener.port, image(1, PatientID="another")) == [0x0111]
    assert queue.counts()["received"] == 1


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000Lossless, DeflatedExplicitVRLittleEndian],
)
def test_the_same_image_converted_on_its_way_is_the_same_object(listening, syntax):
    listener, queue = listening()
    assert send(listener.port, image(1, bits=12)) == [0]
    assert send(listener.port, image(1, syntax, bits=12)) == [0]
    assert send(listener.port, image(2, syntax, bits=12, SOPInstanceUID=uid("image", 1))) == [
        0x0111
    ]
    assert queue.counts()["received"] == 1


def test_what_a_deflated_object_becomes_is_bounded_by_what_it_is_compared_with():
    clear = body(image(1))
    bomb = zlib.compressobj(wbits=-15)
    deflated = bomb.compress(clear + bytes(2**28)) + bomb.flush()
    tracemalloc.start()
    is_same_image(clear, ExplicitVRLittleEndian, deflated, DeflatedExplicitVRLittleEndian)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_who_is_not_named_does_not_come_in(listening):
    listener, _ = listening(peers=[PEER])
    assert echo(listener.port)
    assert not echo(listener.port, calling="STRANGER")
    assert not echo(listener.port, called="OTHER")
    elsewhere, _ = listening(peers=[{"ae": "MODALITY", "address": "10.0.0.0/8"}])
    assert not echo(elsewhere.port)


def test_a_title_belongs_to_its_address(listening):
    peers = [PEER, {"ae": "ELSEWHERE", "address": "10.1.1.1"}]
    listener, _ = listening(peers=peers)
    assert echo(listener.port)
    assert not echo(listener.port, calling="ELSEWHERE")


def test_other_sop_classes_are_not_taken(listening):
    listener, _ = listening()
    ct = "1.2.840.10008.5.1.4.1.1.2"
    association = opened(listener.port, [(ct, ExplicitVRLittleEndian), (DX, JPEGLSLossless)])
    assert [str(context.abstract_syntax) for context in association.accepted_contexts] == [DX]
    association.release()


def test_there_are_so_many_associations_and_no_more(listening):
    listener, _ = listening(limits={"associations": 2})
    held = [opened(listener.port, [(DX, ExplicitVRLittleEndian)]) for _ in range(2)]
    assert all(association.is_established for association in held)
    assert not echo(listener.port)
    for association in held:
        association.release()
    end = time.monotonic() + 10
    while listener.associations and time.monotonic() < end:
        time.sleep(0.02)
    assert echo(listener.port)


def stored(listener, content, sop_class=DX, instance="1.2.3.4"):
    """Send bytes that need be no data set; return the status, None where the peer hung up."""
    from pynetdicom.dimse_primitives import C_STORE

    association = opened(listener.port, [(sop_class, ExplicitVRLittleEndian)])
    assert association.is_established
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, instance
    request.DataSet = io.BytesIO(content)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.01)
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release() if answer else association.abort()
    return answer and answer.Status


def body(file):
    """The data set of a file, without its meta information."""
    stream = io.BytesIO(file)
    meta = dcmread(stream, stop_before_pixels=True).file_meta
    return file[132 + 12 + meta.FileMetaInformationGroupLength :]


def test_what_is_malformed_is_refused_by_its_status(listening):
    listener, queue = listening()
    whole = body(image(1, SOPInstanceUID="1.2.3.4"))
    assert stored(listener, b"\0") == 0xC000
    assert stored(listener, b"no DICOM at all" * 100) == 0xC000
    assert stored(listener, whole[:9]) == 0xC000
    assert stored(listener, whole, instance="1.2.3.5") == 0xA900
    assert stored(listener, whole, sop_class="1.2.840.10008.5.1.4.1.1.1") == 0xA900
    assert queue.counts()["received"] == 0
    assert stored(listener, whole) == 0


def test_an_object_above_the_limit_is_cut_off(listening):
    listener, queue = listening(limits={"object_mb": 1, "held_mb": 1})
    whole = body(image(1, SOPInstanceUID="1.2.3.4"))
    assert stored(listener, whole + bytes(2**21)) is None
    assert queue.counts()["received"] == 0
    assert stored(listener, whole) == 0


def test_without_room_it_is_out_of_resources(listening, monkeypatch):
    listener, queue = listening(limits={"free_mb": 2**29})
    assert send(listener.port, image(1)) == [0xA700]
    assert list(queue.spool.names("objects")) == []
    small, queue = listening(limits={"spool_mb": 20})
    statuses = [send(small.port, image(seed))[0] for seed in range(24)]
    assert statuses[0] == 0
    assert statuses[-1] == 0xA700, "room is kept for the answers, too"
    assert queue.counts()["received"] == statuses.count(0) == 2


@pytest.mark.parametrize("where", ["spool", "row"])
def test_a_disk_that_cannot_be_written_loses_nothing(listening, monkeypatch, where):
    listener, queue = listening()

    def fails(*_):
        raise MachineError("disk_full", "Expected room, but there is none; free some.")

    with monkeypatch.context() as patch:
        owner, name = (queue.spool, "write") if where == "spool" else (queue, "add")
        patch.setattr(owner, name, fails)
        assert send(listener.port, image(1)) == [0xA700]
    assert list(queue.spool.names("objects")) == []
    assert send(listener.port, image(1)) == [0]
    assert queue.counts()["received"] == 1


def test_half_open_connections_end_and_hold_up_nobody(listening):
    listener, _ = listening(limits={"handshake_s": 1.0, "idle_s": 1.0})
    held = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(4)]
    held[0].sendall(b"\x01\x00\x00\x00\xff")  # and no more of it
    assert echo(listener.port)
    for connection in held:
        connection.settimeout(20)
        while connection.recv(1024):  # an abort, and then the end
            pass
        connection.close()
    assert echo(listener.port)


def test_a_peer_that_leaves_in_the_middle_of_an_object(listening):
    listener, queue = listening()
    association = opened(listener.port, [(DX, ExplicitVRLittleEndian)])
    pdv = b"\x01\x00" + body(image(1))[:1000]
    pdu = struct.pack(">I", len(pdv)) + pdv
    association.dul.socket.socket.sendall(b"\x04\x00" + struct.pack(">I", len(pdu) + 5000) + pdu)
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    association.kill()
    assert echo(listener.port)
    assert queue.counts()["received"] == 0


@pytest.mark.parametrize("length", [2**32 - 1, 2**24])
def test_a_pdu_of_gigabytes_is_not_waited_for(listening, length):
    listener, _ = listening()
    for kind in (1, 4):
        with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as connection:
            connection.sendall(struct.pack(">BBI", kind, 0, length) + bytes(1000))
            received = b""
            while piece := connection.recv(1024):
                received += piece
            assert received[:1] in (b"\x07", b"")  # aborted
    assert echo(listener.port)


def test_nothing_that_is_sent_ends_it(listening):
    listener, queue = listening(limits={"associations": 4})
    generator = random.Random(5)
    request = _associate_request()
    whole = body(image(1, SOPInstanceUID="1.2.3.4"))
    for number in range(120):
        if number % 6 == 0:
            wrong = bytearray(whole)
            for _ in range(generator.randrange(1, 40)):
                wrong[generator.randrange(min(len(wrong), 400))] = generator.randrange(256)
            stored(listener, bytes(wrong[: generator.randrange(1, len(wrong))]))
            continue
        content = bytearray(request if number % 2 else generator.randbytes(200))
        for _ in range(generator.randrange(0, 8)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as connection:
            connection.sendall(bytes(content))
    end = time.monotonic() + 30  # the last of these peers may still hold an association
    while not echo(listener.port):
        assert time.monotonic() < end
    assert set(queue.counts()) >= {"received"}


def _associate_request():
    """The bytes of an A-ASSOCIATE-RQ, as a peer sends them."""
    sent = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            connection, _ = server.accept()
            sent.append(connection.recv(65536))
            connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        opened(server.getsockname()[1], [(DX, ExplicitVRLittleEndian)])
        thread.join()
    return sent[0]


def test_a_deflated_object_is_known_by_its_head(listening):
    listener, queue = listening()
    assert send(listener.port, image(1, syntax=DeflatedExplicitVRLittleEndian)) == [0]
    assert queue.counts()["received"] == 1


def asked(*pairs):
    request = Dataset()
    request.TransactionUID = "2.25.77"
    request.ReferencedSOPSequence = []
    for sop_class, instance in pairs:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        request.ReferencedSOPSequence.append(item)
    return request


def committed(association, *pairs):
    status, _ = association.send_n_action(
        asked(*pairs), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    return status.Status


@pytest.mark.parametrize("on", ["the same association", "an association of its own"])
def test_storage_commitment_tells_what_is_safe(listening, on):
    reports, came = [], threading.Event()

    def report(event):
        reports.append((event.event_type, event.event_information))
        came.set()
        return 0, None

    handlers = [(evt.EVT_N_EVENT_REPORT, report)]
    peers = [PEER]
    if on != "the same association":
        modality = AE(ae_title="MODALITY")
        modality.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        server = modality.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        peers = [PEER | {"port": server.server_address[1]}]
    listener, queue = listening(peers=peers)
    stopping = threading.Event()
    thread = threading.Thread(target=listener.commitments.run, args=(stopping,))
    thread.start()
    assert send(listener.port, image(1)) == [0]
    association = opened(
        listener.port,
        [(StorageCommitmentPushModel, ExplicitVRLittleEndian)],
        evt_handlers=handlers,
        ext_neg=[build_role(StorageCommitmentPushModel, scu_role=True, scp_role=True)],
    )
    assert association.is_established
    kept = (DX, uid("image", 1))
    for pairs, kind, reasons in (
        ([kept], 1, []),
        ([kept, (DX, "1.2.3"), ("1.2.840.10008.5.1.4.1.1.1", kept[1])], 2, [0x0112, 0x0119]),
    ):
        came.clear()
        assert committed(association, *pairs) == 0
        assert came.wait(20)
        event_type, told = reports.pop()
        assert (event_type, told.TransactionUID) == (kind, "2.25.77")
        assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence] == [kept[1]]
        assert [item.FailureReason for item in told.get("FailedSOPSequence", [])] == reasons
    (waiting,) = queue.waiting(1)
    queue.close_object(waiting.uid, State.NOT_FOR_US, "")
    assert queue.expire(0) == 1
    came.clear()
    assert committed(association, kept) == 0
    assert came.wait(20)
    _, told = reports.pop()
    assert [item.FailureReason for item in told.FailedSOPSequence] == [0x0112]
    association.release()
    stopping.set()
    thread.join()
    if on != "the same association":
        server.shutdown()
