"""Every finding has the class that the table or a person gives it, and no other."""

import pytest

from cxr_transfer.datasets.findings import (
    FINDINGS,
    LEFT_OUT,
    left_out_lines,
    read_mapping,
    relabelled,
    unknown_lines,
)
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import MULTI_SOURCE, LabelSet
from made import case

# Cohen et al.'s metadata of June 2020, as the reader gives the labels.
COHEN_2020 = {
    "covid19": "covid19",
    "no finding": "normal",
    "bacterial": "other_pneumonia",
    "chlamydophila": "other_pneumonia",
    "e.coli": "other_pneumonia",
    "influenza": "other_pneumonia",
    "klebsiella": "other_pneumonia",
    "legionella": "other_pneumonia",
    "lipoid": "other_pneumonia",
    "mycoplasma bacterial pneumonia": "other_pneumonia",
    "pneumocystis": "other_pneumonia",
    "pneumonia": "other_pneumonia",
    "sars": "other_pneumonia",
    "streptococcus": "other_pneumonia",
    "varicella": "other_pneumonia",
    "ards": LEFT_OUT,
    "unknown": LEFT_OUT,
}
OTHERS = {
    "normal": "normal",
    "viral": "other_pneumonia",
    "tuberculosis": LEFT_OUT,
    "atypical": LEFT_OUT,
    "todo": LEFT_OUT,
}


def cases_of(*labels):
    return [case(f"{number}.png", label) for number, label in enumerate(labels)]


@pytest.mark.parametrize(("finding", "expected"), [*COHEN_2020.items(), *OTHERS.items()])
def test_the_table_says_what_each_known_finding_counts_as(finding, expected):
    assert FINDINGS[finding] == expected


def test_the_table_names_classes_alone_in_lower_case_and_each_class_is_itself():
    assert set(FINDINGS.values()) == {*MULTI_SOURCE, LEFT_OUT}
    assert all(finding == finding.casefold() for finding in FINDINGS)
    assert all(FINDINGS[name] == name for name in MULTI_SOURCE)


def test_labels_get_their_class_and_what_belongs_to_none_is_counted():
    given = cases_of("Bacterial", "normal", "atypical", "SARS", "atypical", "unknown")
    found = relabelled(given, {}, table=FINDINGS, closed=True)
    assert [each.label for each in found.cases] == ["other_pneumonia", "normal", "other_pneumonia"]
    assert [each.finding for each in found.cases] == ["Bacterial", "", "SARS"]
    assert found.left_out == {"atypical": 2, "unknown": 1}
    assert found.lines() == [
        "labels: Bacterial counts as other_pneumonia (1 image); SARS counts as other_pneumonia "
        "(1 image)",
        "left out, since they belong to none of the classes: 2 images of atypical, 1 of unknown",
    ]


@pytest.mark.parametrize("finding", ["pneumothorax", "cardiomegaly", "Effusion", "", "nan"])
def test_a_finding_that_nobody_named_is_refused_with_its_number_and_the_way_out(finding):
    given = cases_of("normal", "covid19", finding, finding)
    with pytest.raises(DataError) as error:
        relabelled(given, {}, table=FINDINGS, closed=True)
    assert error.value.code == "unknown_label"
    assert f"{finding} (2 images)" in error.value.message
    assert f"--label '{finding}=normal'" in error.value.message
    assert "normal (1 image)" not in error.value.message


def test_a_person_has_the_last_word_whatever_the_case_of_letters():
    given = cases_of("Pneumothorax", "pneumothorax", "viral", "atypical", "covid19")
    mapping = read_mapping(["pneumothorax=normal", "VIRAL=", "atypical=other_pneumonia"])
    found = relabelled(given, mapping, table=FINDINGS, closed=True, classes=MULTI_SOURCE)
    assert [each.label for each in found.cases] == [
        "normal", "normal", "other_pneumonia", "covid19",
    ]  # fmt: skip
    assert found.left_out == {"viral": 1}


def test_without_a_table_other_labels_stay():
    found = relabelled(cases_of("clear", "cloudy", "odd"), {"odd": LEFT_OUT})
    assert [each.label for each in found.cases] == ["clear", "cloudy"]
    assert found.left_out == {"odd": 1}
    assert found.renamed == {}


def test_a_label_that_no_image_has_is_refused_in_the_mapping_and_not_in_a_table():
    given = cases_of("normal", "covid19")
    with pytest.raises(UsageError) as error:
        relabelled(given, {"pneumothorax": "normal"})
    assert error.value.code == "unused_option"
    assert "pneumothorax" in error.value.message
    assert relabelled(given, {}, table={"pneumothorax": "normal"}).cases == tuple(given)


def test_a_class_that_is_none_of_the_networks_is_refused():
    given = cases_of("normal", "covid19", "odd")
    with pytest.raises(UsageError, match=r"pneumonia\.$") as error:
        relabelled(given, {"odd": "pneumonia"}, classes=LabelSet(("normal", "covid19")))
    assert error.value.code == "bad_label"


@pytest.mark.parametrize(
    "mapping", [{"a": "b", "b": "c"}, {"a": "b", "b": ""}, {"a": "B", "b": ""}]
)
def test_what_labels_count_as_does_not_count_as_something_else(mapping):
    """A manifest that was mapped once and is mapped again is the same."""
    with pytest.raises(UsageError) as error:
        relabelled(cases_of("a", "b"), mapping)
    assert error.value.code == "bad_label"


@pytest.mark.parametrize("given", ["pneumothorax", "=normal", "", " = "])
def test_what_is_no_mapping_is_refused(given):
    with pytest.raises(UsageError, match="LABEL=CLASS") as error:
        read_mapping([given])
    assert error.value.code == "bad_label"


def test_a_label_with_two_classes_is_refused_and_twice_the_same_is_once():
    assert read_mapping(["a=b", "a=b", " c = "]) == {"a": "b", "c": ""}
    assert read_mapping(["T=1=b"]) == {"T=1": "b"}
    with pytest.raises(UsageError, match="'b' and 'c'"):
        read_mapping(["a=b", "a=c"])


def test_where_nothing_is_left_out_or_unknown_nothing_is_said():
    assert left_out_lines({}) == []
    assert unknown_lines([]) == []
    assert relabelled(cases_of("normal"), {}).lines() == []


PATTERNS = {"No Finding": "normal", "*Pneumonia*": "sick", "*pneumonia?*": LEFT_OUT, "*": LEFT_OUT}


def test_a_pattern_is_for_labels_that_are_not_named():
    given = cases_of("No Finding", "Edema|Pneumonia", "Pneumonia?", "Hernia", "PNEUMONIA", "normal")
    found = relabelled(given, PATTERNS)
    assert [each.label for each in found.cases] == ["normal", "sick", "sick", "normal"]
    assert found.left_out == {"Pneumonia?": 1, "Hernia": 1}
    assert [each.finding for each in found.cases][1] == "Edema|Pneumonia"


def test_patterns_count_by_their_letters_and_not_by_their_order():
    given = cases_of("Edema|Pneumonia", "Hernia", "No Finding")
    backwards = dict(reversed(PATTERNS.items()))
    given += cases_of("Pneumonia?")
    assert relabelled(given, PATTERNS) == relabelled(given, backwards)
    # The recipe of a run has them as its table.
    assert relabelled(given, {}, table=PATTERNS).cases == relabelled(given, PATTERNS).cases


def test_a_class_is_never_taken_in_by_a_pattern_and_a_second_time_changes_nothing():
    mapping = {"No Finding": "normal", "*": "sick"}
    once = relabelled(cases_of("No Finding", "Hernia", "Edema"), mapping).cases
    again = relabelled(once, {}, table=mapping).cases
    assert [each.label for each in again] == ["normal", "sick", "sick"]
    known = LabelSet(("clear", "sick"))
    found = relabelled(cases_of("clear", "odd"), {}, table={"*": LEFT_OUT}, classes=known)
    assert [each.label for each in found.cases] == ["clear"]


def test_a_pattern_that_no_label_fits_is_refused_and_the_table_of_findings_comes_first():
    with pytest.raises(UsageError, match="pneumo") as error:
        relabelled(cases_of("normal"), {"*pneumo*": "sick"})
    assert error.value.code == "unused_option"
    found = relabelled(
        cases_of("viral", "odd", "normal"), {"*": LEFT_OUT}, table=FINDINGS, closed=True
    )
    assert [each.label for each in found.cases] == ["other_pneumonia", "normal"]
    assert found.left_out == {"odd": 1}


def test_of_hundreds_of_labels_the_most_frequent_are_told():
    (line,) = left_out_lines({f"label {number}": 100 - number for number in range(30)})
    assert line.count("label ") == 20
    assert line.endswith(f"and {sum(100 - n for n in range(20, 30))} of 10 more labels")
