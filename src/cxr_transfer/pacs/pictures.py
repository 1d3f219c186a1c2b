"""Pictures and pages of an answer, for viewers that show no structured report.

The picture is a single-frame colour secondary capture, uncompressed: what every archive takes and
every viewer shows. Nothing that names a patient is burnt in: what names one stands in the header.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.figures.page import page_image
from cxr_transfer.figures.report import ReportImage, answer_page, report_pdf
from cxr_transfer.inference.prediction import explained_label
from cxr_transfer.pacs.answered_image import AnsweredImage
from cxr_transfer.pacs.dicom_header import coded, new_object
from cxr_transfer.radiograph.preprocessing import WHOLE

PICTURES = (9002, "Class scores, picture, research use only")
DOCUMENTS = (9003, "Class scores, report, research use only")

_DPI = 110
"""A page becomes 1286 x 909 pixels, 3.5 MB: letters of 8 points can be read on a small screen."""

_TITLE = "Class scores of a chest radiograph"


def secondary_capture(image: AnsweredImage) -> Dataset:
    """Return the picture of an answer as a secondary capture image."""
    page = answer_page(
        _report_image(image), _model_facts(image), heading=_place(image), made=_made(image)
    )
    pixels = np.asarray(page_image(page, dpi=_DPI))
    kind = "sc" if image.heat_map is None else "sc with map"
    made = new_object(image, SecondaryCaptureImageStorage, kind, "OT", PICTURES)
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = (
        "Class scores, and the heat map of one of them over the image, drawn as a picture"
    )
    made.SourceImageSequence = [_reference(image)]
    made.BodyPartExamined = "CHEST"
    made.PatientOrientation = None
    made.BurnedInAnnotation = "YES"
    made.RecognizableVisualFeatures = "NO"
    made.ImageComments = INTENDED_USE
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
    made.PlanarConfiguration = 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.PixelRepresentation = 0
    made.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    made["PixelData"].VR = "OB"
    return made


def encapsulated_pdf(image: AnsweredImage) -> Dataset:
    """Return the report of an answer as an encapsulated PDF.

    Raises:
        MachineError: ``missing_package`` without reportlab.
    """
    pdf = report_pdf(
        [_report_image(image)],
        [_model_facts(image)],
        time=image.now.isoformat(timespec="seconds"),
        request_id=image.uid("answer"),
        undated=True,
    )
    kind = "pdf" if image.heat_map is None else "pdf with map"
    made = new_object(image, EncapsulatedPDFStorage, kind, "DOC", DOCUMENTS)
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = None
    made.BurnedInAnnotation = "YES"
    made.RecognizableVisualFeatures = "NO"
    made.SourceInstanceSequence = [_reference(image, purpose=False)]
    made.DocumentTitle = _TITLE
    made.ConceptNameCodeSequence = None
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(pdf)
    made.EncapsulatedDocument = pdf + bytes(len(pdf) % 2)
    return made


def _report_image(image: AnsweredImage) -> ReportImage:
    """Return what the pages are drawn of; names of files stay away, for they may name patients."""
    mapped = explained_label(image.answer) if image.heat_map is not None else None
    answer = {**image.answer, "file": _place(image), "heat_map_of": mapped}
    box = None if image.box == WHOLE or image.picture is None else image.box
    return ReportImage([answer], image.picture, [image.heat_map], box)


def _model_facts(image: AnsweredImage) -> Mapping[str, Any]:
    return dataclasses.asdict(image.model)


def _place(image: AnsweredImage) -> str:
    """Return where in its study the image is, for whoever looks at the picture beside it."""
    numbers = (image.named(name) for name in ("SeriesNumber", "InstanceNumber"))
    places = [
        f"{word} {int(number)}"
        for word, number in zip(("series", "image"), numbers, strict=True)
        if number.isascii() and number.isdecimal()
    ]
    return f"{_TITLE}: {', '.join(places)}" if places else _TITLE


def _made(image: AnsweredImage) -> str:
    return f"{image.now.isoformat(timespec='seconds')}; cxr-transfer {__version__}"


def _reference(image: AnsweredImage, *, purpose: bool = True) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = image.named("SOPClassUID")
    reference.ReferencedSOPInstanceUID = image.named("SOPInstanceUID")
    if purpose:
        used = codes.DCM.SourceImageForImageProcessingOperation
        reference.PurposeOfReferenceCodeSequence = [coded(used)]
    return reference
