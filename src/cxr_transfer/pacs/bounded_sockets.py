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
import weakref
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
_CONNECTIONS = 32


class Memory:
    """Bytes that all associations together hold of objects that are not complete.

    Counted anew each time, over the associations that live: whatever way one ends, it holds nothing
    any more.

    Args:
        most: Largest number of bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._sockets: weakref.WeakSet[BoundedSocket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, connection: BoundedSocket) -> None:
        """Count the objects of one more association."""
        with self._lock:
            self._sockets.add(connection)

    def is_over(self) -> bool:
        """Tell whether more is held than may be."""
        with self._lock:
            living = [each for each in self._sockets if each.assoc.is_alive()]
        return sum(each.held for each in living) > self._most


class BoundedSocket(AssociationSocket):
    """Socket of one association, which counts what comes.

    Args:
        assoc: Association.
        connection: Connection that was accepted.
        limits: Bounds on what may come.
        memory: Memory of all associations.
        refused: Function that is called with the code of the reason why an object is not taken.

    Attributes:
        held: Bytes of the object that is being received.
    """

    def __init__(
        self,
        assoc: Association,
        connection: socket.socket,
        limits: Limits,
        memory: Memory,
        refused: Callable[[str], None],
    ) -> None:
        super().__init__(assoc, client_socket=connection)
        self._refused = refused
        self.limits = limits
        self.memory = memory
        self._kind = 0
        self._command = 0
        self.held = 0
        memory.add(self)

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
        if len(content) < nr_bytes:
            self._give_up()
        return content

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self._give_up()

    def _give_up(self) -> None:
        """End the wait for an association of a peer that has left.

        Else whoever connects and leaves, as port scanners and probes do, holds a thread until the
        time for the handshake is over.
        """
        if self.assoc.requestor.primitive is None:
            self.assoc.dul.to_user_queue.put(None)  # type: ignore[arg-type]

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
                self.held += size
                is_large = self.held > MIB * self.limits.object_mb
                is_too_much = is_large or self.memory.is_over()
                if is_too_much:
                    self._refused("too_many_bytes" if is_large else "too_much_at_once")
                self._refuse(is_too_much)
            if control & 2:
                self._command, self.held = 0, self.held if control & 1 else 0
            place += 4 + max(length, 2)

    def _shutdown_socket(self) -> None:
        """Close the connection also where the peer has left before."""
        super()._shutdown_socket()
        if self.socket is not None:
            self.socket.close()

    def _refuse(self, is_too_much: bool) -> None:
        if not is_too_much:
            return
        if self.socket is not None:
            try:
                self.socket.settimeout(1.0)
                self.socket.sendall(_ABORT)
            except OSError:
                pass
        self._give_up()
        raise OSError("more than a peer may send")


class _Handler(RequestHandler):
    def _create_association(self) -> Association:
        association = super()._create_association()
        assert isinstance(self.server, BoundedServer)
        # The socket that was made before has put the event of a new connection into the queue.
        association.dul.event_queue.get_nowait()
        association.dul.socket = BoundedSocket(
            *(association, self.request, self.server.limits, self.server.memory),
            self.server.refused,
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
        refused: Callable[[str], None],
        **others: Any,  # noqa: ANN401
    ) -> None:
        self.limits = limits
        self.refused = refused
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
        # More than there may be associations: the listener tells those that there are too many.
        has_room = len(self.active_associations) < 2 * self.limits.associations + _CONNECTIONS
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
