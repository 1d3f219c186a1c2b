"""Counts and times of a server in Prometheus' form; never a name, a tag or a score."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60)
_BATCH = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counters of a server.

    Attributes:
        requests: Requests, by route and status.
        seconds: Seconds from the request's header to the answer's end, by route.
        images: Images, by status and code.
        batches: Number of images in each batch.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "cxr_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "cxr_request_seconds",
            "Seconds from header to answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.images = Counter(
            "cxr_images", "Images answered.", ("status", "code"), registry=self._registry
        )
        self.batches = Histogram(
            "cxr_batch_images", "Images in a batch.", buckets=_BATCH, registry=self._registry
        )

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Tell a value that is asked for when somebody looks."""
        Gauge(name, help_text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """Return everything in Prometheus' text form."""
        return generate_latest(self._registry)
