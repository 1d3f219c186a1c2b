"""How far work is: whatever takes long tells one function its phase, and the share that is done.

Nothing here knows who listens: a line on a terminal, a line of a log, or nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Tell = Callable[[str, float], None]
"""Function that is called with the name of a phase and the share of it that is done, 0 to 1."""

_LEAST_SHARE = 0.02
"""Share of a whole below which the time left cannot be told."""
_SETTLED_S = 1.0
"""Seconds of work below which the time left cannot be told either: first steps are slow."""


@dataclass(frozen=True)
class Progress:
    """Progress of work on its way, for a person.

    Attributes:
        title: Name of the work that runs now.
        share: Share of the whole that is done, from 0 to 1.
        seconds_left: Seconds until the end, as far as can be told; None at the beginning.
    """

    title: str
    share: float
    seconds_left: float | None


Show = Callable[[Progress], None]


def tell_nobody(_phase: str, _share: float) -> None:
    """Tell no one how far work is."""


def seconds_left(passed: float, share: float, least_passed: float = 0.0) -> float | None:
    """Return the seconds that the rest takes at the pace so far; None where that is not known yet.

    Args:
        passed: Seconds since the beginning.
        share: Share of the whole that is done, from 0 to 1.
        least_passed: Seconds below which nothing is told.

    >>> seconds_left(10.0, 0.25), seconds_left(10.0, 0.01)
    (30.0, None)
    """
    if share < _LEAST_SHARE or passed < least_passed:
        return None
    return passed * (1 - share) / share


def counting(tell: Tell, phase: str, total: int) -> Callable[..., None]:
    """Begin a phase that goes item by item; return what is called with how many more are done.

    Args:
        tell: Function that is told how far the phase is.
        phase: Name of the phase.
        total: Number of items in it.
    """
    done = 0
    tell(phase, 0.0)

    def count(more: int = 1) -> None:
        nonlocal done
        done += more
        tell(phase, min(done / max(total, 1), 1.0))

    return count


def of_images(verb: str, images: int) -> str:
    """Return the name of a phase that goes image by image.

    >>> of_images("reading", 24), of_images("predicting", 1)
    ('reading 24 images', 'predicting 1 image')
    """
    return f"{verb} {images} image{'' if images == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> duration(0.4), duration(80), duration(7500)
    ('0 s', '1 min 20 s', '2 h 05 min')
    """
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {remainder:02d} s" if minutes else f"{remainder} s"


class Clock:
    """Adds to phase and share the time left, phase by phase.

    Args:
        show: Function that is given where the work stands.
        clock: Function that returns the seconds since some moment.
    """

    def __init__(self, show: Show, clock: Callable[[], float] = time.monotonic) -> None:
        self._show, self._clock = show, clock
        self._phase, self._began, self._from = "", clock(), 0.0

    def tell(self, phase: str, share: float) -> None:
        """Show a phase and which share of it is done.

        What was done before it is told first, by an earlier call that was stopped, took no time
        now: the pace is counted from there.
        """
        if phase != self._phase:
            self._phase, self._began, self._from = phase, self._clock(), share
        passed = self._clock() - self._began
        own_share = (share - self._from) / (1 - self._from) if self._from < 1 else 1.0
        self._show(Progress(phase, share, seconds_left(passed, own_share, _SETTLED_S)))
