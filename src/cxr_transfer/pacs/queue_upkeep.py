"""What is done to a queue as a whole: at a start, when a person asks, when files' time is over.

Single objects come in, are judged and go out in `queue`; here all rows of a kind change at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence

from cxr_transfer.pacs.queue_database import QueueDatabase
from cxr_transfer.pacs.queue_tables import DEAD, NOBODY, SENT, WAITING, State

DAMAGED = "spool_damaged"
"""Reason of a dead letter whose answer is damaged: it can be made again."""

NO_DESTINATION = "no_destination"
"""Reason of a dead letter whose destination the settings no longer name."""


class QueueUpkeep(QueueDatabase):
    """A queue's rows, many at a time; opened as `QueueDatabase` is."""

    def readdress(
        self,
        of_rule: Mapping[str, Sequence[str]],
        others: Sequence[str],
        *,
        only_nobody: bool = False,
    ) -> int:
        """Give answers that were made for nobody, or for who is named no more, a destination.

        Args:
            of_rule: Names of the destinations of each rule, by its name.
            others: Names of the destinations of answers of rules that there are no more.
            only_nobody: Whether answers for who is named no more stay as they are.

        Returns:
            Number of objects whose answers got one.
        """
        named = {name for names in of_rule.values() for name in names} | set(others)
        if not named:
            return 0
        with self._writing() as database:
            rows = [
                row for row in self._astray(database, named) if row[2] == NOBODY or not only_nobody
            ]
            for uid, file, destination, rule, _ in rows:
                database.executemany(
                    "INSERT OR IGNORE INTO deliveries (uid, file, destination, state, since) "
                    "VALUES (?, ?, ?, ?, ?)",
                    [
                        (uid, file, name, WAITING, self.clock.now())
                        for name in of_rule.get(rule, others) or others
                    ],
                )
                database.execute(
                    "DELETE FROM deliveries WHERE uid = ? AND file = ? AND destination = ?",
                    (uid, file, destination),
                )
            objects = {row[0] for row in rows}
            database.executemany(
                "UPDATE objects SET state = ?, reason = '' WHERE uid = ?",
                [(State.JUDGED, uid) for uid in objects],
            )
            for uid in objects:
                self._settle(database, uid)
            return len(objects)

    def bury_astray(self, named: Collection[str]) -> int:
        """Make dead letters of answers for destinations that are named no more.

        Args:
            named: Names of all destinations. Answers that were made for nobody go on waiting.

        Returns:
            Number of objects that they are of.
        """
        with self._writing() as database:
            rows = [
                row
                for row in self._astray(database, named)
                if row[2] != NOBODY and row[4] == WAITING
            ]
            for uid, file, destination, *_ in rows:
                database.execute(
                    "UPDATE deliveries SET state = ?, reason = ? "
                    "WHERE uid = ? AND file = ? AND destination = ?",
                    (DEAD, NO_DESTINATION, uid, file, destination),
                )
            for uid in {row[0] for row in rows}:
                self._settle(database, uid)
            return len({row[0] for row in rows})

    def _astray(
        self, database: sqlite3.Connection, named: Collection[str]
    ) -> list[tuple[str, str, str, str, str]]:
        """Return object, file, destination, rule and state of answers for nobody who is named."""
        rows = database.execute(
            "SELECT d.uid, d.file, d.destination, o.rule, d.state FROM deliveries d "
            "JOIN objects o ON o.uid = d.uid WHERE d.state != ?",
            (SENT,),
        ).fetchall()
        return [row for row in rows if row[2] not in named]

    def retry(self) -> int:
        """Let all dead letters be tried again; return how many objects they are of."""
        with self._writing() as database:
            number = database.execute(
                "SELECT count(*) FROM objects WHERE state = ?", (State.DEAD,)
            ).fetchone()[0]
            # A damaged answer is made again, of an object that is whole; it has the same UID.
            database.execute(
                "DELETE FROM deliveries WHERE uid IN "
                "(SELECT uid FROM deliveries WHERE state = ? AND reason = ?)",
                (DEAD, DAMAGED),
            )
            database.execute(
                "UPDATE deliveries SET state = ?, attempts = 0, due = 0, since = ? WHERE state = ?",
                (WAITING, self.clock.now(), DEAD),
            )
            # One with answers is sent again; one without is judged again, also where another of
            # its answers was still waiting.
            database.execute(
                "UPDATE objects SET attempts = 0, due = 0, state = CASE WHEN uid IN "
                "(SELECT uid FROM deliveries) THEN ? ELSE ? END WHERE state = ? "
                "OR (state = ? AND uid NOT IN (SELECT uid FROM deliveries))",
                (State.JUDGED, State.RECEIVED, State.DEAD, State.JUDGED),
            )
            return int(number)

    def wake(self) -> None:
        """Let nothing wait any longer for its next attempt."""
        with self._writing() as database:
            for table in ("objects", "deliveries", "commitments"):
                database.execute(f"UPDATE {table} SET due = 0 WHERE due > 0")

    def expire(self, keep_s: float) -> int:
        """Delete the files of objects that were finished so long ago; return how many.

        Their rows stay: an object that is sent once more is known again. Dead letters keep their
        files.

        Args:
            keep_s: Seconds on the node's clock.
        """
        rows = self._rows(
            "SELECT uid, file FROM objects WHERE state IN (?, ?) AND file != '' AND changed <= ?",
            *(State.SENT, State.NOT_FOR_US, self.clock.now() - keep_s),
        )
        for uid, file in rows:
            answers = self._rows("SELECT DISTINCT file FROM deliveries WHERE uid = ?", uid)
            for (name,) in [(file,), *answers]:
                self.spool.remove(name)
            with self._writing() as database:
                database.execute("DELETE FROM deliveries WHERE uid = ?", (uid,))
                database.execute(
                    "UPDATE objects SET file = '', state = CASE state WHEN ? THEN ? ELSE state END "
                    "WHERE uid = ?",
                    (State.SENT, State.DONE, uid),
                )
        return len(rows)

    def orphans(self, below: str) -> list[str]:
        """Return the files below a folder of the spool that no row knows."""
        known = {row[0] for row in self._rows("SELECT file FROM objects")}
        known |= {row[0] for row in self._rows("SELECT file FROM deliveries")}
        return [name for name in self.spool.names(below) if name not in known]

    def _settle(self, database: sqlite3.Connection, uid: str) -> None:
        """Give an object the state that its deliveries leave it in."""
        states = dict(
            database.execute(
                "SELECT state, max(reason) FROM deliveries WHERE uid = ? GROUP BY state", (uid,)
            ).fetchall()
        )
        # Without any it is judged again, and was while one of them was on its way.
        if WAITING in states or not states:
            return
        state, reason = (State.DEAD, states[DEAD]) if DEAD in states else (State.SENT, "")
        database.execute(
            "UPDATE objects SET state = ?, reason = ?, changed = ? WHERE uid = ?",
            (state, reason, self.clock.now(), uid),
        )
