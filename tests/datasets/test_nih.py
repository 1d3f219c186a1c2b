"""NIH ChestX-ray14 on a miniature tree: labels, patients, official parts, and what is absent."""

import pytest

from cxr_transfer.datasets.nih import is_nih, read_nih
from cxr_transfer.errors import DataError
from made_collections import NIH_HEADER, NIH_ROWS, nih


def test_one_finding_is_the_label_and_several_are_joined_in_their_alphabet(tmp_path):
    cases = read_nih(nih(tmp_path)).cases
    assert [case.label for case in cases] == [
        "Cardiomegaly",
        "Cardiomegaly|Emphysema",
        "No Finding",
        "Pneumonia",
        "No Finding",
    ]
    assert cases[1].finding == "Emphysema|Cardiomegaly", "as the table has it"


def test_a_patient_is_the_same_as_in_the_adult_images(tmp_path):
    cases = read_nih(nih(tmp_path)).cases
    assert [case.patient for case in cases] == [
        *["nih:00000001"] * 2,
        "nih:00000002",
        "nih:00000003",
        "nih:00000013",
    ]
    assert {case.source for case in cases} == {"nih"}
    assert [case.view for case in cases] == ["PA", "PA", "PA", "AP", "AP"]
    assert [case.sex for case in cases] == ["M", "M", "M", "F", "F"]


def test_an_age_that_is_none_is_unknown_and_told(tmp_path):
    found = read_nih(nih(tmp_path))
    assert [case.age for case in found.cases] == [57, 58, 80, None, 60]
    assert "ages that are none, and so are not known: 1" in found.notices


def test_joined_findings_are_told_with_the_way_to_use_them(tmp_path):
    (told,) = (line for line in read_nih(nih(tmp_path)).notices if "several findings" in line)
    assert told.startswith("1 of 5 images have several findings")
    assert "Cardiomegaly|Emphysema" in told


def test_official_parts_are_kept_where_both_lists_are_there(tmp_path):
    root = nih(tmp_path)
    assert [case.split for case in read_nih(root).cases] == [*["train"] * 3, "test", "test"]
    (root / "test_list.txt").unlink()
    assert {case.split for case in read_nih(root).cases} == {""}


def test_absent_images_and_images_without_a_row_are_counted(tmp_path):
    root = nih(tmp_path)
    (root / "images_001" / "images" / NIH_ROWS[0][0]).unlink()
    (root / "images_002" / "images" / "99999999_000.png").touch()
    found = read_nih(root)
    assert found.missing == ("00000001_000.png: the file is absent",)
    assert (len(found.cases), found.ignored) == (4, 1)


def test_the_older_table_and_one_folder_are_read_too(tmp_path):
    header = NIH_HEADER.replace("Patient Gender", "Patient Sex")
    root = nih(tmp_path, name="Data_Entry_2017.csv", header=header)
    (root / "images").mkdir()
    for path in root.glob("images_*/images/*.png"):
        path.rename(root / "images" / path.name)
    assert is_nih(root)
    assert [case.sex for case in read_nih(root).cases] == ["M", "M", "M", "F", "F"]


def test_a_row_twice_is_read_once(tmp_path):
    found = read_nih(nih(tmp_path, (*NIH_ROWS, NIH_ROWS[0])))
    assert found.missing == ("00000001_000.png: stands in several rows, read once",)
    assert len(found.cases) == 5


def test_a_table_of_the_name_with_other_columns_is_somebody_elses(tmp_path):
    root = nih(tmp_path, header="Image Index,Label\n")
    assert not is_nih(root)
    with pytest.raises(DataError, match="Finding Labels") as refused:
        read_nih(root)
    assert refused.value.code == "collection"
