"""Cells as spreadsheets and programs write them: a missing value is none, a spelling is one."""

import pytest

from cxr_transfer.datasets import cells

MISSING = ("", " ", "NaN", "nan", "None", "null", "NULL", "N/A", "n/a", "NA", "<NA>", "#N/A", "-")
MISSING += ("\u200b", "\u00a0", "\ufeff", "na\u200bn", "\u2800")


@pytest.mark.parametrize("cell", MISSING)
def test_a_missing_value_is_no_class_no_patient_and_no_number(cell):
    assert cells.is_missing(cell)
    with pytest.raises(ValueError, match="label must name a class"):
        cells.label_of(cell)
    assert cells.patient_name(cell) == ""
    assert cells.age_in_years(cell) is None
    assert (cells.sex_of(cell), cells.view_of(cell), cells.sha256_of(cell, "x")) == ("", "", "")
    assert cells.whole_number(cell, "x") == 0


@pytest.mark.parametrize("cell", ["normal", "0", "1.0", "none of these", "nanny", "unknown"])
def test_other_words_are_labels(cell):
    assert cells.label_of(f" {cell} ") == cell


@pytest.mark.parametrize(
    ("cell", "years"),
    [
        *(("0", 0), ("54", 54), ("12.0", 12), ("0.5", 0.5), ("130", 130), ("045Y", 45)),
        *(("018m", 1.5), ("730D", 730 / 365.25), ("052W", 364 / 365.25), ("\u200b54\u00a0", 54)),
    ],
)
def test_ages_are_years(cell, years):
    assert cells.age_in_years(cell) == pytest.approx(years)


@pytest.mark.parametrize("cell", ["-5", "inf", "-inf", "999", "131", "1e1", "1_0", "old", "0x10"])
def test_what_is_no_age_is_refused_as_it_is_written(cell):
    with pytest.raises(ValueError, match="age must be years") as raised:
        cells.age_in_years(cell)
    assert repr(cell) in str(raised.value)


@pytest.mark.parametrize(
    ("cell", "sex"),
    [("M", "M"), ("male", "M"), ("Female", "F"), ("f", "F"), ("O", ""), ("unknown", "")],
)
def test_sexes_in_usual_spellings(cell, sex):
    assert cells.sex_of(cell) == sex


@pytest.mark.parametrize("cell", ["1", "2", "yes", "mf"])
def test_another_word_for_a_sex_is_refused(cell):
    with pytest.raises(ValueError, match="sex must be M, F or empty"):
        cells.sex_of(cell)


@pytest.mark.parametrize(
    ("cell", "view"),
    [("pa", "PA"), ("AP supine", "AP Supine"), ("lateral", "L"), ("LL", "L"), ("Axial", "Axial")],
)
def test_views_in_the_words_that_are_known(cell, view):
    assert cells.view_of(cell) == view


@pytest.mark.parametrize("cell", ["-1", "1.5", "1e3", "wide", "9" * 12])
def test_what_is_no_whole_number_is_refused(cell):
    with pytest.raises(ValueError, match="width must be a whole number"):
        cells.whole_number(cell, "width")


def test_what_is_no_hash_is_refused():
    assert cells.sha256_of("AB" * 32, "sha256") == "ab" * 32
    with pytest.raises(ValueError, match="64 hexadecimal"):
        cells.sha256_of("ab", "sha256")


@pytest.mark.parametrize("cell", ["unknown", "ANONYMOUS", "xxxx", "***", "De-Identified"])
def test_what_stands_for_many_patients_is_none(cell):
    assert cells.patient_name(cell) == ""


@pytest.mark.parametrize(("cell", "name"), [("12.0", "12"), ("000", "000"), ("0", "0"), ("X", "X")])
def test_a_number_is_a_patient_too(cell, name):
    assert cells.patient_name(cell) == name


def test_spellings_of_one_name_become_the_most_frequent_one_and_are_told():
    written = ["Normal", "normal", "nor\u200bmal", "normal", "sick", "ＮＯＲＭＡＬ"]
    names, (notice,) = cells.one_spelling(written, "labels")
    assert names == ["normal"] * 4 + ["sick", "normal"]
    assert "'Normal' (1)" in notice
    assert r"'nor\u200bmal' (1)" in notice, "what cannot be seen is written out"
    assert "sick" not in notice


def test_composed_and_decomposed_letters_are_the_same():
    names, notices = cells.one_spelling(["fie\u0300vre", "fi\u00e8vre"], "labels")
    assert names == ["fi\u00e8vre"] * 2
    assert len(notices) == 1


def test_of_equally_frequent_spellings_the_first_in_the_alphabet_is_taken():
    assert cells.one_spelling(["b", "B"], "labels") == cells.one_spelling(["B", "b"], "labels")
    assert cells.one_spelling(["b", "B"], "labels")[0] == ["B", "B"]


def test_a_single_spelling_is_kept_unless_another_is_preferred():
    assert cells.one_spelling(["Normal", "Sick"], "labels") == (["Normal", "Sick"], ())
    names, notices = cells.one_spelling(["Normal", "Sick"], "labels", preferred=("normal",))
    assert names == ["normal", "Sick"]
    assert len(notices) == 1
