"""A file or its bytes in, radiograph out: the one entry point of the decoders.

Training, command line, server and DICOM node all come through here, so one file is one image to
them all. Reads by content, never by name; where a name promises another format, a warning says so.
Knows neither how a raster image nor how a DICOM file is decoded, nor what is done with the image.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path, PurePath

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import raster
from cxr_transfer.radiograph.grey_range import notice_of_8_bits
from cxr_transfer.radiograph.radiograph import MAX_BYTES, Radiograph
from cxr_transfer.radiograph.silence import silence
from cxr_transfer.storage import Location, is_address, read_object
from cxr_transfer.text import human_size

_NAMED = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
}
_PREAMBLE, _MAGIC = 128, b"DICM"  # DICOM PS3.10, section 7.1
_FIRST_LITTLE, _FIRST_BIG = (b"\2\0", b"\x08\0"), b"\0\x08"  # groups 0002 and 0008


def read_radiograph(path: Location, *, any_modality: bool = False) -> Radiograph:
    """Read one image from a file.

    Args:
        path: The file, or the address of an object.
        any_modality: Whether a DICOM file is taken whatever its header calls the modality and body
            part, and where it says FOR PROCESSING.

    Raises:
        ImageError: ``not_a_file`` for what is no regular file (a folder, a pipe, a device),
            ``missing_file``, ``unreadable``, ``too_many_bytes``, and all that `read_content` and
            `decode` raise.
        UsageError, MachineError: What `read_content` raises.
    """
    named = named_format(str(path))
    return decode(read_content(path), named=named, any_modality=any_modality)


def read_content(path: Location) -> bytes:
    """Return all bytes of an image file, or of an object in a store.

    Raises:
        ImageError: ``not_a_file``, ``missing_file``, ``unreadable``, ``too_many_bytes``; of an
            object ``access_denied``.
        UsageError, MachineError: What `read_object` raises of a store: that holds for all images.
    """
    if is_address(path):
        content = read_object(path, MAX_BYTES)
        if len(content) > MAX_BYTES:
            raise ImageError(
                "too_many_bytes",
                f"Expected at most {human_size(MAX_BYTES)}, but got more; export a smaller copy of "
                "the image.",
            )
        return content
    path = Path(path)
    try:
        # A pipe would block at open: ask the file system what it is first.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(
                "not_a_file",
                "Expected an image file, but got a folder or device; name the file itself.",
            )
        if status.st_size > MAX_BYTES:
            raise ImageError(
                "too_many_bytes",
                f"Expected at most {human_size(MAX_BYTES)}, but got {human_size(status.st_size)}; "
                "export a smaller copy of the image.",
            )
        with path.open("rb") as handle:
            content = handle.read(status.st_size + 1)
        if len(content) > status.st_size:
            raise ImageError("unreadable", "Expected a whole file, but it grows; wait for its end.")
    except FileNotFoundError:
        raise ImageError(
            "missing_file", "Expected an image file, but there is none; check its path."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ImageError(
            "unreadable", f"Expected a readable file, but got: {reason}; check its name and rights."
        ) from None
    return content


def named_format(name: str) -> str:
    """Return the format that a file's name promises; "" where it promises none.

    It says no more of the name, which may be a patient's.

    >>> named_format("image.JPG"), named_format("image.of.1998")
    ('JPEG', '')
    """
    return _NAMED.get(PurePath(name).suffix.lower(), "")


def decode(
    content: bytes, *, named: str = "", any_modality: bool = False, full_depth: bool = False
) -> Radiograph:
    """Decode the bytes of one image.

    Args:
        content: Bytes of a whole JPEG, PNG, TIFF or DICOM file.
        named: Format that its name promises; a warning tells where the content has another.
        any_modality: Whether a DICOM file is taken whatever its header calls the modality and body
            part, and where it says FOR PROCESSING.
        full_depth: Whether all that the file holds of the picture is kept beside it.

    Raises:
        ImageError: What `raster.decode` and `dicom.decode` raise.
    """
    with silence():
        if _is_dicom(content):
            from cxr_transfer.radiograph import dicom  # a JPEG need not wait for pydicom

            radiograph = dicom.decode(content, any_modality=any_modality, full_depth=full_depth)
        else:
            radiograph = raster.decode(content, full_depth=full_depth)
    notices = [notice] if (notice := notice_of_8_bits(radiograph.stored)) else []
    if named not in ("", radiograph.format):
        notices.append(f"the content is {radiograph.format}, whatever the file's name says")
    return (
        dataclasses.replace(radiograph, warnings=(*radiograph.warnings, *notices))
        if notices
        else radiograph
    )


def _is_dicom(content: bytes) -> bool:
    """Tell a DICOM file by its preamble, or by a first element as data sets begin with."""
    if content[_PREAMBLE : _PREAMBLE + 4] == _MAGIC:
        return True
    vr = content[4:6]
    explicit = len(vr) == 2 and vr.isalpha() and vr.isupper()
    if content[:2] in _FIRST_LITTLE:
        return explicit or int.from_bytes(content[4:8], "little") <= len(content) - 8
    return content[:2] == _FIRST_BIG and explicit
