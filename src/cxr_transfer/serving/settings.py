"""How a server is set up: where it listens, who may ask, and how much it takes on at once.

`server_options` makes `Settings` of what an operator sets. Knows nothing of models or requests.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cxr_transfer.radiograph.radiograph import MAX_BYTES

MIB = 1024 * 1024


class Settings(BaseModel):
    """Settings of where a server listens and what it takes on.

    Attributes:
        host: Address to bind.
        port: Port; 0 takes any free one.
        tokens: Tokens by name, of which clients must send one as ``Authorization: Bearer``; empty
            lets everybody ask.
        allowed_hosts: Names that the header Host may hold; empty lets it hold any.
        cors_origins: Origins of web pages elsewhere that may ask.
        workers: Number of decoding processes; one for each core, but 8 at most.
        batch: Largest number of images that the network sees at once.
        queue: Largest number of images that wait for their answer.
        longest_wait_s: Longest wait; an image that would wait longer is refused at once.
        always: Images that may wait ten times as long; see `Admission`.
        upload_bytes: Largest number of bytes of one file.
        body_bytes: Largest number of bytes of one request.
        held_bytes: Bytes of all requests' bodies together. A body may grow while it is no larger
            than what is free; see `BodyMemory`.
        files: Largest number of files in one request.
        kept_bytes: Bytes of all images that are kept by their hash; never fewer than `body_bytes`.
        kept_s: Time for which such an image is kept.
        samples_bytes: Bytes of all images that are kept decoded for viewers; never fewer than the
            largest one needs.
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
        audit_trail: File to which a line is added for each request; None keeps none.
        shared: Folder on which several servers work, for all of which one proxy stands; None where
            this server is the only one.
        jobs: Folder in which jobs are kept; None keeps none.
        jobs_at_once: Largest number of jobs that are not done, which tokens share evenly. As many
            that are done are kept beside them.
        jobs_bytes: Bytes of all jobs together.
        jobs_kept_s: Time for which a job is kept after its end.
        webhook_urls: Addresses that may be told of the end of a job.
        webhook_secret: Secret with which that is signed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = 8000
    tokens: dict[str, str] = Field(default_factory=dict, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
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
    samples_bytes: int = 256 * MIB
    decode_s: float = 10.0
    worker_bytes: int = 2048 * MIB
    explain_s: float = 60.0
    explainer_bytes: int = 8192 * MIB
    body_s: float = 120.0
    drain_s: float = 20.0
    notice_s: float = 1.0
    keep_answers: Path | None = None
    audit_trail: Path | None = None
    shared: Path | None = None
    jobs: Path | None = None
    jobs_at_once: int = 1000
    jobs_bytes: int = 4096 * MIB
    jobs_kept_s: float = 86_400.0
    webhook_urls: tuple[str, ...] = ()
    webhook_secret: bytes = Field(b"", repr=False)


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
