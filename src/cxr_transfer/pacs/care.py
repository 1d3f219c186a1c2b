"""What a person asks of a queue: how it stands, and that dead letters are tried again."""

from __future__ import annotations

import os
import shutil
from typing import Any

from cxr_transfer.errors import UsageError
from cxr_transfer.pacs.intake import lack_of_room
from cxr_transfer.pacs.node import addresses, queue_of
from cxr_transfer.pacs.queue import Queue
from cxr_transfer.pacs.queue_database import DATABASE
from cxr_transfer.pacs.settings import NodeSettings
from cxr_transfer.serving.settings import MIB

_MOST_LETTERS = 100
_LEAST_BYTES = MIB // 2  # of a radiograph: no usual one is smaller


def status(settings: NodeSettings) -> dict[str, Any]:
    """Return counts by state, answers that wait by destination, dead letters, and the disk.

    The disk is "ok", "full", "spool_full" (the bound of the settings is reached) or "read_only": in
    all but the first, senders are told to send again later.
    Nothing is written, so it also tells of a disk that takes nothing.

    Args:
        settings: Settings, which name the spool and its key.

    Raises:
        MachineError, UsageError: ``no_spool``, and what opening the queue raises.
    """
    queue = _there(settings, reads_only=True)
    try:
        return {
            "disk": _disk(settings, queue),
            "states": queue.counts(),
            "unsent": queue.unsent(),
            "dead_letters": queue.dead_letters(_MOST_LETTERS),
            "bytes": queue.bytes_kept(),
            "encrypted": queue.spool.is_sealed,
        }
    finally:
        queue.close()


def retry(settings: NodeSettings) -> int:
    """Let all dead letters be tried again; return how many there are.

    Answers for a destination that the settings no longer name go to those that they name.

    Raises:
        MachineError, UsageError: ``no_spool``, and what opening the queue raises.
    """
    queue = _there(settings)
    try:
        number = queue.retry()
        queue.readdress(*addresses(settings))
        return number
    finally:
        queue.close()


def _disk(settings: NodeSettings, queue: Queue) -> dict[str, Any]:
    """Return the state of the spool's disk, and its free bytes."""
    folders = [settings.spool, settings.spool / "objects", settings.spool / "answers"]
    there = [folder for folder in folders if folder.is_dir()]
    free = min(shutil.disk_usage(folder).free for folder in there)
    kept = queue.bytes_kept()
    state: str = lack_of_room(settings.limits, _LEAST_BYTES, free=free, kept=kept) or "ok"
    if any(os.statvfs(folder).f_flag & os.ST_RDONLY for folder in there):
        state = "read_only"
    return {"state": state, "free_bytes": free}


def _there(settings: NodeSettings, *, reads_only: bool = False) -> Queue:
    if not (settings.spool / DATABASE).is_file():
        raise UsageError(
            "no_spool",
            f"Expected the spool of a node, but {settings.spool} is none; give --settings or "
            "--spool.",
        )
    return queue_of(settings, reads_only=reads_only)
