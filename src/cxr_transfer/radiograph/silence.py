"""Libraries say nothing while a file is decoded, and are as they were afterwards.

pydicom's and Pillow's warnings and log lines can quote what stands in a file, so nobody gets them.
The process may be anybody's: its filters and loggers are changed for the time of a decoding alone,
and other threads keep their log lines.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = r"(?:pydicom|PIL)(?:\.|$)"
# A logger's filter does not hold for those below it.
_LOGGERS = ("pydicom", "PIL.ImageFile", "PIL.PngImagePlugin", "PIL.TiffImagePlugin")
_LOCK = threading.Lock()
_DECODING = threading.local()


class _OfOtherThreads(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_DECODING, "depth", 0)


class _Silence:
    """State that is in place while at least one thread decodes."""

    def __init__(self) -> None:
        self.threads = 0
        self.filter = _OfOtherThreads()
        self.ignored: object = None

    def begin(self) -> None:
        with _LOCK:
            self.threads += 1
            if self.threads == 1:
                for name in _LOGGERS:
                    logging.getLogger(name).addFilter(self.filter)
                warnings.filterwarnings("ignore", module=_LIBRARIES)
                self.ignored = warnings.filters[0]

    def end(self) -> None:
        with _LOCK:
            self.threads -= 1
            if self.threads == 0:
                for name in _LOGGERS:
                    logging.getLogger(name).removeFilter(self.filter)
                # Not what was there before: another thread may have added filters of its own.
                if self.ignored in warnings.filters:
                    warnings.filters.remove(self.ignored)  # type: ignore[attr-defined]


_SILENCE = _Silence()


@contextmanager
def silence() -> Iterator[None]:
    """Keep libraries silent in this thread; may be entered by many at once."""
    _DECODING.depth = getattr(_DECODING, "depth", 0) + 1
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()
        _DECODING.depth -= 1
