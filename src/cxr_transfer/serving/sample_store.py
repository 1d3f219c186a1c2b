"""Decoded images at full depth, kept for a while: parts of one are cut without decoding it again.

Bounded by bytes. What was not used for longest goes first where room is needed, and an image goes
with the file that it was decoded from. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from cxr_transfer.radiograph.full_depth import Samples


class Decoded(NamedTuple):
    """An image at full depth.

    Attributes:
        samples: (height, width), unsigned.
        facts: What is told of it, as `schemas.ImageFacts` has it.
    """

    samples: Samples
    facts: dict[str, Any]


class SampleStore:
    """Decoded images by the SHA-256 of their files.

    Args:
        most: Bytes of all samples together.

    Attributes:
        size: Bytes that are held.
    """

    def __init__(self, most: int) -> None:
        self.size = 0
        self._most = most
        self._kept: OrderedDict[str, Decoded] = OrderedDict()
        self._coming: dict[str, asyncio.Task[Decoded]] = {}

    async def get(self, sha256: str, decode: Callable[[], Awaitable[Decoded]]) -> Decoded:
        """Return an image; who asks while it is decoded for another waits for that.

        Args:
            sha256: Hash of its file.
            decode: Function that decodes it, where it is not kept.

        Raises:
            Exception: What ``decode`` raises.
        """
        if sha256 in self._kept:
            self._kept.move_to_end(sha256)
            return self._kept[sha256]
        if sha256 not in self._coming:
            task = asyncio.create_task(self._decoded(sha256, decode))
            self._coming[sha256] = task
            task.add_done_callback(lambda _: self._coming.pop(sha256, None))
        # A client that leaves does not take the image from the others.
        return await asyncio.shield(self._coming[sha256])

    def forget(self, sha256: str) -> None:
        """Forget an image; one that is being decoded is not kept."""
        self._coming.pop(sha256, None)
        if decoded := self._kept.pop(sha256, None):
            self.size -= decoded.samples.nbytes

    async def _decoded(self, sha256: str, decode: Callable[[], Awaitable[Decoded]]) -> Decoded:
        decoded = await decode()
        bytes_of = decoded.samples.nbytes
        if self._coming.get(sha256) is not asyncio.current_task() or bytes_of > self._most:
            return decoded
        while self.size + bytes_of > self._most:
            self.forget(next(iter(self._kept)))
        self._kept[sha256] = decoded
        self.size += bytes_of
        return decoded
