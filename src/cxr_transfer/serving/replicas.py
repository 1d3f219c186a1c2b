"""Servers that work on one folder: who of them lives, told by locks that die with their process.

Each holds a file of its own, ``servers/NAME`` with `flock`. Whoever can lock another's file knows
that its server is gone, however it ended. What a server says of itself stands in its file.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from contextlib import suppress
from pathlib import Path

from cxr_transfer.errors import UsageError
from cxr_transfer.files import open_own, unwritable

_FOLDER = "servers"
_MOST_BYTES = 2**16


class Replicas:
    """The servers of a folder, of which this is one.

    Args:
        folder: Folder on which they work.
        option: Option that named it, for messages.

    Attributes:
        name: Name of this one.

    Raises:
        MachineError: ``disk_full``, ``not_writable``.
    """

    def __init__(self, folder: Path, option: str) -> None:
        self.name = uuid.uuid4().hex
        self._folder = folder / _FOLDER
        self._facts = ""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._handle = self._entered()
        except OSError as error:
            raise unwritable(self._folder, error, option) from error

    def living(self) -> set[str]:
        """Return the names of the servers that live; what others left behind goes."""
        if not (self._folder / self.name).exists():  # A lock that was lost, or a tidy operator.
            os.close(self._handle)
            self._handle = self._entered()
        others = {path for path in self._folder.iterdir() if not path.name.startswith(".")}
        living = {self.name}
        for path in others - {self._folder / self.name}:
            if _is_held(path):
                living.add(path.name)
            else:
                path.unlink(missing_ok=True)
        return living

    def join(self, facts: str) -> None:
        """Tell the others what this one is, and refuse to be another kind.

        Args:
            facts: What must be the same, in one line.

        Raises:
            UsageError: ``other_replicas``.
        """
        self._facts = facts
        os.pwrite(self._handle, facts.encode(), 0)
        for name in self.living() - {self.name}:
            with suppress(FileNotFoundError):
                theirs = _read(self._folder / name)
                if theirs not in ("", facts):
                    raise UsageError(
                        "other_replicas",
                        f"Expected servers of one version, with the same models, to work on "
                        f"{self._folder.parent}, but another one there differs; stop those first, "
                        "or give another folder.",
                    )

    def close(self) -> None:
        """Leave the folder to the others."""
        with suppress(OSError):
            (self._folder / self.name).unlink()
        os.close(self._handle)

    def _entered(self) -> int:
        """Return the handle of our own file; others see it only when it is locked."""
        hidden = self._folder / f".{self.name}"
        handle = open_own(hidden, os.O_RDWR)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(handle, self._facts.encode(), 0)
        hidden.rename(self._folder / self.name)
        return handle


def _is_held(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # What cannot be told is no reason to take its work.
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode(errors="replace")
