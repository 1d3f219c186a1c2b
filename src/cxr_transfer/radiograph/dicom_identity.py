"""What a DICOM header says of whom, where and how: for objects that answer an image, and for rules.

The one reader of names and numbers of patients, beside `dicom_patient`. It runs where strangers'
files are decoded, and hands on a small, plain data set: the elements in `KEPT`, none of them long.
"""

from __future__ import annotations

import io

from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.silence import silence

KEPT = (
    *("SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID"),
    *("StudyDate", "StudyTime", "AccessionNumber", "Modality", "Manufacturer", "InstitutionName"),
    *("ReferringPhysicianName", "TimezoneOffsetFromUTC", "StationName", "StudyDescription"),
    *("SeriesDescription", "ManufacturerModelName", "PatientName", "PatientID"),
    *("IssuerOfPatientID", "PatientBirthDate", "PatientSex", "BodyPartExamined"),
    *("DeviceSerialNumber", "ProtocolName", "ViewPosition", "StudyInstanceUID"),
    *("SeriesInstanceUID", "StudyID", "SeriesNumber", "InstanceNumber"),
    *("RequestedProcedureDescription", "PerformedProcedureStepDescription"),
)
"""Keywords of the elements that are kept."""

_LONGEST = 4096


def read_identity(content: bytes) -> bytes:
    """Return the elements that are kept of a file, as a data set in explicit little-endian.

    An element that cannot be read, or is long, is left out.

    Args:
        content: Content of a DICOM file.

    Raises:
        ImageError: ``no_header`` where nothing can be read.
    """
    kept = Dataset()
    with silence():
        try:
            source = dcmread(
                io.BytesIO(content), stop_before_pixels=True, force=True, specific_tags=[*KEPT]
            )
        except MemoryError:
            raise
        except Exception:  # pydicom raises every kind for what cannot be read
            raise _no_header() from None
        for keyword in KEPT:
            try:
                element = source[keyword]
                text = str(element.value)
            except Exception:  # it is missing, or is none of its kind
                continue
            if text and len(text) <= _LONGEST:
                tag, vr = element.tag, element.VR
                kept.add(DataElement(tag, vr, element.value, validation_mode=IGNORE))
        if not kept:
            raise _no_header()
        try:
            return written(kept)
        except Exception:
            return written(_writable(kept))


def _writable(kept: Dataset) -> Dataset:
    """Return those elements of a data set that can be written."""
    writable = Dataset()
    for element in kept:
        writable.add(element)
        try:
            written(writable)
        except Exception:
            del writable[element.tag]
    return writable


def written(dataset: Dataset) -> bytes:
    """Return a data set in explicit little-endian, without preamble."""
    content = io.BytesIO()
    dcmwrite(content, dataset, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return content.getvalue()


def opened_identity(content: bytes) -> Dataset:
    """Return the data set that `read_identity` gave."""
    with silence():
        return dcmread(io.BytesIO(content), force=True)


def _no_header() -> ImageError:
    return ImageError(
        "no_header", "Expected the header of a DICOM object, but it cannot be read; send it anew."
    )
