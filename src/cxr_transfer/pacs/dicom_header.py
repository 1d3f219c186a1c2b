"""The header that every object of ours begins with: same patient and study, a new series.

Copies what names patient and study from the image, and says by what it was made. Values of the
source are copied as text and written in UTF-8, whatever character set they came in.
"""

from __future__ import annotations

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from cxr_transfer.about import __version__
from cxr_transfer.pacs.answered_image import AnsweredImage

MANUFACTURER, MODEL_NAME = "cxr-transfer", "cxr-transfer"

_COPIED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    "ReferringPhysicianName",
)
"""Of type 2 or 1 in every object: empty where the source does not have them."""


def new_object(
    image: AnsweredImage, sop_class: str, kind: str, modality: str, series_number: int
) -> Dataset:
    """Return the beginning of an object of the same study.

    Args:
        image: Image that was answered.
        sop_class: UID of the object's SOP class.
        kind: Word for the kind of object; it is a part of its UID.
        modality: Modality of its series.
        series_number: Number of its series.
    """
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _COPIED:
        setattr(made, keyword, image.source.get(keyword))
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = image.uid(kind)
    made.SeriesInstanceUID = image.series_uid(kind)
    made.SeriesNumber, made.InstanceNumber = series_number, 1
    made.Modality = modality
    made.Manufacturer, made.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    made.SoftwareVersions = __version__
    made.InstanceCreationDate = made.ContentDate = image.now.strftime("%Y%m%d")
    made.InstanceCreationTime = made.ContentTime = image.now.strftime("%H%M%S")
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made
