"""A folder that one run owns: held while the run lasts, and never somebody else's.

Comes in: a folder that a person named. Goes out: that folder, locked, or an error before anything
is written. Knows nothing of what a run writes, but for its lock, its log and its record.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr_transfer.errors import UsageError, listing
from cxr_transfer.files import LOCK, LOG, open_own, remove_unfinished, unwritable

RUN_RECORD, DATA_RECORD = "run.json", "prepared.json"
"""Files that say whose a folder is: one of a run, report or table; one of prepared manifests."""


def check_folder(folder: Path, record: str = RUN_RECORD) -> None:
    """Refuse, before anything is read or written, a folder that a run could not have for its own.

    Args:
        folder: Folder, which need not be there.
        record: Name of the file that says that a folder is of this command's kind.

    Raises:
        UsageError: ``foreign_folder`` for one that holds files and is none of ours, since some of
            them might be replaced; ``outside_link`` when a link to a folder in it leads out of it,
            since what is written through that would lie elsewhere.
        MachineError: ``not_writable`` where the lock or the log is no file of ours.
    """
    if not folder.is_dir():
        return
    for name, names in ((LOCK, sys.maxsize), (LOG, 1)):
        try:
            status = os.lstat(folder / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unwritable(folder / name, error) from error
        if stat.S_ISLNK(status.st_mode):
            raise unwritable(folder / name, OSError(errno.ELOOP, "it is a link"))
        if not stat.S_ISREG(status.st_mode):
            raise unwritable(folder / name, OSError(errno.EINVAL, "it is no file"))
        if status.st_nlink > names:
            raise unwritable(folder / name, OSError(errno.EMLINK, "it has another name elsewhere"))
    _refuse_links_out(folder)
    _refuse_foreign(folder, record)


@contextmanager
def lock_folder(folder: Path, record: str = RUN_RECORD) -> Iterator[None]:
    """Hold ``folder`` for one run; the lock dies with the process, also after ``kill -9``.

    What a killed run had begun to write, and nobody else can be writing now, is deleted.

    Args:
        folder: Folder, which is made where it is absent.
        record: Record as in `check_folder`.

    Raises:
        UsageError: ``folder_in_use`` when another run holds it; what `check_folder` raises.
        MachineError: ``not_writable`` when it cannot be made; what `check_folder` raises.
    """
    import fcntl

    lock = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_folder(folder, record)
        handle = open_own(lock, os.O_RDWR)
    except OSError as error:
        raise unwritable(lock, error) from error
    with open(handle, "r+b", buffering=0) as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                "folder_in_use",
                f"Expected a run folder of its own, but another run is writing to {folder}; wait "
                "for it or choose another --out.",
            ) from None
        inner = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        for place in (folder, *map(Path, inner)):
            remove_unfinished(place)
        yield


def _refuse_links_out(folder: Path) -> None:
    """Refuse a folder in which a link to a folder leads out of it.

    A link to a file does no harm: files are put in its place, not through it.

    Raises:
        UsageError: ``outside_link``.
    """
    home = folder.resolve()
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not (entry.is_symlink() and entry.is_dir()):
            continue
        if not Path(os.path.realpath(entry)).is_relative_to(home):
            raise UsageError(
                "outside_link",
                f"Expected a folder of its own, but {folder / entry.name} is a link that leads out "
                "of it, where nothing is to be written; delete the link or choose another --out.",
            )


def _refuse_foreign(folder: Path, record: str) -> None:
    """Refuse a folder with files in it that neither our lock nor our record says are ours.

    Links are put aside, for they are replaced and not followed; so are hidden files.

    Raises:
        UsageError: ``foreign_folder``.
    """
    names = set(os.listdir(folder))
    foreign = sorted(names & ({RUN_RECORD, DATA_RECORD} - {record}))
    if not foreign and not names & {LOCK, record}:
        foreign = [name for name in sorted(names) if _holds_files(folder / name)]
    if foreign:
        raise UsageError(
            "foreign_folder",
            f"Expected a new folder, or one that this command made, but {folder} holds "
            f"{listing(foreign)}, which might be replaced; choose another --out.",
        )


def _holds_files(path: Path) -> bool:
    if path.name.startswith(".") or path.is_symlink():
        return False
    if not path.is_dir():
        return True
    names = os.listdir(path)
    return bool(names) and LOCK not in names
