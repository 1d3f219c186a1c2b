"""A file of SQLite for jobs: of one process alone, changed in whole steps, read by nobody else."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import sys
from pathlib import Path

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.files import open_own, unwritable
from cxr_transfer.serving.schemas import ApiError

FILE = "jobs.sqlite"
LOCK = "lock"
SPARE_BYTES = 64 * 2**20
"""Room on the disk that stays free: answers are written there, whatever is sent."""

_TABLES = """
PRAGMA auto_vacuum = FULL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT, kind TEXT, asked TEXT, more INTEGER, status TEXT,
    failure TEXT, result BLOB, turn INTEGER, begun REAL, touched REAL,
    webhook TEXT, webhook_state TEXT, webhook_tries INTEGER, webhook_at REAL
);
CREATE TABLE IF NOT EXISTS images (
    job TEXT REFERENCES jobs ON DELETE CASCADE, place INTEGER, sha256 TEXT, name TEXT, named TEXT,
    tries INTEGER, answered INTEGER, failed INTEGER, answers TEXT, content BLOB, picture BLOB,
    PRIMARY KEY (job, place)
);
CREATE INDEX IF NOT EXISTS waiting ON images (job, place) WHERE NOT answered;
PRAGMA foreign_keys = ON;
"""


def open_file(folder: Path | None) -> tuple[sqlite3.Connection, int]:
    """Open the file of a folder, or one in memory; return it, and the lock (-1 in memory).

    Raises:
        UsageError: ``folder_in_use``.
        MachineError: ``not_writable``, ``disk_full``.
    """
    lock = -1 if folder is None else _locked(folder)
    place = ":memory:" if folder is None else str(folder / FILE)
    base: sqlite3.Connection | None = None
    try:
        base = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
        base.executescript(_TABLES)
    except sqlite3.Error as error:
        if base is not None:
            base.close()
        if lock >= 0:
            os.close(lock)
        raise MachineError(
            "not_writable",
            f"Expected jobs at {place}, but got: {error}; give another --jobs, or free space.",
        ) from None
    return base, lock


def free_bytes(folder: Path | None) -> int:
    """Return how many bytes may be added on the disk of a folder; any number in memory."""
    if folder is None:
        return sys.maxsize
    # Half: once in the journal, once in its place.
    return (shutil.disk_usage(folder).free - SPARE_BYTES) // 2


class Change:
    """A change of the file that is whole or absent.

    Raises:
        ApiError: 507 ``no_room`` where the disk is full; nothing is changed.
    """

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base

    def __enter__(self) -> None:
        self._base.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        try:
            if error is None:
                self._base.execute("COMMIT")
        except sqlite3.Error as failed:
            error = failed
        if error is not None and self._base.in_transaction:
            self._base.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise no_room("to write to the disk") from error
            raise error


def no_room(what: str) -> ApiError:
    """Return the refusal of what there is no room for on the disk."""
    return ApiError(
        507,
        "no_room",
        f"Expected room {what}, but the jobs' folder has none; delete jobs that were read, or ask "
        "again later. What was accepted is kept.",
        {"Retry-After": "60"},
    )


def _locked(folder: Path) -> int:
    """Make a folder that only we may read, and hold it; the lock dies with the process."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (FILE, LOCK):  # SQLite gives its other files the rights of this one.
            handle = open_own(folder / name, os.O_RDWR)
            os.fchmod(handle, 0o600)
            if name != LOCK:
                os.close(handle)
    except OSError as error:
        raise unwritable(folder, error, "--jobs") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UsageError(
            "folder_in_use",
            f"Expected a folder of jobs of its own, but another server works on {folder}; stop "
            "that one or give another --jobs.",
        ) from None
    return handle
