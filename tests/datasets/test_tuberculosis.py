"""The two sets of tuberculosis on miniature trees: names tell the class, readings the rest."""

import pytest

from cxr_transfer.datasets.tuberculosis import (
    is_montgomery,
    is_shenzhen,
    read_montgomery,
    read_shenzhen,
)
from made_collections import montgomery, png, shenzhen, tuberculosis


def test_the_last_digit_of_a_name_is_the_class(tmp_path):
    found = read_shenzhen(shenzhen(tmp_path))
    assert [case.label for case in found.cases] == [*["normal"] * 3, *["tuberculosis"] * 2]
    assert {(case.source, case.view) for case in found.cases} == {("shenzhen", "PA")}


def test_readings_tell_age_sex_and_finding(tmp_path):
    cases = read_shenzhen(shenzhen(tmp_path)).cases
    assert [case.sex for case in cases] == ["M", "F", "M", "F", ""]
    assert [case.age for case in cases] == [45, 24, pytest.approx(16 / 12), 28, None]
    assert cases[3].finding == "bilateral PTB, left pleuritis"
    first, second, _ = read_montgomery(montgomery(tmp_path)).cases
    assert (first.sex, first.age, first.finding) == ("F", 27, "normal")
    assert (second.sex, second.age, second.finding) == ("M", 49, "RUL infiltrate, active TB")


def test_an_image_is_a_patient_unless_a_reading_says_otherwise(tmp_path):
    patients = [case.patient for case in read_montgomery(montgomery(tmp_path)).cases]
    assert patients == ["montgomery:0001", "montgomery:0162", "montgomery:0162"]


def test_masks_are_not_read_and_an_absent_reading_is_told(tmp_path):
    assert len(read_montgomery(montgomery(tmp_path)).cases) == 3
    found = read_shenzhen(shenzhen(tmp_path))
    assert "images without a clinical reading: 1 of 5" in found.notices


def test_a_name_that_tells_no_class_is_told(tmp_path):
    root = montgomery(tmp_path)
    png(root / "CXR_png" / "scout.png")
    assert read_montgomery(root).missing == ("scout.png: its name tells no class",)


def test_each_set_is_known_by_its_names_and_both_in_one_folder_are_read(tmp_path):
    one, other = montgomery(tmp_path), shenzhen(tmp_path)
    assert (is_montgomery(one), is_shenzhen(one)) == (True, False)
    assert (is_montgomery(other), is_shenzhen(other)) == (False, True)
    both = tuberculosis(
        tmp_path, {"CHNCXR_0001_0": None, "MCUCXR_0001_1": None}, "Lung Segmentation"
    )
    assert is_shenzhen(both)
    patients = [case.patient for case in read_shenzhen(both).cases]
    assert patients == ["shenzhen:0001", "montgomery:0001"]
    assert not is_shenzhen(tmp_path)
