"""How a server is set up: where it listens, who may ask, and how much it takes on at once.

Comes in: the command line's options and the environment. Goes out: `Settings` that hold, or a
`UsageError`. Knows nothing of models or requests.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cxr_transfer.errors import UsageError
from cxr_transfer.radiograph.radiograph import MAX_BYTES

TOKEN_VARIABLE = "CXR_TOKEN"
SHORTEST_TOKEN = 16
MIB = 1024 * 1024


class Settings(BaseModel):
    """Settings of where a server listens and what it takes on.

    Attributes:
        host: Address to bind.
        port: Port; 0 takes any free one.
        token: Token that clients must send as ``Authorization: Bearer``; None lets everybody ask.
        allowed_hosts: Names that the header Host may hold; empty lets it hold any.
        workers: Number of decoding processes; one for each core, but 8 at most.
        batch: Largest number of images that the network sees at once.
        queue: Largest number of images that wait for their answer.
        longest_wait_s: Longest wait; an image that would wait longer is refused at once.
        always: Images that may wait however long that takes; see `Admission`.
        upload_bytes: Largest number of bytes of one file.
        body_bytes: Largest number of bytes of one request.
        held_bytes: Bytes of all requests' bodies together. A body may grow while it is no larger
            than what is free; see `Held`.
        files: Largest number of files in one request.
        kept_bytes: Bytes of all images that are kept by their hash; never fewer than `body_bytes`.
        kept_s: Time for which such an image is kept.
        decode_s: Time for decoding one image; then its worker is ended.
        worker_bytes: Address space of a decoding process.
        explain_s: Time for a heat map, for the first one with what it loads.
        explainer_bytes: Address space of the process that draws heat maps and reports: PyTorch with
            CUDA's libraries takes 5.6 GB of it on being loaded, of which little becomes memory.
        body_s: Time for a request's body, however fast it comes; the pace that it must keep rises
            with what has come.
        drain_s: Time that accepted requests may still take after SIGTERM; who waits for longer, as
            some do for a heat map, is told to ask another server.
        notice_s: Time for which a stopping server still says that it stops.
        keep_answers: Folder in which answers are kept; None keeps none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    workers: int = Field(default_factory=lambda: _cores(), ge=1)
    batch: int = 8
    queue: int = 64
    longest_wait_s: float = 2.0
    always: int = 12
    upload_bytes: int = MAX_BYTES
    body_bytes: int = 2 * MAX_BYTES
    held_bytes: int = 512 * MIB
    files: int = 32
    kept_bytes: int = 256 * MIB
    kept_s: float = 600.0
    decode_s: float = 10.0
    worker_bytes: int = 2048 * MIB
    explain_s: float = 60.0
    explainer_bytes: int = 8192 * MIB
    body_s: float = 120.0
    drain_s: float = 20.0
    notice_s: float = 1.0
    keep_answers: Path | None = None


def settings(
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    *,
    allowed_hosts: tuple[str, ...] = (),
    keep_answers: Path | None = None,
) -> Settings:
    """Return settings for these options.

    Args:
        host: Address or name to bind; all but loopback need a token.
        port: Port, 0 to 65535.
        token: Token of clients; None takes the environment's ``CXR_TOKEN``, where there is one.
        allowed_hosts: Names under which the server is reached besides loopback's own, capitals or
            not; without any, a server on loopback answers to loopback's own names only, and one
            with a token to every name.
        keep_answers: Folder in which answers are kept; None keeps none.

    Raises:
        UsageError: ``bad_port``, ``no_token``, ``bad_token``.
    """
    if not 0 <= port <= 65535:
        raise UsageError("bad_port", f"Expected a port of 0 to 65535, but got {port}; give one.")
    if token is None:
        token = os.environ.get(TOKEN_VARIABLE)
    local = is_loopback(host)
    if token is None and not local:
        raise UsageError(
            "no_token",
            f"Expected a token before others than this machine may ask, but got none for {host}; "
            f"give --token or set {TOKEN_VARIABLE}, or listen at 127.0.0.1.",
        )
    if token is not None:
        _check_token(token)
    if allowed_hosts or local:
        # Else a web site whose name resolves to 127.0.0.1 could read answers (DNS rebinding).
        own = ("localhost", "127.0.0.1", "::1", *((host,) if local else ()))
        allowed_hosts = tuple(name.lower() for name in (*allowed_hosts, *own))
    return Settings(
        host=host,
        port=port,
        token=token,
        allowed_hosts=allowed_hosts,
        keep_answers=keep_answers,
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches ``host``.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _cores() -> int:
    """Return how many cores this process may use, 8 at most.

    In a container or a service, those are fewer than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)


def _check_token(token: str) -> None:
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            "bad_token",
            f"Expected a token of at least {SHORTEST_TOKEN} printable ASCII characters, but got "
            f"{len(token)} that may not all be such; make one with: openssl rand -hex 32.",
        )
    if " " in token:
        raise UsageError(
            "bad_token", "Expected a token without spaces, but got some; leave them out."
        )
