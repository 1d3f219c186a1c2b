"""A clock that only runs forward: seconds that the node has run, over all its starts.

Waits and retention count on it. The machine's clock may jump, and nothing is sent early, late or
deleted for that. While the node does not run, nothing gets older.
"""

from __future__ import annotations

import time


class NodeClock:
    """Seconds that a node has run.

    Args:
        before: Seconds of its earlier starts, as far as they were noted.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._started = time.monotonic()

    def now(self) -> float:
        """Return the seconds until now."""
        return self._before + time.monotonic() - self._started
