"""Whatever a header holds, there are objects or one line that says why there are none."""

import io
import random

import pydicom
import pytest
from highdicom.sr import srread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from cxr_transfer.errors import ImageError
from cxr_transfer.pacs.deidentify import Deidentifier
from made_pacs import objects, source

READ = (
    *("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    *("SOPClassUID", "StudyID", "AccessionNumber", "ReferringPhysicianName", "PatientBirthDate"),
    *("StudyDate", "StudyTime", "PatientSex", "InstanceNumber", "SeriesNumber", "Manufacturer"),
    *("TimezoneOffsetFromUTC", "ManufacturerModelName", "DeviceSerialNumber", "StationName"),
    *("SpecificCharacterSet", "BurnedInAnnotation", "PatientAge"),
)
VALUES = (
    *(b"", b"\0", b"\xff\xfe\xfd", b"A\\B\\C", b"1.2.03.4", b"1.2.3\0", b" 1.2.3 ", b"x" * 70),
    *(
        b"9" * 400,
        b"-1",
        b"1e9",
        b"\x1b$B;3ED\x1b(B",
        b"a\nb\r\tc",
        b"^^^^^^^^",
        b"=====",
        b"20260230",
    ),
    *(b"ISO_IR 192", b"ISO 2022 IR 87", b"nonsense", b"\xe2\x80\xaeabc", b"+9999"),
)


def odd(seed):
    """Return a header in which some elements hold what they must not."""
    chance = random.Random(seed)
    header = source()
    for keyword in chance.sample(READ, chance.randint(1, 5)):
        tag, value = Tag(tag_for_keyword(keyword)), chance.choice(VALUES)
        raw = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True, True)
        header._dict[tag] = raw
    return header


def outcome(make):
    """Return what is made, or the code of the line that says why it is not."""
    try:
        return make()
    except ImageError as error:
        return error.code


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_objects_or_a_reason(first, tmp_path):
    outcomes = [
        outcome(lambda: objects(odd(seed), kinds=["sr", "sc"]))  # noqa: B023 - called at once
        for seed in range(first, first + 20)
    ]
    pairs = [pair for pair in outcomes if not isinstance(pair, str)]
    assert {code for code in outcomes if isinstance(code, str)} <= {"no_identity"}
    assert len(pairs) > 3
    for pair in pairs:
        for one in pair:
            one.save_as(tmp_path / "object.dcm", enforce_file_format=True)
            read = pydicom.dcmread(tmp_path / "object.dcm")
            assert read.SOPInstanceUID == one.SOPInstanceUID
        pair[0].save_as(tmp_path / "report.dcm", enforce_file_format=True)
        srread(tmp_path / "report.dcm")


@pytest.mark.parametrize("first", range(0, 100, 50))
def test_an_image_without_identifiers_or_a_reason(first):
    clean = Deidentifier(key=b"k" * 16)
    outcomes = [
        outcome(lambda: clean.dataset(odd(seed)).content)  # noqa: B023 - called at once
        for seed in range(first, first + 50)
    ]
    contents = [content for content in outcomes if not isinstance(content, str)]
    assert {code for code in outcomes if isinstance(code, str)} <= {"unreadable"}
    assert len(contents) > 20
    assert not any(b"PID-7" in content for content in contents)


def test_a_private_sop_class_is_referred_to_by_its_own_name():
    header = source(SOPClassUID="1.2.840.99999.5")
    (report,) = objects(header, kinds=["sr"])
    report.save_as(content := io.BytesIO(), enforce_file_format=True)
    report = pydicom.dcmread(io.BytesIO(content.getvalue()))
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    reference = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPClassUID == "1.2.840.99999.5"
