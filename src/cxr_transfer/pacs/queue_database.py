"""The database of the queue: transactions that are durable, the salt of its hashes, its lock.

Knows what can go wrong with a database, and nothing of what the tables mean.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.files import open_own, unwritable
from cxr_transfer.pacs.node_clock import NodeClock
from cxr_transfer.pacs.queue_tables import ADDED, TABLES, VERSION
from cxr_transfer.pacs.spool import Spool, hashed

DATABASE = "queue.sqlite3"
_PROOF = b"the key of this spool"


class QueueDatabase:
    """Tables in a file of the spool folder.

    Args:
        spool: Spool in whose folder the database lies.
        reads_only: Whether nothing is written: for a look at a queue whose disk is full or
            read-only.

    Attributes:
        spool: That spool.
        salt: Salt of the hashes that stand for UIDs.
        clock: The node's clock.

    Raises:
        MachineError: ``disk_full``, ``not_writable`` or ``queue_damaged``.
        UsageError: ``wrong_key`` where the spool was made with another key, or without one;
            ``other_queue`` of another version of this program.
    """

    def __init__(self, spool: Spool, *, reads_only: bool = False) -> None:
        self.spool = spool
        self._lock = threading.RLock()
        self._path = spool.folder / DATABASE
        with self._telling():
            self._database = _readable(self._path) if reads_only else _writable(self._path)
        try:
            if not reads_only:
                self._set_first_facts()
            self.salt = self._checked_salt()
        except BaseException:
            self._database.close()
            raise
        self.clock = NodeClock(float(self._fact("clock") or b"0"))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def hash(self, uid: str) -> str:
        """Return what stands for a UID in this queue."""
        return hashed(self.salt, uid)

    def note_clock(self) -> None:
        """Keep the node's time, so that its next start goes on from it."""
        with self._writing() as database:
            _set_fact(database, "clock", repr(self.clock.now()).encode())

    def _rows(self, question: str, *values: object) -> list[Any]:
        with self._lock, self._telling():
            return self._database.execute(question, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Give the database for one transaction: all of it is durable afterwards, or nothing."""
        with self._lock, self._telling():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # Codes of a full disk are SQLITE_FULL, or an input/output error on the way to it.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise MachineError(
                    "queue_damaged",
                    f"Expected the queue of the spool in {self._path}, but it is damaged: {error}. "
                    "Restore it, or move it away: at the next start the objects of the spool are "
                    "taken up again, and answered as before.",
                ) from None
            number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else errno.EIO
            reason = OSError(number, os.strerror(number) if number == errno.ENOSPC else str(error))
            raise unwritable(self._path, reason, "--spool") from None

    def _fact(self, name: str) -> bytes | None:
        rows = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return bytes(rows[0][0]) if rows else None

    def _set_first_facts(self) -> None:
        """Make at the first start what stays as it is: version, salt, proof of the key."""
        with self._writing() as database:
            for name, value in (
                ("version", str(VERSION).encode()),
                ("salt", os.urandom(16)),
                ("proof", self.spool.sealed("proof", _PROOF)),
            ):
                database.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))

    def _checked_salt(self) -> bytes:
        """Return the salt of the hashes; check version and key on the way."""
        if self._fact("version") != str(VERSION).encode():
            raise UsageError(
                "other_queue",
                f"Expected a queue of version {VERSION} in {self.spool.folder}, but got another; "
                "name another spool folder, or use the program that made it.",
            )
        try:
            is_right = self.spool.opened("proof", self._fact("proof") or b"") == _PROOF
        except MachineError:
            is_right = False
        if not is_right:
            raise UsageError(
                "wrong_key",
                f"Expected the key that the spool {self.spool.folder} was made with, but got "
                f"{'another' if self.spool.is_sealed else 'none'}; give that one as key_file.",
            )
        return self._fact("salt") or b""


def _writable(path: Path) -> sqlite3.Connection:
    database = _connected(path.resolve().as_uri())
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(TABLES)
        there = {row[1] for row in database.execute("PRAGMA table_info(objects)")}
        for column, kind in ADDED.items():
            if column not in there:
                database.execute(f"ALTER TABLE objects ADD COLUMN {column} {kind}")
    except BaseException:
        database.close()
        raise
    return database


def _readable(path: Path) -> sqlite3.Connection:
    """Open a database for a look; beside a node that runs, its latest transactions are seen."""
    database = _connected(f"{path.resolve().as_uri()}?mode=ro")
    try:
        database.execute("SELECT count(*) FROM facts")
    except sqlite3.OperationalError:
        # No node runs, and the index of the write-ahead log can't be made on such a disk.
        database.close()
        database = _connected(f"{path.resolve().as_uri()}?immutable=1")
    return database


def _connected(address: str) -> sqlite3.Connection:
    return sqlite3.connect(
        address, timeout=30, isolation_level=None, check_same_thread=False, uri=True
    )


def _set_fact(database: sqlite3.Connection, name: str, value: bytes) -> None:
    database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


@contextmanager
def only_node(spool: Spool) -> Iterator[None]:
    """Hold a spool for one node; the lock dies with the process, also after ``kill -9``.

    Raises:
        UsageError: ``spool_in_use`` where another node runs on it.
    """
    import fcntl

    path = spool.folder / ".lock"
    try:
        handle = open_own(path, os.O_RDWR)
    except OSError as error:
        raise unwritable(path, error, "--spool") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                "spool_in_use",
                f"Expected a spool that no node uses, but one runs on {spool.folder}; stop it, or "
                "name another folder.",
            ) from None
        yield
    finally:
        os.close(handle)
