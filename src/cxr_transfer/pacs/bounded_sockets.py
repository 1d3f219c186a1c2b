"""Connections within bounds: who may connect, how long they may take, how much they may send.

pynetdicom reads what a peer announces. Here its sockets refuse what no peer has to send: a PDU of
gigabytes, an object above the limit, more than there is memory for, a PDU that comes drop by drop.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import (
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from cxr_transfer.pacs.settings import Limits
from cxr_transfer.serving.settings import MIB

_ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x00"
"""A-ABORT of the service provider, no reason given: PS3.8, 9.3.8."""

_DATA = 0x04
_LARGEST_OTHER = 65_536 * 4
_LARGEST_COMMAND = 65_536
_PIECE = 65_536


class Memory:
    """Bytes that all associations together hold of objects that are not complete."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take so many bytes; False where there are not as many."""
        with self._lock:
            if self._held + size > self._most:
                return False
            self._held += size
            return True

    def give_back(self, size: int) -> None:
        """Give back so many bytes."""
        with self._lock:
            self._held -= size


class BoundedSocket(AssociationSocket):
    """Socket of one association, which counts what comes.

    Args:
        assoc: Association.
        connection: Connection that was accepted.
        limits: Bounds on what may come.
        memory: Memory of all associations.
    """

    def __init__(
        self, assoc: Association, connection: socket.socket, limits: Limits, memory: Memory
    ) -> None:
        super().__init__(assoc, client_socket=connection)
        self.limits = limits
        self.memory = memory
        self._kind = 0
        self._command = self._object = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes: the head of a PDU, or the rest of it.

        Raises:
            OSError: The peer sends too much, or too slowly; it was told that this is the end.
        """
        is_head = nr_bytes == 6 and not self._kind
        if not is_head:
            most = 1024 * self.limits.pdu_kb + 6 if self._kind == _DATA else _LARGEST_OTHER
            self._refuse(nr_bytes > most)
        content = self._received(nr_bytes)
        if is_head:
            self._kind = content[0] if len(content) == nr_bytes else 0
        else:
            if self._kind == _DATA:
                self._count(content)
            self._kind = 0
        return content

    def close(self) -> None:
        """Close the connection, and give back what it held."""
        self.memory.give_back(self._object)
        self._object = 0
        super().close()

    def _received(self, number: int) -> bytearray:
        connection = self.socket
        if connection is None:
            raise OSError("it was closed")
        content = bytearray()
        end = time.monotonic() + self.limits.idle_s
        while len(content) < number:
            left = end - time.monotonic()
            self._refuse(left <= 0)
            connection.settimeout(max(left, 0.001))
            piece = connection.recv(min(number - len(content), _PIECE))
            if not piece:
                break
            content += piece
        # What is sent may wait as long, too: a peer that reads nothing does not hold a thread.
        connection.settimeout(self.limits.idle_s)
        return content

    def _count(self, content: bytearray) -> None:
        """Count the bytes of the message whose pieces stand in a PDU: PS3.8, 9.3.5 and E.2."""
        place = 0
        while place + 6 <= len(content):
            (length,) = struct.unpack_from(">I", content, place)
            control, size = content[place + 5], max(length - 2, 0)
            if control & 1:
                self._command += size
                self._refuse(self._command > _LARGEST_COMMAND)
            else:
                self._refuse(self._object + size > MIB * self.limits.object_mb)
                self._refuse(not self.memory.take(size))
                self._object += size
            if control & 2:
                self._message_ends(is_command=bool(control & 1))
            place += 4 + max(length, 2)

    def _message_ends(self, *, is_command: bool) -> None:
        self._command = 0
        if not is_command:
            self.memory.give_back(self._object)
            self._object = 0

    def _refuse(self, is_too_much: bool) -> None:
        if not is_too_much:
            return
        if self.socket is not None:
            try:
                self.socket.settimeout(1.0)
                self.socket.sendall(_ABORT)
            except OSError:
                pass
        raise OSError("more than a peer may send")


class _Handler(RequestHandler):
    def _create_association(self) -> Association:
        association = super()._create_association()
        assert isinstance(self.server, BoundedServer)
        # The socket that was made before has put the event of a new connection into the queue.
        association.dul.event_queue.get_nowait()
        association.dul.socket = BoundedSocket(
            association, self.request, self.server.limits, self.server.memory
        )
        return association


class BoundedServer(ThreadedAssociationServer):
    """Server that lets in addresses that may come, and so many connections at once."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        *args: Any,  # noqa: ANN401
        limits: Limits,
        may_come: Callable[[str], bool],
        **others: Any,  # noqa: ANN401
    ) -> None:
        self.limits = limits
        self.memory = Memory(MIB * limits.held_mb)
        self.closing = False
        self._may_come = may_come
        self._tls: ssl.SSLContext | None = None
        others["request_handler"] = _Handler
        super().__init__(*args, **others)
        # The handshake of TLS is done in the connection's own thread: a peer that does not end it
        # holds up nobody.
        self._tls, self.ssl_context = self.ssl_context, None

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401
        """Tell whether a connection may become an association."""
        # A few more than there may be associations: those are told that there are too many.
        has_room = len(self.active_associations) < 2 * self.limits.associations + 2
        return not self.closing and has_room and self._may_come(str(client_address[0]))

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a connection, encrypted where that is asked for."""
        if self._tls is not None:
            request.settimeout(self.limits.handshake_s)
            try:
                request = self._tls.wrap_socket(request, server_side=True)
            except (OSError, ValueError):
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Say nothing: what a peer did wrong is its own affair, and may name somebody."""
