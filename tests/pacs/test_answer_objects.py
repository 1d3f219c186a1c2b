"""Answers as DICOM objects: valid to every judge, of the same study, and the same again."""

import io
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.errors import ImageError
from cxr_transfer.pacs import answered_image
from cxr_transfer.pacs.answered_image import AnsweringModel
from cxr_transfer.pacs.codes import CONCEPTS, DESIGNATOR, short_value
from made_pacs import (
    NOW,
    answered,
    drawn,
    faults,
    installed,
    model,
    objects,
    refused,
    said_by,
    source,
)

FINDINGS = ("Edema", "Effusion", "Pleural_Thickening")
LONG = "a class with a name that is as long as a class name may be, " + "x" * 40


def without(*keywords):
    return source(**dict.fromkeys(keywords))


def raw(keyword, value):
    """Return a header that holds a value which the standard forbids."""
    header, tag = source(), tag_for_keyword(keyword)
    header[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)
    return header


def read_back(header):
    """Return a header as it comes out of a file."""
    content = io.BytesIO()
    header.save_as(content, implicit_vr=False, little_endian=True)
    return pydicom.dcmread(content, force=True)


def in_japanese():
    return read_back(
        source(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")
    )


def in_german():
    return read_back(source(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg"))


def of_no_stated_set():
    header = source(PatientName="XX^Y")
    header.save_as(content := io.BytesIO(), implicit_vr=False, little_endian=True)
    return pydicom.dcmread(
        io.BytesIO(content.getvalue().replace(b"XX^Y", b"X\xfc^Y", 1)), force=True
    )


TWO, MANY = ("no", "yes"), ("normal", "covid19", LONG, "ünïcode 肺炎")
CASES = {
    "DX": {},
    "CR": {"image": source("CR")},
    "SC": {"image": source("SC")},
    "MONOCHROME1": {"image": source(PhotometricInterpretation="MONOCHROME1")},
    "without a picture": {"drawn": {}},
    "without a heat map": {"drawn": {"picture": drawn()["picture"]}},
    "a tall picture": {"drawn": drawn(900, 230)},
    "two classes": {"answer": answered(TWO), "facts": model(TWO)},
    "odd names of classes": {"answer": answered(MANY), "facts": model(MANY)},
    "findings": {
        "answer": answered(FINDINGS, label="Edema|Effusion", findings=("Edema", "Effusion")),
        "facts": model(FINDINGS, exclusive=False),
    },
    "no finding": {
        "answer": answered(FINDINGS, label="No Finding", findings=()),
        "facts": model(FINDINGS, exclusive=False),
    },
    "not sure": {"answer": refused() | {"probabilities": {"normal": 0.4, "covid19": 0.6}}},
    "out of distribution": {"answer": refused("out_of_distribution"), "drawn": {}},
    "not readable": {"answer": refused("corrupt_image", status="error"), "drawn": {}},
    "unusual": {"answer": answered(unusual=True, trained_on=True)},
    "not calibrated": {"answer": answered(calibrated=False, temperature=None)},
    "heat map facts": {"answer": answered() | {"lung_share": 0.5, "lung_area": 0.4}},
    "audit not done": {"facts": model(audit="not done", notes=())},
    "no patient": {
        "image": without("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID")
    },
    "no dates": {"image": without("StudyDate", "StudyTime", "AccessionNumber")},
    "no device": {"image": without("Manufacturer", "SeriesNumber", "InstanceNumber")},
    "an odd number": {"image": source(InstanceNumber=0, SeriesNumber=-4)},
    "a time zone": {"image": source(TimezoneOffsetFromUTC="+0530")},
    "no time zone": {"image": raw("TimezoneOffsetFromUTC", "Berlin")},
    "a date that is none": {"image": raw("StudyDate", "2026-01-02")},
    "a sex that is none": {"image": raw("PatientSex", "female")},
    "Japanese": {"image": in_japanese()},
    "German": {"image": in_german()},
    "no character set": {"image": of_no_stated_set()},
}


def made(case):
    given = CASES[case]
    more = given.get("drawn", drawn())
    return objects(given.get("image"), given.get("answer"), facts=given.get("facts"), **more)


def written(made, folder):
    path = folder / f"{made.Modality}.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("case", CASES)
def test_dicom_validator_finds_nothing(case):
    for one in made(case):
        assert faults(one) == []


def test_dicom_validator_would_find_something():
    report, picture, _ = objects()
    del report.CompletionFlag
    del report.ContentSequence[0].ConceptNameCodeSequence[0].CodeMeaning
    picture.PixelSpacing = [1, 1]
    picture.EncapsulatedDocument = b"xx"
    assert len(faults(report)) == 2
    assert len(faults(picture)) == 1


@pytest.mark.parametrize("case", CASES)
def test_dciodvfy_finds_nothing(case, tmp_path):
    installed("dciodvfy")
    for one in made(case):
        said, _ = said_by("dciodvfy", written(one, tmp_path))
        # A private coding scheme is unknown to it, and what a patient does not have to DICOMDIR.
        heard = [
            line for line in said.splitlines() if DESIGNATOR not in line and "DICOMDIR" not in line
        ]
        assert heard == [heard[0]]
        assert heard[0] in ("Comprehensive3DSR", "SCImage", "EncapsulatedPDF")


@pytest.mark.parametrize("case", CASES)
def test_dcmtk_reads_them(case, tmp_path):
    installed("dsrdump")
    report, picture, document = made(case)
    said, code = said_by("dsrdump", "+Pl", written(report, tmp_path))
    assert code == 0
    assert "E: " not in said
    assert INTENDED_USE in said
    for one in (report, picture, document):
        path = written(one, tmp_path)
        assert said_by("dcm2json", path, tmp_path / "json")[1] == 0
        said, code = said_by("dcmconv", "+te", path, tmp_path / "copy")
        assert (said, code) == ("", 0)


@pytest.mark.parametrize("case", CASES)
def test_highdicom_reads_the_report_back(case, tmp_path):
    report = srread(written(made(case)[0], tmp_path))
    (group,) = report.content.get_image_measurement_groups()
    assert group.source_images[0].referenced_sop_instance_uid == "1.2.840.99999.1.2.3"
    scores = (CASES[case].get("answer") or answered())["probabilities"]
    measured = [item.value for item in group.get_measurements() if item.unit.value == "{0:1}"]
    assert measured == list(scores.values())


def texts(report):
    """Return every text and code of a report, by the meaning of its name."""
    found = {}

    def walk(items):
        for item in items:
            name = item.ConceptNameCodeSequence[0].CodeMeaning
            value = item.get("TextValue") or item.get("UID")
            if "ConceptCodeSequence" in item:
                value = item.ConceptCodeSequence[0].CodeValue
            found.setdefault(name, []).append(value)
            walk(item.get("ContentSequence", []))

    walk(report.ContentSequence)
    return found


def test_a_report_says_by_what_and_how_it_was_answered():
    answer = answered(unusual=True)
    (report,) = objects(answer=answer, kinds=["sr"])
    found = texts(report)
    assert found["Intended use"] == [INTENDED_USE]
    assert found["Algorithm Name"] == ["made"]
    assert found["Algorithm Version"] == [f"cxr-transfer {__version__}"]
    parameters = found["Algorithm Parameters"]
    assert parameters[:2] == [f"weights_sha256={model().weights_sha256}", "temperature=1.2345"]
    assert f"label {short_value('c.', 'other_pneumonia')}=other_pneumonia" in parameters
    assert found["Status of the answer"] == ["class-given"]
    assert found["Training class that the image is most like"] == ["c.covid19"]
    assert found["Scale of the class scores"] == ["calibrated"]
    assert found["Verdict of the model's audit"] == ["audit.fail"]
    assert found["Remark on the image"] == ["unusual"]
    assert "the image was brightened" in found["Comment"]
    assert "Scores are calibrated (temperature 1.23)." in found["Comment"]
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"
    (scheme,) = report.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == DESIGNATOR
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = evidence.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.840.99999.1.2.3"


def test_no_class_is_coded_with_its_reason_and_the_report_is_partial():
    (report,) = objects(answer=refused("out_of_distribution"), kinds=["sr"])
    found = texts(report)
    assert found["Status of the answer"] == ["cannot-assess"]
    assert found["Reason why no class is given"] == [short_value("r.", "out_of_distribution")]
    assert any("Expected an image that can be judged" in comment for comment in found["Comment"])
    assert report.CompletionFlag == "PARTIAL"
    assert "Training class that the image is most like" not in found


def test_findings_are_named_one_by_one_or_none_is():
    facts = model(FINDINGS, exclusive=False)
    some = answered(FINDINGS, label="Edema|Effusion", findings=("Edema", "Effusion"))
    none = answered(FINDINGS, label="No Finding", findings=())
    name = CONCEPTS["named"]
    (report,) = objects(answer=some, facts=facts, kinds=["sr"])
    assert texts(report)[name] == ["c.Edema", "c.Effusion"]
    assert "threshold c.Edema=0.5" in texts(report)["Algorithm Parameters"]
    (report,) = objects(answer=none, facts=facts, kinds=["sr"])
    assert texts(report)[name] == ["none-named"]


@pytest.mark.parametrize("case", ["DX", "Japanese", "no patient", "a time zone"])
def test_patient_and_study_are_the_images_own(case):
    header = CASES[case].get("image", source())
    for one in made(case):
        one = pydicom.dcmread(io.BytesIO(content(one)))
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID"):
            assert str(one.get(keyword)) == str(header.get(keyword, ""))
        for keyword in ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber"):
            assert one[keyword].value == header[keyword].value
        assert one.SeriesInstanceUID != header.SeriesInstanceUID
        assert one.SpecificCharacterSet == "ISO_IR 192"


def test_a_patients_number_is_copied_whatever_it_is():
    (report,) = objects(raw("PatientID", "7" * 70), kinds=["sr"])
    assert report.PatientID == "7" * 70
    (report,) = objects(raw("PatientID", ["A", "B"]), kinds=["sr"])
    assert b"A\\B " in content(report)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *(("StudyDate", "20241345"), ("StudyDate", "20230229"), ("PatientBirthDate", "00000000")),
        *(("StudyTime", "999999"), ("StudyTime", "256199"), ("StudyTime", "1260")),
    ],
)
def test_a_date_or_a_time_that_is_none_is_left_empty(keyword, value):
    (report,) = objects(raw(keyword, value), kinds=["sr"])
    assert not report[keyword].value


def test_of_the_equipment_as_much_is_written_as_there_may_be():
    (report,) = objects(raw("Manufacturer", ["ACME", "Other"]), kinds=["sr"])
    assert report.ContributingEquipmentSequence[0].Manufacturer == "ACME"
    (report,) = objects(raw("ManufacturerModelName", "M" * 100), kinds=["sr"])
    assert report.ContributingEquipmentSequence[0].ManufacturerModelName == "M" * 64


def test_times_are_given_as_the_images_times_are():
    (report,) = objects(source(TimezoneOffsetFromUTC="+0530"), kinds=["sr"])
    assert (report.ContentDate, report.ContentTime) == ("20261128", "203405")
    assert report.TimezoneOffsetFromUTC == "+0530"
    (report,) = objects(kinds=["sr"])
    assert report.ContentTime == "150405"
    assert "TimezoneOffsetFromUTC" not in report


def content(made):
    made.save_as(out := io.BytesIO(), enforce_file_format=True)
    return out.getvalue()


def test_a_repeat_is_the_same_object():
    first, again = objects(**drawn()), objects(**drawn())
    assert [content(one) for one in first] == [content(one) for one in again]
    later = objects(**drawn(), now=NOW + timedelta(days=3))
    assert [one.SOPInstanceUID for one in later] == [one.SOPInstanceUID for one in first]
    assert all(content(one) != content(other) for one, other in zip(first, later, strict=True))


def test_another_image_model_or_version_is_another_object(monkeypatch):
    def uids(**more):
        return {one.SOPInstanceUID for one in objects(**more)}

    usual = uids()
    assert len(usual) == 3
    other_weights = replace(model(), weights_sha256="0" * 64)
    for other in (
        uids(image=source(SOPInstanceUID="1.2.840.99999.1.2.4")),
        uids(facts=other_weights),
    ):
        assert not usual & other
    assert len(usual & uids(**drawn())) == 1  # the report: pictures with a map are others
    monkeypatch.setattr(answered_image, "__version__", "9.9.9")
    assert not usual & uids()


def test_answers_for_a_series_lie_in_one_series_of_each_kind():
    first = objects()
    second = objects(source(SOPInstanceUID="1.2.840.99999.1.2.4", InstanceNumber=4))
    other = objects(source(SeriesInstanceUID="1.2.840.99999.1.9"))
    series = [[one.SeriesInstanceUID for one in some] for some in (first, second, other)]
    assert series[0] == series[1]
    assert len({*series[0], *series[2]}) == 6
    assert [one.InstanceNumber for one in second] == [4, 4, 4]


def test_uids_are_valid():
    for one in objects():
        for uid in (one.SOPInstanceUID, one.SeriesInstanceUID):
            assert pydicom.uid.UID(uid).is_valid
            assert uid.startswith("2.25.")


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
)
def test_an_image_that_cannot_be_referred_to_gets_no_answer(keyword):
    for header in (without(keyword), raw(keyword, "1.2.x")):
        with pytest.raises(ImageError, match=keyword) as caught:
            objects(header)
        assert caught.value.code == "no_identity"
        assert "1.2.x" not in caught.value.message


def test_a_picture_shows_image_map_and_frame():
    shown = drawn()
    (plain,) = objects(kinds=["sc"], picture=shown["picture"])
    (mapped,) = objects(kinds=["sc"], **shown)
    assert plain.pixel_array.shape == mapped.pixel_array.shape == (909, 1286, 3)
    orange = (mapped.pixel_array == (0xE6, 0x9F, 0x00)).all(-1)
    assert orange.sum() > 500
    assert not (plain.pixel_array == (0xE6, 0x9F, 0x00)).all(-1).any()
    assert np.ptp(mapped.pixel_array[130:400, 460:760].astype(int), axis=-1).max() > 100
    assert mapped.BurnedInAnnotation == "YES"
    (reference,) = mapped.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == "1.2.840.99999.1.2.3"


def test_nothing_that_names_a_patient_is_burnt_in():
    """Whatever the header says of a patient, the picture is the same, pixel for pixel."""
    one, other = (
        objects(image, kinds=["sc", "pdf"], **drawn())
        for image in (source(), source(PatientName="A^B", PatientID="9", AccessionNumber="1"))
    )
    assert one[0].PixelData == other[0].PixelData
    assert one[1].EncapsulatedDocument == other[1].EncapsulatedDocument
    answer = answered() | {"file": "Doe_Jane.dcm"}
    renamed = objects(answer=answer, kinds=["sc", "pdf"], **drawn())
    assert renamed[0].PixelData == one[0].PixelData
    assert renamed[1].EncapsulatedDocument == one[1].EncapsulatedDocument


def test_a_document_is_the_report_as_pdf():
    (document,) = objects(kinds=["pdf"], **drawn())
    pdf = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")


def test_contributing_equipment_names_the_device_and_the_model():
    (report,) = objects(kinds=["sr"])
    took, answers = report.ContributingEquipmentSequence
    assert took.Manufacturer == "ACME"
    assert model().weights_sha256 in answers.ContributionDescription
    assert INTENDED_USE in answers.ContributionDescription


def test_codes_are_short_and_apart():
    assert all(len(value) <= 16 and len(meaning) <= 64 for value, meaning in CONCEPTS.items())
    names = ["other_pneumonia", "other pneumonia", "other-pneumonia", "肺", "肺炎", LONG, ""]
    values = {short_value("c.", name) for name in names}
    assert len(values) == len(names)
    assert all(len(value) <= 16 and value.isascii() for value in values)


def test_facts_come_from_an_open_model():
    from cxr_transfer.inference.predictor import Predictor

    predictor = Predictor.released("model_3")
    facts = AnsweringModel.of(predictor, audit="warn")
    assert facts.weights_sha256 == predictor.card.weights_sha256
    assert facts.labels == predictor.card.labels
    assert (facts.exclusive, facts.audit) == (True, "warn")
