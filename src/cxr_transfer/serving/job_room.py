"""Whether there is room for more jobs, and for their images."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_file import free_bytes, no_room
from cxr_transfer.serving.job_records import Bounds
from cxr_transfer.serving.schemas import ApiError
from cxr_transfer.text import human_size


class Room:
    """Room in a file of jobs.

    Args:
        base: File of jobs.
        folder: Folder of the file; None for one in memory.
        bounds: Bounds of what is kept.
    """

    def __init__(self, base: sqlite3.Connection, folder: Path | None, bounds: Bounds) -> None:
        self._base = base
        self._folder = folder
        self._bounds = bounds

    def check_number(self, owner: str) -> int:
        """Refuse another job where too many run, of all owners or of this one; else count them.

        Raises:
            ApiError: 503 ``busy``.
        """
        owners = self._base.execute("SELECT owner FROM jobs WHERE status = 'running'").fetchall()
        for running, most, whose in (
            (len(owners), self._bounds.jobs, "for all clients"),
            (owners.count((owner,)), self._bounds.each, "for each token"),
        ):
            if running >= most:
                raise ApiError(
                    503,
                    "busy",
                    "Expected room for another job, but the number of jobs that are not done is at "
                    f"its bound, {most} {whose}; wait until one is done, or delete one.",
                    {"Retry-After": "5"},
                )
        return len(owners)

    def check_images(self, uploads: Sequence[Upload]) -> None:
        """Refuse images that do not fit.

        Raises:
            ApiError: 507 ``no_room``.
        """
        new = sum(len(upload.content) for upload in uploads)
        free = min(self._bounds.size - self._size(), free_bytes(self._folder))
        if new > free:
            raise no_room(f"for {human_size(new)} of images more")

    def _size(self) -> int:
        ((pages,),) = self._base.execute("PRAGMA page_count")
        ((each,),) = self._base.execute("PRAGMA page_size")
        return int(pages * each)
