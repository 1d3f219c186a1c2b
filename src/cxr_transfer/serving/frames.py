"""Messages between the server and its workers: a JSON header and pieces of bytes.

Not pickles: a worker reads what strangers send, and what it answers is read by the server.
Layout: length of the header (4 bytes, big-endian), the header, the pieces; the header's ``sizes``
holds their lengths.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct(">I")

Header = dict[str, Any]
Pieces = list[bytes]


def packed(header: Header, pieces: Sequence[bytes] = ()) -> Pieces:
    """Return a message as buffers to be written one after the other."""
    text = json.dumps(header | {"sizes": [len(piece) for piece in pieces]}).encode()
    return [_LENGTH.pack(len(text)), text, *pieces]


async def read(reader: asyncio.StreamReader) -> tuple[Header, Pieces]:
    """Read one message.

    Raises:
        asyncio.IncompleteReadError: The other side left.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    header: Header = json.loads(await reader.readexactly(length))
    return header, [await reader.readexactly(size) for size in header.pop("sizes")]


def receive(connection: socket.socket) -> tuple[Header, Pieces]:
    """Read one message, waiting for it.

    Raises:
        EOFError: The other side left.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    header: Header = json.loads(_exactly(connection, length))
    return header, [_exactly(connection, size) for size in header.pop("sizes")]


def send(connection: socket.socket, header: Header, pieces: Sequence[bytes] = ()) -> None:
    """Write one message."""
    for buffer in packed(header, pieces):
        connection.sendall(buffer)


def _exactly(connection: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    view = memoryview(content)
    while view:
        got = connection.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return bytes(content)
