"""Counts and times of a node in Prometheus' form, at a port of this machine alone, where asked for.

Labels are states, codes, steps and names of destinations from the settings: nothing that came in
from a peer, so nobody's identity.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cxr_transfer.errors import MachineError
from cxr_transfer.pacs.queue import Queue

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)


class NodeMetrics:
    """Counters of a node.

    Attributes:
        received: Objects that peers sent, by outcome: "accepted", or why not.
        judged: Objects that were judged, by status and code.
        sent: Answers that were taken, by destination.
        failed: Attempts to send that failed, by destination.
        dead: Objects and answers that became dead letters.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.received = Counter(
            "cxr_pacs_received", "Objects that peers sent.", ("outcome",), registry=registry
        )
        self.judged = Counter(
            "cxr_pacs_judged", "Objects that were judged.", ("status", "code"), registry=registry
        )
        self.sent = Counter(
            "cxr_pacs_sent", "Answers that were taken.", ("destination",), registry=registry
        )
        self.failed = Counter(
            "cxr_pacs_send_failures",
            "Attempts to send that failed.",
            ("destination",),
            registry=registry,
        )
        self.dead = Counter(
            "cxr_pacs_dead_letters", "Objects and answers given up.", registry=registry
        )
        self._steps = Histogram(
            "cxr_pacs_step_seconds",
            "Seconds of each step: receive, read, network, answer, write, send.",
            ("step",),
            buckets=_SECONDS,
            registry=registry,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the seconds of a step that ends well, with what it waited for."""
        started = time.perf_counter()
        yield
        self._steps.labels(name).observe(time.perf_counter() - started)

    def watch(self, queue: Queue) -> None:
        """Tell how a queue stands whenever somebody looks."""
        self._registry.register(_QueueState(queue))

    @contextmanager
    def served(self, port: int) -> Iterator[None]:
        """Let programs of this machine read it by HTTP.

        Args:
            port: Port on loopback.

        Raises:
            MachineError: ``port_in_use``.
        """
        try:
            server, thread = start_http_server(port, addr="127.0.0.1", registry=self._registry)
        except OSError:
            raise MachineError(
                "port_in_use",
                f"Expected port {port} for metrics to be free, but it cannot be taken; give "
                "another --metrics-port.",
            ) from None
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _QueueState(Collector):
    """Gauges of a queue, asked for at each look."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name nothing: what is named here would be read when it is registered."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges; of a queue that cannot be read, only that it cannot."""
        readable = GaugeMetricFamily("cxr_pacs_queue_readable", "1 where the queue can be read.")
        try:
            yield from self._gauges()
        except (MachineError, OSError):
            readable.add_metric([], 0)
        else:
            readable.add_metric([], 1)
        yield readable

    def _gauges(self) -> list[GaugeMetricFamily]:
        queue, folder = self._queue, self._queue.spool.folder
        objects = GaugeMetricFamily("cxr_pacs_objects", "Objects by state.", labels=["state"])
        for state, number in queue.counts().items():
            objects.add_metric([state], number)
        oldest = GaugeMetricFamily(
            "cxr_pacs_oldest_seconds",
            "Seconds for which the oldest object has been in a state that ends by itself.",
            labels=["state"],
        )
        for state, age in queue.oldest().items():
            oldest.add_metric([state], age)
        unsent = GaugeMetricFamily(
            "cxr_pacs_unsent", "Answers that wait for a destination.", labels=["destination"]
        )
        for name, number in queue.unsent().items():
            unsent.add_metric([name], number)
        free, kept = shutil.disk_usage(folder).free, queue.bytes_kept()
        return [
            *(objects, oldest, unsent),
            GaugeMetricFamily("cxr_pacs_free_bytes", "Free space of the spool's disk.", value=free),
            GaugeMetricFamily(
                "cxr_pacs_kept_bytes", "Bytes that the spool's bound counts.", value=kept
            ),
        ]
