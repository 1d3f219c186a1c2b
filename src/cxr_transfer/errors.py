"""What can go wrong, as one tree; every message says what was expected, what came, what to do.

::

    CxrError
    ├── UsageError        the command or the recipe is wrong           exit code 2
    ├── DataError         images, labels, manifests, splits             exit code 3
    │   └── ImageError     one file that is not a readable radiograph   (a row error in a batch)
    ├── ModelError        checkpoints and weights                      exit code 4
    └── MachineError      disk, memory, devices, missing packages      exit code 5

Each error carries a stable ``code`` (for programs) and a one-line message (for people).
This module knows nothing of how an error is shown: ``cli/`` alone prints and exits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import ClassVar

LISTED = 20
"""Number of offending items that a message names before it goes on with a count."""


class Notice(str):
    """A line of a log that a person must not miss: shown also where they asked for quiet."""

    __slots__ = ()


class CxrError(Exception):
    """An error that a user can act on.

    Attributes:
        code: Stable identifier in ``snake_case``.
        message: Line with what was expected, what was received, and the remedy.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[CxrError], tuple[str, str]]:
        # Exceptions are rebuilt from one argument otherwise: a pool of processes, to which one was
        # sent that cannot be rebuilt, waits for ever.
        return type(self), (self.code, self.message)


class UsageError(CxrError):
    """The command line or a recipe asks for something that does not exist."""

    exit_code = 2


class DataError(CxrError):
    """Images, labels, manifests or splits are not fit for what was asked."""

    exit_code = 3


class ImageError(DataError):
    """One file is not a radiograph that can be read."""


class ModelError(CxrError):
    """A checkpoint or a weights file is not what it should be."""

    exit_code = 4


class MachineError(CxrError):
    """The machine lacks something: disk, memory, a device, a package, a download."""

    exit_code = 5


def check_list(values: object, plural: str) -> None:
    """Refuse one text or path where several are meant: it would be taken letter by letter.

    Args:
        values: Object that is to be a list, or another iterable.
        plural: Plural noun for its items, such as "paths".

    Raises:
        TypeError: One text or path, or no iterable.
    """
    is_one = isinstance(values, str | bytes | bytearray | memoryview | os.PathLike)
    if is_one or not isinstance(values, Iterable):
        remedy = "; put it into a list" if is_one else ""
        raise TypeError(f"Expected a list of {plural}, but got {kind_of(values)}{remedy}.")


def kind_of(value: object) -> str:
    """Return the type of a value as it stands in a message.

    >>> kind_of("a"), kind_of(None)
    ('str', 'None')
    """
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return "None" if value is None else f"{module}{kind.__qualname__}"


def listing(items: Iterable[str], between: str = "; ") -> str:
    """Join ``items`` for a message: the first 20, then how many more there are.

    >>> listing(["a", "b"])
    'a; b'
    >>> listing(str(i) for i in range(22))[-11:]
    '; (+2 more)'
    """
    shown = list(items)
    more = len(shown) - LISTED
    return between.join([*shown[:LISTED], *([f"(+{more} more)"] if more > 0 else [])])


def check_whole(value: object, name: str) -> None:
    """Refuse what is no whole number.

    Raises:
        TypeError: Another type, also a bool.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"Expected a whole number as {name}, but got {kind_of(value)}.")


def check_seed(seed: int) -> None:
    """Refuse what is no random seed.

    Raises:
        TypeError: No whole number.
        UsageError: ``bad_seed`` for a number that is negative or has more than 32 bits.
    """
    check_whole(seed, "seed")
    if not 0 <= seed < 2**32:
        raise UsageError(
            "bad_seed", f"Expected a seed from 0 to {2**32 - 1}, but got another one; choose one."
        )
