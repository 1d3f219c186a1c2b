"""Images without identifiers: nothing of a patient stays, and what was done is written in."""

import io
from datetime import date

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from cxr_transfer.errors import ImageError, UsageError
from cxr_transfer.pacs import confidentiality_profile as table
from cxr_transfer.pacs.deidentify import NOT_LOOKED_AT, Deidentifier
from cxr_transfer.pacs.replacements import LONGEST_SHIFT, Replacements
from cxr_transfer.radiograph.dicom_dataset import written as picture_of
from made_dicom import dicom, written
from made_pacs import faults, installed, objects, said_by, source

KEY = b"a secret key that tests know"
SECRET = "Zzyzxson"
"""Stands in every text that a header can hold, and in nothing that comes out."""

_TEXTS = {
    **dict.fromkeys(("LO", "SH", "LT", "ST", "UT", "UC"), SECRET),
    "PN": f"{SECRET}^A",
    "CS": "ZZYZXSON",
    "AE": SECRET,
    "UR": f"urn:{SECRET}",
}
_DATES = {"DA": "19991231", "DT": "19991231235959", "TM": "235958"}


def everything():
    """Return an image whose header holds every element that the table names, once more within."""
    header = source()
    item = Dataset()
    for tag in sorted(DicomDictionary):
        if table.row_of(tag) is None or tag >> 16 in (0, 2) or tag in header:
            continue
        vr = dictionary_VR(tag).partition(" ")[0]
        value = {**_TEXTS, **_DATES}.get(vr)
        if vr == "UI":
            value = generate_uid(entropy_srcs=[str(tag)])
        if value is not None:
            item.add_new(tag, vr, value)
    for element in item:
        header.add(element)
    header.RequestAttributesSequence = [item]
    header.ReferencedImageSequence = [item]
    header.AnatomicRegionSequence = [item]  # one that the table does not name
    block = header.private_block(0x0011, SECRET, create=True)
    block.add_new(1, "LO", SECRET)
    header.PatientComments = SECRET
    header.PatientAge, header.PatientSize = "093Y", "1.7"
    return header


def file_of(header):
    return written(header, ExplicitVRLittleEndian)


def read(done):
    return pydicom.dcmread(io.BytesIO(done.content))


def test_nothing_that_the_table_names_stays():
    header = everything()
    before = file_of(header)
    assert before.count(SECRET.encode()) > 200
    after = Deidentifier(key=KEY).file(before).content
    for word in (SECRET, "ZZYZXSON", "PID-7", "A-77", "19991231", "235958", "20260102"):
        assert word.encode() not in after, word
    old = {str(element.value) for element in header.iterall() if element.VR == "UI"}
    kept = {
        str(element.value)
        for element in pydicom.dcmread(io.BytesIO(after)).iterall()
        if element.VR == "UI" and str(element.value) in old
    }
    assert kept == {header.SOPClassUID}


@pytest.mark.parametrize(
    ("option", "kept", "gone"),
    [
        ("uids", "SOPInstanceUID", "PatientID"),
        ("device", "DeviceSerialNumber", "InstitutionAddress"),
        ("institution", "InstitutionAddress", "DeviceSerialNumber"),
        ("patient", "PatientSize", "StationName"),
        ("dates", "AcquisitionDate", "PatientID"),
    ],
)
def test_each_option_keeps_its_own_alone(option, kept, gone):
    header = everything()
    done = read(Deidentifier([option], key=KEY).dataset(header))
    assert done[kept].value == header[kept].value
    assert done.get(gone) != header[gone].value
    basic, used = done.DeidentificationMethodCodeSequence
    assert (basic.CodeValue, used.CodeMeaning) == (
        "113100",
        table.OPTION_CODES[option].meaning,
    )


def test_the_method_is_written_into_the_file():
    done = read(Deidentifier(key=KEY).dataset(source()))
    assert done.PatientIdentityRemoved == "YES"
    assert done.LongitudinalTemporalInformationModified == "REMOVED"
    assert [code.CodeValue for code in done.DeidentificationMethodCodeSequence] == ["113100"]
    assert "PS3.15" in done.DeidentificationMethod[0]
    for option, word in (("dates", "UNMODIFIED"), ("shifted-dates", "MODIFIED")):
        done = read(Deidentifier([option], key=KEY).dataset(source()))
        assert done.LongitudinalTemporalInformationModified == word


def test_ages_of_the_very_old_are_blunted():
    assert read(Deidentifier(["patient"]).dataset(everything())).PatientAge == "090Y"


def test_the_same_key_gives_the_same_file_and_another_one_another():
    content = file_of(everything())
    first, again = (Deidentifier(key=KEY).file(content).content for _ in range(2))
    assert first == again
    one, other = (read(Deidentifier(key=key).file(content)) for key in (b"1" * 16, b"2" * 16))
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.PatientID != other.PatientID
    drawn = {read(Deidentifier().file(content)).PatientID for _ in range(2)}
    assert len(drawn) == 2


def test_images_of_a_patient_and_of_a_study_stay_together():
    first = source()
    second = source(SOPInstanceUID="1.2.840.99999.1.2.4", StudyDate="20260105")
    third = source(PatientID="another")
    second.ReferencedSeriesSequence = [item := Dataset()]
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        first.SOPClassUID,
        first.SOPInstanceUID,
    )
    clean = Deidentifier(["shifted-dates"], key=KEY)
    first, second, third = (read(clean.dataset(image)) for image in (first, second, third))
    assert first.PatientID == second.PatientID != third.PatientID
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    reference = second.ReferencedSeriesSequence[0]
    assert reference.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == first.SOPClassUID
    days = [date.fromisoformat(image.StudyDate) for image in (first, second, third)]
    assert (days[1] - days[0]).days == 3
    assert days[0] < date(2026, 1, 2)
    assert (first.StudyTime, first.AccessionNumber) == ("101112", "")


def test_shifts_lie_in_their_bounds():
    shifts = {Replacements(KEY).days(str(patient)) for patient in range(500)}
    assert min(shifts) >= 1
    assert max(shifts) <= LONGEST_SHIFT
    assert len(shifts) > 300


def test_the_picture_is_the_same():
    samples = (np.arange(200 * 200, dtype=np.uint16) % 4096).reshape(200, 200)
    content = dicom(samples, BitsStored=12, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
    done = read(Deidentifier(key=KEY).file(content))
    assert (done.pixel_array == samples).all()
    assert picture_of(done) == picture_of(pydicom.dcmread(io.BytesIO(content)))


@pytest.mark.parametrize("name", ["RG1_J2KR.dcm", "CT_small.dcm", "MR_small_bigendian.dcm"])
def test_compressed_and_big_endian_pixels_are_handed_on_byte_for_byte(name):
    before = pydicom.dcmread(get_testdata_file(name))
    with open(get_testdata_file(name), "rb") as file:
        after = read(Deidentifier(key=KEY).file(file.read()))
    assert after.PixelData == before.PixelData
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID


def test_names_in_other_scripts_go_and_the_rest_stays_readable():
    header = source(SpecificCharacterSet="ISO_IR 100", InstitutionName="Klinik für Röntgen")
    content = file_of(header)
    done = read(Deidentifier(["institution"], key=KEY).file(content))
    assert done.InstitutionName == "Klinik für Röntgen"
    assert done.PatientName == ""


@pytest.mark.parametrize("options", [(), ("patient", "shifted-dates"), table.OPTIONS[:4]])
@pytest.mark.parametrize("modality", ["CR", "DX", "SC"])
def test_what_was_valid_stays_valid(modality, options, tmp_path):
    header = source(modality, PatientOrientation=["L", "F"], ConversionType="WSD")
    fixed = Deidentifier(options, key=KEY).dataset(header)
    before, after = set(faults(header)), set(faults(read(fixed)))
    assert after <= before
    installed("dciodvfy")
    found = []
    for content in (file_of(header), fixed.content):
        path = tmp_path / "image.dcm"
        path.write_bytes(content)
        said, _ = said_by("dciodvfy", path)
        found.append({line for line in said.splitlines() if line.startswith("Error")})
    assert found[1] <= found[0]


def test_burnt_in_text_is_refused_or_taken_knowingly():
    header = source(BurnedInAnnotation="YES")
    with pytest.raises(ImageError, match="burnt in") as caught:
        Deidentifier().dataset(header)
    assert caught.value.code == "burnt_in"
    done = Deidentifier(allow_burnt_in=True).dataset(header)
    assert done.warnings == (NOT_LOOKED_AT,)
    assert Deidentifier().dataset(source()).warnings == (NOT_LOOKED_AT,)
    assert Deidentifier().dataset(source(BurnedInAnnotation="NO")).warnings == ()


def test_reports_and_documents_are_refused():
    for one in objects(kinds=["sr", "pdf"]):
        with pytest.raises(ImageError, match="without pixels") as caught:
            Deidentifier().dataset(one)
        assert caught.value.code == "not_an_image"


@pytest.mark.parametrize("content", [b"", b"no DICOM file", b"\0" * 128 + b"DICM" + b"\7" * 50])
def test_what_cannot_be_read_is_one_line(content):
    with pytest.raises(ImageError) as caught:
        Deidentifier().file(content)
    assert caught.value.code in ("unreadable", "not_an_image")


def test_wrong_options_and_keys_are_refused():
    for options, code in (
        (["names"], "bad_option"),
        (["dates", "shifted-dates"], "bad_option"),
    ):
        with pytest.raises(UsageError) as caught:
            Deidentifier(options)
        assert caught.value.code == code
    with pytest.raises(UsageError) as caught:
        Deidentifier(key=b"short")
    assert caught.value.code == "short_key"


def test_the_table_is_whole():
    rows = table.profile()
    assert len(rows) == 620
    assert {action for row in rows.values() for action in row.basic} == set("XZDU")
    assert table.row_of(0x60003000).basic == ("X",)
    assert table.row_of(0x50220010).basic == ("X",)
    assert table.row_of(0x00280010) is None
    assert table.row_of(0x00100010).basic == ("Z",)
