"""What a person asks of a queue: how it stands, and that dead letters are tried again."""

from __future__ import annotations

from typing import Any

from cxr_transfer.errors import UsageError
from cxr_transfer.pacs.node import queue_of
from cxr_transfer.pacs.queue import Queue
from cxr_transfer.pacs.queue_database import DATABASE
from cxr_transfer.pacs.settings import NodeSettings

_MOST_LETTERS = 100


def status(settings: NodeSettings) -> dict[str, Any]:
    """Return counts by state, answers that wait by destination, and dead letters.

    Args:
        settings: Settings, which name the spool and its key.

    Raises:
        MachineError, UsageError: ``no_spool``, and what opening the queue raises.
    """
    queue = _there(settings)
    try:
        return {
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

    Raises:
        MachineError, UsageError: ``no_spool``, and what opening the queue raises.
    """
    queue = _there(settings)
    try:
        return queue.retry()
    finally:
        queue.close()


def _there(settings: NodeSettings) -> Queue:
    if not (settings.spool / DATABASE).is_file():
        raise UsageError(
            "no_spool",
            f"Expected the spool of a node, but {settings.spool} is none; give --settings or "
            "--spool.",
        )
    return queue_of(settings)
