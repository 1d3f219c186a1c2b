"""The queue that survives: every accepted object, its state, and what is still to be sent of it.

A row is committed (SQLite, WAL, ``synchronous=FULL``) before anybody is told of it, and a file is
on the disk before its row. So a node that is killed at any moment goes on where it was: an object
without its row was never accepted, and an answer without its row was never sent. Rows hold hashes
of UIDs and no text of a header. Any number of threads may use one queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxr_transfer import provenance
from cxr_transfer.pacs.queue_tables import (
    ANSWER_BYTES,
    DEAD,
    NOBODY,
    SENT,
    WAITING,
    Delivery,
    Kept,
    Outcome,
    State,
    Waiting,
)
from cxr_transfer.pacs.queue_upkeep import QueueUpkeep
from cxr_transfer.pacs.spool import Spool


class Queue(QueueUpkeep):
    """Objects and answers, and where each of them stands; opened as `QueueDatabase` is."""

    # What comes in.

    def add(self, uid: str, sha256: str, sop_class: str, file: str, size: int) -> Outcome:
        """Add an object whose file is on the disk; when this returns it is accepted.

        Args:
            uid: Hash of its SOP Instance UID.
            sha256: SHA-256 of its data set.
            sop_class: UID of its SOP class.
            file: Name of its file in the spool.
            size: Bytes of its data set.

        Raises:
            MachineError: ``disk_full`` or ``not_writable``; it is not accepted then.
        """
        with self._writing() as database:
            row = database.execute("SELECT sha256 FROM objects WHERE uid = ?", (uid,)).fetchone()
            if row is not None:
                return Outcome.ALREADY_HERE if row[0] == sha256 else Outcome.OTHER_BYTES
            database.execute(
                "INSERT INTO objects (uid, sha256, sop_class, file, size, state, changed, received)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(uid, sha256, sop_class, file, size),
                    *(State.RECEIVED, self.clock.now(), provenance.now()),
                ),
            )
            return Outcome.ACCEPTED

    def known(self, uid: str) -> Kept | None:
        """Return what is kept of an accepted object; None of one that never was."""
        rows = self._rows("SELECT sha256, sop_class, file FROM objects WHERE uid = ?", uid)
        return Kept(*rows[0]) if rows else None

    # What is judged.

    def waiting(self, most: int) -> list[Waiting]:
        """Return objects that are to be judged now, the oldest first."""
        rows = self._rows(
            "SELECT uid, sha256, file, attempts FROM objects WHERE state = ? AND due <= ? "
            "ORDER BY number LIMIT ?",
            *(State.RECEIVED, self.clock.now(), most),
        )
        return [Waiting(*row) for row in rows]

    def judged(
        self, uid: str, rule: str, files: Sequence[str], destinations: Sequence[str]
    ) -> None:
        """Note the answers of an object, whose files are on the disk.

        Args:
            uid: Hash of its SOP Instance UID.
            rule: Name of the rule that held.
            files: Names of its answers' files.
            destinations: Names of the destinations of each answer; without any, the answers wait
                until the settings name one.
        """
        now = self.clock.now()
        size = sum(self.spool.size(file) for file in files)
        with self._writing() as database:
            database.executemany(
                "INSERT OR IGNORE INTO deliveries (uid, file, destination, state, since) "
                "VALUES (?, ?, ?, ?, ?)",
                [
                    (uid, file, name, WAITING, now)
                    for file in files
                    for name in destinations or (NOBODY,)
                ],
            )
            database.execute(
                "UPDATE objects SET state = ?, rule = ?, reason = '', changed = ?, "
                "answer_size = ? WHERE uid = ?",
                (State.JUDGED, rule, now, size, uid),
            )
            self._settle(database, uid)

    def close_object(self, uid: str, state: State, reason: str) -> None:
        """Give an object a state in which nothing more is done with it, and the reason."""
        with self._writing() as database:
            database.execute(
                "UPDATE objects SET state = ?, reason = ?, changed = ? WHERE uid = ?",
                (state, reason, self.clock.now(), uid),
            )

    def judge_again(self, uid: str, reason: str, wait_s: float) -> None:
        """Let an object wait for another attempt.

        Args:
            uid: Hash of its SOP Instance UID.
            reason: Reason for which this attempt gave no answer.
            wait_s: Seconds until the next attempt.
        """
        with self._writing() as database:
            database.execute(
                "UPDATE objects SET attempts = attempts + 1, reason = ?, due = ? WHERE uid = ?",
                (reason, self.clock.now() + wait_s, uid),
            )

    # What goes out.

    def due(self, destination: str, most: int) -> list[Delivery]:
        """Return answers that are to be sent to a destination now, the oldest first."""
        rows = self._rows(
            "SELECT uid, file, destination, attempts, since FROM deliveries WHERE destination = ? "
            "AND state = ? AND due <= ? ORDER BY rowid LIMIT ?",
            *(destination, WAITING, self.clock.now(), most),
        )
        return [Delivery(*row) for row in rows]

    def delivered(self, delivery: Delivery) -> None:
        """Note that a destination has taken an answer."""
        self._set_delivery(delivery, SENT, "")

    def undeliverable(self, delivery: Delivery, reason: str) -> None:
        """Make a dead letter of an answer."""
        self._set_delivery(delivery, DEAD, reason)

    def send_again(self, delivery: Delivery, reason: str, wait_s: float) -> None:
        """Let an answer wait for another attempt.

        Args:
            delivery: Answer and destination.
            reason: Reason for which this attempt failed.
            wait_s: Seconds until the next attempt.
        """
        with self._writing() as database:
            database.execute(
                "UPDATE deliveries SET attempts = attempts + 1, reason = ?, due = ? "
                "WHERE uid = ? AND file = ? AND destination = ?",
                (
                    *(reason, self.clock.now() + wait_s),
                    *(delivery.uid, delivery.file, delivery.destination),
                ),
            )

    def _set_delivery(self, delivery: Delivery, state: str, reason: str) -> None:
        with self._writing() as database:
            database.execute(
                "UPDATE deliveries SET state = ?, reason = ? "
                "WHERE uid = ? AND file = ? AND destination = ?",
                (state, reason, delivery.uid, delivery.file, delivery.destination),
            )
            self._settle(database, delivery.uid)

    # Reports of storage commitment, which hold UIDs: sealed as files are.

    def add_commitment(self, body: bytes) -> int:
        """Add a report that is to be sent; return its number."""
        with self._writing() as database:
            added = database.execute(
                "INSERT INTO commitments (body, since) VALUES (?, ?)",
                (self.spool.sealed("commitment", body), self.clock.now()),
            )
            return int(added.lastrowid or 0)

    def due_commitments(self) -> list[tuple[int, bytes, int, float]]:
        """Return number, body, failed attempts and age in seconds of reports to be sent now."""
        now = self.clock.now()
        rows = self._rows(
            "SELECT number, body, attempts, since FROM commitments WHERE due <= ? ORDER BY number",
            now,
        )
        return [
            (number, self.spool.opened("commitment", body), attempts, now - since)
            for number, body, attempts, since in rows
        ]

    def commitment_again(self, number: int, wait_s: float) -> None:
        """Let a report wait for another attempt, so many seconds."""
        with self._writing() as database:
            database.execute(
                "UPDATE commitments SET attempts = attempts + 1, due = ? WHERE number = ?",
                (self.clock.now() + wait_s, number),
            )

    def end_commitment(self, number: int) -> None:
        """Forget a report: it was sent, or nobody takes it."""
        with self._writing() as database:
            database.execute("DELETE FROM commitments WHERE number = ?", (number,))

    # What a person is shown.

    def counts(self) -> dict[str, int]:
        """Return how many objects are in each state, all states named."""
        found = dict(self._rows("SELECT state, count(*) FROM objects GROUP BY state"))
        return {state.value: int(found.get(state.value, 0)) for state in State}

    def dead_letters(self, most: int) -> list[dict[str, str]]:
        """Return hash, reason, rule and time of reception of dead letters, the newest first."""
        rows = self._rows(
            "SELECT uid, reason, rule, received FROM objects WHERE state = ? "
            "ORDER BY number DESC LIMIT ?",
            *(State.DEAD, most),
        )
        names = ("uid_hash", "reason", "rule", "received")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def unsent(self) -> dict[str, int]:
        """Return how many answers wait for each destination."""
        return dict(
            self._rows(
                "SELECT destination, count(*) FROM deliveries WHERE state = ? GROUP BY destination",
                WAITING,
            )
        )

    def oldest(self) -> dict[str, float]:
        """Return for how many seconds of the node's clock the oldest object has been waiting.

        Keys are the states that wait for the node or for a destination; 0 where nothing waits.
        """
        states, now = (State.RECEIVED, State.JUDGED), self.clock.now()
        since = dict(
            self._rows(
                "SELECT state, min(changed) FROM objects WHERE state IN (?, ?) GROUP BY state",
                *states,
            )
        )
        return {state.value: max(0.0, now - since.get(state.value, now)) for state in states}

    def bytes_kept(self) -> int:
        """Return the bytes of all objects and answers that are kept, or are to be made."""
        rows = self._rows(
            "SELECT coalesce(sum(size + CASE state WHEN ? THEN ? ELSE answer_size END), 0) "
            "FROM objects WHERE file != ''",
            *(State.RECEIVED, ANSWER_BYTES),
        )
        return int(rows[0][0])


def open_queue(folder: Path, key: bytes | None, *, reads_only: bool = False) -> Queue:
    """Return the queue of a spool folder, which is made where it is absent.

    Args:
        folder: Spool folder.
        key: Key of 32 bytes; None leaves files in clear.
        reads_only: Whether nothing is written, as `QueueDatabase` takes it.

    Raises:
        MachineError, UsageError: What `Spool` and `Queue` raise.
    """
    return Queue(Spool(folder, key), reads_only=reads_only)
