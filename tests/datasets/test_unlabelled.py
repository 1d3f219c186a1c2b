"""Images without classes: read whatever the folders are called, labelled by nobody."""

import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.manifest import read_manifest, write_manifest
from cxr_transfer.datasets.unlabelled import read_unlabelled
from cxr_transfer.errors import DataError
from made_collections import dcm, png


@pytest.fixture
def export(tmp_path):
    """Three files of two patients, as a PACS exports them, and what lies beside them."""
    root = tmp_path / "export"
    for seed, (name, patient) in enumerate((("P1/S1/IM1", 1), ("P1/S2/IM1", 1), ("P2/S1/IM1", 2))):
        dcm(root / name, seed, PatientID=f"H{patient}", PatientAge="031Y", PatientSex="F")
    (root / "README.TXT").write_text("export")
    return root


def test_headers_tell_the_patients_and_no_label_is_made_up(export):
    found = read_unlabelled(export)
    assert [case.file for case in found.cases] == ["P1/S1/IM1", "P1/S2/IM1", "P2/S1/IM1"]
    assert {(case.label, case.age, case.sex, case.view) for case in found.cases} == {
        ("", 31, "F", "PA")
    }
    first, second, third = (case.patient for case in found.cases)
    assert first == second != third
    assert first.startswith("dicom:")
    assert "no class is known of 3 images" in " ".join(found.notices)
    assert found.ignored == 1


def test_a_dicomdir_says_that_folders_are_patients_and_no_classes(export):
    (as_classes,) = read_archives(export, unlabelled_too=True)
    assert as_classes.name == "folder"
    (export / "DICOMDIR").write_bytes(b"")
    (found,) = read_archives(export, unlabelled_too=True)
    assert (found.name, {case.label for case in found.cases}) == ("unlabelled", {""})
    (for_training,) = read_archives(export)
    assert for_training.name == "folder", "as before, where a class is needed"


def test_images_in_one_folder_are_read_where_no_class_is_needed(tmp_path):
    png(tmp_path / "1.png")
    (found,) = read_archives(tmp_path, unlabelled_too=True)
    assert [case.label for case in found.cases] == [""]
    with pytest.raises(DataError, match="cxr data prepare") as refused:
        read_archives(tmp_path)
    assert refused.value.code == "empty"


def test_its_manifest_wants_the_classes_and_keeps_the_patients(export, tmp_path):
    cases = read_unlabelled(export).cases
    write_manifest(tmp_path / "images.csv", cases)
    with pytest.raises(DataError, match="label must name a class, but is empty"):
        read_manifest(tmp_path / "images.csv")
    text = (tmp_path / "images.csv").read_text()
    (tmp_path / "images.csv").write_text(text.replace("/IM1,,", "/IM1,normal,"))
    read = read_manifest(tmp_path / "images.csv")
    assert [(case.label, case.patient) for case in read] == [
        ("normal", case.patient) for case in cases
    ]
