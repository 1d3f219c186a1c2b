import pytest

from cxr_transfer.collections.archives import read_archives
from cxr_transfer.collections.multi_source import added_source, multi_source
from cxr_transfer.collections.patients import hashed_patient
from cxr_transfer.collections.phantom import PhantomSize, write_phantom
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import MULTI_SOURCE
from made import chest, write_film
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
        write_film(tmp_path / "films" / label / "1.png")
    added = added_source(f"clinic={tmp_path / 'films'}").cases
    assert {case.source for case in added} == {"clinic"}
    assert len({case.patient for case in added}) == 2
    whole = multi_source(archives, added)
    assert sum(case.source == "clinic" for case in whole.cases) == 2


def test_a_patient_of_dicom_headers_is_the_same_in_every_source(tmp_path):
    for number, label in enumerate(("normal", "covid19")):
        path = tmp_path / "films" / label / "IM1"
        path.parent.mkdir(parents=True)
        path.write_bytes(dicom(chest(number), PatientID="P7"))
    patients = {case.patient for case in added_source(f"x={tmp_path / 'films'}").cases}
    assert patients == {hashed_patient("p7")}


@pytest.mark.parametrize("given", ["films", "=films", "clinic=", ""])
def test_what_is_not_a_name_and_a_place_is_refused(given):
    with pytest.raises(UsageError, match="NAME=DIR"):
        added_source(given)


@pytest.mark.parametrize("name", ["../up", "a/b", "a b", "klinik.a", "Klínik", "a\n", "."])
def test_a_name_that_could_not_name_a_file_is_refused(tmp_path, name):
    for label in ("normal", "covid19"):
        write_film(tmp_path / "films" / label / "1.png")
    with pytest.raises(UsageError, match="letters, digits") as error:
        added_source(f"{name}={tmp_path / 'films'}")
    assert error.value.code == "bad_source"
    assert added_source(f"Clinic-A_2={tmp_path / 'films'}").cases[0].source == "Clinic-A_2"


@pytest.mark.parametrize("name", ["cohen", "kermany", "Kermany"])
def test_a_name_of_a_source_of_the_archives_is_refused(tmp_path, archives, name):
    for label in ("normal", "covid19"):
        write_film(tmp_path / "films" / label / "1.png")
    with pytest.raises(UsageError, match=f"but got {name},") as error:
        multi_source(archives, added_source(f"{name}={tmp_path / 'films'}").cases)
    assert error.value.code == "source_taken"


def test_classes_of_an_added_source_are_read_in_any_case_and_never_guessed(tmp_path):
    for label in ("Normal", "COVID-19", "viral"):
        write_film(tmp_path / "films" / label / "1.png")
    added = added_source(f"x={tmp_path / 'films'}")
    assert {case.label for case in added.cases} == set(MULTI_SOURCE)
    assert added.notices[0].startswith("x: no patient is known of 3 of 3 images")
    paths = {case.file for case in added.cases}
    assert paths == {case.path.as_posix() for case in added.cases}, "of which folder, is told"
    write_film(tmp_path / "films" / "healthy" / "1.png")
    with pytest.raises(DataError, match="healthy"):
        added_source(f"x={tmp_path / 'films'}")
