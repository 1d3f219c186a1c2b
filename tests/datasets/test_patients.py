"""Patients of DICOM headers: one name in every folder, and no way back from it."""

import dataclasses
import hashlib
import hmac
import os
import stat
import subprocess
import sys

import pytest

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.patients import (
    SALT,
    from_headers,
    hashed_patient,
    is_unique,
    is_unknown,
    patient_notices,
    unknown_patient,
)
from cxr_transfer.errors import MachineError
from made import chest, write_image
from made_dicom import dicom


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A settings folder that is not there yet."""
    monkeypatch.setenv("CXR_CONFIG", str(tmp_path / "some" / "where"))
    return tmp_path / "some" / "where"


def image(path, **said):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom(chest(1), **said))
    return Case(path, "x", unknown_patient(path), "made")


def test_a_patient_has_one_name_in_every_folder_and_spelling(place, tmp_path):
    numbers = ("P17", " p17 ", "P17\0", "P18")
    cases = [image(tmp_path / str(i) / "IM1", PatientID=each) for i, each in enumerate(numbers)]
    read, _, _ = from_headers(cases)
    one, same, again, other = (case.patient for case in read)
    assert one == same == again == hashed_patient("P17")
    assert other == hashed_patient("P18") != one
    assert is_unique(one)
    assert not is_unknown(one)


def test_the_key_is_made_once_for_the_users_eyes_alone(place):
    first = hashed_patient("P17")
    kept = place / SALT
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert os.listdir(place) == [SALT]
    key = bytes.fromhex(kept.read_text())
    assert len(key) == 32
    assert first == "dicom:" + hmac.new(key, b"p17", hashlib.sha256).hexdigest()[:16]


def test_another_process_knows_the_patient_and_another_user_does_not(place, tmp_path):
    script = (
        "from cxr_transfer.datasets.patients import hashed_patient; print(hashed_patient('P17'))"
    )

    def asked(folder):
        settings = os.environ | {"CXR_CONFIG": str(folder)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=settings, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert asked(place) == hashed_patient("P17")
    assert asked(tmp_path / "another") != hashed_patient("P17")


@pytest.mark.slow
def test_many_processes_that_begin_at_once_agree_on_one_key(place):
    script = (
        "from cxr_transfer.datasets.patients import hashed_patient; print(hashed_patient('P17'))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    assert os.listdir(place) == [SALT]


@pytest.mark.parametrize("content", ["", "no key", "ab" * 31, "ab" * 33])
def test_a_damaged_key_is_named_and_never_replaced(place, content):
    place.mkdir(parents=True)
    (place / SALT).write_text(content)
    with pytest.raises(MachineError) as error:
        hashed_patient("P17")
    assert error.value.code == "bad_salt"
    assert str(place / SALT) in error.value.message
    assert (place / SALT).read_text() == content


def test_where_no_key_can_be_kept_patients_are_known_for_now_and_that_is_said(
    tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CXR_CONFIG", str(tmp_path / "file" / "settings"))
    cases = [image(tmp_path / name, PatientID="P17") for name in ("a", "b")]
    read, _, _ = from_headers(cases)
    assert read[0].patient == read[1].patient
    told = " ".join(patient_notices(read))
    assert "could not be kept" in told
    assert "CXR_CONFIG" in told


def test_who_is_named_already_is_not_looked_up(place, tmp_path):
    case = image(tmp_path / "IM1", PatientID="P17", ViewPosition="LL")
    named = Case(case.path, "x", "mine", "made")
    assert from_headers([named])[0] == (named,)
    assert not place.exists()


def test_what_a_manifest_says_of_view_age_and_sex_stands(tmp_path):
    case = image(tmp_path / "IM1", PatientAge="045Y", PatientSex="F", ViewPosition="LL")
    said = Case(case.path, "x", case.patient, "made", view="PA", age=46, sex="M")
    (read,) = from_headers([said])[0]
    assert (read.view, read.age, read.sex) == ("PA", 46, "M")
    (read,) = from_headers([case])[0]
    assert (read.view, read.age, read.sex) == ("L", 45, "F")


@pytest.mark.parametrize(
    ("maker", "model", "name"),
    [
        ("Agfa ", "DX-D 600", "Agfa DX-D 600"),
        ("PHILIPS", "Philips DigitalDiagnost", "Philips DigitalDiagnost"),
        ("Maker", None, "Maker"),
        (None, "M" * 64, "M" * 64),
        (None, None, None),
    ],
)
def test_the_machine_of_a_header_is_a_column_to_form_groups_by(tmp_path, maker, model, name):
    said = {"Manufacturer": maker, "ManufacturerModelName": model}
    case = image(tmp_path / "IM1", **{key: value for key, value in said.items() if value})
    (read,) = from_headers([case])[0]
    assert read.extra == ((("scanner", name),) if name else ())
    named = dataclasses.replace(case, extra=(("Scanner", "mine"),))
    (read,) = from_headers([named])[0]
    assert read.extra == (("Scanner", "mine"),), "a table has the last word"


def test_words_that_are_no_view_are_not_kept(tmp_path):
    case = image(tmp_path / "IM1", ViewPosition="DOE JANE")
    assert from_headers([case])[0][0].view == ""


def test_files_without_headers_stay_as_they_are(place, tmp_path):
    path = write_image(tmp_path / "1.png")
    cases = (Case(path, "x", unknown_patient(path), "made"),)
    assert from_headers(cases) == (cases, [], ())
    assert not place.exists(), "no key is made where nobody is hashed"


def test_two_folders_of_like_names_share_no_unknown_patient(tmp_path):
    names = [unknown_patient(tmp_path / folder / "images" / "1.png") for folder in "ab"]
    assert len(set(names)) == 2
    assert all(map(is_unknown, names))


def test_nothing_is_said_where_all_is_known():
    assert patient_notices([Case(chest, "x", "p1", "made")]) == ()
