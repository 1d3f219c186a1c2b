"""An answer as a structured report: TID 1500, with the primitives of IHE's AI Results profile.

One measurement group holds the answer: what the model was given (source of measurement), by what
it was made (algorithm identification), coded results, and a class score per class. Nothing in it
claims a finding: its "finding" is that class scores were computed.
"""

from __future__ import annotations

from collections.abc import Iterable

from highdicom import sr
from highdicom.sr import templates as tid
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.pacs.answered_image import AnsweredImage, SourceImage
from cxr_transfer.pacs.codes import code, label_code, reason_code, scheme_item, score_code
from cxr_transfer.pacs.dicom_header import IDENTITY, PROGRAM, new_object

SERIES = (9001, "Class scores, research use only")

SHARE = Code("{0:1}", "UCUM", "range: 0:1")
_PERCENT = Code("%", "UCUM", "Percent")
PLAIN_RADIOGRAPHY = Code("168537006", "SCT", "Plain radiography")
_AUDITS = ("pass", "warn", "fail")


def structured_report(image: AnsweredImage) -> Dataset:
    """Return an answer as a Comprehensive 3D SR, unverified, in a series of its own."""
    is_answered = image.answer["status"] == "ok"
    return report_of(
        image,
        new_object(image, Comprehensive3DSRStorage, "sr", "SR", SERIES),
        tid.MeasurementReport(
            _observer(image), PLAIN_RADIOGRAPHY, imaging_measurements=[_group(image)]
        ),
        completion="All class scores are given" if is_answered else "No class is given",
        is_complete=is_answered,
    )


def report_of(
    image: SourceImage,
    header: Dataset,
    content: tid.MeasurementReport,
    *,
    completion: str,
    is_complete: bool = True,
) -> Dataset:
    """Return contents as a report on an image, with the intended use before all else.

    Args:
        image: Image that the contents are of.
        header: Beginning of the report.
        content: Contents.
        completion: What is complete, or is lacking, in a sentence.
        is_complete: Whether the report is.
    """
    _say_what_for(content)
    report = sr.Comprehensive3DSR(
        [_evidence(image)],
        content[0],
        series_instance_uid=header.SeriesInstanceUID,
        series_number=header.SeriesNumber,
        sop_instance_uid=header.SOPInstanceUID,
        instance_number=header.InstanceNumber,
        manufacturer=PROGRAM,
        is_complete=is_complete,
    )
    report.CompletionFlagDescription = completion
    report.CodingSchemeIdentificationSequence = [scheme_item()]
    _refer(report, image.named("SOPClassUID"))
    report.update(header)
    report.file_meta = header.file_meta
    return report


def _evidence(image: SourceImage) -> Dataset:
    """Return the source as evidence: what refers to it, and nothing of a patient.

    highdicom refuses some of what a header may hold, and quotes it; our header has the rest. It
    looks for the IOD of a SOP class, and private ones have none: `_refer` names the true one.
    """
    evidence = Dataset()
    evidence.SOPClassUID = SecondaryCaptureImageStorage
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(evidence, keyword, image.named(keyword))
    for keyword in IDENTITY:
        if keyword not in evidence:
            setattr(evidence, keyword, None)
    return evidence


def _refer(report: Dataset, sop_class: str) -> None:
    """Write the source's SOP class into the evidence."""
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPClassUID = sop_class


def _observer(image: AnsweredImage) -> tid.ObservationContext:
    device = tid.DeviceObserverIdentifyingAttributes(
        uid=image.device_uid,
        name=PROGRAM,
        manufacturer_name=PROGRAM,
        model_name=image.model.name,
        serial_number=__version__,
    )
    context = tid.ObserverContext(codes.DCM.Device, device)
    return tid.ObservationContext(observer_device_context=context)


def _say_what_for(content: tid.MeasurementReport) -> None:
    """Say what a report is for where a reader begins: before its measurements."""
    use = sr.TextContentItem(
        code("intended-use"), INTENDED_USE, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    items = content[0].ContentSequence
    items.insert(len(items) - 1, use)


def _group(image: AnsweredImage) -> tid.MeasurementsAndQualitativeEvaluations:
    group = tid.MeasurementsAndQualitativeEvaluations(
        tid.TrackingIdentifier(image.uid("answer"), f"{image.model.name} class scores"),
        finding_type=code("class-scores"),
        algorithm_id=_algorithm(image),
        finding_sites=[sr.FindingSite(codes.SCT.Thorax)],
        measurements=_measurements(image),
        qualitative_evaluations=[
            tid.QualitativeEvaluation(name, value) for name, value in _results(image)
        ],
        source_images=[source_of(image)],
    )
    answer, model = image.answer, image.model
    comments = [answer["message"], *answer["warnings"], *model.notes]
    comments.append(f"Scores are {model.score_scale}.")
    add_comments(group, comments)
    return group


def add_comments(group: tid.MeasurementsAndQualitativeEvaluations, texts: Iterable[str]) -> None:
    """Add texts to a group as comments; empty ones are left out."""
    group[0].ContentSequence.extend(
        sr.TextContentItem(
            codes.DCM.Comment, text, relationship_type=sr.RelationshipTypeValues.CONTAINS
        )
        for text in texts
        if text
    )


def source_of(image: SourceImage) -> sr.SourceImageForMeasurementGroup:
    """Return the reference to the image that a group of a report is of."""
    return sr.SourceImageForMeasurementGroup(
        image.named("SOPClassUID"), image.named("SOPInstanceUID")
    )


def _algorithm(image: AnsweredImage) -> tid.AlgorithmIdentification:
    model = image.model
    parameters = [f"weights_sha256={model.weights_sha256}"]
    if image.answer["temperature"] is not None:
        parameters.append(f"temperature={image.answer['temperature']:.6g}")
    parameters += [f"label {label_code(label).CodeValue}={label}" for label in model.labels]
    parameters += [
        f"threshold {label_code(label).CodeValue}={threshold:.6g}"
        for label, threshold in (model.thresholds or {}).items()
    ]
    return tid.AlgorithmIdentification(
        model.name, f"{PROGRAM} {__version__}", parameters, manufacturer=PROGRAM
    )


def _measurements(image: AnsweredImage) -> list[tid.Measurement]:
    answer = image.answer
    measured = [
        tid.Measurement(score_code(label), score, SHARE)
        for label, score in answer["probabilities"].items()
    ]
    shares = {"lung_share": "map-in-lungs", "lung_area": "lungs-in-image"}
    return measured + [
        tid.Measurement(code(value), round(100 * answer[key], 2), _PERCENT)
        for key, value in shares.items()
        if answer.get(key) is not None
    ]


def _results(image: AnsweredImage) -> list[tuple[sr.CodedConcept, sr.CodedConcept]]:
    """Return the coded results, as questions and answers."""
    answer, model = image.answer, image.model
    results = [(code("status"), code(_status(image)))]
    if answer["status"] != "ok":
        results.append((code("reason"), reason_code(answer["code"])))
    elif answer.get("findings") is None:
        results.append((code("most-like"), label_code(answer["label"])))
    else:
        findings = [label_code(finding) for finding in answer["findings"]]
        results += [(code("named"), finding) for finding in findings or [code("none-named")]]
    if answer["probabilities"]:
        scale = "calibrated" if answer["calibrated"] else "not-calibrated"
        results.append((code("scale"), code(scale)))
    verdict = model.audit if model.audit in _AUDITS else "not-done"
    results.append((code("audit"), code(f"audit.{verdict}")))
    remarks = (("unusual", "unusual"), ("trained_on", "trained-on"))
    return results + [(code("remark"), code(value)) for key, value in remarks if answer.get(key)]


def _status(image: AnsweredImage) -> str:
    status = image.answer["status"]
    if status == "ok":
        return "class-given" if image.answer.get("findings") is None else "findings-given"
    return "cannot-assess" if status == "cannot_assess" else "not-readable"
