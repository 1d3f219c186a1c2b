"""Uploaded images of one server, or of several: in memory, and where they share a folder, there.

A server keeps in memory what it was sent or was asked for. With a folder, that is for speed alone:
whether an image is there is asked of the folder, each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from cxr_transfer.serving.event_log import log
from cxr_transfer.serving.image_files import ImageFiles
from cxr_transfer.serving.image_store import ImageStore, Upload
from cxr_transfer.serving.schemas import ApiError
from cxr_transfer.serving.settings import Settings

LOOK_S = 5.0
"""Seconds between two looks for what other servers removed, or what is over."""


class UploadedImages:
    """Images by the SHA-256 of their bytes.

    Args:
        settings: Settings of how much is kept, how long, and in which folder.
        on_forget: Function that is called with the hash of an image that is forgotten.

    Attributes:
        seconds: Time for which an image is kept.

    Raises:
        MachineError: ``disk_full``, ``not_writable`` for the folder.
    """

    def __init__(self, settings: Settings, on_forget: Callable[[str], None]) -> None:
        most, self.seconds = settings.kept_bytes, settings.kept_s
        self._memory = ImageStore(most, self.seconds, on_forget)
        self._files: ImageFiles | None = None
        if settings.shared is not None:
            self._files = ImageFiles(settings.shared / "images", most, self.seconds)
        self._looking: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes that are held; with a folder, those in it."""
        return self._memory.size if self._files is None else self._files.size

    def start(self) -> None:
        """Begin to look for what is over."""
        if self._files is not None:
            self._looking = asyncio.create_task(self._look(self._files))

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def keep(self, uploads: Sequence[Upload]) -> None:
        """Keep images; others go where there is no room for all.

        Raises:
            ApiError: 413 ``too_many_bytes`` where they have no room together; 507 ``no_room``.
        """
        self._memory.keep(uploads)
        if self._files is not None:
            await asyncio.to_thread(self._files.keep, uploads)

    async def upload(self, sha256: str) -> Upload:
        """Return an image that is kept.

        Raises:
            ApiError: 404 ``unknown_image``.
        """
        if self._files is None:
            return self._memory.upload(sha256)
        left = await asyncio.to_thread(self._files.seconds_left, sha256)
        if left is None:
            self._memory.forget(sha256)
        elif sha256 not in self._memory.hashes:
            upload = await asyncio.to_thread(self._files.read, sha256)
            if upload is not None:
                with suppress(ApiError):  # Another server may keep larger ones.
                    self._memory.keep([upload], left)
                return upload
        return self._memory.upload(sha256)

    async def forget(self, sha256: str) -> None:
        """Forget an image."""
        self._memory.forget(sha256)
        if self._files is not None:
            await asyncio.to_thread(self._files.forget, sha256)

    async def _look(self, files: ImageFiles) -> None:
        while True:
            # Before the folder is read: an image that is uploaded meanwhile is not missed there.
            known = self._memory.hashes
            try:
                there = await asyncio.to_thread(files.look_through)
                for sha256 in known - there:
                    self._memory.forget(sha256)
            except OSError as error:
                log("images_not_looked_through", type=type(error).__name__)
            await asyncio.sleep(LOOK_S)
