"""The server from its start to its end: it listens, opens models, answers, and leaves in order.

`serve` returns when the server was told to stop (SIGTERM, Ctrl-C) and every accepted request has
its answer. It raises what kept the server from starting.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import resource
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from cxr_transfer.errors import MachineError, UsageError, check_list
from cxr_transfer.serving.event_log import log, one_line_each
from cxr_transfer.serving.http_timeouts import TimeoutProtocol
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.middleware import RequestGuard
from cxr_transfer.serving.server_options import settings
from cxr_transfer.serving.settings import Settings

_BACKLOG = 512
_HEADER_BYTES = 16384
_OPEN_FILES = 4096
_LOOK_S = 0.1


def serve(
    models: Sequence[str | Path] = (),
    host: str | None = None,
    port: int | None = None,
    token: str | None = None,
    *,
    settings_file: Path | None = None,
    **options: Any,  # noqa: ANN401
) -> None:
    """Serve models over HTTP until told to stop; lines of log go to standard error.

    Args:
        models: Names or paths of models; the first answers where none is named. Without any, the
            released model that `cxr predict` takes answers.
        host: Address or name to bind; all but loopback need a token.
        port: Port; 0 takes any free one, which is in the first line of log.
        token: Token of clients; None takes the environment's ``CXR_TOKEN``, where there is one.
        settings_file: Settings file (TOML), with the keys of `server_options.ServerOptions`.
        **options: Options by the names of those keys: ``allowed_hosts``, ``queue`` and so on. They
            win over the environment's ``CXR_SERVE_...``, and that over the file.

    Raises:
        TypeError: One model or host where a list is meant.
        UsageError: ``bad_settings``, ``no_settings``, ``bad_port``, ``bad_host``, ``no_token``,
            ``bad_token``, ``bad_tokens``, ``bad_origin``, ``same_model_twice``.
        ModelError: What opening a model raises.
        MachineError: ``port_in_use``, ``no_port``, ``no_worker``; ``not_writable`` or ``disk_full``
            for kept answers and the audit trail.
    """
    check_list(models, "models")
    chosen = settings(host, port, token, settings_file=settings_file, **options)
    listener = _listener(chosen)
    one_line_each(logging.StreamHandler())
    _set_limits()
    with listener:
        asyncio.run(_serve(chosen, listener, models))


def _listener(chosen: Settings) -> socket.socket:
    """Return a socket that is bound, before anything that takes time."""
    try:
        (family, *_, address), *_ = socket.getaddrinfo(
            chosen.host, chosen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        raise UsageError(
            "bad_host", f"Expected an address to listen at, but got {chosen.host!r}; try 127.0.0.1."
        ) from None
    # With the protocol named asyncio sends at once. Unnamed, the body of an answer waits for the
    # client to acknowledge the head: 40 ms an image.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with _closed_without_port(listener, chosen):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        if chosen.shared is None:
            # Two sockets may be bound with SO_REUSEADDR, but only one may listen.
            listener.listen(_BACKLOG)
    return listener


@contextmanager
def _closed_without_port(listener: socket.socket, chosen: Settings) -> Iterator[None]:
    """Close a socket that cannot listen, and say why.

    Raises:
        MachineError: ``port_in_use``, ``no_port``.
    """
    try:
        yield
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise MachineError(
                "port_in_use",
                f"Expected port {chosen.port} to be free, but another program listens there; stop "
                "it or give another --port.",
            ) from None
        raise MachineError(
            "no_port",
            f"Expected to listen at {chosen.host}:{chosen.port}, but got: {error.strerror}; give "
            "another --host or --port.",
        ) from None


def _set_limits() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold images
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(chosen: Settings, listener: socket.socket, models: Sequence[str | Path]) -> None:
    # A busy port or a missing token need not wait for what computes.
    from cxr_transfer.serving.api import build
    from cxr_transfer.serving.jobs import Background
    from cxr_transfer.serving.service import Service

    metrics = Metrics()
    service = Service(chosen, metrics)
    background = Background(service, chosen, metrics)
    app = build(chosen, service, metrics, background)
    guard = RequestGuard(app, chosen, service.load, metrics)
    app.state.stopping = lambda: guard.closing
    TimeoutProtocol.body_s = chosen.body_s
    config = uvicorn.Config(
        guard,
        http=TimeoutProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # its lines name paths and clients
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )

    async def open_all() -> None:
        await service.open(models)
        await background.join()

    opening = asyncio.create_task(open_all())
    server = _Server(config, guard, chosen, opening)

    def opened(task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception():
            server.should_exit = True
        else:
            background.start()
            _spare_what_stays()
            log("ready", models=list(service.models))

    opening.add_done_callback(opened)
    try:
        await server.serve([listener])
        if not opening.done():
            opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
    finally:
        await background.close()
        await service.close()
        log("stopped")


def _spare_what_stays() -> None:
    """Let the collector of garbage pass over modules and models from now on.

    It holds everybody up, those too who are to be refused at once: to walk what is loaded took 70
    to 170 ms on a machine at work, once in a minute or so.
    """
    gc.collect()
    gc.freeze()


class _Server(uvicorn.Server):
    """uvicorn, which on SIGTERM says so first, and leaves when nobody inside waits any more.

    One of several takes connections only while it is ready: the proxy before them goes on to the
    next one where it gets none, whatever was asked.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        guard: RequestGuard,
        chosen: Settings,
        opening: asyncio.Task[None],
    ) -> None:
        super().__init__(config)
        self._guard = guard
        self._settings = chosen
        self._opening = opening
        self._told = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, one of several when it is ready.

        Raises:
            MachineError: ``port_in_use``, ``no_port``.
        """
        assert sockets is not None
        if self._settings.shared is not None:
            while not self._opening.done() and not self._guard.closing:
                await asyncio.wait({self._opening}, timeout=_LOOK_S)
            if self._guard.closing or self._opening.exception():
                self.should_exit = True
                return
            with _closed_without_port(sockets[0], self._settings):
                sockets[0].listen(_BACKLOG)
        where = sockets[0].getsockname()
        log("listening", host=where[0], port=where[1])
        await super().startup(sockets)

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Let nobody in any more; the second time, leave now."""
        if self._guard.closing and sig == signal.SIGINT:
            self.force_exit = self.should_exit = True
        self._guard.closing = True

    async def on_tick(self, counter: int) -> bool:
        """Tell whether it is time to leave; asked ten times a second."""
        if self._guard.closing and not self.should_exit:
            now = asyncio.get_running_loop().time()
            if not self._told:
                self._told = now
                log("stopping", inside=self._guard.inside)
                if self._settings.shared is not None:
                    for server in self.servers:
                        server.close()
                self._guard.hurry(self._settings.drain_s)
            since = now - self._told
            is_done = since >= self._settings.notice_s and not self._guard.inside
            self.should_exit = is_done or since >= self._settings.drain_s
        return await super().on_tick(counter)
