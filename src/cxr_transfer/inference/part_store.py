"""Where the finished parts of a table lie until it is composed: a folder, or objects in a store.

Both lie beside the table, under its name and ``.partial``, with a record of the run that they are
of. Neither takes what is somebody else's for its own, nor deletes it. A folder is locked. A store
has no locks: there the record is written once, and two runs that are the same write the same parts.
Knows nothing of what a part or a table holds.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from cxr_transfer.errors import DataError, UsageError, listing
from cxr_transfer.files import (
    LOCK,
    check_new,
    is_unfinished,
    json_text,
    remove_own,
    scratch_file,
    write_json,
    write_text,
)
from cxr_transfer.own_folder import RUN_RECORD, lock_folder
from cxr_transfer.storage import (
    Location,
    delete_objects,
    is_address,
    object_exists,
    objects_below,
    read_object,
    upload,
    write_object,
)

MOST = 64 * 1024 * 1024
"""Bytes of a part or a record that are read from a store, at most."""

Write = Callable[[BinaryIO], None]


def partial_folder(out: Location) -> Location:
    """Return where the parts of the table ``out`` lie while it is in the making."""
    if is_address(out):
        return f"{out}.partial"
    out = Path(out)
    return out.with_name(f"{out.name}.partial")


class PartStore(Protocol):
    """Finished parts of one table, by name."""

    place: Location
    """Folder, or prefix, of the parts."""

    def check_new(self) -> None:
        """Refuse a table that is there already."""

    def begun(self) -> dict[str, Any] | None:
        """Return the record of the run that the parts are of; None where there are none yet."""

    def hold(self) -> AbstractContextManager[None]:
        """Keep other runs away, where that can be done."""

    def begin(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Write the record, and return that which stands there then."""

    def names(self) -> set[str]:
        """Return the names of all that lies there."""

    def keep(self, name: str, text: str) -> None:
        """Write a part, whole or not at all."""

    def read(self, name: str) -> str:
        """Return a part; "" where there is none."""

    def publish(self, write: Write, names: Iterable[str]) -> None:
        """Put the table in its place, whole, made of the parts of these names."""

    def clear(self, names: Iterable[str]) -> None:
        """Delete the parts, and the record last: what has none is not taken for another's."""


def part_store(out: Location) -> PartStore:
    """Return where the parts of the table ``out`` lie."""
    return StoredParts(out) if is_address(out) else FolderOfParts(Path(out))


class FolderOfParts:
    """Parts in a folder of this machine, which one run at a time holds."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.place: Location = partial_folder(out)
        self._folder = Path(self.place)

    def check_new(self) -> None:
        """Refuse a table that is there already.

        Raises:
            UsageError: ``out_exists``.
        """
        check_new(self._out)

    def begun(self) -> dict[str, Any] | None:
        """Return the record of the run that the folder is of; None where it is of none yet.

        Raises:
            UsageError: ``foreign_folder`` where there is something else: a link, a file, or a
                folder with other things in it than this package puts there.
        """
        folder = self._folder
        if not os.path.lexists(folder):
            return None
        if folder.is_symlink() or not folder.is_dir():
            raise _foreign(folder, "a link" if folder.is_symlink() else "a file")
        record = folder / RUN_RECORD
        if record.is_file() and not record.is_symlink():
            return _read_record(folder, record.read_text(encoding="utf-8", errors="replace"))
        others = [name for name in os.listdir(folder) if name != LOCK and not is_unfinished(name)]
        if others:
            raise _foreign(folder, listing(map(ascii, sorted(others))))
        return None

    def hold(self) -> AbstractContextManager[None]:
        """Hold the folder for one run; see `lock_folder`."""
        return lock_folder(self._folder)

    def begin(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Write the record; the lock keeps others from doing so.

        Raises:
            MachineError: ``disk_full``, ``not_writable``.
        """
        write_json(self._folder / RUN_RECORD, run)
        return dict(run)

    def names(self) -> set[str]:
        """Return the names of all that lies there."""
        return {entry.name for entry in os.scandir(self._folder) if entry.is_file()}

    def keep(self, name: str, text: str) -> None:
        """Write a part, whole or not at all.

        Raises:
            MachineError: ``disk_full``, ``not_writable``.
        """
        write_text(self._folder / name, text)

    def read(self, name: str) -> str:
        """Return a part; "" where there is none."""
        try:
            return (self._folder / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def publish(self, write: Write, names: Iterable[str]) -> None:
        """Put the table in its place, whole, made of the parts of these names.

        Raises:
            MachineError: ``disk_full``, ``not_writable``.
        """
        # What is kept takes more room than the table made of it.
        size = sum((self._folder / name).stat().st_size for name in names)
        with scratch_file(self._folder, size) as scratch:
            with scratch.open("r+b") as handle:
                write(handle)
                handle.truncate()
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(scratch, self._out)

    def clear(self, names: Iterable[str]) -> None:
        """Delete the parts, the record behind them, and the folder where it is empty then."""
        remove_own(self._folder, [*names, RUN_RECORD, LOCK])


class StoredParts:
    """Parts as objects beside a table in an object store; only their names and texts travel."""

    def __init__(self, out: str) -> None:
        self._out = out
        self.place: Location = partial_folder(out)

    def check_new(self) -> None:
        """Refuse a table that is there already.

        Raises:
            UsageError: ``out_exists``; what the store raises.
        """
        if object_exists(self._out):
            raise UsageError(
                "out_exists",
                f"Expected a new object, but {self._out} is there already; delete it or choose "
                "another --out.",
            )

    def begun(self) -> dict[str, Any] | None:
        """Return the record of the run that the objects are of; None where they are of none yet.

        Raises:
            UsageError: ``foreign_folder`` where there is something else; what the store raises.
        """
        if record := self.read(RUN_RECORD):
            return _read_record(self.place, record)
        if others := self.names():
            raise _foreign(self.place, listing(map(ascii, sorted(others))))
        return None

    def hold(self) -> AbstractContextManager[None]:
        """Hold nothing: the record is written once, and the same run writes the same parts."""
        return nullcontext()

    def begin(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Write the record where there is none, and return that which stands there then.

        Raises:
            UsageError, MachineError: What the store raises.
        """
        content = json_text(run).encode()
        if write_object(f"{self.place}/{RUN_RECORD}", content, new=True):
            return dict(run)
        return self.begun() or dict(run)

    def names(self) -> set[str]:
        """Return the names of all that lies there."""
        inner = f"{self.place}/"
        return {name.removeprefix(inner) for name in objects_below(inner) if name != self.place}

    def keep(self, name: str, text: str) -> None:
        """Write a part, whole or not at all.

        Raises:
            UsageError, MachineError: What the store raises.
        """
        write_object(f"{self.place}/{name}", text.encode(errors="surrogateescape"))

    def read(self, name: str) -> str:
        """Return a part; "" where there is none.

        Raises:
            UsageError, MachineError: What the store raises.
        """
        try:
            content = read_object(f"{self.place}/{name}", MOST)
        except DataError as error:
            if error.code == "missing_file":
                return ""
            raise
        return content.decode(errors="replace")

    def publish(self, write: Write, names: Iterable[str]) -> None:
        """Put the table in its place, whole; it is composed in a temporary file.

        Raises:
            UsageError, MachineError: What the store raises; ``disk_full``, ``not_writable``.
        """
        with _temporary() as folder, scratch_file(folder, 1) as scratch:
            with scratch.open("r+b") as handle:
                write(handle)
                handle.truncate()
            upload(scratch, self._out)

    def clear(self, names: Iterable[str]) -> None:
        """Delete the parts, and the record last.

        Raises:
            UsageError, MachineError: What the store raises.
        """
        delete_objects(f"{self.place}/{name}" for name in names)
        delete_objects([f"{self.place}/{RUN_RECORD}"])


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cxr-") as folder:
        yield Path(folder)


def _read_record(place: Location, text: str) -> dict[str, Any]:
    try:
        begun = json.loads(text)
    except (ValueError, RecursionError):
        begun = None
    if isinstance(begun, dict):
        return begun
    raise _foreign(place, f"another {RUN_RECORD}")


def _foreign(place: Location, content: str) -> UsageError:
    return UsageError(
        "foreign_folder",
        f"Expected {place} to be free for the finished parts of this table, but it is not of this "
        f"command's making: {content}; choose another --out, or move it away.",
    )
