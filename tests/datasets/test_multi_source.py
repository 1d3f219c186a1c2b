import dataclasses

import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.multi_source import added_source, multi_source
from cxr_transfer.datasets.patients import hashed_patient
from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import MULTI_SOURCE
from made import chest, write_image
from made_collections import chexpert, nih, siim
from made_dicom import dicom


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp("archives")
    write_phantom(root, seed=2, size=PhantomSize(normal=8, bacterial=8, viral=4, covid19=8))
    return read_archives(root)


def test_classes_are_three_whatever_the_archives_call_them(archives):
    found = multi_source(archives)
    assert found.labels == MULTI_SOURCE
    findings = {(case.finding, case.label) for case in found.cases}
    assert {("normal", "normal"), ("bacterial", "other_pneumonia")} <= findings
    assert {label for finding, label in findings if "COVID-19" in finding} == {"covid19"}
    assert not any(case.split for case in found.cases)


def test_an_added_source_has_its_name_and_keeps_its_patients_apart(tmp_path, archives):
    for label in ("normal", "covid19"):
        write_image(tmp_path / "images" / label / "1.png")
    added = added_source(f"clinic={tmp_path / 'images'}").cases
    assert {case.source for case in added} == {"clinic"}
    assert len({case.patient for case in added}) == 2
    whole = multi_source(archives, added)
    assert sum(case.source == "clinic" for case in whole.cases) == 2


def test_a_patient_of_dicom_headers_is_the_same_in_every_source(tmp_path):
    for number, label in enumerate(("normal", "covid19")):
        path = tmp_path / "images" / label / "IM1"
        path.parent.mkdir(parents=True)
        path.write_bytes(dicom(chest(number), PatientID="P7"))
    patients = {case.patient for case in added_source(f"x={tmp_path / 'images'}").cases}
    assert patients == {hashed_patient("p7")}


@pytest.mark.parametrize("given", ["images", "=images", "clinic=", ""])
def test_what_is_not_a_name_and_a_place_is_refused(given):
    with pytest.raises(UsageError, match="NAME=DIR"):
        added_source(given)


@pytest.mark.parametrize("name", ["../up", "a/b", "a b", "klinik.a", "Klínik", "a\n", "."])
def test_a_name_that_could_not_name_a_file_is_refused(tmp_path, name):
    for label in ("normal", "covid19"):
        write_image(tmp_path / "images" / label / "1.png")
    with pytest.raises(UsageError, match="letters, digits") as error:
        added_source(f"{name}={tmp_path / 'images'}")
    assert error.value.code == "bad_source"
    assert added_source(f"Clinic-A_2={tmp_path / 'images'}").cases[0].source == "Clinic-A_2"


@pytest.mark.parametrize("name", ["cohen", "kermany", "Kermany"])
def test_a_name_of_a_source_of_the_archives_is_refused(tmp_path, archives, name):
    for label in ("normal", "covid19"):
        write_image(tmp_path / "images" / label / "1.png")
    with pytest.raises(UsageError, match=f"but got {name},") as error:
        multi_source(archives, added_source(f"{name}={tmp_path / 'images'}").cases)
    assert error.value.code == "source_taken"


def test_classes_of_an_added_source_are_read_in_any_case_and_never_guessed(tmp_path, archives):
    for label in ("Normal", "COVID-19", "viral"):
        write_image(tmp_path / "images" / label / "1.png")
    added = added_source(f"clinic={tmp_path / 'images'}")
    assert added.notices[0].startswith("clinic: no patient is known of 3 of 3 images")
    paths = {case.file for case in added.cases}
    assert paths == {case.path.as_posix() for case in added.cases}, "of which folder, is told"
    whole = multi_source(archives, added.cases)
    assert {case.label for case in whole.cases if case.source == "clinic"} == set(MULTI_SOURCE)
    write_image(tmp_path / "images" / "healthy" / "1.png")
    added = added_source(f"clinic={tmp_path / 'images'}").cases
    with pytest.raises(DataError, match=r"healthy \(1 image\)") as error:
        multi_source(archives, added)
    assert error.value.code == "unknown_label"
    found = multi_source(archives, added, {"healthy": "normal"})
    assert sum(case.source == "clinic" for case in found.cases) == 4


def test_what_belongs_to_none_of_the_classes_is_left_out_and_counted(archives):
    found = multi_source(archives)
    assert found.left_out == {"unknown": 4}
    assert found.notices == (
        "left out, since they belong to none of the classes: 4 images of unknown",
    )
    assert not any(case.finding in ("todo", "unknown") for case in found.cases)


def with_findings(archives, finding):
    """The archives, with Cohen's SARS called by another name."""
    return [
        dataclasses.replace(
            found,
            cases=tuple(
                dataclasses.replace(case, label=finding, finding=finding)
                if case.label == "sars"
                else case
                for case in found.cases
            ),
        )
        for found in archives
    ]


def test_a_finding_of_an_archive_that_the_table_does_not_know_is_refused(archives):
    changed = with_findings(archives, "pneumothorax")
    with pytest.raises(DataError, match=r"pneumothorax \(4 images\)") as error:
        multi_source(changed)
    assert error.value.code == "unknown_label"
    found = multi_source(changed, mapping={"pneumothorax": ""})
    assert found.left_out == {"pneumothorax": 4, "unknown": 4}
    found = multi_source(changed, table={"Pneumothorax": "normal"})
    assert {case.label for case in found.cases if case.finding == "pneumothorax"} == {"normal"}


def test_a_recipes_own_table_goes_before_the_packages(archives):
    found = multi_source(archives, table={"sars": "", "unknown": "other_pneumonia"})
    assert found.left_out == {"sars": 4}
    assert {case.label for case in found.cases if case.finding == "todo"} == {"other_pneumonia"}


def test_public_collections_join_under_their_rows_of_the_table_frontal_and_without_parts(
    archives, tmp_path
):
    nih(tmp_path)
    chexpert(tmp_path)
    siim(tmp_path)
    found = multi_source((*archives, *read_archives(tmp_path)))
    joined = [case for case in found.cases if case.source in ("nih", "chexpert", "valencia")]
    assert sorted((case.source, case.label, case.finding) for case in joined) == [
        ("chexpert", "normal", "No Finding"),
        ("nih", "normal", "No Finding"),
        ("nih", "normal", "No Finding"),
        ("nih", "other_pneumonia", "Pneumonia"),
        *[("valencia", "covid19", "Typical Appearance")] * 2,
        ("valencia", "normal", "Negative for Pneumonia"),
    ]
    assert not any(case.split for case in found.cases)
    assert found.left_out["Cardiomegaly|Emphysema"] == 1
    assert "Cardiomegaly" in " ".join(found.notices)


def test_a_person_has_the_last_word_on_a_collections_labels(archives, tmp_path):
    nih(tmp_path)
    both = (*archives, *read_archives(tmp_path))
    found = multi_source(both, mapping={"Cardiomegaly": "normal"})
    assert "Cardiomegaly" in {case.finding for case in found.cases if case.label == "normal"}
