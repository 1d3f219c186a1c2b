"""What a person read, as a structured report that validators, dcmtk and highdicom read."""

import io
import json

import pytest
from highdicom.sr import srread
from pydicom import dcmread

import cxr_transfer as cxr
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.pacs.answer_files import dicom_file
from cxr_transfer.pacs.codes import DESIGNATOR
from cxr_transfer.pacs.reading_report import ImageReading, reading_report
from made_pacs import NOW, SHA, faults, installed, said_by, source
from pacs.sending import image, uid

WITHOUT = ImageReading("without", "", 0.25, ("covid19", "other_pneumonia"), notes="a note; déjà vu")
WITH = ImageReading("with", "covid19", 1.0, ("covid19",), seen_before=True, model="m " + "0" * 64)


def report(reader="R1", readings=(WITHOUT, WITH), header=None):
    return reading_report(header or source(), SHA, reader, readings, NOW)


@pytest.mark.parametrize("reader", ["R1", "Müller^Jörg", "a=b\\c", "x" * 200, "放射線科医"])
def test_validators_find_nothing(reader, tmp_path):
    assert faults(report(reader)) == []
    installed("dciodvfy")
    installed("dsrdump")
    path = tmp_path / "report.dcm"
    path.write_bytes(dicom_file(report(reader)))
    said, _ = said_by("dciodvfy", path)
    assert [
        line for line in said.splitlines() if DESIGNATOR not in line and "DICOMDIR" not in line
    ] == ["Comprehensive3DSR"]
    said, code = said_by("dsrdump", "+Pl", path)
    assert (code, "E: " in said, "a note; déjà vu" in said) == (0, False, True)


def test_highdicom_reads_it_back():
    made = srread(io.BytesIO(dicom_file(report())))
    first, second = made.content.get_image_measurement_groups()
    said = {
        str(each.name.meaning): each.value.meaning for each in first.get_qualitative_evaluations()
    }
    assert said["Model's answer during the reading"] == "Not in sight"
    assert said["Class that the reader holds most likely"] == "The reader can name no class"
    (confidence,) = second.get_measurements()
    assert confidence.value == 1.0
    text = str(made)
    assert "a note; déjà vu" in text
    assert "was on the screen before the study" in text
    assert "Research use only" in text


def test_another_reading_is_another_object_and_the_same_the_same():
    assert dicom_file(report()) == dicom_file(report())
    others = {report("R2").SOPInstanceUID, report(readings=[WITHOUT]).SOPInstanceUID}
    assert len(others | {report().SOPInstanceUID}) == 3


def session(path, digests):
    """A session as the page saves it."""
    images = [
        {
            "file": f"{number}.dcm",
            "sha256": digest,
            "answer": None,
            "answer_seen_before": False,
            "readings": [
                {
                    "condition": "without",
                    "label": "normal",
                    "confidence": 10,
                    "seconds": 3.5,
                    "notes": "faint",
                    "time": "2026-11-29T08:00:00Z",
                }
            ],
        }
        for number, digest in enumerate(digests)
    ]
    model = {"name": "multi_source", "weights_sha256": "0" * 64}
    content = {"reader": "R1", "target": ["covid19"], "model": model, "images": images}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_sessions_become_reports_of_the_images_that_are_dicom(tmp_path):
    import hashlib

    contents = [image(1), image(2), b"no DICOM file"]
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    for number, content in enumerate(contents):
        (tmp_path / "study").mkdir(exist_ok=True)
        (tmp_path / "study" / f"other name {number}.dcm").write_bytes(content)
    readings = session(tmp_path / "reading-R1.json", [digests[0], digests[2], "f" * 64])
    said = []
    written = cxr.readings_as_dicom(
        readings, images=[tmp_path / "study"], out=tmp_path / "reports", log=said.append
    )
    (path,) = written
    made = dcmread(path)
    assert made.StudyInstanceUID == uid("study", 1)
    assert "faint" in str(made)
    assert said == ["2 images that were read are not among the DICOM images: no report of them"]
    again = cxr.readings_as_dicom(readings, images=[tmp_path / "study"], out=tmp_path / "again")
    assert [one.name for one in again] == [one.name for one in written]
    with pytest.raises(UsageError):
        cxr.readings_as_dicom(images=[tmp_path], out=tmp_path)
    with pytest.raises(DataError) as refused:  # once as JSON, and once more
        cxr.readings_as_dicom(readings, readings, images=[tmp_path / "study"], out=tmp_path)
    assert refused.value.code == "repeated_readings"


def test_readings_that_name_no_image_are_refused(tmp_path):
    table = tmp_path / "readings.csv"
    table.write_text(
        "reader,file,reading,label,confidence,target\nR1,1.dcm,without,normal,5,covid19\n"
    )
    with pytest.raises(DataError) as refused:
        cxr.readings_as_dicom(table, images=[tmp_path], out=tmp_path / "reports")
    assert refused.value.code == "bad_readings"
