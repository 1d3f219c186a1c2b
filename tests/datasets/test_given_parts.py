"""Parts that the data give: kept as they are; what nobody gave is drawn from training alone."""

import dataclasses

import pytest

from cxr_transfer.datasets.given_parts import drawn_lines, lacking_parts
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import patient_overlap, refusals, split
from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet
from made import case

LABELS = LabelSet(("a", "b"))


def dataset(parts, patients=30):
    """Two images of each patient; the parts one after the other."""
    cases = []
    for number in range(patients):
        for visit in range(2):
            known = case(
                f"{number}-{visit}.png",
                LABELS.names[number % 2],
                f"p{number}",
                pixels=f"{number}-{visit}",
                split=parts[number // 2 % len(parts)],
            )
            cases.append(known)
    return Dataset("made", LABELS, tuple(cases))


@pytest.mark.parametrize(
    ("parts", "lacking"),
    [
        (("train", "test"), ["validation"]),
        (("train", "validation"), ["test"]),
        (("train",), ["test", "validation"]),
        (("test",), []),
        (("train", "validation", "test"), []),
        (("",), []),
    ],
)
def test_what_lacks_is_drawn_only_where_there_is_a_training_part(parts, lacking):
    given = dataset(parts, 6)
    assert lacking_parts(given.cases) == lacking
    assert len(drawn_lines(given.cases)) == bool(lacking)


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "validation"), ("train",)])
def test_given_parts_are_kept_and_the_others_drawn_by_patient(parts):
    given = dataset(parts, 120)
    done = split(given, seed=3)
    assert done.split_by == "given"
    assert patient_overlap(done) == 0
    for before, after in zip(given.cases, done.cases, strict=True):
        assert after.split == before.split or before.split == "train"
    for part in ("train", "validation", "test"):
        assert {case.label for case in done.part(part)} == set(LABELS)
    assert split(given, seed=3) == done
    assert split(given, seed=4) != done
    assert refusals(given) == []


def test_too_few_patients_to_draw_a_part_from_are_refused_by_the_part():
    few = dataset(("train", "test"), 12)
    with pytest.raises(DataError, match="validation: a") as refused:
        split(few)
    assert refused.value.code == "part_without_class"
    assert [error.code for error in refusals(few)] == ["part_without_class"]


def test_a_patient_in_two_given_parts_is_refused_before_anything_is_drawn():
    given = dataset(("train", "test"), 60)
    first = dataclasses.replace(given.cases[0], split="test")
    given = dataclasses.replace(given, cases=(first, *given.cases[1:]))
    with pytest.raises(DataError) as refused:
        split(given)
    assert refused.value.code == "patient_overlap"
    assert next(error.code for error in refusals(given)) == "patient_overlap"
