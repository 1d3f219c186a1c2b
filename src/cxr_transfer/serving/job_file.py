"""A file of SQLite for jobs, changed in whole steps: of one server alone, or of several at once.

Several take turns by SQLite's own locks. Its journal is then the plain one: the other kind needs
memory that all of them share, which servers on two machines do not have.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import sys
import time
from pathlib import Path

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.files import open_own, unwritable
from cxr_transfer.serving.schemas import ApiError

FILE = "jobs.sqlite"
LOCK = "lock"
SPARE_BYTES = 64 * 2**20
"""Room on the disk that stays free: answers are written there, whatever is sent."""

BUSY_S = 30.0
"""Seconds that a change waits for those of other servers."""

_OPENING_S = 10.0

_TABLES = """
PRAGMA auto_vacuum = FULL;
PRAGMA journal_mode = {journal};
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
CREATE TABLE IF NOT EXISTS held (
    job TEXT REFERENCES jobs ON DELETE CASCADE, place INTEGER, server TEXT, since REAL,
    PRIMARY KEY (job, place)
);
CREATE TABLE IF NOT EXISTS pace (answered REAL);
PRAGMA foreign_keys = ON;
"""

JOB = """
SELECT jobs.id, owner, kind, asked, more, status, failure, begun, touched, webhook, webhook_state,
    webhook_tries, count(place), total(answered), total(failed),
    (SELECT (max(answered) - min(answered)) / (count(*) - 1) FROM pace
    WHERE answered > strftime('%s', 'now') - 600)
FROM jobs LEFT JOIN images ON job = jobs.id
"""
"""Asks for jobs as `job_records.Job` has them, but for the condition and the grouping."""


def open_file(
    folder: Path | None, *, shared: bool = False, option: str = "--jobs"
) -> tuple[sqlite3.Connection, int]:
    """Open the file of a folder, or one in memory; return it, and the lock (-1 in memory).

    Args:
        folder: Folder of the file; None for one in memory.
        shared: Whether other servers may have it open, too.
        option: Option that named the folder, for messages.

    Raises:
        UsageError: ``folder_in_use``.
        MachineError: ``not_writable``, ``disk_full``.
    """
    lock = -1 if folder is None else _locked(folder, shared, option)
    place = ":memory:" if folder is None else str(folder / FILE)
    base: sqlite3.Connection | None = None
    try:
        base = sqlite3.connect(place, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        base.executescript(_TABLES.format(journal="TRUNCATE" if shared else "WAL"))
        if shared:
            _lock(lock, [fcntl.LOCK_SH])  # The others may come.
    except (sqlite3.Error, OSError) as error:
        if base is not None:
            base.close()
        if lock >= 0:
            os.close(lock)
        raise MachineError(
            "not_writable",
            f"Expected jobs at {place}, but got: {error}; give another {option}, or free space.",
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


def _locked(folder: Path, shared: bool, option: str) -> int:
    """Make a folder that only we may read, and hold it; the lock dies with the process.

    The first of several servers has it for itself until its file is made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (FILE, LOCK):  # SQLite gives its other files the rights of this one.
            handle = open_own(folder / name, os.O_RDWR)
            os.fchmod(handle, 0o600)
            if name != LOCK:
                os.close(handle)
    except OSError as error:
        raise unwritable(folder, error, option) from error
    try:
        _lock(handle, [fcntl.LOCK_EX, fcntl.LOCK_SH] if shared else [fcntl.LOCK_EX])
    except BlockingIOError:
        os.close(handle)
        raise UsageError(
            "folder_in_use",
            f"Expected a folder of jobs of its own, but another server works on {folder}; stop "
            f"that one, give another {option}, or give both one --shared.",
        ) from None
    except OSError as error:  # A file system without locks.
        os.close(handle)
        raise unwritable(folder, error, option) from error
    return handle


def _lock(handle: int, kinds: list[int]) -> None:
    """Lock a file in the first way that is free; where others may share it, wait for them.

    Raises:
        BlockingIOError: Somebody else has it.
        OSError: It cannot be locked.
    """
    end = time.monotonic() + (_OPENING_S if fcntl.LOCK_SH in kinds else 0)
    while True:
        for kind in kinds:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if kind == kinds[-1] and time.monotonic() >= end:
                    raise
            else:
                return
        time.sleep(0.05)
