"""Cohen's table: labels from findings, and what is not there is told."""

import csv

import pytest

from cxr_transfer.datasets.cohen import is_cohen, read_cohen
from cxr_transfer.errors import DataError

COLUMNS = ["patientid", "finding", "view", "modality", "filename", "age", "sex", "license", ""]


def row(name, patient="1", finding="COVID-19", view="PA", modality="X-ray", **more):
    known = {"patientid": patient, "finding": finding, "view": view, "modality": modality}
    return known | {"filename": name} | more


@pytest.fixture
def archive(tmp_path):
    """A writer of archives: rows, images that exist."""

    def write(rows, images, columns=COLUMNS):
        (tmp_path / "images").mkdir()
        for name in images:
            (tmp_path / "images" / name).touch()
        with (tmp_path / "metadata.csv").open("w", newline="", encoding="utf-8-sig") as handle:
            writer = csv.DictWriter(handle, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("COVID-19", "covid19"),
        ("COVID-19, ARDS", "covid19"),
        ("COVID-190", "covid-190"),
        ("todo", "unknown"),
        ("No Finding", "no finding"),
        ("SARS", "sars"),
        ("ARDS", "ards"),
    ],
)
def test_the_finding_tells_the_label(archive, finding, label):
    (case,) = read_cohen(archive([row("a.jpg", finding=finding)], ["a.jpg"])).cases
    assert (case.label, case.finding) == (label, finding)


def test_what_the_row_says_of_the_patient_is_kept(archive):
    said = row("a.jpg", "12", view=" AP Supine ", age="65", sex="M", license="CC BY")
    unsaid = row("b.jpg", "13b", age="", sex="")
    first, second = read_cohen(archive([said, unsaid], ["a.jpg", "b.jpg"])).cases
    assert (first.patient, first.view, first.age) == ("cohen:12", "AP Supine", 65)
    assert (first.sex, first.licence, first.source) == ("M", "CC BY", "cohen")
    assert (second.patient, second.age, second.sex) == ("cohen:13b", None, "")


def test_absent_images_scans_and_volumes_are_told_one_by_one(archive):
    rows = [
        row("here.jpg"),
        row("gone.jpg"),
        row("scan.jpg", modality="CT", view="Axial"),
        row("scan.nii.gz", modality="CT", view="Axial"),
    ]
    found = read_cohen(archive(rows, ["here.jpg", "scan.jpg", "no row.jpg"]))
    assert [case.path.name for case in found.cases] == ["here.jpg"]
    assert found.missing == (
        "gone.jpg: the file is absent",
        "scan.jpg: CT, not an X-ray",
        "scan.nii.gz: CT, not an X-ray",
    )


def test_an_image_of_two_rows_is_read_once_and_told_with_its_patients(archive):
    rows = [row("a.jpg", "1"), row("a.jpg", "2"), row("b.jpg", "3")]
    found = read_cohen(archive(rows, ["a.jpg", "b.jpg"]))
    assert [case.patient for case in found.cases] == ["cohen:1", "cohen:3"]
    assert found.missing == ("a.jpg: stands in several rows (cohen:1, cohen:2), read once",)


def test_a_row_leads_nowhere_outside_the_images(archive):
    root = archive([row("../metadata.csv"), row("/etc/passwd")], [])
    assert read_cohen(root).cases == ()
    assert len(read_cohen(root).missing) == 2


def test_a_table_without_a_needed_column_is_refused(archive):
    root = archive([row("a.jpg")], ["a.jpg"], [name for name in COLUMNS if name != "view"])
    with pytest.raises(DataError) as error:
        read_cohen(root)
    assert error.value.code == "collection"
    assert "view" in error.value.message


def test_a_copy_has_a_table_and_images(archive, tmp_path):
    assert not is_cohen(tmp_path)
    assert is_cohen(archive([], []))


@pytest.mark.parametrize("columns", [["path", "label"], [*COLUMNS[:3], *COLUMNS[4:]]])
def test_a_table_of_other_columns_beside_images_is_somebody_elses(archive, columns):
    assert not is_cohen(archive([], [], columns))


def test_a_table_that_is_no_text_is_somebody_elses(archive):
    root = archive([], [])
    (root / "metadata.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    assert not is_cohen(root)


def test_ages_and_patients_that_are_none_are_not_known(archive):
    rows = [row("a.jpg", "nan", age="nan"), row("b.jpg", "", age="-5"), row("c.jpg", age="65.0")]
    first, second, third = read_cohen(archive(rows, ["a.jpg", "b.jpg", "c.jpg"])).cases
    assert (first.age, second.age, third.age) == (None, None, 65)
    assert first.patient != second.patient


def test_images_without_a_row_and_broken_links_are_counted(archive):
    root = archive([row("a.jpg")], ["a.jpg", "b.jpg", "notes.txt"])
    (root / "images" / "c.jpg").symlink_to("nowhere.jpg")
    found = read_cohen(root)
    assert found.ignored == 3
    assert "1 broken link (images/c.jpg)" in found.notices[0]
