"""Which files of a folder are images: decided by content, links followed, nothing lost uncounted.

The one listing behind training, evaluation, ``cxr data check`` and ``cxr predict``. It counts by
reason what it passes over: texts, DICOM directories, broken links, what this program wrote itself.
A command can so report it once. A folder is entered once, whatever links lead to it.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePath

from cxr_transfer.files import LOCK
from cxr_transfer.own_folder import DATA_RECORD, RUN_RECORD
from cxr_transfer.radiograph import named_format
from cxr_transfer.radiograph.signatures import Kind, kind_of
from cxr_transfer.storage import Location
from cxr_transfer.text import for_terminal

JUNK = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})
"""What operating systems leave in folders: never an image, counted and passed over."""

NAMED = 5
"""Names that a notice gives for each reason."""


class Why(Enum):
    """Why a file or folder was passed over, for one and for several of them."""

    HIDDEN = ("hidden file or folder", "hidden files or folders")
    NO_IMAGE = ("file that is no image", "files that are no images")
    OTHER_FORMAT = (
        "image of a format that is not read",
        "images of formats that are not read",
    )
    OURS = ("written by this program", "written by this program")
    BROKEN_LINK = ("broken link", "broken links")
    SPECIAL = ("pipe, socket or device", "pipes, sockets or devices")
    UNREADABLE = ("that cannot be opened", "that cannot be opened")
    ENTERED_BEFORE = (
        "link to a folder that is read anyway",
        "links to folders that are read anyway",
    )
    NO_CLASS = ("image beside the class folders", "images beside the class folders")
    NO_PICTURE = ("DICOM file without a picture", "DICOM files without a picture")
    NO_IMAGES_IN = ("folder without images", "folders without images")


_REASONS = {
    Kind.OTHER_FORMAT: Why.OTHER_FORMAT,
    Kind.OURS: Why.OURS,
    Kind.BROKEN_LINK: Why.BROKEN_LINK,
    Kind.SPECIAL: Why.SPECIAL,
    Kind.UNREADABLE: Why.UNREADABLE,
}


@dataclass
class LeftOut:
    """Files and folders that listings passed over, by reason.

    Attributes:
        root: Folder that names are relative to; None gives whole paths.
        counts: Number of files and folders, by reason.
        names: First `NAMED` names of each reason.
    """

    root: Path | None = None
    counts: Counter[Why] = field(default_factory=Counter)
    names: dict[Why, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, why: Why, path: Location) -> None:
        """Count ``path`` under a reason."""
        self.counts[why] += 1
        if len(self.names[why]) < NAMED:
            self.names[why].append(for_terminal(relative_name(path, self.root)))

    @property
    def total(self) -> int:
        """Files and folders that were passed over, for whatever reason."""
        return self.counts.total()

    def notices(self) -> tuple[str, ...]:
        """Return a line of what a person should know; none where there is nothing to know."""
        reasons = [
            f"{number} {why.value[number > 1]}{self._named(why)}"
            for why, number in self.counts.items()
        ]
        return (f"left out: {', '.join(reasons)}",) if reasons else ()

    def _named(self, why: Why) -> str:
        if why is Why.HIDDEN:  # Most are an operating system's, whose names help nobody.
            return ""
        more = ", ..." if self.counts[why] > NAMED else ""
        return f" ({', '.join(self.names[why])}{more})"


def image_files(
    folder: Path,
    left_out: LeftOut,
    *,
    entered: Iterable[tuple[int, int]] = (),
    recursive: bool = True,
) -> list[Path]:
    """Return the images of ``folder``, in the order of the paths.

    Args:
        folder: Folder that is listed, whatever it is.
        left_out: Record of what is passed over.
        entered: Identities (`identity`) of folders that must not be entered from here.
        recursive: Whether images further down count, too.
    """
    images = []
    for path, kind in walk(folder, left_out, entered=entered, recursive=recursive):
        if _is_image(path, kind):
            images.append(path)
        else:
            left_out.add(reason(kind), path)
    return sorted(images)


def holds_images(folder: Path) -> bool:
    """Tell whether there is an image at or below ``folder``."""
    return any(_is_image(path, kind) for path, kind in walk(folder, LeftOut()))


def images_in(
    paths: Iterable[Path],
    *,
    leave_out: Iterable[Path] = (),
    left_out: LeftOut | None = None,
) -> Iterator[Path]:
    """Yield files as they are given, and of folders all images below, sorted by name.

    Of a folder also what may be an image and cannot be read (a broken link, another format, a
    folder without rights) is yielded: it gets a row that says so.

    Args:
        paths: Files and folders.
        leave_out: Files and folders that this run itself writes: they are no input.
        left_out: Record of what is passed over.
    """
    passed_over = LeftOut() if left_out is None else left_out
    own_paths = {os.path.realpath(path) for path in leave_out}
    for path in paths:
        is_folder = path.is_dir()
        # A folder that is named is meant, unless it is a table in the making.
        if os.path.realpath(path) in own_paths and (not is_folder or is_own_folder(path)):
            continue
        if not is_folder:
            yield path
            continue
        for file, kind in walk(path, passed_over, leave_out=own_paths):
            if kind in (Kind.OURS, Kind.DIRECTORY, Kind.OTHER, Kind.SPECIAL):
                passed_over.add(reason(kind), file)
            else:
                yield file


def walk(
    folder: Path,
    left_out: LeftOut,
    *,
    entered: Iterable[tuple[int, int]] = (),
    leave_out: frozenset[str] | set[str] = frozenset(),
    recursive: bool = True,
) -> Iterator[tuple[Path, Kind]]:
    """Yield every file below ``folder`` with its kind: a folder's files first, then its folders.

    Links are followed, those to folders after the folders themselves, and none that leads back up.
    Hidden files, what operating systems leave behind, folders that were entered before and this
    program's own folders are counted and passed over. A folder that cannot be opened is yielded as
    unreadable.

    Args:
        folder: Folder to begin in; it is entered whatever it is.
        left_out: Record of what is passed over.
        entered: Identities of folders that are not entered.
        leave_out: Real paths that are passed over without a word.
        recursive: Whether folders below are entered; if not, they are counted as no images.
    """
    seen = {*entered, *around(folder)}
    pending = [folder]
    while pending:
        here = pending.pop()
        folder_id = identity(here)
        if here is not folder:
            why = (
                Why.ENTERED_BEFORE
                if folder_id in seen
                else Why.OURS
                if is_own_folder(here)
                else None
            )
            if why:
                left_out.add(why, here)
                continue
        if folder_id:
            seen.add(folder_id)
        try:
            with os.scandir(here) as entries:
                entries_below = sorted((entry.name, _is_folder(entry)) for entry in entries)
        except OSError:
            yield here, Kind.UNREADABLE
            continue
        below = []
        for name, is_folder in entries_below:
            path = here / name
            if is_clutter(name):
                left_out.add(Why.HIDDEN, path)
            elif leave_out and os.path.realpath(path) in leave_out:
                continue
            elif not is_folder:
                yield path, kind_of(path)
            elif recursive:
                below.append(path)
            else:
                left_out.add(Why.NO_IMAGE, path)
        # Links last: a folder that one leads to is met under its own name before.
        below.sort(key=os.path.islink)
        pending += reversed(below)


def reason(kind: Kind) -> Why:
    """Return why a file of this kind is passed over, where it is."""
    return _REASONS.get(kind, Why.NO_IMAGE)


def identity(folder: Path) -> tuple[int, int] | None:
    """Return what is the same for all paths to ``folder``; None where it cannot be asked."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def around(folder: Path) -> set[tuple[int, int]]:
    """Return the identities of ``folder`` and of all folders around it.

    A link to one of them leads back; to follow it would bring in what lies beside ``folder``.
    """
    real = Path(os.path.realpath(folder))
    return {folder_id for path in (real, *real.parents) if (folder_id := identity(path))}


def is_clutter(name: str) -> bool:
    """Tell whether a file or folder of this name is hidden, or an operating system's."""
    return name.startswith(".") or name in JUNK


def is_own_folder(folder: Path) -> bool:
    """Tell whether this program wrote ``folder``: a run, a report, a table in the making."""
    return (folder / LOCK).is_file() and any(
        (folder / name).is_file() for name in (RUN_RECORD, DATA_RECORD)
    )


def relative_name(path: Location, root: Path | None) -> str:
    """Return how a person knows a file: relative to ``root`` where it lies in it, else whole."""
    if isinstance(path, str):
        return path
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return path.as_posix()


def stem_of(path: Location) -> str:
    """Return a file's name without the ending of an image; a UID's last number is none.

    >>> stem_of(Path("a/image.1998.png")), stem_of(Path("a/1.2.840.17"))
    ('image.1998', '1.2.840.17')
    """
    name = PurePath(path)
    return name.stem if named_format(name.name) else name.name


def _is_image(path: Path, kind: Kind) -> bool:
    # What is named as an image and cannot be opened is one, and is told as damaged later on.
    return kind is Kind.IMAGE or (kind is Kind.UNREADABLE and bool(named_format(path.name)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
