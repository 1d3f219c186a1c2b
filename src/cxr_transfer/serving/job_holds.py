"""Who works on what: an image, or the end of a job, is held by one server at a time.

A hold ends with its server's life, or after `LONGEST_S`: a server that stands still keeps nothing
for ever. Two may then work on one image; its first answers count.
"""

from __future__ import annotations

import sqlite3
import time

from cxr_transfer.serving.replicas import Replicas

ENDING = -1
"""Place that stands for the end of a job, where others are those of its images."""

LONGEST_S = 600.0
"""Seconds after which others may take what a server that lives still holds: longer than an image
with its heat map takes where much is waiting."""


class Holds:
    """What is held, by this server and by others.

    Args:
        base: File of jobs.
        replicas: Servers of the file; None where this is the only one, which needs to tell nobody.

    Attributes:
        own: Jobs and places that this server holds.
    """

    def __init__(self, base: sqlite3.Connection, replicas: Replicas | None) -> None:
        self.own: set[tuple[str, int]] = set()
        self._base = base
        self._replicas = replicas

    def all(self) -> set[tuple[str, int]]:
        """Return jobs and places that are held."""
        if self._replicas is None:
            return set(self.own)
        living = self._replicas.living() - {self._replicas.name}
        rows = self._base.execute(
            "SELECT job, place, server FROM held WHERE since > ?", (time.time() - LONGEST_S,)
        )
        return self.own | {(job, place) for job, place, server in rows if server in living}

    def tell(self, job: str, place: int) -> None:
        """Tell others that something is held here; within a change of the file."""
        if self._replicas is not None:
            self._base.execute(
                "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)",
                (job, place, self._replicas.name, time.time()),
            )

    def tell_end(self, job: str, place: int) -> None:
        """Tell others that something is held here no more; within a change of the file."""
        if self._replicas is not None:
            self._base.execute(
                "DELETE FROM held WHERE job = ? AND place = ? AND server = ?",
                (job, place, self._replicas.name),
            )
