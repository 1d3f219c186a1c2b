"""Storage commitment (PS3.4, annex J): a peer asks whether objects are safe, and gets a report.

A request is noted, durable, before it is answered. Its report goes to the peer's own port where
the settings name one, else on the association that asked, while that lasts.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from cxr_transfer.pacs.queue import Queue
from cxr_transfer.pacs.settings import NodeSettings, Peer
from cxr_transfer.pacs.tls import tls_context
from cxr_transfer.radiograph.silence import silence
from cxr_transfer.serving.event_log import log

_REQUEST = 1
_ALL_SAFE, _SOME_NOT = 1, 2
_NO_SUCH_OBJECT, _OTHER_CLASS = 0x0112, 0x0119  # PS3.3, C.14.1.1
_NO_SUCH_ACTION, _INVALID = 0x0123, 0x0115
_MOST_OBJECTS = 10_000
_GIVE_UP = 12
"""Attempts after which nobody takes a report; the peer may ask again."""


class Commitments:
    """Requests and their reports.

    Args:
        settings: Settings, which name the peers' ports.
        queue: Queue that knows what was accepted, and keeps requests.
    """

    def __init__(self, settings: NodeSettings, queue: Queue) -> None:
        self._settings = settings
        self._queue = queue
        self._associations: dict[int, Association] = {}
        self._woken = threading.Event()

    def asked(self, event: Event) -> int:
        """Note a request; return the status for the peer.

        Raises:
            MachineError: ``disk_full`` or ``not_writable``.
        """
        if event.action_type != _REQUEST:
            return _NO_SUCH_ACTION
        try:
            with silence():
                asked = event.action_information
                objects = [
                    (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
                    for item in asked.ReferencedSOPSequence
                ]
                transaction = str(asked.TransactionUID)
        except Exception:  # pydicom raises every kind for what cannot be read
            return _INVALID
        if not 0 < len(objects) <= _MOST_OBJECTS:
            return _INVALID
        title = str(event.assoc.requestor.ae_title).strip()
        body = {"transaction": transaction, "peer": title, "objects": objects}
        number = self._queue.add_commitment(json.dumps(body).encode())
        self._associations[number] = event.assoc
        self._woken.set()
        return 0

    def run(self, stopping: threading.Event) -> None:
        """Send reports until the node stops."""
        while not stopping.is_set():
            self._woken.wait(0.5)
            self._woken.clear()
            for number, body, attempts, _ in self._queue.due_commitments():
                self._report(number, json.loads(body), attempts)

    def _report(self, number: int, body: dict[str, Any], attempts: int) -> None:
        event_type, report = self._made(body)
        with silence():
            try:
                is_taken = self._sent(number, body["peer"], event_type, report)
            except Exception as error:  # the peer's answer may be anything
                log("failed", where="commitment report", type=type(error).__name__)
                is_taken = False
        if not is_taken and attempts < _GIVE_UP:
            limits = self._settings.limits
            wait = min(limits.first_wait_s * 2**attempts, limits.longest_wait_s)
            self._queue.commitment_again(number, wait)
            return
        log("commitment" if is_taken else "commitment_lost", objects=len(body["objects"]))
        self._associations.pop(number, None)
        self._queue.end_commitment(number)

    def _made(self, body: dict[str, Any]) -> tuple[int, Dataset]:
        report = Dataset()
        report.TransactionUID = body["transaction"]
        safe, failed = [], []
        for sop_class, sop_instance in body["objects"]:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
            known = self._queue.known(self._queue.hash(sop_instance))
            is_here = known is not None and self._queue.spool.size(known.file) > 0
            if known is not None and is_here and known.sop_class == sop_class:
                safe.append(item)
                continue
            # What was deleted when its time was over is nobody's safe copy any more.
            item.FailureReason = _OTHER_CLASS if is_here else _NO_SUCH_OBJECT
            failed.append(item)
        report.ReferencedSOPSequence = safe
        if failed:
            report.FailedSOPSequence = failed
        if not safe:
            del report.ReferencedSOPSequence
        return (_SOME_NOT if failed else _ALL_SAFE), report

    def _sent(self, number: int, title: str, event_type: int, report: Dataset) -> bool:
        peer = next((peer for peer in self._settings.peers if peer.ae == title and peer.port), None)
        if peer is not None and "/" not in peer.address:
            return self._sent_anew(peer, event_type, report)
        association = self._associations.get(number)
        if association is None or not association.is_established:
            return False
        return _is_taken(association, event_type, report)

    def _sent_anew(self, peer: Peer, event_type: int, report: Dataset) -> bool:
        application = AE(ae_title=self._settings.ae)
        application.acse_timeout = application.connection_timeout = 10
        application.dimse_timeout = application.network_timeout = 30
        application.add_requested_context(StorageCommitmentPushModel)
        tls = self._settings.tls
        association = application.associate(
            peer.address,
            peer.port or 0,
            ae_title=peer.ae,
            # The node is the provider, although it opens the association.
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
            tls_args=(tls_context(tls, accepts=False), peer.address) if tls else None,
        )
        if not association.is_established:
            return False
        try:
            return _is_taken(association, event_type, report)
        finally:
            association.release()


def _is_taken(association: Association, event_type: int, report: Dataset) -> bool:
    status, _ = association.send_n_event_report(
        report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    return bool(status) and status.Status == 0
