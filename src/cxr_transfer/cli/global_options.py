"""Options of ``cxr`` itself, which may also stand behind the command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from cxr_transfer.about import __version__

FLAGS, WITH_VALUE = ("--quiet", "--verbose"), "--log-file"


def globals_first(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the options of ``cxr`` itself before the command.

    Args:
        words: Words behind the name of the program; what follows "--" stays.

    >>> globals_first(["train", "model_1", "--log-file", "a.log", "--quiet"])
    ['--log-file', 'a.log', '--quiet', 'train', 'model_1']
    """
    ours: list[str] = []
    others: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word == "--":
            others += [word, *remaining]
        elif word in FLAGS or word.startswith(f"{WITH_VALUE}="):
            ours.append(word)
        elif word == WITH_VALUE:
            ours += [word, *(value for value in [next(remaining, None)] if value is not None)]
        else:
            others.append(word)
    return ours + others


def command_of(words: Sequence[str]) -> str:
    """Return the command among the words of a command line; "" where there is none.

    >>> command_of(["--log-file", "a.log", "--quiet", "train", "model_1"])
    'train'
    """
    named = globals_first(words)
    while named and named[0].startswith("-"):
        named = named[2 if named[0] == WITH_VALUE else 1 :]
    return named[0] if named else ""


def started() -> str:
    """Return the line that a log begins with: version and command."""
    from cxr_transfer.storage import without_secrets

    command = without_secrets(shlex.join(sys.argv[1:]))
    return f"cxr-transfer {__version__}: cxr {command}"
