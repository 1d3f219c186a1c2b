"""A queue of jobs in SQLite: what was accepted stays, and each image is answered once.

One file holds jobs, their images and the answers. An image's bytes are there until its answer is.
What was begun when a process ended is begun again; what was answered is not. In a file, where jobs
survive a restart and several servers may share them, or in memory. For one thread at a time. Knows
no network and no request.
"""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.job_file import JOB, Change, open_file
from cxr_transfer.serving.job_holds import ENDING, Holds
from cxr_transfer.serving.job_records import (
    Bounds,
    Job,
    JobImage,
    Kind,
    number_of,
    other_job,
    unknown_job,
)
from cxr_transfer.serving.job_room import Room
from cxr_transfer.serving.replicas import Replicas
from cxr_transfer.serving.schemas import ApiError

_PACE = 20  # images by which the time that is left is told
_TELLING_S = 60.0  # for which nobody else tells of a job's end


class JobStore:
    """Jobs in a folder, or in memory.

    Args:
        folder: Folder of the file; None keeps them in memory.
        bounds: Bounds of what is kept.
        shared: Whether other servers may work on the folder, too.
        option: Option that named the folder, for messages.

    Attributes:
        replicas: Servers of the folder; None where this is the only one.

    Raises:
        UsageError: ``folder_in_use``.
        MachineError: ``not_writable``, ``disk_full``.
    """

    def __init__(
        self, folder: Path | None, bounds: Bounds, *, shared: bool = False, option: str = "--jobs"
    ) -> None:
        self._folder = folder
        self._bounds = bounds
        self._base, self._lock = open_file(folder, shared=shared, option=option)
        # An application that was made and never ran has a store, too, and nobody who closes it.
        weakref.finalize(self, self._base.close)
        self.replicas = Replicas(folder, option) if folder is not None and shared else None
        self._holds = Holds(self._base, self.replicas)
        self._room = Room(self._base, folder, bounds)

    def close(self) -> None:
        """Close the file, and let others have the folder."""
        self._base.close()
        if self.replicas is not None:
            self.replicas.close()
        if self._lock >= 0:
            os.close(self._lock)

    # What clients ask

    def begin(
        self,
        owner: str,
        kind: Kind,
        asked: dict[str, Any],
        uploads: Sequence[Upload],
        *,
        more: bool = False,
        webhook: str | None = None,
        key: str | None = None,
    ) -> str:
        """Keep a job, and return its number; when this returns, it stays.

        With a key that the owner gave before, it is that job, and nothing is added.

        Raises:
            ApiError: 409 ``other_job`` for the key of another one; 503 ``busy`` for too many jobs
                that run; 507 ``no_room``.
        """
        number, now = number_of(owner, key), time.time()
        if (job := self.job(number)) is not None:
            self._check_same(job, kind, asked, uploads)
            return number
        self._room.check_images(uploads)
        running = self._room.check_number(owner)
        if self._folder is None:  # In memory, what is over makes room.
            self._thin_out(self._bounds.jobs - running - 1)
        state = "waiting" if webhook else ""
        facts = (number, owner, kind, json.dumps(asked), more, "running", None, None, 0, now, now)
        row = (*facts, webhook, state, 0, 0.0)
        with Change(self._base):
            if self.job(number) is None:  # Another server may have been faster.
                self._base.execute(f"INSERT INTO jobs VALUES ({', '.join('?' * 15)})", row)
                self._add(number, 0, uploads)
        return number

    def _check_same(
        self, job: Job, kind: Kind, asked: dict[str, Any], uploads: Sequence[Upload]
    ) -> None:
        hashes = self._base.execute(
            "SELECT sha256 FROM images WHERE job = ? ORDER BY place LIMIT ?",
            (job.id, len(uploads)),
        ).fetchall()
        any_request = {"request_id": ""}
        same = (job.kind, job.asked | any_request) == (kind, asked | any_request)
        if not same or hashes != [(upload.sha256,) for upload in uploads]:
            raise other_job()

    def add(self, job: Job, first: int, uploads: Sequence[Upload], *, more: bool) -> None:
        """Add images to a job; those that are there already, at that place, count once.

        Raises:
            ApiError: 404 ``unknown_job``; 409 ``other_image``, ``job_closed``; 507 ``no_room``.
        """
        with Change(self._base):
            now = self.job(job.id)  # Another server may have changed it since.
            if now is None:
                raise unknown_job()
            self._add_new(now, first, uploads, more=more)

    def _add_new(self, job: Job, first: int, uploads: Sequence[Upload], *, more: bool) -> None:
        places = {first + number: upload.sha256 for number, upload in enumerate(uploads)}
        there = dict(
            self._base.execute(
                "SELECT place, sha256 FROM images WHERE job = ? AND place BETWEEN ? AND ?",
                (job.id, first, first + len(uploads) - 1),
            )
        )
        if first > job.images or any(there[place] != places[place] for place in there):
            raise ApiError(
                409,
                "other_image",
                f"Expected the images behind the {job.images} that the job has, or the same again, "
                "but got others at those places; ask the job how many it has.",
            )
        new = [upload for number, upload in enumerate(uploads) if first + number not in there]
        if new and not job.more:
            raise ApiError(
                409,
                "job_closed",
                "Expected a job to which images may be added, but it was told that no more come; "
                "begin another one.",
            )
        self._room.check_images(new)
        self._base.execute(
            "UPDATE jobs SET more = ?, touched = ? WHERE id = ?",
            (more and job.more, time.time(), job.id),
        )
        self._add(job.id, first + len(there), new)

    def _add(self, number: str, first: int, uploads: Sequence[Upload]) -> None:
        rows = [
            (number, first + place, one.sha256, one.name, one.named, one.content)
            for place, one in enumerate(uploads)
        ]
        self._base.executemany(
            "INSERT INTO images VALUES (?, ?, ?, ?, ?, 0, 0, 0, NULL, ?, NULL)", rows
        )

    def job(self, number: str, owner: str | None = None) -> Job | None:
        """Return a job; None where there is none, or where it is somebody else's."""
        jobs = self._jobs("WHERE jobs.id = ?", number)
        return next((job for job in jobs if owner in (None, job.owner)), None)

    def jobs(self, owner: str) -> list[Job]:
        """Return the jobs of an owner, the latest first."""
        return sorted(self._jobs("WHERE owner = ?", owner), key=lambda job: -job.begun)

    def answers(self, number: str, first: int, most: int) -> list[tuple[int, list[dict[str, Any]]]]:
        """Return places and answers of images from a place on, those that have one."""
        rows = self._base.execute(
            "SELECT place, answers FROM images WHERE job = ? AND place >= ? AND answered "
            "ORDER BY place LIMIT ?",
            (number, first, most),
        )
        return [(place, json.loads(answers)) for place, answers in rows]

    def pictures(self, number: str) -> list[bytes]:
        """Return the pictures of a report's images, in order."""
        rows = self._base.execute(
            "SELECT picture FROM images WHERE job = ? ORDER BY place", (number,)
        )
        return [picture or b"" for (picture,) in rows]

    def result(self, number: str) -> bytes:
        """Return a report that was made."""
        (content,) = self._base.execute(
            "SELECT result FROM jobs WHERE id = ?", (number,)
        ).fetchone() or (b"",)
        return content or b""

    def remove(self, number: str) -> None:
        """Remove a job with all that is kept of it."""
        with Change(self._base):
            self._base.execute("DELETE FROM jobs WHERE id = ?", (number,))
        self._wipe()

    # What works on them asks

    def take(self) -> JobImage | None:
        """Take an image that has no answer: of the job that was served least lately."""
        with Change(self._base):
            one = self._next()
            if one is None:
                return None
            number, asked, place = one
            tries, *upload = self._base.execute(
                "SELECT tries, name, content, named, sha256 FROM images "
                "WHERE job = ? AND place = ?",
                (number, place),
            ).fetchone()
            self._base.execute(
                "UPDATE jobs SET turn = (SELECT max(turn) + 1 FROM jobs) WHERE id = ?", (number,)
            )
            self._count_try(number, place, 1)
            self._holds.tell(number, place)
        self._holds.own.add((number, place))
        return JobImage(number, json.loads(asked), place, tries + 1, Upload(*upload))

    def _next(self) -> tuple[str, str, int] | None:
        """Return an image that nobody works on: its job, what that asks, and its place."""
        held = self._holds.all()
        jobs = self._base.execute(
            "SELECT id, asked FROM jobs WHERE status = 'running' ORDER BY turn, begun"
        ).fetchall()
        for number, asked in jobs:
            places = self._base.execute(
                "SELECT place FROM images WHERE job = ? AND NOT answered ORDER BY place LIMIT ?",
                (number, len(held) + 1),
            )
            for (place,) in places:
                if (number, place) not in held:
                    return number, asked, place
        if not held:
            self._base.execute("DELETE FROM pace")  # A pause is no pace.
        return None

    def put_back(self, image: JobImage, *, uncounted: bool = False) -> None:
        """Let an image be taken again.

        Args:
            image: Image that was taken.
            uncounted: Whether the try does not count, since it was not the image's fault.
        """
        self._holds.own.discard((image.job, image.place))
        with Change(self._base):
            if uncounted:
                self._count_try(image.job, image.place, -1)
            self._holds.tell_end(image.job, image.place)

    def answer(
        self, image: JobImage, answers: Sequence[dict[str, Any]], picture: bytes | None
    ) -> None:
        """Keep the answers for an image in place of its bytes; the first ones count."""
        failed = any(answer["status"] == "error" for answer in answers)
        with Change(self._base):
            self._holds.tell_end(image.job, image.place)
            self._base.execute("INSERT INTO pace VALUES (?)", (time.time(),))
            self._base.execute(
                "DELETE FROM pace WHERE rowid <= (SELECT max(rowid) FROM pace) - ?", (_PACE,)
            )
            self._base.execute(
                "UPDATE images SET answers = ?, answered = 1, failed = ?, picture = ?, "
                "content = NULL WHERE job = ? AND place = ? AND NOT answered",
                (json.dumps(answers), failed, picture, image.job, image.place),
            )
        self._holds.own.discard((image.job, image.place))

    def complete(self) -> Job | None:
        """Take a job that runs although all its images have their answers; nobody else gets it.

        It is to be ended, and then, whether that was possible or not, let go.
        """
        with Change(self._base):
            held = self._holds.all()
            jobs = self._jobs(
                "WHERE status = 'running' AND NOT more AND NOT EXISTS "
                "(SELECT 1 FROM images WHERE job = jobs.id AND NOT answered)"
            )
            job = next((job for job in jobs if (job.id, ENDING) not in held), None)
            if job is not None:
                self._holds.tell(job.id, ENDING)
        if job is not None:
            # In the one thread that asks: another may ask before who asked hears of it.
            self._holds.own.add((job.id, ENDING))
        return job

    def let_go(self, number: str) -> None:
        """Let a job that was taken be taken again, if it still runs."""
        self._holds.own.discard((number, ENDING))
        with Change(self._base):
            self._holds.tell_end(number, ENDING)

    def end(self, number: str, *, failure: str | None = None, result: bytes | None = None) -> None:
        """End a job that runs: nothing of its images stays but the answers.

        Where there are too many jobs that are over, the oldest ones go.
        """
        status = "failed" if failure else "done"
        with Change(self._base):
            self._base.execute(
                "UPDATE jobs SET status = ?, failure = ?, result = ?, touched = ?, more = 0 "
                "WHERE id = ? AND status = 'running'",
                (status, failure, result, time.time(), number),
            )
            self._base.execute(
                "UPDATE images SET content = NULL, picture = NULL WHERE job = ?", (number,)
            )
        self._wipe()
        self._thin_out(self._bounds.jobs)

    def expire(self) -> None:
        """Remove what is over, and what was promised more images that did not come."""
        before = time.time() - self._bounds.seconds
        old = self._base.execute(
            "SELECT id FROM jobs WHERE touched < ? AND (status <> 'running' OR more)", (before,)
        ).fetchall()
        for (number,) in old:
            self.remove(number)

    # Who is told of their ends

    def due_webhook(self) -> Job | None:
        """Take a job that ended, of which somebody is to be told now; for a minute nobody else."""
        now = time.time()
        with Change(self._base):
            due = "WHERE status <> 'running' AND webhook_state = 'waiting' AND webhook_at <= ?"
            job = next(self._jobs(due, now), None)
            if job is not None:
                self._base.execute(
                    "UPDATE jobs SET webhook_at = ? WHERE id = ?", (now + _TELLING_S, job.id)
                )
        return job

    def webhook_tried(self, number: str, state: str, next_s: float) -> None:
        """Keep what came of a try to tell somebody, and in how many seconds the next one is due."""
        with Change(self._base):
            self._base.execute(
                "UPDATE jobs SET webhook_state = ?, webhook_tries = webhook_tries + 1, "
                "webhook_at = ? WHERE id = ?",
                (state, time.time() + next_s, number),
            )

    def _jobs(self, where: str, *values: object) -> Iterator[Job]:
        for row in self._base.execute(f"{JOB} {where} GROUP BY jobs.id", values).fetchall():
            job = Job(*row)
            yield job._replace(
                asked=json.loads(row[3]),
                more=bool(job.more),
                done=int(job.done),
                failed=int(job.failed),
            )

    def _count_try(self, number: str, place: int, more: int) -> None:
        self._base.execute(
            "UPDATE images SET tries = tries + ? WHERE job = ? AND place = ?",
            (more, number, place),
        )

    def _thin_out(self, most: int) -> None:
        """Remove jobs that are over, where there are more: the oldest one of whoever has most.

        Else many short jobs of one owner would take away the answers of all others.
        """
        in_order = (
            "SELECT id FROM jobs WHERE status <> 'running' "
            "ORDER BY count(*) OVER (PARTITION BY owner) DESC, touched"
        )
        while len(over := self._base.execute(in_order).fetchall()) > most:
            self.remove(over[0][0])

    def _wipe(self) -> None:
        """Let nothing of what was removed stay in the journal."""
        self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
