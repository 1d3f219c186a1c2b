"""How much work is at hand and how much memory is held, and whether more may come in.

Counts; measures how long an image takes while there is work; refuses what would wait too long.
Knows nothing of what an image is, nor of time limits of others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WINDOW_S = 0.5
_WINDOW_IMAGES = 16
_KEPT = 0.7  # of what earlier windows say, when another one is over
_PRIOR_S, _PRIOR_IMAGES = 0.05, 4.0  # what an image takes before any was seen, as if of so many
_PATIENCE = 10.0  # times the longest wait: whoever waits for longer has given up
_STEEPEST = 3.0  # one image that hangs says little of the next ones


class Admission:
    """Images that wait for their answers.

    Args:
        queue: Images at most.
        longest_wait_s: More images are refused where the last would wait longer.
        always: Images that may wait ten times as long: clients that send one image, and the next
            when they have its answer, would else be sent away wherever images are large.

    Attributes:
        images: Number of images that wait or are worked on.
        seconds_each: What an image takes at present, counted over all that are worked on at once:
            the time in which there was work by the images that were done in it, the latest first.
            A window with one slow image counts as one image, not as much as one with sixteen.
    """

    def __init__(self, queue: int, longest_wait_s: float, *, always: int = 1) -> None:
        self.images = 0
        self.seconds_each = _PRIOR_S
        self._queue = queue
        self._longest_wait_s = longest_wait_s
        self._always = always
        self._since = 0.0
        self._busy, self._done = 0.0, 0  # of this window
        self._busy_before, self._done_before = _PRIOR_S * _PRIOR_IMAGES, _PRIOR_IMAGES

    def is_full(self, more: int = 1) -> bool:
        """Tell whether ``more`` images would be too many; one request may come while none waits."""
        images = self.images + more
        longest = self._longest_wait_s * (1 if images > self._always else _PATIENCE)
        too_long = images * self.seconds_each > longest
        return self.images > 0 and (images > self._queue or too_long)

    @property
    def retry_after_s(self) -> int:
        """When it is worth asking again."""
        return max(1, math.ceil(self.images * self.seconds_each))

    @contextmanager
    def holding(self, images: int) -> Iterator[None]:
        """Count ``images`` as waiting meanwhile."""
        if not self.images:
            self._since = time.monotonic()
        self.images += images
        try:
            yield
        finally:
            self.images -= images
            self._done += images
            self._measure()

    def _measure(self) -> None:
        now = time.monotonic()
        self._busy += now - self._since
        self._since = now
        if self._busy >= _WINDOW_S or self._done >= _WINDOW_IMAGES:
            busy = min(self._busy, _STEEPEST * self.seconds_each * self._done)
            self._busy_before = _KEPT * self._busy_before + busy
            self._done_before = _KEPT * self._done_before + self._done
            self.seconds_each = self._busy_before / self._done_before
            self._busy, self._done = 0.0, 0


class BodyMemory:
    """Memory that bodies of requests share.

    A body may grow as long as it is no larger than what is free then: the rule of switches that
    share a buffer (Choudhury & Hahne, IEEE/ACM Trans. Networking 6, 1998, 130-140: dynamic
    thresholds). One body alone may be half of all; of n large ones, each gets 1 / (n + 1), and as
    much stays free for whoever comes next. So a few large bodies never keep small ones out.

    Args:
        most: Bytes of all bodies together.

    Attributes:
        size: Bytes that are held.
    """

    def __init__(self, most: int) -> None:
        self.size = 0
        self._most = most

    def has_room(self, held: int, more: int) -> bool:
        """Tell whether a body of ``held`` bytes may have ``more``; nothing more always fits."""
        return not more or held + more <= self._most - self.size - more

    def take(self, size: int) -> None:
        """Count bytes that came."""
        self.size += size

    def release(self, size: int) -> None:
        """Count bytes that are gone."""
        self.size -= size
