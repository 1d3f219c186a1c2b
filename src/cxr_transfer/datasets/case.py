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
        path: Where the image lies.
        label: Its class.
        patient: Unique over all collections, e.g. ``kermany:person12``.
        source: The collection, the nearest known thing to "which hospital".
        view: "PA", "AP", "AP Supine", "L", or "".
        age: Years.
        sex: "M", "F", or "".
        licence: Licence as the collection states it.
        finding: The collection's own words for the label.
        split: "train", "validation", "test", or "" when none was given.
        sha256: SHA-256 of the file's bytes; "" until indexed.
        pixels: SHA-256 of the decoded image; "" until indexed.
        width: Pixels; 0 until indexed.
        height: Pixels; 0 until indexed.
        written: The path as the manifest has it, or as seen from the data folder; "" for the whole
            path. What a person knows the file by.
        extra: What else a table says of the image: names of columns with their values, in their
            order. Nothing here reads them; an evaluation can form groups by them.
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
        """What names the file in tables and messages: two files of one name differ in it."""
        return self.written or self.path.as_posix()


@dataclass(frozen=True)
class Collection:
    """What a reader found in one archive.

    Attributes:
        name: Which archive, e.g. "kermany".
        root: Its folder.
        cases: Every image that is there, in the order of its path or row.
        missing: Named by the archive's own table but absent, with the reason.
        ignored: Files that are no images (left by operating systems, other types).
        generated: Whether the images are drawn (`phantom`) and show no patient.
        notices: What a person should know of how it was read, a line each; said once.
    """

    name: str
    root: Path
    cases: tuple[Case, ...]
    missing: tuple[str, ...] = field(default=())
    ignored: int = 0
    generated: bool = False
    notices: tuple[str, ...] = field(default=())
