"""The paper's two data sets: which images are in, and which are kept out of pretraining."""

import dataclasses
import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.paper import (
    Dataset,
    dataset_0,
    dataset_1,
    outside_cases,
    pretraining_cases,
)
from cxr_transfer.errors import DataError
from cxr_transfer.labels import DATASET_0, DATASET_1
from made import case


def kermany(root, normal, bacterial, viral=3):
    """A copy of Kermany with two images a patient, and one of each class in ``val``."""
    numbers = {"normal": normal, "bacterial": bacterial, "viral": viral}
    cases = [
        Case(
            Path(root) / part / f"{label}-{number // 2}-{number}.jpeg",
            label,
            f"kermany:{label}-{number // 2}",
            "kermany",
            split=part,
        )
        for label, images in numbers.items()
        for number, part in enumerate(["train", "test"] * (images // 2) + ["val"])
    ]
    return Collection("kermany", Path(root), tuple(cases))


def cohen(*labels_and_views):
    cases = [
        Case(Path(f"cohen/{number}.jpg"), label, f"cohen:{number}", "cohen", view=view)
        for number, (label, view) in enumerate(labels_and_views)
    ]
    return Collection("cohen", Path("cohen"), tuple(cases))


COHEN = cohen(
    ("covid19", "PA"),
    ("covid19", "AP"),
    ("covid19", "AP Supine"),
    ("covid19", "L"),
    ("covid19", "Axial"),
    ("sars", "PA"),
    ("unknown", "L"),
)


def roots(dataset, label):
    return {case.path.parts[0] for case in dataset.cases if case.label == label}


def names(cases):
    return {case.path.name for case in cases}


def test_dataset_0_is_the_most_complete_copy_without_val_and_without_its_parts():
    dataset = dataset_0([kermany("small", 20, 20), kermany("full", 40, 60, 8), COHEN])
    assert dataset.labels == DATASET_0
    assert dataset.counts() == {"normal": 40, "bacterial": 60, "viral": 8}
    assert {case.path.parts[1] for case in dataset.cases} == {"train", "test"}
    assert {case.split for case in dataset.cases} == {""}


def test_dataset_1_takes_the_smallest_copy_that_is_large_enough():
    copies = [kermany("full", 700, 700), kermany("enough", 560, 520), kermany("few", 100, 700)]
    for archives in (copies, copies[::-1]):
        dataset = dataset_1([*archives, COHEN])
        assert dataset.labels == DATASET_1
        assert dataset.counts() == {"normal": 544, "bacterial": 500, "covid19": 3}
        assert roots(dataset, "normal") == roots(dataset, "bacterial") == {"enough"}
        assert {case.split for case in dataset.cases} == {""}


def test_dataset_1_takes_at_most_half_of_an_only_copy():
    assert dataset_1([kermany("k", 40, 2000), COHEN]).counts() == {
        "normal": 20,
        "bacterial": 500,
        "covid19": 3,
    }


def test_dataset_1_never_takes_from_val():
    dataset = dataset_1([kermany("k", 544, 500), kermany("full", 700, 700), COHEN])
    assert dataset.counts()["normal"] == 544
    assert "val" not in {case.path.parts[1] for case in dataset.cases}


def test_the_choice_depends_on_patients_and_not_on_the_order_or_place_of_images():
    copy = kermany("k", 200, 200)
    shuffled = list(kermany("elsewhere", 200, 200).cases)
    random.Random(1).shuffle(shuffled)
    chosen = dataset_1([copy, COHEN])
    again = dataset_1([Collection("kermany", Path("elsewhere"), tuple(shuffled)), COHEN])
    assert names(chosen.cases) == names(again.cases)
    patients = Counter(case.patient for case in chosen.cases if case.label == "normal")
    assert set(patients.values()) == {2}, "a chosen patient's images are chosen together"
    every = {case.patient for case in copy.cases if case.label == "normal" and case.split != "val"}
    by_hash = sorted(every, key=lambda patient: hashlib.sha256(patient.encode()).hexdigest())
    assert set(patients) == set(by_hash[:50])


def test_covid19_is_every_frontal_view_and_nothing_else():
    dataset = dataset_1([kermany("k", 20, 20), COHEN])
    covid19 = [case for case in dataset.cases if case.label == "covid19"]
    assert names(covid19) == {"0.jpg", "1.jpg", "2.jpg"}


def test_outside_are_other_frontal_images_and_the_adults():
    adult = Collection("adult", Path("adult"), (case("x.png"), case("y.png", "covid19")))
    archives = [kermany("k", 4, 4), COHEN, adult]
    target = dataset_1(archives)
    assert names(outside_cases(archives, target)) == {"5.jpg", "x.png", "y.png"}
    other = next(one for one in COHEN.cases if one.path.name == "5.jpg")
    same = dataclasses.replace(target.cases[-1], patient=other.patient)
    met = dataclasses.replace(target, cases=(*target.cases, same))
    assert names(outside_cases(archives, met)) == {"x.png", "y.png"}


@pytest.mark.parametrize(("build", "lacking"), [(dataset_0, "kermany"), (dataset_1, "cohen")])
def test_an_absent_archive_is_named(build, lacking):
    with pytest.raises(DataError) as error:
        build([COHEN] if lacking == "kermany" else [kermany("k", 20, 20)])
    assert error.value.code == "collection_absent"
    assert lacking in error.value.message


def test_every_class_needs_an_image_and_every_image_a_class():
    with pytest.raises(DataError) as error:
        dataset_1([kermany("k", 20, 0), cohen(("covid19", "L"))])
    assert error.value.code == "classes"
    assert "none of bacterial, covid19" in error.value.message
    cases = tuple(case(label, label) for label in (*DATASET_0, "sars"))
    with pytest.raises(DataError, match="unknown labels sars") as error:
        Dataset("own", DATASET_0, cases)
    assert error.value.code == "classes"


def target(*cases):
    return Dataset("target", DATASET_1, (*cases, *(case(label, label) for label in DATASET_1)))


def source(*cases):
    """Three images that stay, one of each class, and ``cases``."""
    stay = [case(f"stay {label}", label, pixels=f"stay {label}") for label in DATASET_0]
    return Dataset("source", DATASET_0, (*stay, *cases))


@pytest.mark.parametrize(
    ("pretrained_on", "tested_on"),
    [
        (case("a.png", patient="p"), case("b.png", patient="p")),
        (case("224/a.png", patient="p"), case("768/a.png", patient="q")),
        (case("a.png", patient="p", pixels="same"), case("b.png", patient="q", pixels="same")),
    ],
    ids=["patient", "file name", "pixels"],
)
def test_pretraining_sees_no_image_of_the_target(pretrained_on, tested_on):
    rest = pretraining_cases(source(pretrained_on), target(tested_on))
    assert names(rest.cases) == {f"stay {label}" for label in DATASET_0}


def test_pretraining_sees_no_equal_of_an_image_taken_out():
    taken = case("a.png", patient="p", pixels="same")
    equal = case("other.png", patient="q", pixels="same")
    rest = pretraining_cases(source(taken, equal), target(case("b.png", patient="p")))
    assert names(rest.cases) == {f"stay {label}" for label in DATASET_0}


def test_images_that_were_not_indexed_are_not_equal():
    rest = pretraining_cases(source(case("a.png")), target(case("b.png")))
    assert "a.png" in names(rest.cases)


def test_pretraining_needs_every_class_that_is_left():
    with pytest.raises(DataError) as error:
        pretraining_cases(source(), target(case("x", "normal", "patient of stay viral")))
    assert error.value.code == "classes"
    assert "none of viral" in error.value.message
