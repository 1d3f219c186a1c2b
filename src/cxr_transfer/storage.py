"""Addresses of object stores: what is read from them, listed and written there.

The one place that knows fsspec. Comes in: an address such as ``s3://bucket/key``. Goes out: bytes,
names, or an error of one line that holds nothing a store said, since that may name keys. An address
with a secret in it is refused before it can stand in a table or a log. Who may read is asked of the
environment, as the store's own tools do. Everything ends: a store that is silent is given up.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard, TypeVar
from urllib.parse import unquote

from cxr_transfer.errors import CxrError, ImageError, MachineError, UsageError
from cxr_transfer.extras import require
from cxr_transfer.parallel import in_order

Location: TypeAlias = str | Path
"""An address of an object store (text), or a path."""

PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}
"""By scheme of an address: the package that fsspec needs for it."""

CONNECT_TIMEOUT, READ_TIMEOUT = 10, 20
"""Seconds that a store may be silent."""

ATTEMPTS = 3
"""Times that a request is sent while the store cannot be reached or is busy."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|arn:[A-Za-z0-9:_-]+")
_SIGNED = re.compile(
    r"[?&](x-amz-|x-goog-|awsaccesskeyid|signature|token|sig)[^=]*=", re.IGNORECASE
)
_SECRETS = (
    (re.compile(r"(://)[^@\s]*@"), r"\1...@"),
    (re.compile(r"((?:s3|gs)://[^/:@\s]+):[^/@\s]+"), r"\1:..."),
    (re.compile(r"([?&][^=&\s]+=)[^&\s']+"), r"\1..."),
)
_UNREADABLE_RANGE = ("416", "InvalidRange")
# What holds for one object alone; other refusals hold for all that follow.
_OF_THE_OBJECT = ("", "403", "AccessDenied", "AllAccessDisabled", "InvalidObjectState")

Out = TypeVar("Out")


def location(name: str | os.PathLike[str]) -> Location:
    """Return what a name stands for: an address of an object store as it is, or a path.

    >>> location("s3://bucket/a.png"), str(location("file:///images/a%20b.png"))
    ('s3://bucket/a.png', '/images/a b.png')

    Raises:
        UsageError: ``bad_storage_address`` for an address of another kind, or with a secret in it.
    """
    if not isinstance(name, str):
        return Path(name)
    scheme, mark, rest = name.partition("://")
    if not mark or not scheme or "/" in scheme:
        return Path(name)
    kind = scheme.lower()
    host, _, key = rest.partition("/")
    if kind == "file" and host in ("", "localhost"):
        return Path(unquote(f"/{key}"))
    if kind not in PACKAGES:
        raise UsageError(
            "bad_storage_address",
            "Expected an address that begins with s3://, gs:// or file:///, or a path, but got "
            "another kind of address; copy the images to one of these.",
        )
    if not _BUCKET.fullmatch(host) or _SIGNED.search(key):
        raise UsageError(
            "bad_storage_address",
            f"Expected {kind}://BUCKET/KEY, without user, password, token or signature, but got "
            "something else; give credentials by the environment, as for the store's own tools.",
        )
    return f"{kind}://{rest}"


def is_address(name: object) -> TypeGuard[str]:
    """Tell the address of an object store, as `location` returns it, from all other objects."""
    return isinstance(name, str) and name.partition("://")[0] in PACKAGES and "://" in name


def without_secrets(text: str) -> str:
    """Return a text in which nothing before an @, and no value of a query, is left of addresses.

    >>> without_secrets("cxr predict s3://me:secret@bucket/a.png")
    'cxr predict s3://...@bucket/a.png'
    """
    for secret, instead in _SECRETS:
        text = secret.sub(instead, text)
    return text


def read_object(address: str, most: int) -> bytes:
    """Return the bytes of an object; of a larger one, ``most + 1`` of them.

    Raises:
        ImageError: ``missing_file``, ``access_denied``; ``not_a_file`` for a bucket.
        MachineError: ``missing_package``, ``storage_unreachable``, ``storage_refused``.
        UsageError: ``no_bucket``.
    """
    if not address.partition("://")[2].partition("/")[2]:
        raise ImageError(
            "not_a_file", "Expected an object, but got a whole bucket; name what lies in it."
        )
    system = _system(address)
    try:
        content: bytes = system.cat_file(address, start=0, end=most + 1)
    except FileNotFoundError as error:
        if _code(error) == "NoSuchBucket":
            raise _error(address, error) from None
        raise ImageError(
            "missing_file", "Expected an image file, but there is none; check its path."
        ) from None
    except PermissionError as error:
        if _code(error) not in _OF_THE_OBJECT:
            raise _error(address, error) from None
        raise ImageError(
            "access_denied",
            "Expected an object that may be read, but the store denies it; ask for the right to "
            "read it.",
        ) from None
    except Exception as error:
        if _code(error) in _UNREADABLE_RANGE:  # of an object without a byte
            return b""
        raise _error(address, error) from None
    return content


def objects_below(address: str) -> list[str]:
    """Return the addresses of all objects below a prefix, or that of the object itself, sorted.

    Raises:
        MachineError, UsageError: What `read_object` raises of the store.
    """
    return _listed(address, lambda system: system.find(address))


def objects_like(pattern: str) -> list[str]:
    """Return the addresses of all objects that a pattern stands for, sorted.

    Raises:
        MachineError, UsageError: What `read_object` raises of the store.
    """
    return _listed(pattern, lambda system: system.glob(pattern))


def object_exists(address: str) -> bool:
    """Tell whether there is an object, or a prefix, of this name.

    Raises:
        MachineError, UsageError: What `read_object` raises of the store.
    """
    return _asked(address, lambda system: bool(system.exists(address)))


def write_object(address: str, content: bytes, *, new: bool = False) -> bool:
    """Write an object, which is there whole or not at all.

    Args:
        address: Address of the object.
        content: Bytes of it.
        new: Whether an object that is there stays as it is.

    Returns:
        Whether it was written.

    Raises:
        MachineError, UsageError: What `read_object` raises of the store.
    """
    mode = "create" if new else "overwrite"
    try:
        _asked(address, lambda system: system.pipe_file(address, content, mode=mode))
    except FileExistsError:
        return False
    return True


def upload(path: Path, address: str) -> None:
    """Write a file of this machine as an object, which is there whole or not at all.

    Raises:
        MachineError, UsageError: What `read_object` raises of the store.
    """
    _asked(address, lambda system: system.put_file(str(path), address))


def delete_objects(addresses: Iterable[str]) -> None:
    """Delete objects, many at a time; one that is gone is no error.

    Raises:
        MachineError, UsageError: What `read_object` raises of the store.
    """

    def delete(address: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            _asked(address, lambda system: system.rm_file(address))

    for _ in in_order(delete, addresses, workers=16):
        pass


def _listed(address: str, find: Callable[[Any], list[str]]) -> list[str]:
    scheme = address.partition("://")[0]
    try:
        names = _asked(address, find)
    except FileNotFoundError:
        return []
    return sorted(f"{scheme}://{name}" for name in names if not name.endswith("/"))


def _asked(address: str, ask: Callable[[Any], Out]) -> Out:
    """Ask a store; what is there or absent is the caller's, all else an error of ours."""
    try:
        return ask(_system(address))
    except (CxrError, FileExistsError):
        raise
    except FileNotFoundError as error:
        if _code(error) == "NoSuchBucket" or "/" not in address.partition("://")[2].strip("/"):
            raise _error(address, error) from None
        raise
    except Exception as error:
        raise _error(address, error) from None


def _system(address: str) -> Any:  # noqa: ANN401 - fsspec's
    return _connected(address.partition("://")[0], os.getpid())


@functools.lru_cache(maxsize=4)
def _connected(scheme: str, _process: int) -> Any:  # noqa: ANN401 - fsspec's
    """Return fsspec's view of a store, one for all threads of a process.

    Raises:
        MachineError: ``missing_package``, ``storage_refused``, ``storage_unreachable``.
    """
    require("fsspec", f"addresses of {scheme}://")
    require(PACKAGES[scheme], f"addresses of {scheme}://")
    import fsspec

    # Without one, Python shows on standard error what a library logs, tracebacks too.
    logging.getLogger(PACKAGES[scheme]).addHandler(logging.NullHandler())
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":
        options["config_kwargs"] = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            "retries": {"total_max_attempts": ATTEMPTS, "mode": "standard"},
        }
    else:
        options["timeout"] = READ_TIMEOUT
    try:
        system = fsspec.filesystem(scheme, **options)
    except Exception as error:
        raise _error(f"{scheme}://", error) from None
    if scheme == "s3":
        system.retries = 2  # its own, around those of the library below
    return system


def _code(error: BaseException) -> str:
    """Return the code by which a store names an error; "" where it names none."""
    response = getattr(error.__cause__ or error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    code = getattr(error, "code", "")
    return str(code) if isinstance(code, int | str) else ""


def _error(address: str, error: BaseException) -> CxrError:
    """Return the error of ours for what a store, or the way to it, said."""
    scheme, _, rest = address.partition("://")
    place = f"{scheme}://{rest.partition('/')[0]}"
    code = _code(error)
    reason = code or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return UsageError(
            "no_bucket", f"Expected a bucket at {place}, but there is none; check its name."
        )
    about_account = any(word in reason for word in ("Credential", "Token", "401", "403"))
    about_account |= type(error).__module__.startswith("google.auth")
    if about_account or isinstance(error, PermissionError):
        return MachineError(
            "storage_refused",
            f"Expected {place} to be open to this account, but got: {reason}; check the "
            "credentials in the environment, and the rights that they give. What was answered is "
            "kept: the same command goes on.",
        )
    return MachineError(
        "storage_unreachable",
        f"Expected an answer of the store at {place}, but got: {reason}; check the network and "
        "the endpoint, and run the same command again: it goes on.",
    )
