"""Work on many items at once, results in order, memory flat.

Threads: Pillow, numpy and the inference runtime let go of Python's lock while they compute.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from cxr_transfer.forks import forked

In = TypeVar("In")
Out = TypeVar("Out")


def in_order(
    work: Callable[[In], Out], items: Iterable[In], *, workers: int | None = None, ahead: int = 64
) -> Iterator[Out]:
    """Yield ``work(item)`` in the order of ``items``.

    Args:
        work: Function that is called in threads.
        items: Items, which are taken one by one, no faster than the results are.
        workers: Number of threads; None is one more than there are processors, for one that waits
            for a disk.
        ahead: Largest number of results that are made before they are asked for.

    Raises:
        MachineError: ``forked`` where a forked child goes on with what its parent began.
    """
    process = os.getpid()

    def result(future: Future[Out]) -> Out:
        if os.getpid() != process:
            raise forked("threads")
        return future.result()

    with ThreadPoolExecutor(workers or (os.cpu_count() or 1) + 1) as pool:
        pending: deque[Future[Out]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > ahead:
                    yield result(pending.popleft())
            while pending:
                yield result(pending.popleft())
        finally:
            # Whoever stops asking does not wait for what nobody will see.
            for future in pending:
                future.cancel()
