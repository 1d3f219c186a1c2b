"""Images that were uploaded once, as files that several servers share.

A file has the SHA-256 of its image as its name, and goes when its time is over or when others need
its room: what was not used for longest first. Whichever server removes it, it is gone for all.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cxr_transfer.errors import MachineError
from cxr_transfer.files import unwritable, write_bytes
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.schemas import ApiError

_HALF_WRITTEN_S = 600.0


class ImageFiles:
    """A folder of images.

    A file's time of change is that of the upload, its time of access that of the last use.

    Args:
        folder: Folder; it is made where it is not there.
        most: Bytes of all images together.
        seconds: Time for which an image is kept after its upload.

    Attributes:
        size: Bytes of all images, when they were looked through last.

    Raises:
        MachineError: ``disk_full``, ``not_writable``.
    """

    def __init__(self, folder: Path, most: int, seconds: float) -> None:
        self.size = 0
        self._folder = folder
        self._most = most
        self._seconds = seconds
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error, "--shared") from error
        self.look_through()

    def keep(self, uploads: Sequence[Upload]) -> None:
        """Keep images; others go where there is no room for all.

        Raises:
            ApiError: 507 ``no_room``.
            MachineError: ``not_writable``.
        """
        try:
            for upload in uploads:
                # The name of the format first: the same bytes are read in the same way everywhere.
                content = upload.named.encode() + b"\n" + upload.content
                path = self._folder / upload.sha256
                write_bytes(path, content)
                os.utime(path, (time.time(),) * 2)
        except MachineError as error:
            if error.code != "disk_full":
                raise
            raise ApiError(
                507,
                "no_room",
                "Expected room to keep images, but the servers' folder has none; ask again later, "
                "or send the images with what is asked of them.",
                {"Retry-After": "60"},
            ) from error
        self.look_through({upload.sha256 for upload in uploads})

    def seconds_left(self, sha256: str) -> float | None:
        """Return for how long an image is kept, which is used now; None where there is none."""
        path, now = self._folder / sha256, time.time()
        with suppress(FileNotFoundError):
            uploaded = path.stat().st_mtime
            if (left := uploaded + self._seconds - now) > 0:
                os.utime(path, (now, uploaded))
                return left
        return None

    def read(self, sha256: str) -> Upload | None:
        """Return an image; None where there is none, or not the one that was uploaded."""
        try:
            named, _, content = (self._folder / sha256).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() != sha256:
            return None
        return Upload(sha256, content, named.decode(), sha256)

    def forget(self, sha256: str) -> None:
        """Forget an image."""
        (self._folder / sha256).unlink(missing_ok=True)

    def look_through(self, needed: set[str] | None = None) -> set[str]:
        """Remove what is over and what there is no room for; return the hashes that stay.

        Args:
            needed: Hashes of images that stay in any case.
        """
        now = time.time()
        there: dict[str, os.stat_result] = {}
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # Another server was faster.
                facts = path.stat()
                is_image = not path.name.startswith(".")
                if facts.st_mtime + (self._seconds if is_image else _HALF_WRITTEN_S) < now:
                    path.unlink()
                elif is_image:
                    there[path.name] = facts
        size = sum(facts.st_size for facts in there.values())
        for name in sorted(there.keys() - (needed or set()), key=lambda one: there[one].st_atime):
            if size <= self._most:
                break
            self.forget(name)
            size -= there.pop(name).st_size
        self.size = size
        return set(there)
