"""Images that wait for one network, in small batches: whatever has come while it was at work.

Nothing is delayed so that a batch grows: alone, an image is answered alone. All networks share one
thread, since each computes on all cores.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from cxr_transfer.inference.prediction import Prediction
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.prepare import Prepared


class Batches:
    """One network's queue.

    Args:
        predictor: Predictor with the network.
        thread: Executor in which it computes.
        size: Largest number of images in a batch.
        seen: Function that is called with the size of each batch.
    """

    def __init__(
        self, predictor: Predictor, thread: Executor, size: int, seen: Callable[[int], None]
    ) -> None:
        self._predictor = predictor
        self._thread = thread
        self._size = size
        self._seen = seen
        self._waiting: deque[tuple[Prepared, asyncio.Future[Prediction]]] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def sizes(self) -> range:
        """Sizes of batches, the largest first: the others find room in the memory that it takes."""
        return range(self._size, 0, -1)

    def warm(self, size: int) -> None:
        """Let the network see a batch of a size; for the thread in which it computes.

        It prepares itself for a size, and keeps memory for it, when it first meets it: a rare one
        would come hours later, let an image wait and the memory grow.
        """
        blank = np.zeros(self._predictor.card.preprocessing.size, np.uint8)
        self._predictor.answers([Prepared("", blank)] * size)

    async def answer(self, prepared: Prepared) -> Prediction:
        """Return the network's answer for one image."""
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._waiting.append((prepared, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            number = min(self._size, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(number)]
            self._seen(number)
            try:
                answers = await loop.run_in_executor(
                    self._thread, self._predictor.answers, [prepared for prepared, _ in batch]
                )
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():  # nobody may wait for it any more
                    future.set_result(answer)
