"""The contact sheet of a data check: a few images of each class and source, a row each.

Pictures that were decoded go in, a PNG file comes out.
"""

from __future__ import annotations

from pathlib import Path

from cxr_transfer.datasets.contact_sheet import OF_A_GROUP, Picture, Sheet
from cxr_transfer.errors import UsageError
from cxr_transfer.figures.contact_sheet import (
    ACROSS,
    BOLD,
    FAINT,
    LETTERS,
    WARNING,
    Tile,
    contact_sheet,
    one_line,
)
from cxr_transfer.files import check_new

_EMPTY = Tile(None, ())


def check_sheet(path: Path) -> None:
    """Refuse a file that cannot be the sheet, before an image is read.

    Raises:
        UsageError: ``bad_sheet`` for another ending than .png; ``out_exists``.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(
            "bad_sheet", f"Expected a file ending in .png as --sheet, but got {path}; rename it."
        )
    check_new(path, "--sheet")


def draw_sheet(path: Path, sheet: Sheet) -> None:
    """Draw the pictures of a sheet, each group from the beginning of a row.

    Under an image stand its number and class, its source, and in colour what quality control, or
    the decoder, has against it.

    Args:
        path: The PNG file.
        sheet: Sheet whose pictures were taken.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    assert OF_A_GROUP <= ACROSS, "a group has a row"
    tiles: list[Tile] = []
    group = None
    pictures = sheet.in_order()
    for picture in pictures:
        if group not in (None, (picture.label, picture.source)):
            tiles += [_EMPTY] * (-len(tiles) % ACROSS)
        group = picture.label, picture.source
        tiles.append(_tile(picture))
    shown = len({(picture.label, picture.source) for picture in pictures})
    of_all = f" of {sheet.groups}" if shown < sheet.groups else ""
    title = f"{len(pictures)} images of {shown}{of_all} classes and sources (for your own eyes)"
    contact_sheet(path, tiles, title)


def _tile(picture: Picture) -> Tile:
    number = f"{picture.number}. "
    label = one_line(picture.label or "no label", LETTERS - len(number))
    issues = [(one_line(", ".join(picture.issues)), WARNING)] if picture.issues else []
    return Tile(picture.image, [(number + label, BOLD), (one_line(picture.source), FAINT), *issues])
