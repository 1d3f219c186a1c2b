"""Draws hold whole patients, each the next smaller one, and something to validate on."""

import dataclasses
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.draws import check_sizes, draw, most_of_each, most_per_class
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import split
from cxr_transfer.errors import DataError
from cxr_transfer.labels import DATASET_1
from made import case

SIZES = (4, 8, 16, 32)


@pytest.fixture(scope="module")
def dataset():
    """60 images of each class, of patients with 1 to 5 images; two share one picture."""
    rng, cases = np.random.default_rng(0), []
    for label in DATASET_1:
        patient = 0
        while sum(each.label == label for each in cases) < 60:
            patient += 1
            for visit in range(int(rng.integers(1, 6))):
                name = f"{label}-{patient}-{visit}.png"
                known = {"sha256": name, "pixels": name}
                cases.append(case(name, label, f"{label} {patient}", **known))
    cases[-1] = dataclasses.replace(cases[-1], patient="covid19 other", pixels=cases[-2].pixels)
    return split(Dataset("made", DATASET_1, tuple(cases)), seed=3)


def drawn(dataset, size, number=1, seed=0):
    return {each.path: each.split for each in draw(dataset, size, number, seed=seed).cases}


def test_the_test_part_is_always_the_same(dataset):
    expected = {each.path for each in dataset.test}
    for size in SIZES:
        parts = drawn(dataset, size, number=size)
        assert {path for path, part in parts.items() if part == "test"} == expected


def test_a_draw_holds_the_smaller_draw_of_its_number_in_the_same_parts(dataset):
    for number in range(1, 6):
        draws = [drawn(dataset, size, number) for size in SIZES]
        for smaller, larger in pairwise(draws):
            assert smaller.items() <= larger.items()
        assert draws[0].items() < draws[-1].items()


def test_a_patient_and_equal_images_stand_in_one_part(dataset):
    for size in SIZES:
        where = defaultdict(set)
        for each in draw(dataset, size, 2).cases:
            where[each.patient].add(each.split)
            where[each.pixels].add(each.split)
        assert all(len(parts) == 1 for parts in where.values())


def test_a_size_is_met_within_half_a_patient_and_a_fifth_of_it_validates(dataset):
    for number in range(1, 11):
        for size in SIZES:
            cases = [each for each in draw(dataset, size, number).cases if each.split != "test"]
            counts = Counter((each.label, each.split) for each in cases)
            for label in DATASET_1:
                trains, validates = counts[label, "train"], counts[label, "validation"]
                # Two patients at least: of five images each, where the size is smaller than that.
                assert abs(trains + validates - size) <= 3 or size < 6
                assert 1 <= validates <= trains
                assert abs(validates - (trains + validates) / 5) <= 3


def test_draws_differ_by_number_and_by_seed_and_follow_from_them(dataset):
    assert drawn(dataset, 8, 1) == drawn(dataset, 8, 1)
    assert drawn(dataset, 8, 1) != drawn(dataset, 8, 2)
    assert drawn(dataset, 8, 1, seed=0) != drawn(dataset, 8, 1, seed=1)


def test_a_size_that_there_is_not_is_refused_with_the_largest(dataset):
    largest = min(most_per_class(dataset).values())
    check_sizes(dataset, [4, largest])
    assert len(draw(dataset, largest, 1).train) > 0
    for refused in (lambda: check_sizes(dataset, [largest + 1]), lambda: draw(dataset, 99, 1)):
        with pytest.raises(DataError) as error:
            refused()
        assert error.value.code == "too_few_to_draw"
        assert f"the largest size is {largest}" in error.value.message


def test_a_class_of_one_patient_cannot_be_parted(dataset):
    cases = tuple(
        dataclasses.replace(each, patient="one")
        if each.label == "normal" and each.split != "test"
        else each
        for each in dataset.cases
    )
    with pytest.raises(DataError) as error:
        draw(dataclasses.replace(dataset, cases=cases), 4, 1)
    assert error.value.code == "too_few_to_draw"
    assert "normal has 1" in error.value.message


def test_at_most_so_many_of_each_label_in_each_source_are_drawn():
    cases = [
        Case(Path(f"{number}.png"), "normal" if number % 3 else "covid19", f"p{number}", source)
        for number, source in enumerate("aaaaaaaaabbbbbbbbbbbbbbbbbbc")
    ]
    drawn = most_of_each(cases, 2, seed=0)
    counts = Counter((case.source, case.label) for case in drawn)
    assert max(counts.values()) == 2
    assert set(counts) == {(case.source, case.label) for case in cases}
    assert drawn == sorted(drawn, key=lambda case: int(case.path.stem))
    assert drawn == most_of_each(cases, 2, seed=0) != most_of_each(cases, 2, seed=1)
