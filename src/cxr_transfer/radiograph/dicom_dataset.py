"""A pydicom data set in memory in, the bytes of a DICOM file out, for the one decoder.

Only the elements that the decoder looks at are written: nothing of a patient is copied, and an odd
element elsewhere is in nobody's way. The data set itself is left as it is.
"""

from __future__ import annotations

import copy
import io
from typing import TypeGuard

from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset as Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.dicom_capsule import ITEM_BYTES
from cxr_transfer.radiograph.dicom_reading import MAX_INFLATED
from cxr_transfer.radiograph.dicom_syntaxes import CODECS
from cxr_transfer.radiograph.dicom_tags import PIXELS, WANTED

_SYNTAX = "TransferSyntaxUID"
_PREAMBLE = 128  # PS3.10, section 7.1
_PLAIN = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
"""Transfer syntax by whether VRs are implicit, and numbers little-endian."""


def is_dataset(value: object) -> TypeGuard[Dataset]:
    """Tell whether ``value`` is a pydicom data set."""
    return isinstance(value, Dataset)


def written(dataset: Dataset) -> bytes:
    """Return a DICOM file of a data set's picture.

    Args:
        dataset: The data set, as pydicom read it or as it was made. Where it has no transfer
            syntax and was not read from a file: explicit, little-endian, uncompressed.

    Raises:
        ImageError: ``too_many_bytes``, ``unreadable`` for values that cannot be written.
    """
    implicit, little = dataset.original_encoding
    syntax = getattr(dataset, "file_meta", Dataset()).get(_SYNTAX)
    try:
        syntax = syntax or _PLAIN[implicit is True, little is not False]
        picture = Dataset()
        for tag in (*WANTED, PIXELS):
            if tag in dataset:
                element = dataset.get_item(tag)
                if isinstance(element.value, bytes) and len(element.value) > MAX_INFLATED:
                    raise _too_many(len(element.value))
                picture[tag] = copy.copy(element)  # pydicom corrects what it writes
        if syntax in CODECS and not _is_encapsulated(picture):
            # Decompressed by whoever made it, and the transfer syntax left as it was.
            syntax = _PLAIN[implicit is True, little is not False]
        # Elements that nobody has looked at are then written byte for byte, odd ones too; but not
        # where some are of the other kind than the file said.
        is_as_said = all(
            element.is_implicit_VR is implicit
            for element in picture.elements()
            if isinstance(element, RawDataElement)
        )
        picture.set_original_encoding(implicit, little, default_encoding if is_as_said else None)
        picture.file_meta = FileMetaDataset()
        picture.file_meta.TransferSyntaxUID = syntax
        picture.preamble = bytes(_PREAMBLE)
        content = io.BytesIO()
        dcmwrite(content, picture)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        # pydicom raises every kind; what it says may quote what stands in an element.
        raise ImageError(
            "unreadable",
            "Expected a data set that can be written as a DICOM file, but got "
            f"{type(error).__name__}; check its values and its transfer syntax.",
        ) from None
    return content.getvalue()


def _is_encapsulated(picture: Dataset) -> bool:
    content = picture.get_item(PIXELS).value if PIXELS in picture else None
    return isinstance(content, bytes) and content.startswith(ITEM_BYTES)


def _too_many(size: int) -> ImageError:
    return ImageError(
        "too_many_bytes",
        f"Expected at most {MAX_INFLATED} bytes of pixels, but got {size}; take one image of it.",
    )
