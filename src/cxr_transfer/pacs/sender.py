"""Answers go out: to each destination in its own thread, again and again until it takes them.

A destination that is away costs one attempt at a time, with waits that double. What it refuses for
good, or has not taken for days, is a dead letter with its reason. An answer has the same UID at
every attempt: a destination that took it before the node knew has it once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from cxr_transfer.errors import MachineError
from cxr_transfer.pacs.node_metrics import NodeMetrics
from cxr_transfer.pacs.queue import Queue
from cxr_transfer.pacs.queue_tables import Delivery
from cxr_transfer.pacs.settings import Limits
from cxr_transfer.serving.event_log import log

HAS_IT = 0x0111
"""Status "duplicate SOP instance" (PS3.7, annex C).

An answer has the same UID each time that it is sent, so the archive has this one.
"""

BATCH = 32
_HOUR = 3600.0
_PAUSE_S = 1.0
"""Seconds after which a disk that took nothing is tried again."""


class Refused(Exception):  # noqa: N818 - it is an event of one answer
    """A destination did not take an answer.

    Attributes:
        reason: Reason in a word, with the status.
        for_good: Whether another attempt is of no use.
    """

    def __init__(self, reason: str, *, for_good: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.for_good = for_good


class Transport(Protocol):
    """A way to one destination."""

    def send(self, contents: Sequence[bytes]) -> Iterator[Refused | None]:
        """Send DICOM files; yield for each, in order, None or why it was not taken."""
        ...


class Sender:
    """Answers for one destination.

    Args:
        queue: Queue of the answers.
        name: Name of the destination.
        transport: Way to it.
        limits: Bounds on waits.
        metrics: Counters of the node; None counts for nobody.
    """

    def __init__(
        self,
        queue: Queue,
        name: str,
        transport: Transport,
        limits: Limits,
        metrics: NodeMetrics | None = None,
    ) -> None:
        self._metrics = metrics or NodeMetrics()
        self.name = name
        self.is_away = False
        self._queue = queue
        self._transport = transport
        self._limits = limits
        self._woken = threading.Event()
        self._unnoted: list[Delivery] = []

    def wake(self) -> None:
        """Look for answers now."""
        self._woken.set()

    def run(self, is_over: Callable[[], bool]) -> None:
        """Send what is due until `is_over` says so."""
        while not is_over():
            self._woken.clear()
            try:
                is_more = self.send_due()
            except MachineError as error:
                log("failed", where="queue", code=error.code)
                self._woken.wait(_PAUSE_S)
                continue
            if not is_more:
                self._woken.wait(0.2)

    def send_due(self) -> bool:
        """Send one batch of what is due; tell whether there may be more.

        Raises:
            MachineError: The queue cannot be written.
        """
        # What a destination has taken, and a full disk kept from being noted, is not sent again.
        while self._unnoted:
            self._queue.delivered(self._unnoted[-1])
            self._unnoted.pop()
        due = self._queue.due(self.name, BATCH)
        if not due:
            return False
        contents, deliveries = [], []
        for delivery in due:
            try:
                contents.append(self._queue.spool.read(delivery.file))
            except MachineError as error:
                self._queue.undeliverable(delivery, error.code)
                continue
            deliveries.append(delivery)
        answered = 0
        try:
            with self._metrics.step("send"):
                refusals = self._transport.send(contents)
                for delivery, refusal in zip(deliveries, refusals, strict=False):
                    answered += 1
                    self._note(delivery, refusal)
        except Refused as refusal:  # of all that are left
            for delivery in deliveries[answered:]:
                self._note(delivery, refusal)
        return len(due) == BATCH

    def _note(self, delivery: Delivery, refusal: Refused | None) -> None:
        if refusal is None:
            self.is_away = False
            log("sent", object=delivery.uid, destination=self.name)
            try:
                self._queue.delivered(delivery)
            except MachineError:
                self._unnoted.append(delivery)
                raise
            self._metrics.sent.labels(self.name).inc()
            return
        self._metrics.failed.labels(self.name).inc()
        self.is_away = not refusal.for_good
        age = self._queue.clock.now() - delivery.since
        if refusal.for_good or age > self._limits.give_up_h * _HOUR:
            log("dead_letter", object=delivery.uid, destination=self.name, reason=refusal.reason)
            self._queue.undeliverable(delivery, refusal.reason)
            self._metrics.dead.inc()
            return
        wait = self._limits.first_wait_s * 2 ** min(delivery.attempts, 20)
        log("not_sent", object=delivery.uid, destination=self.name, reason=refusal.reason)
        self._queue.send_again(delivery, refusal.reason, min(wait, self._limits.longest_wait_s))
