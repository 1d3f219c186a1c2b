"""How a node is set up, as TOML, strict when read: who may come, what is judged, where answers go.

Comes in: a settings file and options. Goes out: `NodeSettings`, or one error with all that is
wrong. Opens no port and no model.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from cxr_transfer.errors import UsageError, listing
from cxr_transfer.files import read_toml
from cxr_transfer.pacs.rules import EVERYTHING, Rule
from cxr_transfer.radiograph.radiograph import MAX_BYTES
from cxr_transfer.serving.settings import MIB, is_loopback
from cxr_transfer.text import for_terminal

LARGEST = 2**20
"""Bytes of a settings file."""

AeTitle = Annotated[str, Field(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]
"""Application entity title: 1 to 16 printable characters, no backslash (PS3.5, 6.2)."""

# Strict: else true would be port 1, and "104" a number.
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
_SHORT = re.compile(r"(?P<ae>[^@]{1,16})@(?P<address>.+):(?P<port>\d{1,5})")
_FILES = ("spool", "key_file")
_TLS_FILES = ("certificate", "key", "authority")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Peer(_Strict):
    """A program that may send.

    Attributes:
        ae: Its AE title.
        address: Its address, or a network such as "10.1.0.0/16".
        port: Port at which it takes reports of storage commitment; None sends them on the
            association that asked.
    """

    ae: AeTitle
    address: str
    port: Port | None = None

    @field_validator("address")
    @classmethod
    def _is_network(cls, value: str) -> str:
        ipaddress.ip_network(value, strict=False)
        return value

    def is_at(self, address: str) -> bool:
        """Tell whether a connection from an address may be this peer's."""
        return is_in(address, self.address)


def is_in(address: str, network: str) -> bool:
    """Tell whether an address lies in a network.

    >>> is_in("10.1.2.3", "10.1.0.0/16"), is_in("::ffff:10.1.2.3", "10.1.2.3"), is_in("x", "::1")
    (True, True, False)
    """
    try:
        own = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(own, "ipv4_mapped", None)
    return (mapped or own) in ipaddress.ip_network(network, strict=False)


class Destination(_Strict):
    """Where answers go: an archive that takes C-STORE, or one that takes DICOMweb's STOW-RS.

    Attributes:
        name: Name by which rules and status know it.
        ae: AE title of the archive, for C-STORE.
        address: Address or host name, for C-STORE.
        port: Port, for C-STORE.
        tls: Whether the association is encrypted, with the node's own certificate.
        stow: URL of the DICOMweb service, such as "http://127.0.0.1:8042/dicom-web".
    """

    name: Name
    ae: AeTitle | None = None
    address: str | None = None
    port: Port | None = None
    tls: bool = Field(False, strict=True)
    stow: str | None = Field(None, pattern=r"^https?://")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [value is not None for value in (self.ae, self.address, self.port)]
        if (self.stow is not None and any(given)) or (self.stow is None and not all(given)):
            raise ValueError("give ae, address and port, or stow alone")
        return self


class Source(_Strict):
    """An archive that is asked for new images by DICOMweb: QIDO-RS and WADO-RS.

    Attributes:
        name: Name by which status and log know it.
        url: URL of the DICOMweb service.
        every_s: Seconds between two questions.
        days: Number of days of studies that are asked for, today included.
        modalities: Modalities of the series that are taken.
    """

    name: Name
    url: str = Field(pattern=r"^https?://")
    every_s: float = Field(30.0, strict=True, ge=0.2, le=86_400)
    days: int = Field(2, strict=True, ge=1, le=3650)
    modalities: tuple[Literal["CR", "DX"], ...] = ("CR", "DX")


class Tls(_Strict):
    """Encryption of associations: BCP 195 (RFC 9325), TLS 1.2 or newer, certificates of both sides.

    Attributes:
        profile: Name of the profile.
        certificate: File of the node's certificate chain (PEM).
        key: File of its private key (PEM).
        authority: File of the authorities whose certificates peers must show (PEM).
    """

    profile: Literal["bcp195-rfc9325"] = "bcp195-rfc9325"
    certificate: Path
    key: Path
    authority: Path


class Limits(_Strict):
    """Bounds on what a node takes on.

    Attributes:
        associations: Largest number of associations at once.
        object_mb: Largest size of one object, in MB of 2^20 bytes.
        held_mb: Memory for all objects that are being received; at least `object_mb`.
        pdu_kb: Largest size of a PDU that peers may send.
        free_mb: Space of the disk that stays free; before it is used, objects are refused.
        spool_mb: Largest size of what is received and answered in the spool folder; 8 MB are kept
            for the answers of each object that waits.
        handshake_s: Seconds in which a connection has to become an association.
        idle_s: Seconds for which an association may be silent.
        decode_s: Seconds for reading one image.
        workers: Number of processes that read images, and of those that make answers; None is one
            of each for a core, 8 at most.
        first_wait_s: Seconds until the first new attempt to send; each wait is twice the last.
        longest_wait_s: Longest wait between two attempts.
        give_up_h: Hours after which an answer that could not be sent is a dead letter.
        keep_days: Days for which received objects and answers are kept after they were sent.
        drain_s: Seconds for which a stopping node works on what it has received.
    """

    model_config = ConfigDict(strict=True)

    associations: int = Field(8, ge=1, le=256)
    object_mb: int = Field(MAX_BYTES // MIB, ge=1, le=MAX_BYTES // MIB)
    held_mb: int = Field(512, ge=1, le=2**20)
    pdu_kb: int = Field(128, ge=4, le=1024)
    free_mb: int = Field(512, ge=0, le=2**30)
    spool_mb: int = Field(51_200, ge=16, le=2**30)
    handshake_s: float = Field(10.0, gt=0, le=600)
    idle_s: float = Field(60.0, gt=0, le=3600)
    decode_s: float = Field(10.0, gt=0, le=600)
    workers: int | None = Field(None, ge=1, le=64)
    first_wait_s: float = Field(1.0, gt=0, le=3600)
    longest_wait_s: float = Field(300.0, gt=0, le=86_400)
    give_up_h: float = Field(168.0, gt=0, le=87_600)
    keep_days: float = Field(7.0, ge=0, le=36_500)
    drain_s: float = Field(30.0, ge=0, le=3600)

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.held_mb < self.object_mb:
            raise ValueError("held_mb is below object_mb")
        return self


class NodeSettings(_Strict):
    """Keys of the settings file of ``cxr pacs``.

    Attributes:
        ae: AE title of the node; peers must call it so.
        host: Address to bind; all but loopback need peers.
        port: Port; 0 takes any free one.
        metrics_port: Port on loopback for figures in Prometheus' form; None opens none.
        spool: Folder of what was received and answered. A relative path counts from the settings
            file's folder.
        key_file: File with the key of the spool, 64 hexadecimal digits; None leaves it in clear.
        peers: Programs that may send; none lets every program of this machine.
        destinations: Archives that take answers.
        sources: Archives that are asked for new images.
        rules: Rules in their order; none judges every image.
        tls: Encryption of associations; None for none.
        limits: Bounds on what it takes on.
    """

    ae: AeTitle = "CXR"
    host: str = "127.0.0.1"
    port: int = Field(11112, strict=True, ge=0, le=65535)
    metrics_port: Port | None = None
    spool: Path = Path("cxr-spool")
    key_file: Path | None = None
    peers: tuple[Peer, ...] = ()
    destinations: tuple[Destination, ...] = ()
    sources: tuple[Source, ...] = ()
    rules: tuple[Rule, ...] = (EVERYTHING,)
    tls: Tls | None = None
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        for what in ("destinations", "sources", "rules"):
            names = [item.name for item in getattr(self, what)]
            if len(set(names)) < len(names):
                raise ValueError(f"two {what} have one name")
        names = [destination.name for destination in self.destinations]
        for rule in self.rules:
            for name in rule.answer_to:
                if name not in names:
                    raise ValueError(f"rule {rule.name} answers to {name}, which is no destination")
        if self.tls is None and any(destination.tls for destination in self.destinations):
            raise ValueError("a destination asks for tls, but there is no [tls]")
        return self

    def destinations_of(self, rule: Rule) -> tuple[str, ...]:
        """Return the names of the destinations of a rule's answers."""
        return rule.answer_to or tuple(destination.name for destination in self.destinations)


def destination(text: str) -> Destination:
    """Return a destination of a person's word: ``AE@HOST:PORT``, or the URL of a DICOMweb service.

    >>> destination("ORTHANC@127.0.0.1:4242").name
    'ORTHANC'

    Raises:
        UsageError: ``bad_destination``.
    """
    short = _SHORT.fullmatch(text)
    try:
        if short is None:
            return Destination(name="dicomweb", stow=text)
        name = re.sub(r"[^A-Za-z0-9._-]", "_", short["ae"])
        return Destination(
            name=name, ae=short["ae"], address=short["address"].strip("[]"), port=int(short["port"])
        )
    except ValidationError:
        raise UsageError(
            "bad_destination",
            f"Expected AE@HOST:PORT or a URL with http, but got {text!r}; for example "
            "ORTHANC@127.0.0.1:4242.",
        ) from None


def node_settings(path: Path | None = None, **options: Any) -> NodeSettings:  # noqa: ANN401
    """Return the settings of a node; an option wins over the file.

    Args:
        path: Settings file (TOML); None for none.
        **options: Options by the names of the keys; None was not given.

    Raises:
        UsageError: ``no_node_settings`` without such a file, ``bad_node_settings`` for what does
            not hold, ``no_peers`` where others than this machine could come.
    """
    values = _of_file(path) if path is not None else {}
    values |= {key: value for key, value in options.items() if value not in (None, ())}
    place = f"{path}: " if path is not None else ""
    try:
        chosen = NodeSettings.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise _bad(listing(f"{place}{_problem(problem)}" for problem in problems)) from None
    if not chosen.peers and not is_loopback(chosen.host):
        raise UsageError(
            "no_peers",
            f"Expected [[peers]] that may send before others than this machine can, but got none "
            f"for {chosen.host}; name them in the settings file, or listen at 127.0.0.1.",
        )
    return chosen


def _of_file(path: Path) -> dict[str, Any]:
    try:
        table, _ = read_toml(path, LARGEST)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            "no_node_settings",
            f"Expected a settings file (.toml) at {path}, but got: {reason}; name another one.",
        ) from None
    except ValueError as error:
        raise _bad(f"{path}: {for_terminal(str(error))}") from None
    for owner, keys in ((table, _FILES), (table.get("tls"), _TLS_FILES)):
        if not isinstance(owner, dict):
            continue
        for key in keys:
            if isinstance(owner.get(key), str):
                owner[key] = path.parent / owner[key]
    return table


def _problem(error: ErrorDetails) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "all"
    return for_terminal(f"{where}: {error['msg']}")


def _bad(why: str) -> UsageError:
    return UsageError(
        "bad_node_settings",
        f"Expected settings of a node, but got: {why}; see the guide of the DICOM node.",
    )
