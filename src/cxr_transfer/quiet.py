"""Libraries tell errors alone for the time of a block, and are as they were after it.

The process may be anybody's: what a library says of itself is nobody's business while we work with
it, and the caller's own affair before and afterwards.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def quiet(
    *loggers: str, expected: Sequence[str] = (), level: int = logging.ERROR
) -> Iterator[None]:
    """Let loggers tell errors alone, and warnings that are expected not be shown.

    Args:
        loggers: Names of the loggers; those below them with a level of their own are not meant.
        expected: Regular expressions for the beginnings of the messages of warnings.
        level: Level that the loggers are set to.
    """
    levels = {name: logging.getLogger(name).level for name in loggers}
    with warnings.catch_warnings():
        for message in expected:
            warnings.filterwarnings("ignore", message=message)
        try:
            for name in loggers:
                logging.getLogger(name).setLevel(level)
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
