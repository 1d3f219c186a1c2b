"""The header that every object of ours begins with: same patient and study, a new series.

What names patient and study is copied from the image as text and written in UTF-8, whatever
character set it came in. The names are copied as they are, also where they are longer than the
standard allows: a patient's number that was mended is another patient's. A date or a sex that is
none is left empty, as the standard lets it be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.pacs.answered_image import SourceImage, text_of

PROGRAM = "cxr-transfer"
"""Manufacturer and model name in every object."""

CHARACTER_SET = "ISO_IR 192"

_COPIED = (
    *("PatientName", "PatientID", "StudyInstanceUID", "StudyID", "AccessionNumber"),
    "ReferringPhysicianName",
)


def _is_date(value: str) -> bool:
    try:
        return re.fullmatch(r"\d{8}", value) is not None and bool(date.fromisoformat(value))
    except ValueError:
        return False


_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?")
_COPIED_WHERE_VALID: dict[str, Callable[[str], object]] = {
    "PatientBirthDate": _is_date,
    "StudyDate": _is_date,
    "StudyTime": _TIME.fullmatch,
    "PatientSex": re.compile(r"[MFO]").fullmatch,
}
IDENTITY = (*_COPIED, *_COPIED_WHERE_VALID)
"""Elements that name patient and study: in every object, empty where the source has none."""

_EQUIPMENT = {
    "Manufacturer": 64,
    "ManufacturerModelName": 64,
    "DeviceSerialNumber": 64,
    "StationName": 16,
}
"""Elements that say what took the image, and the characters that each may have (PS3.5, 6.2)."""

_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")
_MOST_INSTANCES = 2**31 - 1


def new_object(
    image: SourceImage, sop_class: str, kind: str, modality: str, series: tuple[int, str]
) -> Dataset:
    """Return the beginning of an object of the same study.

    Args:
        image: Image that the object says something of.
        sop_class: UID of the object's SOP class.
        kind: Word for the kind of object; it is a part of its UID.
        modality: Modality of its series.
        series: Number and description of its series.
    """
    made = Dataset()
    made.SpecificCharacterSet = CHARACTER_SET
    for keyword in _COPIED:
        _put(made, keyword, text_of(image.source, keyword))
    for keyword, valid in _COPIED_WHERE_VALID.items():
        value = text_of(image.source, keyword)
        _put(made, keyword, value if valid(value) else "")
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = image.uid(kind)
    made.SeriesInstanceUID = image.series_uid(kind)
    made.SeriesNumber, made.SeriesDescription = series
    made.InstanceNumber = _instance_number(image.source)
    made.Modality = modality
    made.Manufacturer = made.ManufacturerModelName = PROGRAM
    made.SoftwareVersions = __version__
    local, offset = _local(image)
    if offset:
        made.TimezoneOffsetFromUTC = offset
    made.InstanceCreationDate = made.ContentDate = local.strftime("%Y%m%d")
    made.InstanceCreationTime = made.ContentTime = local.strftime("%H%M%S")
    made.ContributingEquipmentSequence = _contributing(image)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def _put(target: Dataset, keyword: str, value: str) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    target[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)


def _instance_number(source: Dataset) -> int:
    """Return the source's number, so that a series lists its answers as the images were taken."""
    number = text_of(source, "InstanceNumber")
    usable = number.isascii() and number.isdecimal() and 0 < int(number) <= _MOST_INSTANCES
    return int(number) if usable else 1


def _local(image: SourceImage) -> tuple[datetime, str]:
    """Return the time as the source's times are given, and the source's offset; "" without one."""
    offset = text_of(image.source, "TimezoneOffsetFromUTC")
    parts = _OFFSET.fullmatch(offset)
    if parts is None:
        return image.now, ""
    sign, hours, minutes = parts.groups()
    ahead = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    if abs(ahead) > timedelta(hours=14):
        return image.now, ""
    return image.now.astimezone(timezone(ahead)), offset


def _contributing(image: SourceImage) -> list[Dataset]:
    """Return the device that took the image, where it is named, and the program that answered."""
    answered = Dataset()
    answered.PurposeOfReferenceCodeSequence = [coded(codes.DCM.ProcessingEquipment)]
    answered.Manufacturer = answered.ManufacturerModelName = PROGRAM
    answered.SoftwareVersions = __version__
    answered.ContributionDateTime = image.now.strftime("%Y%m%d%H%M%S%z")
    answered.ContributionDescription = f"{image.contribution} {INTENDED_USE}"
    took = Dataset()
    took.PurposeOfReferenceCodeSequence = [coded(codes.DCM.AcquisitionEquipment)]
    for keyword, most in _EQUIPMENT.items():
        # Of several values the first, and as much as there may be: it names nobody.
        if value := text_of(image.source, keyword).partition("\\")[0].strip()[:most].strip():
            _put(took, keyword, value)
    return [took, answered] if "Manufacturer" in took else [answered]


def coded(concept: Code) -> Dataset:
    """Return a code as an item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = concept.value, concept.scheme_designator
    item.CodeMeaning = concept.meaning
    return item
