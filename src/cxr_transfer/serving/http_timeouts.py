"""HTTP as uvicorn speaks it, with patience that ends: slow, trickling and deaf clients are closed.

uvicorn waits for ever for the rest of a header, for the rest of a body, and for a client to read.
Here each connection is looked at every few seconds. It has to finish its header within two looks,
and read what it asked for at no less than `SLOWEST` bytes a second. Its body has to come before
`Settings.body_s` are over. At no time may it come slower than half the pace that would bring in
that time what has come already: who sent 100 MB at once may not trickle on as who sends little may.
A client that sends at an even pace and would be done in time is never ended. Whose body stops short
is told so before the connection is closed. Knows nothing of what is asked.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from cxr_transfer.serving.problems import ProblemResponse
from cxr_transfer.serving.schemas import ApiError

LOOK_S = 5.0
SLOWEST = 2048
LEAST_SHARE = 0.5
"""Share of the pace that would bring what has come already within `Settings.body_s`: networks are
uneven, and a look is short."""

PIECES = 256
SMALLEST_PIECE = 64
LONGEST_LEFTOVER_S = 4.0
"""Seconds for which the rest of a body is still read when its answer has been given."""

MOST_CONNECTIONS = 1000
LAST_WORD_S = 0.5
"""Seconds that a stopping server waits for a request that may be on its way on a connection."""


class _Connection(h11.Connection):
    """h11's reading of a connection, which ends a body that comes in crumbs.

    Each crumb costs the event loop as much as a large piece. A client that sends them as fast as it
    can would keep everybody else waiting.

    Attributes:
        body_bytes: Bytes of the present request's body that have come.
    """

    def __init__(self, most_header: int) -> None:
        super().__init__(h11.SERVER, most_header)
        self._pieces = 0
        self.body_bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what came next; crumbs are an error of the client's."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self.body_bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self.body_bytes += len(event.data)
            if self._pieces > PIECES and self.body_bytes < SMALLEST_PIECE * self._pieces:
                raise h11.RemoteProtocolError("a body in crumbs")
        return event


class TimeoutProtocol(H11Protocol):
    """A connection whose patience ends."""

    body_s = 120.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._counted = _Connection(self.config.h11_max_incomplete_event_size or 16384)
        self.conn = self._counted
        self._look: asyncio.TimerHandle | None = None
        self._received = 0
        self._before: tuple[str, Any] = ("", None)
        self._since = 0.0
        self._received_before = 0
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to watch a new connection."""
        if len(self.connections) >= MOST_CONNECTIONS:
            transport.abort()
        super().connection_made(transport)
        self._look = self.loop.call_later(LOOK_S, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to watch it."""
        if self._look:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and note how much."""
        self._received += len(data)
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Say that what came is no HTTP, where nothing is answered yet, and close the connection.

        What the application answers comes too late then, and is no error of its.
        """
        self._refuse(
            ApiError(
                400,
                "bad_request",
                "Expected a request of HTTP, but got something else; send it anew.",
            )
        )

    def _refuse(self, refusal: ApiError) -> None:
        """Answer a request that cannot be read to its end, where that can be, and close.

        The request guard is told by the state of the request: log and audit trail have this status.
        """
        can_tell = self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE)
        request_id = uuid.uuid4().hex
        if self.cycle is not None and not self.cycle.response_complete:
            state = self.cycle.scope["state"]
            request_id = state.get("request_id", request_id)
            if can_tell:
                state["cut_off"] = refusal.status_code
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if can_tell:
            self._send_problem(ProblemResponse(refusal, request_id))
        self.transport.close()

    def _send_problem(self, response: ProblemResponse) -> None:
        """Send an answer, whole, after which the connection is closed."""
        headers = [*response.raw_headers, (b"connection", b"close")]
        reason = HTTPStatus(response.status_code).phrase.encode()
        for event in (
            h11.Response(status_code=response.status_code, headers=headers, reason=reason),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")

    def shutdown(self) -> None:
        """Close the connection, but for a request that is on its way."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_WORD_S, super().shutdown)
        else:
            super().shutdown()

    def _watch(self) -> None:
        """End the connection when it is waiting for a client that does nothing, or too little."""
        unsent = self._unread()
        read = (self._unsent - unsent) / LOOK_S
        self._unsent = unsent
        now, state = self.loop.time(), (self._waits_for(), self.cycle)
        if state != self._before:
            self._before, self._since = state, now
        else:
            pace = (self._received - self._received_before) / LOOK_S
            late = now - self._since
            waits_for = state[0]
            if waits_for == "body" and (pace < self._slowest() or late > self.body_s):
                self._refuse(_cut_short())
                # Who does not read it, either, is not waited for.
                self._look = self.loop.call_later(LOOK_S, self.transport.abort)
                return
            if (
                waits_for == "header"
                or (waits_for == "reading" and read < SLOWEST)
                or (waits_for == "leftover" and late >= LONGEST_LEFTOVER_S)
            ):
                self.transport.abort()
                return
        self._received_before = self._received
        self._look = self.loop.call_later(LOOK_S, self._watch)

    def _slowest(self) -> float:
        """Return how many bytes a second the rest of this body must bring: more, the more came."""
        return max(SLOWEST, self._counted.body_bytes / self.body_s * LEAST_SHARE)

    def _unread(self) -> int:
        """Return how many bytes of answers the client has not taken, here and in the system.

        The system takes more only when much of its own has gone: without it, who reads a megabyte
        in a minute seems not to read.
        """
        queued = array.array("i", [0])
        connection = self.transport.get_extra_info("socket")
        with suppress(OSError):
            fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, queued)
        return self.transport.get_write_buffer_size() + queued[0]

    def _waits_for(self) -> str:
        """Return what of the client this connection is waiting for; "" when it is our turn."""
        if self.flow.write_paused:
            return "reading"
        if self.conn.their_state is h11.IDLE:
            return "header"
        if self.conn.their_state is h11.SEND_BODY:
            if self.cycle is not None and self.cycle.response_complete:
                return "leftover"
            return "" if self.flow.read_paused else "body"
        return ""


def _cut_short() -> ApiError:
    """Return the refusal of a body of which the rest does not come."""
    return ApiError(
        408,
        "body_timeout",
        "Expected the whole body of the request, but it stopped short or came too slowly; send it "
        "anew, as long as Content-Length says.",
    )
