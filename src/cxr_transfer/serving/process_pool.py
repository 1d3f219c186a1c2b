"""Processes that decode, each with one image at a time; one that dies takes no other image with it.

A piece of work for `decoder_process` goes in; its answer comes out, or the error that says whether
the image was too much for it or the process was lost. A lost process is replaced at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from cxr_transfer.errors import ImageError, MachineError
from cxr_transfer.serving import ipc
from cxr_transfer.serving.event_log import log
from cxr_transfer.serving.tokens import TOKEN_VARIABLE, TOKENS_VARIABLE
from cxr_transfer.serving.webhook_settings import SECRET_VARIABLE

_START_S = 120.0  # on a busy machine, what is loaded takes a minute
_FRAME = 2**20  # of the stream's buffer


class WorkerLost(Exception):  # noqa: N818 - it is an event, and not the image's or the user's error
    """A process was taken away (by a person, or by the system for memory) while it worked."""


class _Worker:
    """One process and the connection to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, memory: int, *, writes: bool, module: str) -> _Worker:
        """Start a process; it is not known yet whether it works."""
        own_end, worker_end = socket.socketpair()
        # One thread: there is a process per core already.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        for name in (TOKEN_VARIABLE, TOKENS_VARIABLE, SECRET_VARIABLE):
            environment.pop(name, None)
        with worker_end:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                module,
                str(worker_end.fileno()),
                "writes" if writes else "reads",
                str(memory),
                pass_fds=[worker_end.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                # Decoders' libraries may write what stands in an image.
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
            )
        reader, writer = await asyncio.open_connection(sock=own_end, limit=_FRAME)
        return cls(process, reader, writer)

    async def greeting(self) -> None:
        """Wait for the first word of a process that has all that it needs."""
        async with asyncio.timeout(_START_S):
            await ipc.read(self._reader)

    @property
    def lives(self) -> bool:
        return self.process.returncode is None and not self._reader.at_eof()

    async def ask(
        self, header: ipc.Header, pieces: Sequence[bytes]
    ) -> tuple[ipc.Header, ipc.Pieces]:
        self._writer.writelines(ipc.packed(header, pieces))
        await self._writer.drain()
        return await ipc.read(self._reader)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self._writer.close()


class Workers:
    """A number of processes, kept at that number.

    Args:
        number: Processes.
        memory: Address space of each, bytes.
        writes: Whether they may write files; what strangers send is decoded where none can be.
        module: Name of their program, which calls `worker_process.serve`.

    Attributes:
        replaced: Number of processes that were started in place of others.
    """

    def __init__(
        self,
        number: int,
        memory: int,
        *,
        writes: bool = False,
        module: str = "cxr_transfer.serving.decoder_process",
    ) -> None:
        self.replaced = 0
        self._module = module
        self._writes = writes
        self._number = number
        self._memory = memory
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._all: set[_Worker] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._at_work: set[asyncio.Task[tuple[ipc.Header, ipc.Pieces]]] = set()
        self._closing = False

    @property
    def alive(self) -> int:
        """Number of processes that live at this moment."""
        return sum(worker.lives for worker in self._all)

    async def start(self) -> None:
        """Start all processes.

        Raises:
            MachineError: ``no_worker`` when one cannot be started.
        """
        try:
            first = await asyncio.gather(*(self._started() for _ in range(self._number)))
        except (OSError, EOFError, ValueError, TimeoutError):
            raise MachineError(
                "no_worker",
                "Expected to start a decoding process, but it ended at once; is there memory for "
                f"{self._number} of them?",
            ) from None
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in first]

    async def ask(
        self, header: ipc.Header, pieces: Sequence[bytes] = (), *, seconds: float
    ) -> tuple[ipc.Header, ipc.Pieces]:
        """Have a piece of work done, as soon as a process is free.

        Args:
            header: ``work`` names it; the rest is for it.
            pieces: Bytes that belong to it.
            seconds: Then the process is ended. Three times as long is one waited for.

        Raises:
            ImageError: ``decode_timeout``, ``decoder_crashed``, and the worker's own errors.
            WorkerLost: The process was taken away, or none became free.
        """
        try:
            async with asyncio.timeout(3 * seconds):
                worker = await self._idle.get()
                while not worker.lives:
                    worker = await self._idle.get()
        except TimeoutError:
            raise WorkerLost from None
        # Where nobody waits any more, the process ends its work all the same: to start another one
        # takes longer.
        asked = asyncio.create_task(self._asked(worker, header, pieces, seconds))
        self._at_work.add(asked)
        asked.add_done_callback(self._done)
        return await asyncio.shield(asked)

    def _done(self, asked: asyncio.Task[tuple[ipc.Header, ipc.Pieces]]) -> None:
        self._at_work.discard(asked)
        if not asked.cancelled():
            asked.exception()  # Told to whoever waits, or to nobody.

    async def _asked(
        self, worker: _Worker, header: ipc.Header, pieces: Sequence[bytes], seconds: float
    ) -> tuple[ipc.Header, ipc.Pieces]:
        """Have a process do a piece of work, and let others have it then."""
        is_answered = False
        try:
            async with asyncio.timeout(seconds):
                answer, content = await worker.ask(header, pieces)
            is_answered = True
        except TimeoutError:
            raise ImageError(
                "decode_timeout",
                f"Expected an image that is read within {seconds:g} seconds, but it was not; "
                "export it anew.",
            ) from None
        except (ValueError, LookupError):
            raise _crashed() from None  # what it said is no answer
        except (OSError, EOFError):
            # Ended by itself, the image is to blame; killed, it is not.
            if await worker.process.wait() in (-signal.SIGKILL, -signal.SIGTERM):
                raise WorkerLost from None
            raise _crashed() from None
        finally:
            if is_answered:
                self._idle.put_nowait(worker)
            else:
                worker.end()
        if "error" in answer:
            if "type" in answer:
                log("decoder_failed", type=str(answer["type"])[:64])
            raise ImageError(str(answer["error"]), str(answer.get("message", "")))
        return answer, content

    async def close(self) -> None:
        """End all processes."""
        self._closing = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for worker in list(self._all):
            worker.end()
        await asyncio.gather(*(worker.process.wait() for worker in self._all))

    async def _started(self) -> _Worker:
        worker = await _Worker.start(self._memory, writes=self._writes, module=self._module)
        self._all.add(worker)
        try:
            await worker.greeting()
        except (OSError, EOFError, ValueError, TimeoutError):
            worker.end()
            await worker.process.wait()
            self._all.discard(worker)
            raise
        self._idle.put_nowait(worker)
        return worker

    async def _keep(self, worker: _Worker) -> None:
        """Replace ``worker`` when it ends, and so on."""
        while True:
            await worker.process.wait()
            worker.end()
            self._all.discard(worker)
            while not self._closing:
                try:
                    worker = await self._started()
                    self.replaced += 1
                    break
                except (OSError, EOFError, ValueError, TimeoutError):
                    await asyncio.sleep(1)  # the machine has no room now


def _crashed() -> ImageError:
    return ImageError(
        "decoder_crashed",
        "Expected an image that can be read, but its decoder crashed; export it anew.",
    )
