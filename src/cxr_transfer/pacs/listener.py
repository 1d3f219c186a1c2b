"""The port at which peers send: C-ECHO, C-STORE, storage commitment.

A peer comes in by its address, its AE title and the title that it calls. What it stores goes to
`Intake`; the status says whether it is durable. Nothing is decoded in these threads.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Any

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
    StorageCommitmentPushModel,
    Verification,
)

from cxr_transfer.errors import ImageError, MachineError, UsageError
from cxr_transfer.pacs.bounded_sockets import BoundedServer
from cxr_transfer.pacs.commitment import Commitments
from cxr_transfer.pacs.intake import IMPLEMENTATION, Intake
from cxr_transfer.pacs.queue_tables import Outcome
from cxr_transfer.pacs.settings import NodeSettings, is_in
from cxr_transfer.pacs.tls import tls_context
from cxr_transfer.serving.event_log import log

TAKEN = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)
"""SOP classes of the objects that are taken, each in every transfer syntax."""

SUCCESS = 0x0000
OUT_OF_RESOURCES, DOES_NOT_MATCH, NOT_UNDERSTOOD = 0xA700, 0xA900, 0xC000  # PS3.4, B.2.3
FAILURE, DUPLICATE = 0x0110, 0x0111  # PS3.7, annex C

_STATUS = {
    "too_many_bytes": OUT_OF_RESOURCES,
    "does_not_match": DOES_NOT_MATCH,
    "not_understood": NOT_UNDERSTOOD,
}
_LOOPBACK = ("127.0.0.0/8", "::1/128")


class Listener:
    """Port of a node.

    Args:
        settings: Settings of who may come.
        intake: Intake of what is stored.
        commitments: Requests for storage commitment.
    """

    def __init__(self, settings: NodeSettings, intake: Intake, commitments: Commitments) -> None:
        self._settings = settings
        self._intake = intake
        self._commitments = commitments
        self._server: BoundedServer | None = None
        _config.LOG_HANDLER_LEVEL = "none"  # its lines hold UIDs and names

    @property
    def port(self) -> int:
        """Port at which it listens."""
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """Number of associations at this moment."""
        active = self._server.active_associations if self._server is not None else []
        return sum(association.is_established for association in active)

    def start(self) -> None:
        """Listen.

        Raises:
            MachineError: ``port_in_use``, ``no_port``.
            UsageError: ``bad_certificate``, ``bad_host``.
        """
        settings = self._settings
        tls = tls_context(settings.tls, accepts=True) if settings.tls is not None else None
        handlers: list[tuple[Any, Callable[[Event], Any]]] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._stored),
            (evt.EVT_N_ACTION, self._asked),
        ]
        try:
            application = self._application()
            server = application.make_server(
                (settings.host, settings.port),
                ssl_context=tls,
                evt_handlers=handlers,  # type: ignore[arg-type]
                server_class=BoundedServer,
                limits=settings.limits,
                may_come=self._may_come,
                refused=lambda code: self._intake.note_refused(code, "a peer"),
            )
        except (OSError, ValueError, OverflowError) as error:
            raise _no_port(settings, error) from None
        assert isinstance(server, BoundedServer)
        application._servers.append(server)  # as `start_server` does, which takes no class
        self._server = server
        threading.Thread(
            target=server.serve_forever, args=(0.1,), name="listener", daemon=True
        ).start()

    def stop(self, seconds: float) -> None:
        """Let nobody in any more, and wait for associations to end, so many seconds at most."""
        server, self._server = self._server, None
        if server is None:
            return
        server.closing = True
        end = time.monotonic() + seconds
        while server.active_associations and time.monotonic() < end:
            time.sleep(0.05)
        for association in server.active_associations:
            association.abort()
        server.shutdown()  # ends what is left, and closes the socket

    def _application(self) -> AE:
        limits = self._settings.limits
        application = AE(ae_title=self._settings.ae)
        application.implementation_class_uid = IMPLEMENTATION
        application.require_called_aet = True
        application.maximum_associations = 2**31  # pynetdicom counts what is no association yet
        application.maximum_pdu_size = 1024 * limits.pdu_kb
        application.acse_timeout = limits.handshake_s
        application.dimse_timeout = application.network_timeout = limits.idle_s
        application.add_supported_context(Verification)
        application.add_supported_context(StorageCommitmentPushModel)
        for taken in TAKEN:
            application.add_supported_context(taken, ALL_TRANSFER_SYNTAXES)
        return application

    def _may_come(self, address: str) -> bool:
        peers = self._settings.peers
        networks = [peer.address for peer in peers] if peers else _LOOPBACK
        may = any(is_in(address, network) for network in networks)
        if not may:
            log("turned_away", reason="address")
        return may

    def _requested(self, event: Event) -> None:
        """Reject a peer whose AE title does not belong to its address."""
        peers = self._settings.peers
        requestor = event.assoc.requestor
        assert requestor.primitive is not None
        title = str(requestor.primitive.calling_ae_title).strip()
        called = str(requestor.primitive.called_ae_title).strip()
        if called != self._settings.ae:
            log("turned_away", reason="called_ae")  # pynetdicom rejects it
        elif peers and not any(
            peer.ae == title and peer.is_at(str(requestor.address)) for peer in peers
        ):
            log("turned_away", reason="calling_ae")
            event.assoc.acse.send_reject(0x01, 0x01, 0x03)  # PS3.8, 9.3.4
        elif self.associations >= self._settings.limits.associations:
            log("turned_away", reason="associations")
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)

    def _stored(self, event: Event) -> int:
        request = event.request
        assert isinstance(request, C_STORE)
        try:
            syntax = str(event.context.transfer_syntax)
            outcome = self._intake.take(
                str(request.AffectedSOPClassUID),
                str(request.AffectedSOPInstanceUID),
                syntax,
                request.DataSet.getvalue() if request.DataSet else b"",
                self._sender(event),
            )
        except ImageError as error:
            return _STATUS[error.code]
        except MachineError:
            return OUT_OF_RESOURCES
        except Exception as error:  # a peer is told, and the node goes on
            log("failed", where="store", type=type(error).__name__)
            return FAILURE
        return DUPLICATE if outcome is Outcome.OTHER_BYTES else SUCCESS

    def _asked(self, event: Event) -> tuple[int, None]:
        try:
            return self._commitments.asked(event), None
        except MachineError:
            return OUT_OF_RESOURCES, None
        except Exception as error:
            log("failed", where="commitment", type=type(error).__name__)
            return FAILURE, None

    def _sender(self, event: Event) -> str:
        """Return the AE title of a peer that is named in the settings; others chose theirs."""
        title = str(event.assoc.requestor.ae_title).strip()
        return title if title in {peer.ae for peer in self._settings.peers} else "a local program"


def _no_port(settings: NodeSettings, error: Exception) -> MachineError | UsageError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return MachineError(
            "port_in_use",
            f"Expected port {settings.port} to be free, but another program listens there; stop it "
            "or give another --port.",
        )
    if number is None or number < 0:
        return UsageError(
            "bad_host",
            f"Expected an address to listen at, but got {settings.host!r}; try 127.0.0.1.",
        )
    return MachineError(
        "no_port",
        f"Expected to listen at {settings.host}:{settings.port}, but got: "
        f"{getattr(error, 'strerror', error)}; give another --host or --port.",
    )
