"""Parts that were given, parts that leak, and classes too small for parts."""

import dataclasses

import pytest

from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import check_folds, folds, patient_overlap, split, validate
from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet
from made import case

LABELS = LabelSet(("well", "sick"))
PARTS = ("train", "validation", "test")


def dataset(*cases):
    return Dataset("made", LABELS, cases)


def images(patients, images_each=1):
    """Images of so many patients in each class."""
    return [
        case(f"{label} {patient} {radiograph}", label, f"{label} {patient}")
        for label in LABELS
        for patient in range(patients)
        for radiograph in range(images_each)
    ]


def given(*more):
    """One image of each class in each part, and ``more``."""
    whole = [case(f"{name} {label}", label, split=name) for name in PARTS for label in LABELS]
    return dataset(*whole, *more)


def refusal(act, *arguments, **named):
    with pytest.raises(DataError) as error:
        act(*arguments, **named)
    return error.value


def test_a_given_split_is_kept_whatever_the_seed():
    after = split(given(), seed=1)
    assert after.cases == given().cases
    assert after.split_by == "given"


def test_another_seed_is_another_split():
    images_of = dataset(*images(30))
    assert (
        len({tuple(each.split for each in split(images_of, seed=s).cases) for s in range(4)}) == 4
    )


def test_nothing_but_the_part_is_changed():
    before = dataset(*images(30))
    after = split(before)
    assert [dataclasses.replace(each, split="") for each in after.cases] == list(before.cases)
    assert {each.split for each in after.cases} == set(PARTS)
    assert after.split_by == "patient"


def test_parts_by_patient_share_none_and_parts_by_image_share_many():
    images_of = dataset(*images(20, images_each=4))
    assert patient_overlap(split(images_of)) == 0
    assert patient_overlap(split(images_of, by="image")) > 10


def test_a_class_of_too_few_patients_is_refused_by_name():
    few = [case(f"x{radiograph}", "sick", "one patient") for radiograph in range(10)]
    cases = [each for each in images(20) if each.label == "well"]
    error = refusal(split, dataset(*cases, *few))
    assert error.code == "too_few"
    assert "sick has 1" in error.message
    split(dataset(*cases, *few), by="image")  # ten images are enough


def test_a_part_without_a_class_is_refused_by_name():
    cases = [each for each in given().cases if (each.split, each.label) != ("test", "sick")]
    error = refusal(split, dataset(*cases))
    assert error.code == "part_without_class"
    assert "test: sick" in error.message


def test_a_given_split_with_a_patient_in_two_parts_is_refused():
    twice = [case(name, "sick", "p", split=name) for name in ("train", "test")]
    assert refusal(split, given(*twice)).code == "patient_overlap"


def test_a_given_split_of_some_rows_is_refused():
    assert refusal(split, given(case("x", "sick"))).code == "split_incomplete"


@pytest.mark.parametrize("by", ["patient", "image"])
def test_one_image_in_two_parts_is_refused_whatever_its_names(by):
    twice = [case(name, "sick", split=name, pixels="same") for name in ("train", "test")]
    error = refusal(validate, given(*twice), by=by)
    assert error.code == "image_overlap"
    assert "train" in error.message


@pytest.mark.parametrize("by", ["patient", "image"])
def test_one_image_under_two_labels_is_refused(by):
    twice = [case(f"an image {label}", label, pixels="same") for label in LABELS]
    error = refusal(split, dataset(*images(20), *twice), by=by)
    assert error.code == "two_labels"
    assert "an image well" in error.message


@pytest.mark.parametrize("number", range(2, 11))
@pytest.mark.parametrize("images_each", [1, 3])
def test_the_fewest_patients_that_are_taken_give_every_number_of_folds(number, images_each):
    whole = dataset(*images(10, images_each))
    tested = [case for fold in folds(whole, number) for case in fold.test]
    assert sorted(case.file for case in tested) == sorted(case.file for case in whole.cases)
    for fold in folds(whole, number, seed=1):
        assert patient_overlap(fold) == 0
        for part in PARTS:
            assert {case.label for case in fold.part(part)} == set(LABELS)


def test_what_folds_refuse_is_told_before_an_image_is_opened():
    few, parts = dataset(*images(9)), given()
    assert refusal(check_folds, few, 5).code == refusal(folds, few, 5).code == "too_few"
    assert refusal(check_folds, parts, 5).code == "parts_given"
    check_folds(dataset(*images(10)), 5)
