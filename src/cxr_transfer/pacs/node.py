"""The node from its start to its end: it listens, judges, sends, and leaves in order.

Each part works by itself and meets the others in the queue alone: what was done is on the disk
before the next part hears of it. So the node may be killed at any moment, and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from cxr_transfer.errors import CxrError, MachineError
from cxr_transfer.pacs.commitment import Commitments
from cxr_transfer.pacs.dicomweb import Poller, StowTransport
from cxr_transfer.pacs.intake import Intake
from cxr_transfer.pacs.judge import Judge
from cxr_transfer.pacs.listener import Listener
from cxr_transfer.pacs.node_metrics import NodeMetrics
from cxr_transfer.pacs.queue import Queue, open_queue
from cxr_transfer.pacs.queue_database import only_node
from cxr_transfer.pacs.queue_tables import State
from cxr_transfer.pacs.sender import Sender, Transport
from cxr_transfer.pacs.settings import Destination, NodeSettings
from cxr_transfer.pacs.spool import read_key
from cxr_transfer.pacs.store_transport import StoreTransport
from cxr_transfer.serving.event_log import log

_DAY = 86_400.0
_NOTE_CLOCK_S = 5.0
_EXPIRE_S = 600.0
_LAST_ASSOCIATIONS_S = 10.0
_PAUSE_S = 1.0


class Node:
    """A DICOM node.

    Args:
        settings: Settings.
        listens: Whether peers may send to it, and archives are polled.
        stops_empty: Whether it ends by itself when nothing is left to do.

    Attributes:
        queue: Its queue.
        port: Port at which it listens; 0 before it does.
        is_ready: Event that is set when its models answer.

    Raises:
        MachineError, UsageError: What opening the queue and reading the key raise.
    """

    def __init__(
        self, settings: NodeSettings, *, listens: bool = True, stops_empty: bool = False
    ) -> None:
        self.queue = queue_of(settings)
        self.port = 0
        self.is_ready = threading.Event()
        self._settings = settings
        self._listens = listens
        self._stops_empty = stops_empty
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._metrics = metrics = NodeMetrics()
        self._judge = Judge(settings, self.queue, self._answered, metrics)
        self._intake = Intake(self.queue, settings.limits, self._arrived, metrics)
        self._commitments = Commitments(settings, self.queue)
        self._listener = Listener(settings, self._intake, self._commitments)
        self._senders = [
            Sender(
                *(self.queue, destination.name, transport(settings, destination)),
                *(settings.limits, metrics),
            )
            for destination in settings.destinations
        ]
        self._pollers = [Poller(source, self._intake, self.queue) for source in settings.sources]

    def stop(self) -> None:
        """Let nobody in any more, work on what is here for a while, and end; from any thread."""
        self._stopping.set()
        self._arrived()

    def run(self) -> None:
        """Run until told to stop (SIGTERM, Ctrl-C, `stop`); then everything is on the disk.

        Raises:
            MachineError, UsageError, ModelError: What keeps it from starting.
        """
        threading.excepthook = _thread_failed
        with ExitStack() as stack:
            stack.callback(self.queue.close)
            stack.enter_context(only_node(self.queue.spool))
            self.queue.spool.clear_unfinished("objects")
            self.queue.spool.clear_unfinished("answers")
            self._put_in_order()
            self.queue.wake()
            log("opened", **self.queue.counts())
            if self._listens:
                self._listener.start()
                stack.callback(self._listener.stop, 0)
                self.port = self._listener.port
                log("listening", ae=self._settings.ae, port=self.port)
            if self._settings.metrics_port is not None and self._listens:
                self._metrics.watch(self.queue)
                stack.enter_context(self._metrics.served(self._settings.metrics_port))
            asyncio.run(self._run())
            self.queue.note_clock()
            log("stopped", **self.queue.counts())

    def _put_in_order(self) -> None:
        """Let every file have its row, and every answer somebody to go to, before work begins."""
        queue, named = self.queue, [sender.name for sender in self._senders]
        if not queue.spool.close_to_others():
            log("open_spool")
        for name in queue.orphans("answers"):  # of an object that is judged again
            queue.spool.remove(name)
        taken = self._intake.take_up(queue.orphans("objects"))
        addressed = queue.readdress(*addresses(self._settings), only_nobody=True)
        astray = queue.bury_astray(named) if named else 0
        if taken or addressed or astray:
            log("put_in_order", taken_up=taken, addressed=addressed, no_destination=astray)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(ValueError, RuntimeError):  # in a thread of a program
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self.stop)
        try:
            await self._judge.open()
            threads = self._threads()
            for thread in threads:
                thread.start()
            self.is_ready.set()
            log("ready")
            await self._work()
            self._over.set()
            for sender in self._senders:
                sender.wake()
            for thread in threads:
                await asyncio.to_thread(thread.join, 15)
        finally:
            self._over.set()
            await self._judge.close()

    async def _work(self) -> None:
        """Judge until it is time to leave."""
        if self._stops_empty:
            await self._judge.run(self._is_empty)
            return
        await self._judge.run(self._stopping.is_set)
        log("stopping", **self.queue.counts())
        end = time.monotonic() + self._settings.limits.drain_s
        await asyncio.to_thread(self._listener.stop, _LAST_ASSOCIATIONS_S)
        await self._judge.run(lambda: self._is_empty() or time.monotonic() > end)

    def _is_empty(self) -> bool:
        """Tell whether nothing can be done now: what is left waits for a destination that is away.

        Asked to stop, a drain leaves at once.
        """
        if self._stops_empty and self._stopping.is_set():
            return True
        counts = self.queue.counts()
        tried = {sender.name for sender in self._senders if not sender.is_away}
        return (
            not counts[State.RECEIVED]
            and not self._judge.inside
            and not set(self.queue.unsent()) & tried
        )

    def _threads(self) -> list[threading.Thread]:
        over = self._over
        work: list[tuple[str, Callable[[], None]]] = [
            (f"to {sender.name}", partial(sender.run, over.is_set)) for sender in self._senders
        ]
        work.append(("care", self._care))
        if self._listens:
            work.append(("commitments", lambda: self._commitments.run(over)))
            work += [
                (f"from {poller.name}", partial(poller.run, self._stopping, over))
                for poller in self._pollers
            ]
        return [
            threading.Thread(target=self._kept_up, args=(name, do), name=name, daemon=True)
            for name, do in work
        ]

    def _kept_up(self, name: str, do: Callable[[], None]) -> None:
        """Do a thread's work until it is over; a fault that nobody foresaw does not end it."""
        while not self._over.is_set():
            try:
                do()
                return
            except Exception as error:  # its words may be of an object
                code = error.code if isinstance(error, CxrError) else ""
                log("failed", where=name, type=type(error).__name__, code=code)
                self._over.wait(_PAUSE_S)

    def _care(self) -> None:
        """Note the clock, and delete files whose time is over."""
        expire_at = 0.0
        while not self._over.wait(_NOTE_CLOCK_S if expire_at else 0):
            try:
                self.queue.note_clock()
                if time.monotonic() >= expire_at:
                    expire_at = time.monotonic() + _EXPIRE_S
                    number = self.queue.expire(_DAY * self._settings.limits.keep_days)
                    if number:
                        log("expired", objects=number)
            except MachineError as error:
                log("failed", where="care", code=error.code)

    def _arrived(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(self._judge.wake)

    def _answered(self) -> None:
        for sender in self._senders:
            sender.wake()


def queue_of(settings: NodeSettings, *, reads_only: bool = False) -> Queue:
    """Return the queue of a node.

    Args:
        settings: Settings, which name the spool and its key.
        reads_only: Whether nothing is written, as `open_queue` takes it.

    Raises:
        MachineError, UsageError: What `open_queue` and `read_key` raise.
    """
    key = read_key(settings.key_file) if settings.key_file is not None else None
    return open_queue(settings.spool, key, reads_only=reads_only)


def addresses(settings: NodeSettings) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the names of each rule's destinations, and those of rules that there are no more."""
    of_rule = {rule.name: settings.destinations_of(rule) for rule in settings.rules}
    return of_rule, tuple(destination.name for destination in settings.destinations)


def transport(settings: NodeSettings, destination: Destination) -> Transport:
    """Return the way to a destination."""
    if destination.stow is not None:
        return StowTransport(destination.stow)
    return StoreTransport(settings, destination)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Tell that a thread failed, and how; its words may be of an object."""
    error = failure.exc_value
    code = error.code if isinstance(error, CxrError) else ""
    log("failed", where="thread", type=failure.exc_type.__name__, code=code)
