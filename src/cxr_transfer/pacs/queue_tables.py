"""The tables of the queue, and the words for its states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

VERSION = 1

WAITING, SENT, DEAD = "waiting", "sent", "dead"
"""States of an answer for one destination."""

NOBODY = ""
"""Destination of answers that were made while the settings named none."""

ANSWER_BYTES = 8 * 2**20
"""Room that is kept for the answers of an object until they are there; usual ones take half."""


class State(StrEnum):
    """State of an object.

    Attributes:
        RECEIVED: It is durable, and waits to be judged.
        JUDGED: Its answers are durable, and wait to be sent.
        SENT: Every destination has taken all answers.
        DONE: It was sent, and its files were deleted when their time was over.
        NOT_FOR_US: No rule holds for it; it gets no answer.
        DEAD: It, or one of its answers, needs a person; the reason says why.
    """

    RECEIVED = "received"
    JUDGED = "judged"
    SENT = "sent"
    DONE = "done"
    NOT_FOR_US = "not_for_us"
    DEAD = "dead"


class Outcome(StrEnum):
    """Outcome of a reception.

    Attributes:
        ACCEPTED: The object is new, and durable now.
        ALREADY_HERE: The same bytes were accepted before.
        OTHER_BYTES: Other bytes were accepted under this SOP Instance UID before.
    """

    ACCEPTED = "accepted"
    ALREADY_HERE = "already_here"
    OTHER_BYTES = "other_bytes"


@dataclass(frozen=True)
class Kept:
    """What is kept of an accepted object.

    Attributes:
        sha256: SHA-256 of its data set.
        sop_class: UID of its SOP class.
        file: Name of its file in the spool; "" where its time is over, and it was deleted.
    """

    sha256: str
    sop_class: str
    file: str


@dataclass(frozen=True)
class Waiting:
    """An object that waits to be judged.

    Attributes:
        uid: Hash of its SOP Instance UID.
        sha256: SHA-256 of its data set.
        file: Name of its file in the spool.
        attempts: Number of attempts that ended without an answer.
    """

    uid: str
    sha256: str
    file: str
    attempts: int


@dataclass(frozen=True)
class Delivery:
    """An answer that waits to be sent to one destination.

    Attributes:
        uid: Hash of the SOP Instance UID of the object that was answered.
        file: Name of the answer's file in the spool.
        destination: Name of the destination.
        attempts: Number of attempts that failed.
        since: Time on the node's clock from which on it waits.
    """

    uid: str
    file: str
    destination: str
    attempts: int
    since: float


TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    number INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    sop_class TEXT NOT NULL,
    file TEXT NOT NULL,
    size INTEGER NOT NULL,
    answer_size INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    rule TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    changed REAL NOT NULL,
    received TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_state ON objects (state, due, number);
CREATE TABLE IF NOT EXISTS deliveries (
    uid TEXT NOT NULL,
    file TEXT NOT NULL,
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    since REAL NOT NULL,
    PRIMARY KEY (uid, file, destination)
);
CREATE INDEX IF NOT EXISTS deliveries_by_state ON deliveries (destination, state, due);
CREATE TABLE IF NOT EXISTS commitments (
    number INTEGER PRIMARY KEY,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    since REAL NOT NULL
);
"""

ADDED = {"answer_size": "INTEGER NOT NULL DEFAULT 0"}
"""Columns of ``objects`` that queues of earlier versions of the program lack."""
