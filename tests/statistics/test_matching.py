"""Among people who are alike, a model that knows only their ages knows nothing."""

import numpy as np
import pytest

from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.matching import matched_pairs
from cxr_transfer.statistics.scores import Scores
from made import case

LABELS = LabelSet(("normal", "bacterial", "covid19"))


def scored(cases, ill):
    """Scores of which the last class's is ``ill``; the first has most of the rest."""
    table = np.stack([0.9 * (1 - ill), 0.1 * (1 - ill), ill], axis=1)
    targets = np.array([LABELS.target(each.label) for each in cases])
    return Scores.of(LABELS, targets, table, cases)


def people(number=200, seed=0, stated=1.0):
    """Sick people are mostly old; there are young and old ones of both kinds."""
    rng = np.random.default_rng(seed)
    cases = []
    for row in range(number):
        label = ("normal", "covid19")[row % 2]
        old = rng.random() < (0.8 if label == "covid19" else 0.2)
        age = float(rng.integers(60, 79) if old else rng.integers(20, 39))
        known = {"age": age, "sex": "FM"[rng.integers(2)]} if rng.random() < stated else {}
        cases.append(case(f"{row}.png", label, **known))
    return cases


def test_a_model_of_the_age_alone_is_found_out():
    cases = people()
    age = np.array([each.age for each in cases])
    scores = scored(cases, np.where(age > 50, 0.8, 0.2))
    (pair,) = matched_pairs(scores, cases)
    assert pair["classes"] == ["normal", "covid19"]
    assert pair["on"] == ["age", "sex"]
    assert pair["all"]["value"] > 0.7
    # In every matched group both classes have the same age band, hence the same score.
    assert pair["matched"]["value"] == pytest.approx(0.5)


def test_a_model_of_the_disease_keeps_its_figure():
    cases = people()
    ill = np.array([0.9 if each.label == "covid19" else 0.1 for each in cases])
    (pair,) = matched_pairs(scored(cases, ill), cases)
    assert pair["matched"]["value"] == pair["all"]["value"] == 1.0
    assert 20 <= pair["images"] < len(cases)
    assert pair["images"] % 2 == 0


def test_what_is_stated_of_few_is_not_matched_on_and_the_unknown_is_like_nothing():
    cases = people(stated=0.5)
    known = sum(each.age is not None for each in cases)
    (pair,) = matched_pairs(scored(cases, np.full(200, 0.5)), cases)
    assert pair["images"] <= known
    assert matched_pairs(scored(people(stated=0.02), np.full(200, 0.5)), people(stated=0.02)) == []


def test_a_class_without_a_like_is_not_compared():
    cases = [
        case(f"{row}.png", ("normal", "covid19")[row % 2], age=5.0 if row % 2 else 70.0)
        for row in range(100)
    ]
    assert matched_pairs(scored(cases, np.full(100, 0.5)), cases) == []


def test_the_third_class_has_no_say():
    cases = people()
    ill = np.random.default_rng(1).random(200)
    scores = scored(cases, ill)
    (plain,) = matched_pairs(scores, cases)
    third = np.random.default_rng(2).random((200, 1)) * 0.9
    shared = scores.probabilities[:, [0, 2]]
    shared = shared / shared.sum(axis=1, keepdims=True) * (1 - third)
    table = np.column_stack([shared[:, :1], third, shared[:, 1:]])
    (shrunk,) = matched_pairs(Scores.of(LABELS, scores.targets, table, cases), cases)
    assert shrunk["matched"]["value"] == pytest.approx(plain["matched"]["value"])


def test_the_same_seed_takes_the_same_images():
    cases, ill = people(), np.random.default_rng(1).random(200)
    first, again = (matched_pairs(scored(cases, ill), cases) for _ in range(2))
    assert first == again
