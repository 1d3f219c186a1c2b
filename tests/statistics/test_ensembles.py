import dataclasses

import numpy as np
import pytest

from cxr_transfer.errors import DataError
from cxr_transfer.labels import DATASET_1, LabelSet
from cxr_transfer.statistics.ensembles import mean_scores, pooled_scores
from cxr_transfer.statistics.scores import Scores


def scores(seed, images=6, labels=DATASET_1):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(len(labels)), images)
    targets = np.arange(images) % len(labels)
    files = tuple(f"{seed}-{row}.png" for row in range(images))
    return Scores(labels, targets, probabilities, tuple("abcdef"[:images]), files)


def test_an_ensemble_has_the_mean_of_its_members_image_by_image():
    first = scores(0)
    others = [dataclasses.replace(first, probabilities=scores(s).probabilities) for s in (1, 2)]
    mean = mean_scores([first, *others])
    by_hand = sum(each.probabilities for each in (first, *others)) / 3
    assert mean.probabilities == pytest.approx(by_hand)
    assert mean.probabilities.sum(axis=1) == pytest.approx(np.ones(6))
    assert (mean.files, mean.patients) == (first.files, first.patients)
    assert mean_scores([first]).probabilities == pytest.approx(first.probabilities)


def test_members_of_other_images_are_refused():
    with pytest.raises(DataError) as error:
        mean_scores([scores(0), scores(1)])
    assert error.value.code == "not_paired"


def test_parts_lie_one_after_the_other():
    parts = [scores(0, 4), scores(1, 6)]
    pooled = pooled_scores(parts)
    assert pooled.files == parts[0].files + parts[1].files
    assert list(pooled.targets) == [*parts[0].targets, *parts[1].targets]
    assert (pooled.probabilities[4:] == parts[1].probabilities).all()


def test_nothing_and_other_classes_cannot_be_pooled():
    for call in (mean_scores, pooled_scores):
        with pytest.raises(DataError) as error:
            call([])
        assert error.value.code == "no_images"
    with pytest.raises(DataError) as error:
        pooled_scores([scores(0), scores(1, labels=LabelSet(("a", "b", "c")))])
    assert error.value.code == "not_paired"
