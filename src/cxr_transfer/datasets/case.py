"""An image with what is known of it, and a collection of such images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

FRONTAL_VIEWS = ("PA", "AP", "AP Supine")
"""Views that count as frontal; the names are Cohen et al.'s."""


@dataclass(frozen=True, slots=True)
class Case:
    """One image with label, patient and source; unknown is "" (or None for the age).

    Attributes:
        path: Path of the image.
        label: Class of the image.
        patient: Unique over all collections, e.g. ``kermany:person12``.
        source: Name of the collection, the nearest known thing to "which hospital".
        view: "PA", "AP", "AP Supine", "L", or "".
        age: Age in years.
        sex: "M", "F", or "".
        licence: Licence as the collection states it.
        finding: Words of the collection itself for the label.
        split: Part: "train", "validation", "test", or "" when none was given.
        sha256: SHA-256 of the file's bytes; "" until indexed.
        pixels: SHA-256 of the decoded image; "" until indexed.
        width: Width in pixels; 0 until indexed.
        height: Height in pixels; 0 until indexed.
        written: Path as the manifest has it, or as seen from the data folder; "" for the whole
            path. A person knows the file by it.
        extra: Further columns of a table: names with their values, in their order. Nothing here
            reads them; an evaluation can form groups by them.
    """

    path: Path
    label: str
    patient: str
    source: str
    view: str = ""
    age: float | None = None
    sex: str = ""
    licence: str = ""
    finding: str = ""
    split: str = ""
    sha256: str = ""
    pixels: str = ""
    width: int = 0
    height: int = 0
    written: str = field(default="", compare=False)
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str:
        """Name of the file in tables and messages; it differs for two files of one name."""
        return self.written or self.path.as_posix()


@dataclass(frozen=True)
class Collection:
    """Images of one archive, and what its reader reports.

    Attributes:
        name: Name of the archive, e.g. "kermany".
        root: Folder of the archive.
        cases: Images that are there, in the order of their paths or rows.
        missing: Images that the archive's own table names and that are absent, with the reason.
        ignored: Files that are no images (left by operating systems, other types).
        generated: Whether the images are drawn (`phantom`) and show no patient.
        notices: Lines for a person on how it was read, each shown once.
    """

    name: str
    root: Path
    cases: tuple[Case, ...]
    missing: tuple[str, ...] = field(default=())
    ignored: int = 0
    generated: bool = False
    notices: tuple[str, ...] = field(default=())
