"""What an operator sets: options, environment variables and a settings file, made into `Settings`.

An option wins over the environment, the environment over the file, the file over the default. What
is wrong is refused with the place where it stands, before a model is loaded. Knows no requests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from cxr_transfer.errors import UsageError, check_list, listing
from cxr_transfer.files import read_toml
from cxr_transfer.radiograph.radiograph import MAX_BYTES, MAX_PIXELS
from cxr_transfer.serving.settings import MIB, Settings, is_loopback
from cxr_transfer.serving.sites import check_origin
from cxr_transfer.serving.tokens import TOKEN_VARIABLE, TOKENS_VARIABLE, read_tokens
from cxr_transfer.serving.webhook_settings import read_secret
from cxr_transfer.tables import nearest
from cxr_transfer.text import for_terminal

PREFIX = "CXR_SERVE_"
"""Beginning of the environment variable of a key: ``queue`` is ``CXR_SERVE_QUEUE``."""

LARGEST = 2**20
"""Bytes of a settings file or a file of tokens."""

_DEFAULTS = Settings()
_PATHS = ("tokens_file", "keep_answers", "audit_trail", "shared", "jobs", "webhook_secret_file")


_ELSEWHERE = {"tokens_file", "allowed_hosts", "webhook_secret_file"}
"""Keys that stand in `Settings` by what they lead to."""


def _listed(value: object) -> object:
    """Take text with commas for a list: an environment variable has no other form."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


_Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class ServerOptions(BaseModel):
    """Keys of a settings file of `cxr serve`.

    Attributes:
        host: Address to bind; all but loopback need a token.
        port: Port; 0 takes any free one.
        allowed_hosts: Names under which clients reach the server.
        cors_origins: Origins of web pages elsewhere that may ask, such as
            "https://viewer.example.org"; none by default.
        tokens_file: File of tokens with names, ``NAME=TOKEN`` on each line; a line that begins with
            ``#`` is a remark. A relative path counts from the settings file's folder.
        workers: Number of processes that decode images; by default one for each core, 8 at most.
        queue: Largest number of images that wait for their answer.
        longest_wait_s: Longest wait in seconds; an image that would wait longer is refused at once.
        always: Number of images that may wait ten times as long, so that clients which send one
            image after the other are not sent away where images are slow.
        upload_mb: Largest size of one file, in MB of 2^20 bytes.
        body_mb: Largest size of one request.
        held_mb: Memory for all requests' bodies together; at least twice `body_mb`.
        files: Largest number of files in one request.
        kept_mb: Memory for images that are uploaded once; at least `body_mb`.
        kept_s: Time in seconds for which such an image is kept.
        samples_mb: Memory for decoded images that are being looked at.
        keep_answers: Folder in which answers are kept for `cxr accept monitor`.
        audit_trail: File to which a line is added for each request: who by name, when, which route,
            which images by hash, which status.
        shared: Folder on which several servers work, for all of which one proxy stands: uploaded
            images and reports lie there, and the folder of `jobs` is theirs together. A server that
            has one listens only while it is ready.
        jobs: Folder in which jobs for many images are kept until they are done, with the images;
            without it the server takes none.
        jobs_at_once: Largest number of jobs that are not done; each token may have its even share
            of them, and at least one. As many that are done are kept: then the oldest one of
            whoever has most goes before its time.
        jobs_mb: Largest size of all jobs together, on the disk.
        jobs_kept_s: Time in seconds for which a job's answers are kept after its end.
        webhook_urls: Addresses that may be told of the end of a job, letter for letter; none by
            default.
        webhook_secret_file: File with the secret that signs what they are told, in base64; or the
            environment's ``CXR_WEBHOOK_SECRET``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host: str = _DEFAULTS.host
    port: int = Field(_DEFAULTS.port, ge=0, le=65535)
    allowed_hosts: _Names = ()
    cors_origins: _Names = ()
    tokens_file: Path | None = None
    workers: int | None = Field(None, ge=1, le=256)
    queue: int = Field(_DEFAULTS.queue, ge=1, le=10_000)
    longest_wait_s: float = Field(_DEFAULTS.longest_wait_s, gt=0, le=600)
    always: int = Field(_DEFAULTS.always, ge=1, le=10_000)
    upload_mb: int = Field(_DEFAULTS.upload_bytes // MIB, ge=1, le=MAX_BYTES // MIB)
    body_mb: int = Field(_DEFAULTS.body_bytes // MIB, ge=1, le=4096)
    held_mb: int = Field(_DEFAULTS.held_bytes // MIB, ge=2, le=2**20)
    files: int = Field(_DEFAULTS.files, ge=1, le=1000)
    kept_mb: int = Field(_DEFAULTS.kept_bytes // MIB, ge=1, le=2**20)
    kept_s: float = Field(_DEFAULTS.kept_s, ge=1, le=86_400)
    samples_mb: int = Field(_DEFAULTS.samples_bytes // MIB, ge=2 * MAX_PIXELS // MIB + 1, le=2**20)
    keep_answers: Path | None = None
    audit_trail: Path | None = None
    shared: Path | None = None
    jobs: Path | None = None
    jobs_at_once: int = Field(_DEFAULTS.jobs_at_once, ge=1, le=100_000)
    jobs_mb: int = Field(_DEFAULTS.jobs_bytes // MIB, ge=1, le=2**24)
    jobs_kept_s: float = Field(_DEFAULTS.jobs_kept_s, ge=1, le=31_536_000)
    webhook_urls: _Names = ()
    webhook_secret_file: Path | None = None


def settings(
    host: str | None = None,
    port: int | None = None,
    token: str | None = None,
    *,
    settings_file: Path | None = None,
    **options: Any,  # noqa: ANN401
) -> Settings:
    """Return settings for these options, the environment and a settings file.

    Args:
        host: Address or name to bind; all but loopback need a token. None was not given.
        port: Port, 0 to 65535. None was not given.
        token: Token of clients; None takes the environment's ``CXR_TOKEN``, where there is one.
        settings_file: Settings file (TOML), with the keys of `ServerOptions`.
        **options: Options, by the names of those keys; None and empty ones were not given.

    Raises:
        UsageError: ``bad_settings`` for what does not hold, ``no_settings`` without such a file,
            ``bad_port``, ``no_token``, ``bad_token``, ``bad_tokens``, ``bad_origin``,
            ``bad_webhook``.
        TypeError: One name where a list of them is meant.
    """
    for name in ("allowed_hosts", "cors_origins", "webhook_urls"):
        check_list(options.get(name) or (), name)
    options |= {"host": host, "port": port}
    given = {key: value for key, value in options.items() if value not in (None, (), [])}
    if port is not None and not 0 <= port <= 65535:
        raise UsageError("bad_port", f"Expected a port of 0 to 65535, but got {port}; give one.")
    values = _of_file(settings_file) if settings_file is not None else {}
    values |= _of_environment()
    values |= _checked(given, lambda key: f"--{key.replace('_', '-')}")
    chosen = ServerOptions.model_validate(values)
    _check_sizes(chosen)
    for origin in chosen.cors_origins:
        check_origin(origin)
    secret = read_secret(chosen.webhook_urls, chosen.webhook_secret_file, os.environ)
    tokens = read_tokens(token, chosen.tokens_file, os.environ)
    if not tokens and not is_loopback(chosen.host):
        raise UsageError(
            "no_token",
            f"Expected a token before others than this machine may ask, but got none for "
            f"{chosen.host}; give --token or --tokens-file, set {TOKEN_VARIABLE} or "
            f"{TOKENS_VARIABLE}, or listen at 127.0.0.1.",
        )
    facts = chosen.model_dump(exclude_none=True, exclude=_ELSEWHERE)
    in_bytes = {
        key.replace("_mb", "_bytes"): MIB * facts.pop(key) for key in tuple(facts) if "_mb" in key
    }
    return Settings(
        **facts,
        **in_bytes,
        allowed_hosts=_hosts(chosen),
        tokens=tokens,
        webhook_secret=secret,
    )


def _hosts(chosen: ServerOptions) -> tuple[str, ...]:
    """Return the names that the header Host may hold; none lets it hold any."""
    local = is_loopback(chosen.host)
    if not chosen.allowed_hosts and not local:
        return ()
    # Else a web site whose name resolves to 127.0.0.1 could read answers (DNS rebinding).
    own = ("localhost", "127.0.0.1", "::1", *((chosen.host,) if local else ()))
    return tuple(name.lower() for name in (*chosen.allowed_hosts, *own))


def _of_file(path: Path) -> dict[str, Any]:
    """Return the keys of a settings file; relative paths count from its folder."""
    try:
        table, _ = read_toml(path, LARGEST)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            "no_settings",
            f"Expected a settings file (.toml) at {path}, but got: {reason}; name another one.",
        ) from None
    except ValueError as error:
        raise _bad(f"{path}: {for_terminal(str(error))}") from None
    values = _checked(table, lambda key: f"{path}: {key}")
    return values | {name: path.parent / values[name] for name in _PATHS if name in values}


def _of_environment() -> dict[str, Any]:
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and value
    }
    return _checked(values, lambda key: PREFIX + key.upper())


def _checked(values: Mapping[str, Any], place: Callable[[str], str]) -> dict[str, Any]:
    """Return values as their types have them, those that were given only.

    Args:
        values: Values by key.
        place: Function that says where a key stands.

    Raises:
        UsageError: ``bad_settings``.
    """
    try:
        options = ServerOptions.model_validate(dict(values))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise _bad(listing(_problem(problem, place) for problem in problems)) from None
    return options.model_dump(include=set(values))


def _problem(error: ErrorDetails, place: Callable[[str], str]) -> str:
    """Return where something is wrong, and what, with the key that may have been meant."""
    key = str(error["loc"][0])
    where = for_terminal(place(key))
    if error["type"] == "extra_forbidden":
        return f"{where}: there is no such key{nearest(key, list(ServerOptions.model_fields))}"
    return f"{where}: {for_terminal(error['msg'])}"


def _check_sizes(chosen: ServerOptions) -> None:
    """Refuse sizes that do not go together.

    Raises:
        UsageError: ``bad_settings``.
    """
    for larger, factor, smaller in (
        ("body_mb", 1, "upload_mb"),
        # A body may grow while it is no larger than what is free: one alone gets half.
        ("held_mb", 2, "body_mb"),
        ("kept_mb", 1, "body_mb"),
    ):
        most, least = getattr(chosen, larger), factor * getattr(chosen, smaller)
        if most < least:
            twice = "twice " if factor == 2 else ""
            raise _bad(f"{larger} is {most}, which is less than {twice}{smaller} ({least})")


def _bad(why: str) -> UsageError:
    return UsageError(
        "bad_settings",
        f"Expected settings of a server, but {why}; 'cxr serve --help' and the reference page of "
        "its settings list what may be set.",
    )
