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
_MOST_HEADER = 2**20
_MOST_PIECES = 2**28

Header = dict[str, Any]
Pieces = list[bytes]


def packed(header: Header, pieces: Sequence[bytes] = ()) -> Pieces:
    """Return a message as buffers to be written one after the other."""
    text = json.dumps(header | {"sizes": [len(piece) for piece in pieces]}).encode()
    return [_LENGTH.pack(len(text)), text, *pieces]


async def read(reader: asyncio.StreamReader) -> tuple[Header, Pieces]:
    """Read one message of a worker's, which an image may have led astray.

    Raises:
        asyncio.IncompleteReadError: The other side left.
        ValueError: It is no message, or a larger one than any worker has to send.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > _MOST_HEADER:
        raise ValueError("a header that is too long")
    header, sizes = _opened(await reader.readexactly(length))
    return header, [await reader.readexactly(size) for size in sizes]


def _opened(text: bytes) -> tuple[Header, list[int]]:
    try:
        header = json.loads(text)
    except RecursionError:
        raise ValueError("a header that is too deep") from None
    sizes = header.pop("sizes", None) if isinstance(header, dict) else None
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("a header without sizes")
    if sum(sizes) > _MOST_PIECES:
        raise ValueError("more bytes than any answer has")
    return header, sizes


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
        received = connection.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return bytes(content)
