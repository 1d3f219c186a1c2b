"""A few images of each class and source, to be looked at: which ones, and what is told of each.

Comes in: collections. Goes out: the images that a contact sheet shows, each with its class, its
source and its quality issues. They come from the decoding that a command does anyway. Draws
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.decode import Record
from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import Preprocessing

OF_A_GROUP = 6
"""Images of one class and source: a row of the sheet."""

MOST_GROUPS = 12
"""Rows of a sheet: more are no longer looked at one by one."""

THUMBNAIL = Preprocessing(height=160, width=160)
"""Square, as networks are given images."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of the sheet.

    Attributes:
        number: Number on the sheet, from 1.
        file: Name of the file.
        label: Class; "" where none is known.
        source: Source.
        image: Thumbnail (H, W) uint8; None where the file cannot be read.
        issues: Codes of its quality issues, or of the decoder's error.
    """

    number: int
    file: str
    label: str
    source: str
    image: npt.NDArray[np.uint8] | None
    issues: tuple[str, ...]


@dataclass
class Sheet:
    """Images that are shown, and what is known of them so far.

    Attributes:
        places: Path of an image to its number on the sheet.
        groups: Number of classes and sources that the collections have; `MOST_GROUPS` are shown.
        pictures: Pictures by number, as they were taken.
    """

    places: dict[Path, int]
    groups: int
    pictures: dict[int, Picture] = field(default_factory=dict)

    @classmethod
    def of(cls, archives: Sequence[Collection]) -> Sheet:
        """Choose `OF_A_GROUP` images of each class and source, evenly over the order of the files.

        Where there are many groups, the largest are shown, each group's images side by side.
        """
        groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
        for archive in archives:
            for case in archive.cases:
                groups[case.label, case.source].append(case.path)
        largest = sorted(groups, key=lambda group: (-len(groups[group]), group))[:MOST_GROUPS]
        shown = [path for group in sorted(largest) for path in _evenly(groups[group])]
        return cls({path: number for number, path in enumerate(shown, start=1)}, len(groups))

    def take(self, case: Case, outcome: Record | ImageError) -> None:
        """Take the picture of a chosen case from its record; several threads may do so at once.

        Args:
            case: Case that was decoded.
            outcome: Record with a thumbnail and quality control's word, or the decoder's error.
        """
        image: npt.NDArray[np.uint8] | None = None
        if isinstance(outcome, ImageError):
            issues = [outcome.code]
        else:
            image = outcome.images[THUMBNAIL]
            issues = [issue.code for issue in outcome.quality or ()]
        number = self.places[case.path]
        facts = number, case.file, case.label, case.source
        self.pictures[number] = Picture(*facts, image, tuple(issues))

    def in_order(self) -> list[Picture]:
        """Return the pictures in the order of their numbers."""
        return [self.pictures[number] for number in sorted(self.pictures)]

    def rows(self) -> list[dict[str, Any]]:
        """Return what is told of each picture, without the image."""
        return [
            {
                "number": picture.number,
                "file": picture.file,
                "label": picture.label,
                "source": picture.source,
                "issues": list(picture.issues),
            }
            for picture in self.in_order()
        ]


def _evenly(paths: Sequence[Path]) -> list[Path]:
    """Return `OF_A_GROUP` of the paths, from the first to the last, or all of fewer."""
    if len(paths) <= OF_A_GROUP:
        return list(paths)
    places = np.linspace(0, len(paths) - 1, OF_A_GROUP).round().astype(int)
    return [paths[place] for place in places]
