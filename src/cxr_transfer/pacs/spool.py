"""The spool folder: what was received and what was answered, durable, and encrypted where asked.

A file is written whole or not at all, and is on the disk before `Spool.write` returns. With a key,
each is sealed by AES-256-GCM together with its name: a file that was changed, or put in another's
place, cannot be opened. Knows nothing of DICOM.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.files import remove_unfinished, unwritable, write_bytes

_NONCE = 12
_KEY = re.compile(r"[0-9a-fA-F]{64}")


class Spool:
    """Files below a folder.

    Args:
        folder: Folder, made where it is absent; only its owner can look into it.
        key: Key of 32 bytes; None leaves files in clear.
    """

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        self.folder = folder
        self._cipher = AESGCM(key) if key is not None else None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise unwritable(folder, error, "--spool") from error

    def close_to_others(self) -> bool:
        """Take from others the right to look into the folder; tell whether they have none now."""
        with suppress(OSError):  # not the owner's own, or on a disk that knows no rights
            if self.folder.stat().st_mode & 0o077:
                self.folder.chmod(0o700)
        return not self.folder.stat().st_mode & 0o077

    @property
    def is_sealed(self) -> bool:
        """Whether files are encrypted."""
        return self._cipher is not None

    def sealed(self, name: str, content: bytes) -> bytes:
        """Return content as it stands on the disk."""
        if self._cipher is None:
            return content
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, content, name.encode())

    def opened(self, name: str, content: bytes) -> bytes:
        """Return what `sealed` was given.

        Raises:
            MachineError: ``spool_damaged``.
        """
        if self._cipher is None:
            return content
        try:
            return self._cipher.decrypt(content[:_NONCE], content[_NONCE:], name.encode())
        except (InvalidTag, ValueError):
            raise _damaged() from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file; when this returns it outlives a loss of power.

        Args:
            name: Path below the folder.
            content: Content of the file.

        Raises:
            MachineError: ``disk_full`` or ``not_writable``; nothing of it is there then.
        """
        path = self.folder / name
        is_new = not path.parent.exists()
        write_bytes(path, self.sealed(name, content))
        try:
            _sync(path.parent)
            if is_new:
                for parent in (path.parent.parent, self.folder):
                    _sync(parent)
        except OSError as error:
            raise unwritable(path, error, "--spool") from error

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            MachineError: ``spool_damaged`` where it is gone, or was changed.
        """
        try:
            content = (self.folder / name).read_bytes()
        except OSError:
            raise _damaged() from None
        return self.opened(name, content)

    def size(self, name: str) -> int:
        """Return the bytes of a file on the disk; 0 where it is not there."""
        file = self.folder / name  # no name is the folder itself
        try:
            return file.stat().st_size if file.is_file() else 0
        except OSError:
            return 0

    def remove(self, name: str) -> None:
        """Delete a file, where it is there."""
        with suppress(OSError):
            (self.folder / name).unlink()

    def names(self, below: str) -> Iterator[str]:
        """Yield the paths of all files below a folder of the spool."""
        for folder, _, names in os.walk(self.folder / below):
            for name in names:
                yield (Path(folder) / name).relative_to(self.folder).as_posix()

    def clear_unfinished(self, below: str) -> None:
        """Delete what a killed write left behind."""
        for folder, _, _ in os.walk(self.folder / below):
            remove_unfinished(Path(folder))


def read_key(path: Path) -> bytes:
    """Return the key of a spool.

    Args:
        path: File with 64 hexadecimal digits, which only its owner may read.

    Raises:
        UsageError: ``bad_key_file``.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip() if stat.S_ISREG(mode) else ""
    except (OSError, ValueError) as error:
        raise _bad_key(path, getattr(error, "strerror", None) or "it is no text") from None
    if mode & 0o077:
        raise _bad_key(path, f"others may read it; take that away with: chmod 600 {path}")
    if not _KEY.fullmatch(text):
        raise _bad_key(path, "it has other content; make one with: openssl rand -hex 32")
    return bytes.fromhex(text)


def hashed(salt: bytes, identifier: str) -> str:
    """Return what stands for an identifier in names of files, status and log.

    Args:
        salt: Salt of the spool: without it nobody can try identifiers.
        identifier: UID of an object.
    """
    return hmac.new(salt, identifier.encode(), hashlib.sha256).hexdigest()[:32]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _damaged() -> MachineError:
    return MachineError(
        "spool_damaged",
        "Expected a file of the spool as it was written, but it is gone, was changed or belongs to "
        "another key; restore it, or let the object be sent again.",
    )


def _bad_key(path: Path, why: str) -> UsageError:
    return UsageError(
        "bad_key_file", f"Expected a file with the spool's key at {path}, but got: {why}."
    )
