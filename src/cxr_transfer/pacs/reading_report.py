"""What a person read in an image, as a structured report: TID 1500, with the reader as observer.

The readings of one reader of one image go into one report: the first without a model's answer in
sight, another with it. It says that it is of a reader study, and so no finding for a record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from highdicom import sr
from highdicom.sr import templates as tid
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage

from cxr_transfer.pacs.answered_image import SourceImage, check_identity
from cxr_transfer.pacs.codes import code, label_code
from cxr_transfer.pacs.dicom_header import new_object
from cxr_transfer.pacs.structured_report import (
    PLAIN_RADIOGRAPHY,
    SHARE,
    add_comments,
    report_of,
    source_of,
)
from cxr_transfer.radiograph.silence import silence

SERIES = (9004, "Readings of a reader study, research use only")


@dataclass(frozen=True)
class ImageReading:
    """One reading of one image.

    Attributes:
        condition: "without" or "with" a model's answer in sight.
        label: Class that the reader chose; "" where they could name none.
        confidence: How sure the reader is that the image is of the target, 0 to 1.
        target: Classes that were looked for.
        notes: What the reader wrote.
        seen_before: Whether a model's answer was on the screen before the study.
        model: Name of the model and SHA-256 of its weights; "" where none answered.
    """

    condition: str
    label: str
    confidence: float
    target: tuple[str, ...]
    notes: str = ""
    seen_before: bool = False
    model: str = ""


@dataclass(frozen=True, eq=False)
class ReadImage(SourceImage):
    """An image that a person read.

    Attributes:
        reader: Name or code of the reader.
        readings: Readings, in their order.
    """

    reader: str
    readings: tuple[ImageReading, ...]

    @property
    def maker(self) -> str:
        """SHA-256 of the reader's name and of what they said: another reading is another object."""
        return hashlib.sha256(repr((self.reader, self.readings)).encode()).hexdigest()

    @property
    def contribution(self) -> str:
        """What this program did with the image, in a sentence."""
        return "Kept the readings of a person in a reader study."


def reading_report(
    source: Dataset,
    source_sha256: str,
    reader: str,
    readings: Sequence[ImageReading],
    now: datetime,
) -> Dataset:
    """Return the readings of an image by one reader as a Comprehensive 3D SR, unverified.

    Args:
        source: Header of the image; its pixels may be missing.
        source_sha256: SHA-256 of the file, in hexadecimal digits.
        reader: Name or code of the reader.
        readings: Readings of the image, in their order.
        now: Time at which the report is made, with its time zone.

    Raises:
        ImageError: ``no_identity`` where the image has no UIDs that a report can refer to.
    """
    check_identity(source)
    image = ReadImage(source, source_sha256, now, reader, tuple(readings))
    with silence():  # a library's warning may quote what a header says of a patient
        return report_of(
            image,
            new_object(image, Comprehensive3DSRStorage, "reading", "SR", SERIES),
            tid.MeasurementReport(
                _observer(reader),
                PLAIN_RADIOGRAPHY,
                imaging_measurements=[_group(image, reading) for reading in readings],
            ),
            completion="Readings of one person in a reader study",
        )


def _observer(reader: str) -> tid.ObservationContext:
    # A code such as R1 is a family name without more; signs that part a name's pieces go.
    name = "".join(" " if sign in "^=\\" else sign for sign in reader)[:62].strip()
    person = tid.PersonObserverIdentifyingAttributes(name=f"{name}^")
    return tid.ObservationContext(
        observer_person_context=tid.ObserverContext(codes.DCM.Person, person)
    )


def _group(image: ReadImage, reading: ImageReading) -> tid.MeasurementsAndQualitativeEvaluations:
    chosen = label_code(reading.label) if reading.label else code("cannot-say")
    results = [
        (code("condition"), code(reading.condition)),
        *((code("looked-for"), label_code(label)) for label in reading.target),
        (code("chosen"), chosen),
    ]
    if reading.seen_before:
        results.append((code("remark"), code("seen-before")))
    group = tid.MeasurementsAndQualitativeEvaluations(
        tid.TrackingIdentifier(image.uid("reading", reading.condition), "Reading"),
        finding_type=code("reading"),
        finding_sites=[sr.FindingSite(codes.SCT.Thorax)],
        measurements=[tid.Measurement(code("confidence"), reading.confidence, SHARE)],
        qualitative_evaluations=[tid.QualitativeEvaluation(name, value) for name, value in results],
        source_images=[source_of(image)],
    )
    add_comments(
        group, [reading.notes, f"Model of the study: {reading.model}." if reading.model else ""]
    )
    return group
