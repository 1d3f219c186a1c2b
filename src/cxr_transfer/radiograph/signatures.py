"""What a file is, by its first bytes: the one question of which files of a folder are images.

Decides nothing of whether a file is whole; that is the decoder's. Reads no more than a header's
worth, opens nothing that could block, and raises nothing.
"""

from __future__ import annotations

import os
import re
import stat
from enum import Enum
from pathlib import Path

from cxr_transfer.files import SOFTWARE
from cxr_transfer.radiograph.reading import _is_dicom, named_format

HEAD = 4096
"""Bytes that are looked at."""

# Media Storage Directory Storage: PS3.4, annex B
_DIRECTORY = re.compile(rb"1\.2\.840\.10008\.1\.3\.10(?![0-9.])")
_READ = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER = (b"GIF8", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"8BPS", b"\xff\x0a")
_BRANDS = (b"heic", b"heix", b"mif1", b"avif")  # ISO base media files, behind "ftyp"
_OURS = b"tEXtSoftware\0" + SOFTWARE.encode()


class Kind(Enum):
    """Kind of a file by its content; where that does not tell, by its name."""

    IMAGE = "image"
    """JPEG, PNG, TIFF or DICOM; damaged ones that are named so, too."""

    OTHER_FORMAT = "image of another format"
    OURS = "picture drawn by this program"
    DIRECTORY = "DICOM directory"
    OTHER = "no image"
    SPECIAL = "pipe, device or socket"
    BROKEN_LINK = "broken link"
    UNREADABLE = "unreadable"


def kind_of(path: Path) -> Kind:
    """Return what the file at ``path`` is, links followed; for what is no folder."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return Kind.SPECIAL
        with open(path, "rb") as handle:
            head = handle.read(HEAD)
    except (OSError, ValueError):
        return Kind.BROKEN_LINK if os.path.islink(path) else Kind.UNREADABLE
    kind = kind_of_content(head)
    # A damaged image is one still, and is named as damaged later on.
    return Kind.IMAGE if kind is Kind.OTHER and named_format(path.name) else kind


def is_dicom(head: bytes) -> bool:
    """Tell whether these are the first `HEAD` bytes of a DICOM file."""
    return _is_dicom(head)


def is_dicom_file(path: Path) -> bool:
    """Tell whether the file at ``path`` is a DICOM file that can be opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as handle:
            return is_dicom(handle.read(HEAD))
    except (OSError, ValueError):
        return False


def kind_of_content(head: bytes) -> Kind:
    """Return what a file is, by its first `HEAD` bytes.

    >>> kind_of_content(b"GIF89a").value, kind_of_content(b"path,label").value
    ('image of another format', 'no image')
    """
    if head.startswith(_READ):
        return Kind.OURS if _OURS in head[:256] else Kind.IMAGE
    if is_dicom(head):
        return Kind.DIRECTORY if _DIRECTORY.search(head[:1024]) else Kind.IMAGE
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_bmp = head[:2] == b"BM" and head[6:10] == bytes(4)
    is_heif = head[4:8] == b"ftyp" and head[8:12] in _BRANDS
    if is_webp or is_bmp or is_heif or head.startswith(_OTHER):
        return Kind.OTHER_FORMAT
    return Kind.OTHER
