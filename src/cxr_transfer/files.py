"""Files that are either whole or absent, and a folder that one run owns.

Comes in: bytes, text, tables. Goes out: files that appear at their final name only when they are
complete (temporary file in the same folder, flush, fsync, ``os.replace``). Knows nothing of what
the files mean.
"""

from __future__ import annotations

import atexit
import contextlib
import csv
import errno
import functools
import io
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.errors import MachineError, UsageError

SOFTWARE = "cxr-transfer"
"""Stands in every picture that this program draws, so that none is taken for a radiograph."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new, never a part.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``; what stood at ``path`` is untouched.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own and the user's own umask: a manifest may be for few eyes only.
        temporary = str(path.parent / f".{uuid.uuid4().hex}.part")
        with open(temporary, "xb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        temporary = ""
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary:  # also after Ctrl-C: a checkpoint is too large to be left behind
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _unwritable(path: Path, error: OSError) -> MachineError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return MachineError(
            "disk_full",
            f"Expected room for {path}, but got: {reason}; free some space and run the same "
            "command again (what was there before is intact).",
        )
    return MachineError(
        "not_writable",
        f"Expected to write {path}, but got: {reason}; choose another --out or mend its rights.",
    )


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8; see `write_bytes`."""
    # Film names need not be UTF-8: such bytes go out as they came in.
    write_bytes(path, text.encode(errors="surrogateescape"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON; NaN is refused because JSON has none."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write ``rows`` as CSV (UTF-8, header first); a missing value is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def cache_folder() -> Path:
    """Return where what can be had again is kept: ``$CXR_CACHE``, or ``~/.cache/cxr-transfer``."""
    return _users_folder("CXR_CACHE", "XDG_CACHE_HOME", ".cache")


def settings_folder() -> Path:
    """Return where what must not be lost is kept: ``$CXR_CONFIG``, ``~/.config/cxr-transfer``."""
    return _users_folder("CXR_CONFIG", "XDG_CONFIG_HOME", ".config")


def _users_folder(own: str, system: str, below_home: str) -> Path:
    if folder := os.environ.get(own):
        return Path(folder)
    if folder := os.environ.get(system):
        return Path(folder) / SOFTWARE
    # Not Path.home(), which raises for a user without a home.
    return Path(os.path.expanduser("~")) / below_home / SOFTWARE


def writable_cache() -> tuple[Path, str]:
    """Return a folder to keep in what can be had again, and a warning where it will not last.

    Where the cache folder cannot be written (a read-only home, a service without one), it is a
    folder of this process alone, which is removed at its end.

    Raises:
        MachineError: ``no_cache`` where there is no such folder either.
    """
    folder = cache_folder()
    try:
        _try_to_write(folder)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return folder, ""
    try:
        temporary = _temporary_cache()
    except OSError as error:
        raise MachineError(
            "no_cache",
            f"Expected to keep what is computed once in {folder}, but got: {reason}; nor in a "
            f"temporary folder: {error.strerror or error}. Set CXR_CACHE to a folder that can be "
            "written.",
        ) from None
    return temporary, (
        f"the cache {folder} cannot be written ({reason}): what is computed once is kept in a "
        "temporary folder and computed again next time; set CXR_CACHE to a folder that can be "
        "written"
    )


def _try_to_write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".{uuid.uuid4().hex}.probe"
    with open(probe, "xb"):
        pass
    os.unlink(probe)


@functools.cache
def _temporary_cache() -> Path:
    folder = tempfile.mkdtemp(prefix=f"{SOFTWARE}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@contextlib.contextmanager
def scratch_file(folder: Path, size: int) -> Iterator[Path]:
    """Give a file of ``size`` bytes, to be mapped into memory, whose room is already taken.

    Its name is gone afterwards and its room with the last mapping: also after ``kill -9`` nothing
    is left.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``, now instead of a crash while it fills.
    """
    path = folder / f".{uuid.uuid4().hex}.scratch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as handle:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle.fileno(), 0, size)
            else:
                handle.truncate(size)
        yield path
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for one run; the lock dies with the process, also after ``kill -9``.

    Raises:
        UsageError: ``folder_in_use`` when another run holds it.
        MachineError: ``not_writable`` when it cannot be made.
    """
    import fcntl

    lock = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = lock.open("w")
    except OSError as error:
        raise _unwritable(lock, error) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                "folder_in_use",
                f"Expected a run folder of its own, but another run is writing to {folder}; wait "
                "for it or choose another --out.",
            ) from None
        yield
