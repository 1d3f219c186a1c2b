"""Native runtimes in forked processes: refused at once, where they would wait for ever.

A fork copies a process with one of its threads. A runtime that computes in threads of its own, as
OpenVINO and torch do, waits in the child for threads that are not there. The child of a process
that has not used the runtime yet is free to use it.
"""

from __future__ import annotations

import os

from cxr_transfer.errors import MachineError

_USED_IN: dict[str, int] = {}  # by runtime: the process that used it first


def use(runtime: str) -> None:
    """Bind a runtime to this process; to be called before each use.

    Args:
        runtime: Name of the runtime.

    Raises:
        MachineError: ``forked`` in a child that was forked after the runtime was used.
    """
    process = os.getpid()
    if _USED_IN.setdefault(runtime, process) != process:
        raise forked(runtime)


def forked(what: str) -> MachineError:
    """Return the error for what does not work in a forked process.

    Args:
        what: Name of what was used before the fork.
    """
    return MachineError(
        "forked",
        f"Expected a process that uses {what} first, but this one was forked from a process that "
        "had used it: its threads are not here. Start processes with "
        "multiprocessing.get_context('spawn'), or fork before the first use.",
    )
