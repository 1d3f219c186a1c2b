"""A generated image goes the whole way: a node of its own, an archive of its own, each step told.

Runs on loopback ports and in a temporary folder; the node that works beside it is not touched. Of
the settings it tries what can be tried without an image: that destinations answer.
"""

from __future__ import annotations

import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.transport import ThreadedAssociationServer

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.errors import CxrError
from cxr_transfer.pacs.node import Node
from cxr_transfer.pacs.queue_tables import State
from cxr_transfer.pacs.settings import Destination, NodeSettings
from cxr_transfer.pacs.store_transport import StoreTransport
from cxr_transfer.radiograph.dicom_writing import grey_dicom

Step = dict[str, Any]
_LONGEST_S = 120.0
_ARCHIVE = "ARCHIVE"


def examine(settings: NodeSettings) -> Iterator[Step]:
    """Yield step after step: its name, whether it went well, and a note; nothing is raised.

    Args:
        settings: Settings of the node that is meant; its rules' models judge.
    """
    with tempfile.TemporaryDirectory(prefix="cxr-doctor-") as folder:
        archive = _Archive()
        try:
            yield from _loop(settings, Path(folder), archive)
        except CxrError as error:
            yield _step("node", False, f"{error.message} [{error.code}]")
        finally:
            archive.close()
    for destination in settings.destinations:
        if destination.stow is None:
            answers = StoreTransport(settings, destination).echo()
            note = "answers C-ECHO" if answers else "does not answer C-ECHO"
            yield _step(f"destination {destination.name}", answers, note)


def _loop(settings: NodeSettings, folder: Path, archive: _Archive) -> Iterator[Step]:
    node = Node(_own_settings(settings, folder, archive))
    failures: list[CxrError] = []
    thread = threading.Thread(target=lambda: _run(node, failures), name="doctor's node")
    thread.start()
    try:
        _wait(lambda: node.is_ready.is_set() or bool(failures))
        if failures:
            raise failures[0]
        yield _step("node", node.is_ready.is_set(), f"listens at port {node.port}, models answer")
        image = _image()
        association = _association(settings.ae, node.port, image)
        if not association.is_established:
            yield _step("association", False, "the node did not accept it")
            return
        try:
            echoed = association.send_c_echo()
            yield _step("C-ECHO", bool(echoed) and echoed.Status == 0, "answered")
            started = time.monotonic()
            stored = association.send_c_store(image)
            is_stored = bool(stored) and stored.Status == 0
            yield _step("C-STORE", is_stored, "success: the image is on the disk")
        finally:
            association.release()
        _wait(lambda: node.queue.counts()[State.SENT] == 1)
        took = time.monotonic() - started
        kinds = ", ".join(sorted(str(answer.SOPClassUID.name) for answer in archive.answers))
        yield _step("answers", bool(archive.answers), f"{kinds or 'none'}, after {took:.2f} s")
        is_same = {answer.StudyInstanceUID for answer in archive.answers} == {
            image.StudyInstanceUID
        }
        yield _step("same study", is_same, "the answers name the image's patient and study")
        yield _step("queue", node.queue.counts()[State.SENT] == 1, "one object, sent")
    finally:
        node.stop()
        thread.join(30)


def _own_settings(settings: NodeSettings, folder: Path, archive: _Archive) -> NodeSettings:
    """Return the settings of a node of the doctor's own, with the models of the one that is meant.

    Every image is judged, by the first rule's model: what the rules match is not tried.
    """
    rule = settings.rules[0]
    own = rule.model_copy(update={"match": type(rule.match)(), "answer_to": ()})
    destination = Destination(name="archive", ae=_ARCHIVE, address="127.0.0.1", port=archive.port)
    return NodeSettings(
        ae=settings.ae,
        port=0,
        spool=folder / "spool",
        destinations=(destination,),
        rules=(own,),
        limits=settings.limits.model_copy(update={"free_mb": 0, "workers": 1, "drain_s": 5.0}),
    )


def _run(node: Node, failures: list[CxrError]) -> None:
    try:
        node.run()
    except CxrError as error:
        failures.append(error)


def _wait(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _LONGEST_S
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)


def _step(name: str, is_well: bool, note: str) -> Step:
    return {"step": name, "ok": is_well, "note": note}


def _image() -> Dataset:
    """Return a generated chest radiograph of nobody."""
    grey = draw_radiograph("normal", rng=np.random.default_rng(7))
    image = dcmread(io.BytesIO(grey_dicom(grey)), force=True)
    image.PatientName, image.PatientID = "Phantom^Generated", "PHANTOM"
    image.BodyPartExamined, image.ViewPosition = "CHEST", "PA"
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.SOPInstanceUID = generate_uid()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def _association(ae: str, port: int, image: Dataset) -> Any:  # noqa: ANN401 - pynetdicom's
    application = AE(ae_title="DOCTOR")
    application.add_requested_context("1.2.840.10008.1.1")
    application.add_requested_context(image.SOPClassUID, ExplicitVRLittleEndian)
    return application.associate("127.0.0.1", port, ae_title=ae)


class _Archive:
    """An archive that keeps in memory what it gets.

    Attributes:
        answers: Objects that came.
        port: Port at which it listens.
    """

    def __init__(self) -> None:
        self.answers: list[Dataset] = []
        application = AE(ae_title=_ARCHIVE)
        application.supported_contexts = AllStoragePresentationContexts
        application.add_supported_context("1.2.840.10008.1.1")
        server = application.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        assert isinstance(server, ThreadedAssociationServer)
        self._server = server
        self.port = int(server.server_address[1])

    def _store(self, event: evt.Event) -> int:
        answer = event.dataset
        answer.file_meta = event.file_meta
        self.answers.append(answer)
        return 0

    def close(self) -> None:
        self._server.shutdown()
