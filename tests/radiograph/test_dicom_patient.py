"""What a DICOM header says of the patient: read in every syntax, passed over where it is odd."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from cxr_transfer.radiograph.dicom_patient import (
    LARGEST_HEADER,
    PatientFacts,
    patient_facts,
    read_patient_facts,
)
from made import encoded, grey
from made_dicom import PLAIN, dicom

SAMPLES = np.arange(130 * 130, dtype=np.uint16).reshape(130, 130)
SAID = {
    "PatientID": " P 17 ",
    "PatientAge": "045Y",
    "PatientSex": "F",
    "ViewPosition": "LL",
}
EXPECTED = PatientFacts("P 17", "045Y", "F", "LL")


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("syntax", PLAIN)
def test_every_syntax_says_the_same(syntax, preamble, tmp_path):
    path = tmp_path / "IM0001"
    path.write_bytes(dicom(SAMPLES, syntax, preamble=preamble, **SAID))
    assert read_patient_facts(path) == EXPECTED


def test_without_the_elements_nothing_is_said():
    content = dicom(SAMPLES, PatientID=None, ViewPosition=None)
    assert patient_facts(content) == PatientFacts("", "", "", "")


def test_other_files_say_nothing(tmp_path):
    (tmp_path / "image.dcm").write_bytes(encoded(grey()))
    assert read_patient_facts(tmp_path / "image.dcm") is None
    assert read_patient_facts(tmp_path / "gone.dcm") is None
    assert read_patient_facts(tmp_path) is None


def test_the_number_is_not_shown():
    assert "17" not in repr(EXPECTED)


def test_the_first_of_several_values_counts():
    assert patient_facts(dicom(SAMPLES, ViewPosition=["PA", "AP"])).view == "PA"


def test_sequences_before_the_patient_are_passed_over():
    item = Dataset()
    item.PatientID = "somebody else"
    other = Dataset()
    other.ReferencedImageSequence = Sequence([item, item])
    for undefined in (False, True):
        data = {"ReferencedImageSequence": Sequence([other])}
        content = dicom(SAMPLES, **SAID, **data)
        assert patient_facts(content) == EXPECTED, undefined


def test_a_report_has_no_picture():
    for kind in ("88.11", "11.1", "481.3", "104.1"):
        report = {"SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{kind}"}
        sizeless = dicom(SAMPLES, Rows=None, Columns=None, PixelData=b"\0\0", **report)
        assert not patient_facts(sizeless).has_picture, kind
        assert patient_facts(dicom(SAMPLES, **report)).has_picture, "whatever it calls itself"
    assert patient_facts(dicom(SAMPLES, Rows=None)).has_picture, "the decoder says what is wrong"


def test_a_header_that_is_cut_off_says_what_it_said_and_may_have_a_picture():
    content = dicom(SAMPLES, **SAID)
    end = content.index(b"LL") + 2
    cut = patient_facts(content[: end + 5])
    assert cut == EXPECTED
    assert cut.has_picture


def test_a_private_element_larger_than_what_is_read_leaves_the_picture_open():
    data = Dataset()
    data.add_new(0x00090010, "LO", "MAKER")
    content = dicom(SAMPLES, PatientID="P1")
    # An element of 2 MiB before the patient.
    large = struct.pack("<HH2sHL", 0x0009, 0x1001, b"OB", 0, 2 << 20) + bytes(2 << 20)
    at = content.index(struct.pack("<HH", 0x0010, 0x0010))
    found = patient_facts((content[:at] + large + content[at:])[:LARGEST_HEADER])
    assert found == PatientFacts()


@pytest.mark.parametrize("length", [0, 2, 1 << 16, 0xFFFFFFFE, 0xFFFFFFFF])
def test_wrong_lengths_raise_nothing(length):
    content = bytearray(dicom(SAMPLES, **SAID))
    at = content.index(struct.pack("<HH", 0x0010, 0x0020))
    content[at + 6 : at + 8] = struct.pack("<L", length)[:2]
    assert patient_facts(bytes(content)).has_picture


def test_millions_of_empty_items_end():
    head = dicom(SAMPLES, **SAID)[: 128 + 4]
    meta = dicom(SAMPLES, ExplicitVRLittleEndian)
    start = meta.index(struct.pack("<HH", 0x0008, 0x0016))
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 130_000
    assert head == meta[:132]
    assert patient_facts(meta[:start] + sequence + items) == PatientFacts()


def test_nothing_is_printed_or_warned_of_odd_elements(capfd):
    content = dicom(SAMPLES, SpecificCharacterSet="ISO_IR 100", **SAID)
    odd = content.replace(b"ISO_IR 100", b"ISO_IR 999").replace(b"045Y", b"OLD ")
    facts = patient_facts(odd)
    assert (facts.number, facts.age) == ("P 17", "OLD")
    assert capfd.readouterr() == ("", "")


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_damage_raises_nothing(noise, at):
    content = dicom(SAMPLES, **SAID)[:600]
    found = patient_facts(content[:at] + noise + content[at + len(noise) :])
    assert isinstance(found, PatientFacts)


@pytest.mark.parametrize("size", [1 << 15, 1 << 17])
def test_a_header_is_read_as_far_as_it_goes(tmp_path, size):
    content = dicom(SAMPLES, **SAID)
    large = struct.pack("<HH2sHL", 0x0009, 0x1001, b"OB", 0, size) + bytes(size)
    at = content.index(struct.pack("<HH", 0x0010, 0x0010))
    (tmp_path / "IM1").write_bytes(content[:at] + large + content[at:])
    assert read_patient_facts(tmp_path / "IM1") == EXPECTED
