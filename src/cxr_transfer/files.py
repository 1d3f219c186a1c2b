"""Files that are either whole or absent.

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
import re
import shutil
import stat
import tempfile
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.text import cell, cell_texts, for_json

LOCK = ".lock"
LOG = "log.txt"
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.(part|scratch)")

_LINE = 120
"""Characters of a table of JSON that stands in one line."""

SOFTWARE = "cxr-transfer"
"""Stands in every picture that this program draws, so that none is taken for a radiograph."""


def write_bytes(path: Path, content: bytes | memoryview) -> None:
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
        raise unwritable(path, error) from error
    finally:
        if temporary:  # also after Ctrl-C: a checkpoint is too large to be left behind
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def unwritable(path: Path, error: OSError, option: str = "--out") -> MachineError:
    """Return the error that says why ``path`` cannot be written, and which option has another."""
    reason = "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return MachineError(
            "disk_full",
            f"Expected room for {path}, but got: {reason}; free some space and run the same "
            "command again (what was there before is intact).",
        )
    return MachineError(
        "not_writable",
        f"Expected to write {path}, but got: {reason}; choose another {option} or mend its rights.",
    )


def check_new(path: Path, option: str = "--out") -> None:
    """Refuse to put a file where one is: it may be anybody's, or what this command reads.

    Args:
        path: Path of a single file that a person named.
        option: Option by which it was named.

    Raises:
        UsageError: ``out_exists``.
    """
    if os.path.lexists(path):
        raise UsageError(
            "out_exists",
            f"Expected a new file, but {path} is there already; delete it or choose another "
            f"{option}.",
        )


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8; see `write_bytes`."""
    # Image names need not be UTF-8: such bytes go out as they came in.
    write_bytes(path, text.encode(errors="surrogateescape"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON, which any terminal may show.

    NaN is refused because JSON has none.
    """
    write_text(path, json_text(content))


def json_text(content: Mapping[str, Any]) -> str:
    """Return what `write_json` writes: an entry a line, but what is short and plain in one."""
    return for_json(_indented(content, "\n")) + "\n"


def _indented(value: object, line: str) -> str:
    """Return a value as JSON; ``line`` is a line break with the blanks that it stands behind."""
    if not isinstance(value, Mapping | list | tuple):
        return _json(value)
    entries = list(value.values() if isinstance(value, Mapping) else value)
    if not any(isinstance(entry, Mapping | list | tuple) for entry in entries):
        text = _json(value)
        if len(text) <= _LINE or not isinstance(value, Mapping):
            return text
    inner = f"{line} "
    rows = [_indented(entry, inner) for entry in entries]
    if not isinstance(value, Mapping):
        return f"[{inner}{f',{inner}'.join(rows)}{line}]"
    names = (name if isinstance(name, str) else _json(name) for name in value)
    pairs = (f"{_json(name)}: {row}" for name, row in zip(names, rows, strict=True))
    return f"{{{inner}{f',{inner}'.join(pairs)}{line}}}"


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write ``rows`` as CSV (UTF-8, header first); a missing value is an empty cell.

    No cell is a formula to a spreadsheet (`text.cell`); `read_csv` gives back what was written.
    """
    lines = [csv_line([cell(name) for name in columns])]
    lines += [csv_line([cell(row.get(name)) for name in columns]) for row in rows]
    write_text(path, "".join(f"{line}\n" for line in lines))


def csv_line(cells: Sequence[object], *, quoted: bool = False) -> str:
    """Return cells as a line of CSV, without its end.

    Args:
        cells: Cells as they are to stand there; see `text.cell`.
        quoted: Whether all text is put in quotes; else what needs them.
    """
    text = io.StringIO(newline="")
    # With this end, a carriage return in a cell is put in quotes: else it would end the line.
    csv.writer(
        text,
        lineterminator="\r\n",
        quoting=csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL,
    ).writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the rows of what `write_csv` wrote, by column; a cell that is not there is empty.

    Raises:
        ValueError: It is no CSV, or a column stands there twice.
    """
    try:
        # Spreadsheets put a mark of the byte order first.
        reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
        names = [cell_texts({"": name})[""] for name in reader.fieldnames or ()]
        reader.fieldnames = names
        twice = next((name for name in names if name and names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the column {twice!r} stands there twice")
        return [cell_texts({name: row.get(name) or "" for name in names}) for row in reader]
    except csv.Error as error:
        raise ValueError(str(error)) from None


def read_toml(path: Path, most: int) -> tuple[dict[str, Any], bytes]:
    """Return the table of a TOML file, and its bytes.

    Args:
        path: File.
        most: Largest number of bytes.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is too large, or no TOML.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(most + 1)
    except ValueError as error:  # a name that no file can have
        raise OSError(str(error)) from None
    if len(content) > most:
        raise ValueError(f"it has more than {most} bytes")
    try:
        return tomllib.loads(content.decode("utf-8-sig")), content
    except RecursionError as error:
        raise ValueError(str(error)) from None


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

    The cache folder may not be writable (a read-only home, a service without one). Then it is a
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
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def append_line(path: Path, line: str) -> None:
    """Put a line behind those of a file of ours, in one piece; a line that was cut off ends first.

    Never through a link, and never into a file that has another name elsewhere. Processes that
    write to one file take turns, and of a line for which there is no room nothing stays.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``, also for what is no file of ours.
    """
    try:
        with open(open_own(path, os.O_RDWR | os.O_APPEND), "r+b", buffering=0) as handle:
            if os.fstat(handle.fileno()).st_nlink != 1:
                raise OSError(errno.EMLINK, "it has another name elsewhere", str(path))
            _take_turns(handle.fileno())
            text = f"{line}\n".encode(errors="surrogateescape")
            size = handle.seek(0, os.SEEK_END)
            if size:
                handle.seek(-1, os.SEEK_END)
                text = text if handle.read(1) == b"\n" else b"\n" + text
            _write_whole(handle, text, size)
    except OSError as error:
        raise unwritable(path, error) from error


def _take_turns(handle: int) -> None:
    """Wait until no other process writes to a file; closing it ends the turn."""
    import fcntl

    with contextlib.suppress(OSError):  # a file system without locks: O_APPEND keeps lines apart
        fcntl.flock(handle, fcntl.LOCK_EX)


def _write_whole(handle: io.FileIO, text: bytes, size: int) -> None:
    """Write ``text`` behind the first ``size`` bytes, or nothing of it.

    Raises:
        OSError: There is no room.
    """
    try:
        written = handle.write(text)
    except OSError:
        handle.truncate(size)
        raise
    if written != len(text):  # the disk became full on the way
        handle.truncate(size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), handle.name)


def is_unfinished(name: str) -> bool:
    """Tell a file that a write of ours left behind when it was killed, by its name."""
    return _UNFINISHED.fullmatch(name) is not None


def remove_own(folder: Path, names: Iterable[str]) -> None:
    """Delete files of ours from ``folder``, in this order, and the folder where it is empty then.

    What else lies in it stays, and so does what cannot be deleted.

    Args:
        folder: Folder; a link to one is left alone.
        names: Names of the files to delete.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    remove_unfinished(folder)
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(folder / name)
    with contextlib.suppress(OSError):
        folder.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed write of ours left in a folder that nobody else is writing to."""
    for name in sorted(filter(is_unfinished, os.listdir(folder))):
        with contextlib.suppress(OSError):
            os.unlink(folder / name)


def open_own(path: Path, flags: int) -> int:
    """Open a file of ours to write to, made where it is absent: no link, no pipe, nothing emptied.

    Raises:
        OSError: It cannot be opened, or is no file.
    """
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return handle
