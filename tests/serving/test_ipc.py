"""What a worker sends is read within bounds: an image may have led it astray."""

import asyncio
import json
import struct

import pytest

from cxr_transfer.serving import ipc


def read(content):
    async def fed():
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        reader.feed_eof()
        return await ipc.read(reader)

    return asyncio.run(fed())


def headed(text):
    return struct.pack(">I", len(text)) + text


def test_a_message_comes_as_it_was_sent():
    message = b"".join(ipc.packed({"work": "image"}, [b"one", b"", b"three"]))
    assert read(message) == ({"work": "image"}, [b"one", b"", b"three"])


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 4,
        headed(b"no JSON"),
        headed(b"[" * 100_000),
        headed(b"[]"),
        headed(b"{}"),
        headed(b'{"sizes": 3}'),
        headed(b'{"sizes": [-1]}'),
        headed(b'{"sizes": ["1"]}'),
        headed(json.dumps({"sizes": [2**27] * 3}).encode()),
    ],
)
def test_what_is_no_answer_is_an_error_at_once(content):
    with pytest.raises(ValueError):
        read(content)


def test_who_leaves_in_the_middle_is_gone():
    with pytest.raises(EOFError):
        read(headed(b'{"sizes": [5]}') + b"ab")
