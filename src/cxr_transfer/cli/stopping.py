"""Ctrl-C, from the first moment of a command to its last: one line, exit code 130.

Python raises KeyboardInterrupt wherever the main thread happens to be: in the middle of an import,
in a library that takes it for a fault of what it reads, in a call-back that loses it. So it is
remembered that somebody wants to stop, whatever is made of the exception; and where the command
goes on, it is raised again. Where a shell lets a command ignore Ctrl-C, it does.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import NoReturn

EXIT_CODE = 130
AGAIN_S = 1.0
"""After how long a command that has not ended is interrupted again."""

_RESUMING = ("study", "train", "audit", "predict")
_asked = _is_leaving = False


def watch() -> None:
    """Look after Ctrl-C from now on; to be called by the main thread."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, _interrupt)
    # A library may print what it cannot pass on.
    plain_hook, plain_unraisable_hook = sys.excepthook, sys.unraisablehook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not (asked() and issubclass(kind, KeyboardInterrupt)):
            plain_hook(kind, error, trace)

    def unraisable_hook(lost: sys.UnraisableHookArgs) -> None:
        if not (asked() and issubclass(lost.exc_type, KeyboardInterrupt)):
            plain_unraisable_hook(lost)

    sys.excepthook, sys.unraisablehook = hook, unraisable_hook


def asked() -> bool:
    """Tell whether somebody wants to stop."""
    return _asked


def leave(line: str = "") -> NoReturn:
    """End with one line on standard error; who presses Ctrl-C now does not wait for threads.

    Called again on the way out, it adds nothing.

    Args:
        line: Line to show; "" says that it was stopped, and what goes on.
    """
    global _is_leaving
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_CODE))
    if not _is_leaving:
        sys.stderr.write(f"cxr: {line or _stopped(sys.argv[1:])} [stopped]\n")
    _is_leaving = True
    sys.exit(EXIT_CODE)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    global _asked
    _asked = True
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
    raise KeyboardInterrupt


def _stopped(words: list[str]) -> str:
    """Say what goes on where it was stopped: nothing does that keeps nothing.

    >>> _stopped(["predict", "images", "--out=table.csv"]), _stopped(["predict", "images"])
    ('Stopped; the same command goes on.', 'Stopped.')
    """
    from cxr_transfer.cli.global_options import command_of

    command = command_of(words)
    named = any(word == "--out" or word.startswith("--out=") for word in words)
    if command == "study" or (named and command in _RESUMING):
        return "Stopped; the same command goes on."
    folder = os.environ.get("CXR_RUN_FOLDER", "")  # of a training without --out
    if command == "train" and os.path.isdir(folder):
        return f"Stopped; the same command with --out {folder} goes on."
    return "Stopped."
