"""Ray, connected for the time of a block: a cluster that runs, or one that is started here.

Ray tells its makers nothing, shows no dashboard, and leaves neither logs nor processes.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cxr_transfer.errors import MachineError
from cxr_transfer.quiet import quiet

OBJECT_STORE = 1024 * 1024 * 1024
"""Bytes of shared memory for a Ray that is started here, at least."""

REACHED_S = 10
"""Seconds in which a cluster must take a connection."""

TRIES = 10
"""Times that work is done again whose process died: an image may be what kills it."""


@contextmanager
def ray_session(address: str | None, processors: int) -> Iterator[Any]:
    """Give Ray, connected; what was started here is ended here.

    Args:
        address: Address of a cluster ("auto": the one this machine is part of); None starts one.
        processors: Processors of a cluster that is started here.

    Raises:
        MachineError: ``missing_package``, ``no_cluster``.
    """
    if address is not None and not address.strip():
        raise MachineError(
            "no_cluster",
            "Expected the address of a Ray cluster, but got an empty one; give HOST:PORT, auto or "
            "local.",
        )
    with _environment():
        try:
            import ray
        except ImportError:
            raise MachineError(
                "missing_package",
                "Expected Ray for a cluster, but it is not installed: "
                'pip install "cxr-transfer[cluster]".',
            ) from None
        with quiet("ray", level=logging.CRITICAL):
            if ray.is_initialized():  # the caller's own
                yield ray
                return
            # Ray's logs name images: they go when it goes.
            with tempfile.TemporaryDirectory(prefix="cxr-", ignore_cleanup_errors=True) as folder:
                _start(ray, address, processors, folder)
                try:
                    yield ray
                finally:
                    ray.shutdown()


@contextmanager
def _environment() -> Iterator[None]:
    # Ray looks at these when it is imported and when it starts processes. One leaves out what it
    # else shows of each machine that is lost: that machine's log. The last one: Ray's processes
    # would give way to every other, and beside one that is busy a training would stand still.
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": "fatal",
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
        "RAY_worker_niceness": "0",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(ray: Any, address: str | None, processors: int, folder: str) -> None:  # noqa: ANN401 - Ray's
    logging_options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            _check_reached(ray, address)
            ray.init(address=address, **logging_options)
        else:
            ray.init(
                address="local",
                num_cpus=processors,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                _temp_dir=folder,
                **logging_options,
            )
    except Exception as error:  # Ray raises even the plain one, for a start that took too long
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise MachineError(
            "no_cluster",
            f"Expected a Ray cluster at {address or 'this machine'}, but got: {reason}; "
            "give the HOST:PORT of one that runs, auto on a machine of it, or local.",
        ) from None


def _check_reached(ray: Any, address: str) -> None:  # noqa: ANN401 - Ray's
    """Refuse an address that nobody listens at: Ray would try for minutes.

    Raises:
        OSError: With the reason.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        if host == "localhost" or host.startswith("127."):  # Ray takes this machine's own address
            host = ray.util.get_node_ip_address()
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_S):
            pass
