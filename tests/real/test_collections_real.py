"""The real collections, counted: what DATA.md and the paper say is what is read."""

from collections import Counter
from pathlib import Path

import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import FRONTAL_VIEWS
from cxr_transfer.datasets.index import data_hash, index
from cxr_transfer.datasets.multi_source import multi_source
from cxr_transfer.datasets.paper import (
    dataset_0,
    dataset_1,
    outside_cases,
    pretraining_cases,
)
from cxr_transfer.datasets.selection import Selection, selected
from cxr_transfer.datasets.splits import patient_overlap, split

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real collections are not at {DATA}"),
]
DATASET_1_HASH = "a653b085b11d96c047cd32a16a55165bfe570ec875200fb82060714e612e102d"


@pytest.fixture(scope="module")
def archives():
    return read_archives(DATA)


@pytest.fixture(scope="module")
def first(archives):
    return indexed(dataset_0(archives))


@pytest.fixture(scope="module")
def second(archives):
    return indexed(dataset_1(archives))


def indexed(dataset):
    return type(dataset)(dataset.name, dataset.labels, index(dataset.cases))


def test_the_archives_hold_what_their_publishers_say(archives):
    images = Counter(found.name for found in archives for _ in found.cases)
    assert images == {"kermany": 5856 + 1044, "cohen": 652, "adult": 4430}


def test_dataset_0_has_the_papers_images(first):
    assert first.counts() == {"normal": 1575, "bacterial": 2772, "viral": 1493}
    assert len(first.cases) == 5840


def test_dataset_1_has_the_papers_normal_and_bacterial_images_and_all_frontal_covid19(second):
    assert second.counts() == {"normal": 544, "bacterial": 500, "covid19": 431}
    assert len({case.patient for case in second.cases if case.label == "covid19"}) == 260


def test_dataset_1_is_of_one_size_of_file(archives, second):
    (small,) = (found for found in archives if found.root.name == "kermany-768")
    kermany = [case for case in second.cases if case.source == "kermany"]
    assert {case.path.is_relative_to(small.root) for case in kermany} == {True}


def test_clean_pretraining_sees_nobody_of_dataset_1(first, second):
    clean = pretraining_cases(first, second)
    assert clean.counts() == {"normal": 1006, "bacterial": 1971, "viral": 1186}
    assert len(clean.cases) == 4163
    for key in ("patient", "pixels"):
        seen, tested = ({getattr(c, key) for c in d.cases} for d in (clean, second))
        assert not seen & tested, key


def test_outside_are_the_adults_and_128_frontal_images_but_those_of_covid19_patients(
    archives, second
):
    outside = outside_cases(archives, second)
    cohen = [case for case in outside if case.source == "cohen"]
    assert len(cohen) == 128 - 11
    assert not {case.patient for case in cohen} & {case.patient for case in second.cases}
    assert {case.view for case in cohen} <= set(FRONTAL_VIEWS)
    adults = Counter(case.source for case in outside if case.source != "cohen")
    assert adults == {"rsna": 800, "valencia": 3130, "nih": 500}


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_stands_in_two_parts(first, second, seed):
    for dataset in (first, second):
        assert patient_overlap(split(dataset, seed=seed)) == 0


def test_the_papers_split_by_image_leaks_patients(second):
    assert patient_overlap(split(second, by="image")) > 50


def test_dataset_1_is_the_same_data_as_ever(second):
    assert data_hash(second.cases) == DATASET_1_HASH


def test_all_sources_have_the_class_that_their_findings_count_as(archives):
    """No finding of the real collections has a class by default: each stands in the table."""
    found = multi_source(archives)
    assert found.counts() == {"normal": 2852, "other_pneumonia": 827, "covid19": 1931}
    assert found.left_out == {"atypical": 380, "unknown": 28, "ards": 4}


def test_one_source_of_the_adults_is_a_task_of_two_classes(archives):
    adult = [found for found in archives if found.name == "adult"]
    (nih,) = selected(adult, Selection(("nih",)))
    assert Counter(case.label for case in nih.cases) == {"normal": 250, "pneumonia": 250}
    assert len({case.patient for case in nih.cases}) == 350
