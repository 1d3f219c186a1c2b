"""Whatever the patients and the seed: nobody stands in two parts, nothing is lost, 70/10/20."""

from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import PARTS, folds, split
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import DATASET_1
from made import case

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
TOLERANCE = {"patient": (0.08, 0.15), "image": (0.03, 0.05)}  # of all images, of a class


@st.composite
def datasets(draw):
    """Patients of one to five images; some with images of two classes, some images stand twice."""
    cases = []
    for label in DATASET_1:
        sizes = draw(st.lists(st.integers(1, 5), min_size=24, max_size=60))
        shared = draw(st.integers(0, 4))  # so many patients have images of every class
        twins = draw(st.dictionaries(st.integers(0, 23), st.integers(0, 2), max_size=6))
        for number, images in enumerate(sizes):
            patient = f"any {number}" if number < shared else f"{label} {number}"
            for radiograph in range(images):
                twin = twins.get(number) if radiograph == 0 else None
                pixels = (
                    f"{label} {patient} {radiograph}" if twin is None else f"{label} twin {twin}"
                )
                cases.append(case(f"{label} {number} {radiograph}", label, patient, pixels=pixels))
    return Dataset("made", DATASET_1, tuple(draw(st.permutations(cases))))


def parts_of(dataset, key):
    found = defaultdict(set)
    for each in dataset.cases:
        found[getattr(each, key)].add(each.split)
    return found.values()


def deviation(cases):
    """How far the share of a part is from its due, at most."""
    images = Counter(each.split for each in cases)
    return max(abs(images[name] / len(cases) - share) for name, share in SHARES.items())


@pytest.mark.parametrize("by", ["patient", "image"])
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a split takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(dataset=datasets(), seed=st.integers(0, 2**32 - 1))
def test_a_split_keeps_together_what_belongs_together(by, dataset, seed):
    done = split(dataset, by=by, seed=seed)

    assert [each.path for each in done.cases] == [each.path for each in dataset.cases]
    assert {each.split for each in done.cases} == set(PARTS)
    assert all(len(parts) == 1 for parts in parts_of(done, "pixels"))
    if by == "patient":
        assert all(len(parts) == 1 for parts in parts_of(done, "patient"))

    of_all, of_class = TOLERANCE[by]
    assert deviation(done.cases) < of_all
    for label in DATASET_1:
        assert deviation([each for each in done.cases if each.label == label]) < of_class, label

    assert split(dataset, by=by, seed=seed) == done


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(dataset=datasets(), seed=st.integers(0, 2**32 - 1), number=st.integers(2, 6))
def test_over_the_folds_every_image_is_tested_once_by_who_has_not_seen_its_patient(
    dataset, seed, number
):
    done = folds(dataset, number, seed=seed)
    assert len(done) == number
    tested = Counter(each.path for fold in done for each in fold.cases if each.split == "test")
    assert tested == Counter(each.path for each in dataset.cases)
    for fold in done:
        assert {len(parts) for parts in parts_of(fold, "patient")} == {1}
    if number == 5:
        assert done[0] == split(dataset, seed=seed)


def test_folds_out_of_range_and_images_with_parts_are_refused():
    cases = tuple(case(f"{label} {n}", label) for label in DATASET_1 for n in range(20))
    dataset = Dataset("made", DATASET_1, cases)
    for number in (1, 11):
        with pytest.raises(UsageError, match="folds"):
            folds(dataset, number)
    with pytest.raises(DataError, match="split column"):
        folds(split(dataset), 5)
